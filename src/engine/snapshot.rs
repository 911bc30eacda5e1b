//! Everything one decision reads, of one revision, immutable.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityType, EntityUID, PolicySet, Value};
use cedar_policy_core::validator::ValidatorSchema;
use foldhash::fast::RandomState;

use crate::engine::index::{PolicyIndex, PolicyNo, ScopeNo};
use crate::engine::names::Names;
use crate::engine::packed::Packed;
use crate::engine::policy::{self, Compiled, ContextUse};
use crate::engine::request;
use crate::engine::store::EntityStore;
use crate::engine::view::{Name, Sight};

/// Policies, entities and schema of one revision. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Snapshot {
    rules: Arc<Rules>,
    entities: EntityStore,
    revision: u64,
}

/// What changes only when a bundle is loaded.
#[derive(Debug)]
struct Rules {
    policies: Vec<Compiled>,
    index: PolicyIndex,
    /// Actions are few and part of every request, so they are kept as Cedar wants them.
    actions: HashMap<EntityUID, Action, RandomState>,
    schema: Option<Arc<ValidatorSchema>>,
    reach: Reach,
    /// What any of the policies reads of the context.
    reads: ContextUse,
}

/// A stored entity, to read attributes from.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'s> {
    packed: &'s Packed,
    names: &'s Names,
}

impl Stored<'_> {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<Value> {
        self.packed.attribute(self.names, name)
    }
}

/// An action, and whom it is plainly about: types whose entities may have any name. What else the
/// schema allows, it has to be asked.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) entity: Arc<Entity>,
    pub(super) principals: Vec<EntityType>,
    pub(super) resources: Vec<EntityType>,
    /// Where policies about it sit. No request can add to that.
    pub(super) scopes: Vec<ScopeNo>,
}

/// What a snapshot is built from.
pub struct Parts<E> {
    /// Static policies and template links.
    pub policies: PolicySet,
    /// Entities, a schema's actions among them. Only their direct parents are read; all other
    /// ancestors are worked out here.
    pub entities: E,
    /// The schema; `None` turns request checking off.
    pub schema: Option<Arc<ValidatorSchema>>,
    /// How far policies can look from the request's entities.
    pub reach: Reach,
}

/// How many dereferences (`principal.owner.manager` has two) any policy makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// At most this many, as level validation (Cedar RFC 76) has shown.
    Level(u32),
    /// Unknown: a request sees everything reachable from it and from the policies' literals.
    Unbounded,
}

/// Why a snapshot cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Two entities of the same name.
    #[error("entity `{0}` is defined twice")]
    DuplicateEntity(EntityUID),
    /// An entity that is its own ancestor.
    #[error("entity `{0}` is its own ancestor")]
    EntityCycle(EntityUID),
    /// An entity whose attributes are not plain values.
    #[error("entity `{0}` has an attribute whose value is not known")]
    UnknownValue(EntityUID),
    /// A change of an action, which only a schema can make.
    #[error("action `{0}` cannot be changed")]
    ActionFixed(EntityUID),
}

impl Snapshot {
    /// Compiles policies and entities. Costs time in proportion to both; never call it on a request.
    pub fn build<E: IntoIterator<Item = Entity>>(parts: Parts<E>) -> Result<Self, BuildError> {
        let with_literals = parts.reach == Reach::Unbounded;
        let policies = policy::compile(&parts.policies, with_literals);
        let mut action_uids = Vec::new();
        let mut entities = EntityStore::build(parts.entities.into_iter().inspect(|entity| {
            if entity.uid().is_action() {
                action_uids.push(entity.uid().clone());
            }
        }))?;
        let actions = action_uids
            .iter()
            .filter_map(|uid| {
                let entity = entities.unpack(uid, &[])?;
                Some((uid.clone(), Action::new(entity, parts.schema.as_deref())))
            })
            .collect();
        let index = PolicyIndex::build(&policies, entities.names_mut());
        let rules = Rules {
            reads: ContextUse::all(policies.iter().map(|compiled| &compiled.context)),
            policies,
            index,
            actions,
            schema: parts.schema,
            reach: parts.reach,
        };
        let mut snapshot = Self {
            rules: Arc::new(rules),
            entities,
            revision: 0,
        };
        let sight = Sight {
            snapshot: &snapshot,
            overlays: &[],
        };
        let scopes_of = |uid| {
            snapshot
                .index()
                .numbers(&sight.view(Name::Given(uid)), sight)
        };
        let scopes: Vec<_> = action_uids.iter().map(scopes_of).collect();
        if let Some(rules) = Arc::get_mut(&mut snapshot.rules) {
            for (uid, scopes) in action_uids.iter().zip(scopes) {
                if let Some(action) = rules.actions.get_mut(uid) {
                    action.scopes = scopes;
                }
            }
        }
        Ok(snapshot)
    }

