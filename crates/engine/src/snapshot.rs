//! Policies, entities and schema of one revision, immutable.

use std::collections::HashSet;
use std::sync::Arc;

use crate::actions::{Action, Actions};
use crate::cedar::{Entity, EntityType, EntityUID, PolicySet, ValidatorSchema, Value};
use crate::error::BuildError;
use crate::index::{PolicyIndex, PolicyNo};
use crate::interner::Interner;
use crate::key::EntityRef;
use crate::overlay::Overlay;
use crate::packed::PackedEntity;
use crate::policy::{self, CompiledPolicy, ContextUse};
use crate::reach::Reach;
use crate::store::EntityStore;
use crate::view::RequestView;

/// Policies, entities and schema of one revision: everything that evaluation reads.
///
/// Immutable, and cheap to clone: clones share everything, and [`Snapshot::upsert`] and
/// [`Snapshot::remove`] return a snapshot that shares what they did not touch.
#[derive(Debug, Clone)]
pub struct Snapshot {
    rules: Arc<Rules>,
    entities: EntityStore,
    revision: u64,
}

/// The part that entity changes leave alone.
#[derive(Debug)]
struct Rules {
    policies: Vec<CompiledPolicy>,
    index: PolicyIndex,
    actions: Actions,
    schema: Option<Arc<ValidatorSchema>>,
    reach: Reach,
    /// The context attributes that any policy reads.
    reads: ContextUse,
    /// Whether some forbid is marked as always enforced.
    has_always_enforced: bool,
}

impl Rules {
    fn new(
        policies: Vec<CompiledPolicy>,
        entities: &mut EntityStore,
        action_uids: &[EntityUID],
        schema: Option<Arc<ValidatorSchema>>,
        reach: Reach,
    ) -> Self {
        let index = PolicyIndex::build(
            &policies,
            entities.hasher().clone(),
            entities.interner_mut(),
        );
        let unpacked = action_uids
            .iter()
            .filter_map(|uid| entities.unpack(uid, &[]));
        let mut actions = Actions::new(unpacked, schema.as_deref(), entities.interner());
        for uid in action_uids {
            let view = RequestView {
                store: entities,
                actions: &actions,
                overlays: &[],
            };
            let scopes = index.scopes_matching(&view.entity(EntityRef::Given(uid)));
            if let Some(action) = actions.get_mut(uid) {
                action.scopes = scopes;
            }
        }
        Self {
            reads: ContextUse::union(policies.iter().map(|compiled| &compiled.context)),
            has_always_enforced: (policies.iter())
                .any(|it| it.info.is_always_enforced && it.info.is_forbid),
            policies,
            index,
            actions,
            schema,
            reach,
        }
    }
}

/// A stored entity, in packed form.
#[derive(Debug, Clone, Copy)]
pub struct StoredEntity<'s> {
    packed: PackedEntity<'s>,
    interner: &'s Interner,
}

impl StoredEntity<'_> {
    /// The value of an attribute, unpacked.
    pub fn attribute(&self, name: &str) -> Option<Value> {
        self.packed.attribute(self.interner, name)
    }

    /// An attribute that is true or false.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.packed.bool(self.interner, name)
    }

    /// Whether an attribute is this entity.
    pub fn refers_to(&self, name: &str, uid: &EntityUID) -> bool {
        self.packed.refers_to(self.interner, name, uid)
    }

    /// Passes every entity that it refers to: its direct parents, and those in its attributes and tags. One may come
    /// several times.
    pub fn for_each_reference(&self, mut each: impl FnMut(EntityUID)) {
        for parent in self.packed.parents() {
            each(parent.key.unpack(self.interner));
        }
        self.packed.for_each_reference(self.interner, &mut each);
    }

    /// Its direct parents.
    pub fn parents(&self) -> impl Iterator<Item = EntityUID> {
        let parents = self.packed.parents().iter();
        parents.map(|parent| parent.key.unpack(self.interner))
    }
}

/// What a snapshot is built from.
pub struct SnapshotParts<E> {
    /// Static policies and template links.
    pub policies: PolicySet,
    /// Entities, the schema's actions among them. Only their direct parents are read; other ancestors
    /// are computed.
    pub entities: E,
    /// The schema. Without one no request is checked.
    pub schema: Option<Arc<ValidatorSchema>>,
    /// How far the policies look from the request's entities. A level has to be proven by validation:
    /// with a level that is too small, evaluation misses entities.
    pub reach: Reach,
}