    /// The revision this snapshot was published as; 0 before that.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The same snapshot under another revision.
    pub fn at_revision(&self, revision: u64) -> Self {
        Self {
            revision,
            ..self.clone()
        }
    }

    /// A snapshot in which these entities are added or replaced. Costs as much as is changed, not as
    /// much as there is. Actions belong to the schema and are refused.
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

    /// A snapshot without these entities. What had them as parents keeps the names; actions stay.
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
    pub fn entity(&self, uid: &EntityUID) -> Option<Stored<'_>> {
        let packed = self.entities.find(uid)?;
        Some(Stored {
            packed,
            names: self.entities.names(),
        })
    }

    /// A stored entity in Cedar's own form, all its ancestors worked out.
    pub fn cedar_entity(&self, uid: &EntityUID) -> Option<Entity> {
        self.entities.unpack(uid, &[])
    }

    /// Whether an entity is another or, as far as stored entities tell, has it as an ancestor.
    pub fn is_in(&self, uid: &EntityUID, ancestor: &EntityUID) -> bool {
        if uid == ancestor {
            return true;
        }
        let (Some(packed), Some(wanted)) =
            (self.entities.find(uid), self.entities.key_of(ancestor))
        else {
            return false;
        };
        let mut lineage = self.entities.lineage(&packed.parents);
        lineage.any(|key| key.ty == wanted.ty && *key.eid == *wanted.eid)
    }

    /// Whether an action of this name is known.
    pub fn has_action(&self, action: &EntityUID) -> bool {
        self.rules.actions.contains_key(action)
    }

    /// Whether any policy reads this attribute of the context.
    pub fn reads(&self, attribute: &str) -> bool {
        self.rules.reads.reads(attribute)
    }

    /// The entities that policies name if they read an attribute of the context or are about an action.
    /// Looks through all policies; for use at load.
    pub fn named_where(&self, reads: &str, about: &EntityUID) -> Vec<EntityUID> {
        let about = self.action(about).map(|action| &action.entity);
        let is_meant = |compiled: &&Compiled| {
            compiled.context.names(reads) || about.is_some_and(|action| compiled.is_about(action))
        };
        let policies = self.rules.policies.iter().filter(is_meant);
        let mut named: Vec<EntityUID> = policies.flat_map(Compiled::names).collect();
        named.sort();
        named.dedup();
        named
    }

    /// The schema.
    pub fn schema(&self) -> Option<&Arc<ValidatorSchema>> {
        self.rules.schema.as_ref()
    }

    /// How many policies.
    pub fn policy_count(&self) -> usize {
        self.rules.policies.len()
    }

    /// How many stored entities, actions not counted.
    pub fn entity_count(&self) -> usize {
        self.entities.len() - self.rules.actions.len()
    }

    pub(super) fn action(&self, uid: &EntityUID) -> Option<&Action> {
        self.rules.actions.get(uid)
    }

    pub(super) fn action_names(&self) -> impl Iterator<Item = &EntityUID> {
        self.rules.actions.keys()
    }

    pub(super) fn entities(&self) -> &EntityStore {
        &self.entities
    }

    pub(super) fn index(&self) -> &PolicyIndex {
        &self.rules.index
    }

    pub(super) fn policy(&self, number: PolicyNo) -> &Compiled {
        &self.rules.policies[number as usize]
    }

    pub(super) fn reach(&self) -> Reach {
        self.rules.reach
    }
}

impl Action {
    fn new(entity: Entity, schema: Option<&ValidatorSchema>) -> Self {
        let uid = entity.uid();
        let plain =
            |ty: &&EntityType| schema.is_some_and(|schema| request::has_free_names(schema, ty));
        let principals = schema.and_then(|schema| schema.principals_for_action(uid));
        let resources = schema.and_then(|schema| schema.resources_for_action(uid));
        Self {
            principals: principals
                .into_iter()
                .flatten()
                .filter(plain)
                .cloned()
                .collect(),
            resources: resources
                .into_iter()
                .flatten()
                .filter(plain)
                .cloned()
                .collect(),
            scopes: Vec::new(),
            entity: Arc::new(entity),
        }
    }
}