impl Snapshot {
    /// Compiles policies and entities. Takes time in proportion to both, so it belongs to loading, not to
    /// a request. The revision is 0.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a duplicate entity, a cycle of parents, or a value that is not known.
    pub fn build<E>(parts: SnapshotParts<E>) -> Result<Self, BuildError>
    where
        E: IntoIterator<Item = Entity>,
    {
        Self::build_with_types(parts, &[])
    }

    /// The same, for requests whose entities have clones of these types: comparing them with stored ones costs less. Other
    /// requests are evaluated alike.
    ///
    /// # Errors
    ///
    /// Those of [`Snapshot::build`].
    pub fn build_with_types<E>(
        parts: SnapshotParts<E>,
        types: &[&EntityType],
    ) -> Result<Self, BuildError>
    where
        E: IntoIterator<Item = Entity>,
    {
        let with_literals = parts.reach == Reach::Unbounded;
        let mut action_uids = Vec::new();
        let added = parts.entities.into_iter().inspect(|entity| {
            if entity.uid().is_action() {
                action_uids.push(entity.uid().clone());
            }
        });
        let mut entities = EntityStore::build(added)?;
        entities.interner_mut().share_names(types);
        let policies =
            policy::compile(&parts.policies, with_literals, entities.interner_mut(), &[]);
        let rules = Rules::new(
            policies,
            &mut entities,
            &action_uids,
            parts.schema,
            parts.reach,
        );
        Ok(Self {
            rules: Arc::new(rules),
            entities,
            revision: 0,
        })
    }

    /// The same entities and schema under other policies. Takes time in proportion to the policies and
    /// the actions, not to the entities. Policies of this snapshot that are still the same ones, parsed once, are not
    /// compiled again.
    ///
    /// Names that only policies of before mention stay known ([`Snapshot::names_known`]).
    ///
    /// `reach` has to be proven for these policies, as in [`SnapshotParts::reach`].
    pub fn with_policies(&self, policies: &PolicySet, reach: Reach) -> Self {
        let mut entities = self.entities.clone();
        let with_literals = reach == Reach::Unbounded;
        let had_literals = self.rules.reach == Reach::Unbounded;
        let earlier = match had_literals == with_literals {
            true => &*self.rules.policies,
            false => &[],
        };
        let interner = entities.interner_mut();
        let policies = policy::compile(policies, with_literals, interner, earlier);
        let action_uids: Vec<EntityUID> = self.action_uids().cloned().collect();
        let schema = self.rules.schema.clone();
        let rules = Rules::new(policies, &mut entities, &action_uids, schema, reach);
        Self {
            rules: Arc::new(rules),
            entities,
            revision: self.revision,
        }
    }

    /// How many names of types and attributes entities and policies mention, or have mentioned.
    pub fn names_known(&self) -> usize {
        self.entities.interner().len()
    }

    /// The revision that the caller assigned, or 0.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The same snapshot with another revision.
    pub fn with_revision(&self, revision: u64) -> Self {
        Self {
            revision,
            ..self.clone()
        }
    }

    /// A snapshot in which these entities are added or replaced. Takes time in proportion to the change,
    /// not to the number of stored entities.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for an action, a cycle of parents, or a value that is not known.
    pub fn upsert(&self, entities: impl IntoIterator<Item = Entity>) -> Result<Self, BuildError> {
        let entities: Vec<Entity> = entities.into_iter().collect();
        if let Some(action) = entities.iter().find(|entity| entity.uid().is_action()) {
            return Err(BuildError::ActionFixed(action.uid().clone()));
        }
        Ok(Self {
            entities: self.entities.upsert(entities)?,
            ..self.clone()
        })
    }

    /// A snapshot in which an action is directly in these, to try what another registration would decide; unchanged if
    /// the action is not known. The schema stays as it is. Takes time in proportion to the policies and the actions.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a cycle of parents.
    pub fn with_action_in(
        &self,
        action: &EntityUID,
        groups: impl IntoIterator<Item = EntityUID>,
    ) -> Result<Self, BuildError> {
        let known = self.action(action).map(|known| (*known.entity).clone());
        let Some((uid, attributes, _, _, tags)) = known.map(Entity::into_inner) else {
            return Ok(self.clone());
        };
        let moved = Entity::new_with_attr_partial_value(
            uid,
            attributes,
            HashSet::new(),
            groups.into_iter().collect(),
            tags,
        );
        let mut entities = self.entities.upsert([moved])?;
        let uids: Vec<EntityUID> = self.action_uids().cloned().collect();
        let (policies, schema) = (self.rules.policies.clone(), self.rules.schema.clone());
        let rules = Rules::new(policies, &mut entities, &uids, schema, self.rules.reach);
        Ok(Self {
            rules: Arc::new(rules),
            entities,
            revision: self.revision,
        })
    }

    /// A snapshot without these entities. Their children keep them as parents by name. Actions are not
    /// removed.
    pub fn remove<'a>(&self, uids: impl IntoIterator<Item = &'a EntityUID>) -> Self {
        let uids = uids.into_iter().filter(|uid| !uid.is_action());
        Self {
            entities: self.entities.remove(uids),
            ..self.clone()
        }
    }

    /// Whether an entity is stored.
    pub fn contains(&self, uid: &EntityUID) -> bool {
        self.entities.contains(uid)
    }

    /// A stored entity.
    pub fn entity(&self, uid: &EntityUID) -> Option<StoredEntity<'_>> {
        let packed = self.entities.find(uid)?;
        Some(StoredEntity {
            packed,
            interner: self.entities.interner(),
        })
    }

    /// A stored entity in Cedar's form, with all its ancestors.
    pub fn cedar_entity(&self, uid: &EntityUID) -> Option<Entity> {
        self.entities.unpack(uid, &[])
    }

    /// Whether an entity is another or has it as an ancestor, by the stored entities.
    pub fn is_in(&self, uid: &EntityUID, ancestor: &EntityUID) -> bool {
        if uid == ancestor {
            return true;
        }
        let (Some(packed), Some(wanted)) =
            (self.entities.find(uid), self.entities.key_of(ancestor))
        else {
            return false;
        };
        let mut lineage = self.entities.lineage(packed.parents());
        lineage.any(|key| wanted.is(key))
    }

    /// Whether an action is known.
    pub fn has_action(&self, action: &EntityUID) -> bool {
        self.rules.actions.get(action).is_some()
    }

    /// Whether any policy reads this attribute of the context.
    pub fn reads_context(&self, attribute: &str) -> bool {
        self.rules.reads.reads(attribute)
    }

    /// The entities named by the policies that read an attribute of the context or are about an action,
    /// sorted. Visits every policy, so it belongs to loading, not to a request.
    pub fn entities_named_where(&self, reads: &str, about: &EntityUID) -> Vec<EntityUID> {
        let about = self.action(about).map(|action| &action.entity);
        let is_meant = |compiled: &&CompiledPolicy| {
            compiled.context.names(reads) || about.is_some_and(|action| compiled.is_about(action))
        };
        let policies = self.rules.policies.iter().filter(is_meant);
        let mut named: Vec<EntityUID> = policies.flat_map(CompiledPolicy::named_entities).collect();
        named.sort();
        named.dedup();
        named
    }

    /// Whether some forbid is marked `@mode("enforce")`.
    pub fn has_always_enforced(&self) -> bool {
        self.rules.has_always_enforced
    }

    /// Whether two snapshots hold the same entities and schema in the same memory, as after
    /// [`Snapshot::with_policies`]. If not, they may still be equal.
    pub fn shares_entities(&self, other: &Self) -> bool {
        let is_same_schema = match (self.schema(), other.schema()) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        is_same_schema && self.entities.is_same(&other.entities)
    }

    /// The schema, if the snapshot has one.
    pub fn schema(&self) -> Option<&Arc<ValidatorSchema>> {
        self.rules.schema.as_ref()
    }

    /// The number of policies.
    pub fn policy_count(&self) -> usize {
        self.rules.policies.len()
    }

    /// The number of stored entities without the actions.
    pub fn entity_count(&self) -> usize {
        self.entities.len() - self.rules.actions.len()
    }

    pub(crate) fn action(&self, uid: &EntityUID) -> Option<&Action> {
        self.rules.actions.get(uid)
    }

    pub(crate) fn action_uids(&self) -> impl Iterator<Item = &EntityUID> {
        self.rules.actions.uids()
    }

    /// The entities as a request with these overlays sees them.
    pub(crate) fn view<'a>(&'a self, overlays: &'a [&'a Overlay]) -> RequestView<'a> {
        RequestView {
            store: &self.entities,
            actions: &self.rules.actions,
            overlays,
        }
    }

    pub(crate) fn entities(&self) -> &EntityStore {
        &self.entities
    }

    pub(crate) fn index(&self) -> &PolicyIndex {
        &self.rules.index
    }

    pub(crate) fn policy(&self, number: PolicyNo) -> &CompiledPolicy {
        &self.rules.policies[number as usize]
    }

    pub(crate) fn compiled_policies(&self) -> &[CompiledPolicy] {
        &self.rules.policies
    }

    pub(crate) fn reach(&self) -> Reach {
        self.rules.reach
    }
}
