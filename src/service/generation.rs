//! Everything of one revision: the content of a bundle, and what was changed since.

use std::ops::Bound;
use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use smol_str::SmolStr;

use crate::audit::capsule_content::entities::StoredLookup;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::change::Change;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::authority::state::Authority;
use crate::domain::entity_json::parse_stored;
use crate::domain::registration::RegisteredTools;
use crate::domain::schema::{self, TYPES};
use crate::service::claim_warnings::ClaimWarnings;

/// The content of one loaded bundle, which goes into service as one unit.
#[derive(Debug, Clone)]
pub struct LoadedBundle {
    /// Policies, entities, schema.
    pub snapshot: Snapshot,
    /// The mapping from claims to facts.
    pub claims: ClaimMapping,
    /// The digest of the bundle's content, `sha256:<hex>`.
    pub policy_set_digest: Arc<str>,
}

/// Everything of one revision, immutable. A changed copy shares what did not change.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Policies, schema, and entities: the bundle's and the stored ones.
    pub snapshot: Snapshot,
    /// The registered tools among the entities.
    pub tools: RegisteredTools,
    /// How claims become facts.
    pub claims: ClaimMapping,
    /// Which mapped claims have been reported as missing from tokens.
    pub claim_warnings: Arc<ClaimWarnings>,
    /// `sha256:<hex>` over the directory's content.
    pub policy_set_digest: Arc<str>,
    /// Delegations, tasks, approvals and stops.
    pub authority: Authority,
    /// Entities that were put over the control API.
    pub stored: StoredEntities,
    /// Principals that policies name as approvers.
    pub named_approvers: Arc<[EntityUID]>,
    /// The published bundle that it is made of; `None` for one of this server alone.
    pub published: Option<Arc<PublishedBundle>>,
}

/// Entities that were put over the control API, in Cedar's JSON form.
///
/// The bundle wins: an entity that it defines as well is set aside, see [`StoredEntities::shadowed`], until the bundle
/// no longer defines it.
#[derive(Debug, Clone)]
pub struct StoredEntities {
    all: RedBlackTreeMapSync<EntityUID, Arc<str>>,
    /// By a parent, its direct children: of those in force.
    children: RedBlackTreeMapSync<EntityUID, RedBlackTreeSetSync<EntityUID>>,
    /// The bundle's content without them.
    directory: Snapshot,
}

/// A stored entity that does not fit the bundle's schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored entity `{uid}` does not fit: {why}")]
pub struct StoredEntityError {
    /// The entity.
    pub uid: EntityUID,
    /// The reason.
    pub why: String,
}

impl StoredEntities {
    /// The stored form of an entity, set aside or not.
    pub fn get(&self, uid: &EntityUID) -> Option<&Arc<str>> {
        self.all.get(uid)
    }

    /// All stored entities, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityUID, &Arc<str>)> {
        self.all.iter()
    }

    /// Stored entities after one, ordered by id.
    pub fn after(&self, uid: Option<&EntityUID>) -> impl Iterator<Item = (&EntityUID, &Arc<str>)> {
        let start = uid.map_or(Bound::Unbounded, |it| Bound::Excluded(it.clone()));
        self.all.range((start, Bound::Unbounded))
    }

    /// Those that are in this one directly.
    pub fn children(&self, uid: &EntityUID) -> impl Iterator<Item = &EntityUID> {
        let children = self.children.get(uid);
        children.into_iter().flat_map(RedBlackTreeSetSync::iter)
    }

    /// An entity is in these parents instead of those.
    fn move_mut(&mut self, uid: &EntityUID, before: Vec<EntityUID>, after: Vec<EntityUID>) {
        for parent in before {
            let left = self.children.get(&parent).map(|all| all.remove(uid));
            match left {
                Some(left) if !left.is_empty() => {
                    self.children.insert_mut(parent, left);
                }
                _ => {
                    self.children.remove_mut(&parent);
                }
            }
        }
        for parent in after {
            let all = self.children.get(&parent).cloned().unwrap_or_default();
            self.children.insert_mut(parent, all.insert(uid.clone()));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the bundle defines this entity.
    pub fn is_in_bundle(&self, uid: &EntityUID) -> bool {
        self.directory.contains(uid)
    }

    /// Stored entities that the bundle defines as well.
    pub fn shadowed(&self) -> impl Iterator<Item = &EntityUID> {
        self.all.keys().filter(|uid| self.is_in_bundle(uid))
    }
}

impl StoredLookup for StoredEntities {
    fn stored(&self, uid: &EntityUID) -> Option<&Arc<str>> {
        self.all.get(uid)
    }

    fn resources(&self, most: usize) -> Option<Vec<EntityUID>> {
        // Uids sort by their types.
        let first = schema::entity_uid(&TYPES.resource, SmolStr::default());
        let resources = self.after(Some(&first)).map(|(uid, _)| uid);
        let resources = resources.take_while(|uid| *uid.entity_type() == TYPES.resource);
        let resources: Vec<EntityUID> = resources.take(most + 1).cloned().collect();
        (resources.len() <= most).then_some(resources)
    }
}

impl Generation {
    /// The bundle that it is made of, without what was stored over the API.
    pub fn bundle(&self) -> LoadedBundle {
        LoadedBundle {
            snapshot: self.stored.directory.clone(),
            claims: self.claims.clone(),
            policy_set_digest: Arc::clone(&self.policy_set_digest),
        }
    }

    /// Logs that the bundle sets stored entities aside: how many, and the first few.
    pub fn warn_of_shadowed(&self) {
        const FEW: usize = 3;
        let mut count = 0_usize;
        let mut first = Vec::with_capacity(FEW);
        for uid in self.stored.shadowed() {
            count += 1;
            if first.len() < FEW {
                first.push(uid.to_string());
            }
        }
        if count > 0 {
            tracing::warn!(
                count,
                entities = first.join(", "),
                "the directory defines entities that are stored as well: the stored ones are set aside"
            );
        }
    }

    /// A generation of a bundle, authority and stored entities.
    ///
    /// # Errors
    ///
    /// [`StoredEntityError`] for the first stored entity that does not fit.
    pub fn new(
        load: LoadedBundle,
        authority: Authority,
        stored: RedBlackTreeMapSync<EntityUID, Arc<str>>,
        revision: u64,
    ) -> Result<Self, StoredEntityError> {
        Self::with_tools(load, authority, stored, None, revision)
    }

    /// The same; the registered tools are these, if they are known.
    fn with_tools(
        load: LoadedBundle,
        authority: Authority,
        stored: RedBlackTreeMapSync<EntityUID, Arc<str>>,
        tools: Option<RegisteredTools>,
        revision: u64,
    ) -> Result<Self, StoredEntityError> {
        let directory = load.snapshot;
        let mut entities = Vec::new();
        let schema = directory.schema().map(Arc::as_ref);
        for (uid, json) in stored.iter().filter(|(uid, _)| !directory.contains(uid)) {
            let why = |why| StoredEntityError {
                uid: uid.clone(),
                why,
            };
            entities.push(parse_stored(schema, json).map_err(why)?);
        }
        let first = entities.first().map(|entity| entity.uid().clone());
        let mut stored = StoredEntities {
            all: stored,
            children: RedBlackTreeMapSync::default(),
            directory: directory.clone(),
        };
        for entity in &entities {
            let parents = entity.parents().cloned().collect();
            stored.move_mut(entity.uid(), Vec::new(), parents);
        }
        let snapshot = match first {
            None => directory.clone(),
            Some(uid) => directory
                .upsert(entities)
                .map_err(|error| StoredEntityError {
                    uid,
                    why: error.to_string(),
                })?,
        };
        let named = directory.entities_named_where("approval", &schema::action_uid("approve_call"));
        Ok(Self {
            tools: tools.unwrap_or_else(|| RegisteredTools::from_snapshot(&snapshot)),
            snapshot: snapshot.with_revision(revision),
            claim_warnings: Arc::new(ClaimWarnings::new(&load.claims)),
            claims: load.claims,
            policy_set_digest: load.policy_set_digest,
            authority,
            stored,
            named_approvers: named.into(),
            published: None,
        })
    }

    /// The same with another bundle.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn with_bundle(
        &self,
        load: LoadedBundle,
        revision: u64,
    ) -> Result<Self, StoredEntityError> {
        // With the same entities, and the same ones stored, the tools are the same.
        let is_same = load.snapshot.shares_entities(&self.stored.directory);
        let tools = is_same.then(|| self.tools.clone());
        let authority = self.authority.clone();
        let stored = self.stored.all.clone();
        Self::with_tools(load, authority, stored, tools, revision)
    }

    /// The same bundle with other authority and stored entities.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn with_store(
        &self,
        authority: Authority,
        stored: RedBlackTreeMapSync<EntityUID, Arc<str>>,
        revision: u64,
    ) -> Result<Self, StoredEntityError> {
        let load = LoadedBundle {
            snapshot: self.stored.directory.clone(),
            claims: self.claims.clone(),
            policy_set_digest: Arc::clone(&self.policy_set_digest),
        };
        Self::new(load, authority, stored, revision)
    }

    /// The generation after a change. A bundle goes into service by [`Generation::with_bundle`].
    ///
    /// # Errors
    ///
    /// [`StoredEntityError`] if the change puts an entity that does not fit.
    pub fn with_change(&self, change: &Change, revision: u64) -> Result<Self, StoredEntityError> {
        let mut next = self.clone();
        match change {
            Change::Grant(delegation) => {
                next.authority
                    .delegations
                    .insert_mut(Arc::clone(delegation));
            }
            Change::Task(task) => {
                next.authority.tasks.insert_mut(Arc::clone(task));
            }
            Change::Approval(approval) => {
                next.authority.approvals.insert_mut(Arc::clone(approval));
            }
            Change::Entity { uid, json } => {
                let schema = self.snapshot.schema().map(Arc::as_ref);
                let misfit = |why: String| StoredEntityError {
                    uid: uid.clone(),
                    why,
                };
                let entity = parse_stored(schema, json).map_err(misfit)?;
                if entity.uid() != uid {
                    return Err(misfit(format!("it is named `{}` in itself", entity.uid())));
                }
                let parents = entity.parents().cloned().collect();
                next.stored.move_mut(uid, self.parents(uid), parents);
                let upserted = self.snapshot.upsert([entity]);
                next.snapshot = upserted.map_err(|error| misfit(error.to_string()))?;
                next.tools.update(&next.snapshot, uid);
                next.stored.all.insert_mut(uid.clone(), Arc::clone(json));
            }
            Change::EntityGone { uid } => {
                if !self.stored.is_in_bundle(uid) {
                    next.stored.move_mut(uid, self.parents(uid), Vec::new());
                    next.snapshot = self.snapshot.remove([uid]);
                    next.tools.update(&next.snapshot, uid);
                }
                next.stored.all.remove_mut(uid);
            }
            Change::Stopped(stop) => {
                let uid = stop.uid.clone();
                next.authority.stops.insert_mut(uid, Arc::clone(stop));
            }
            Change::Resumed { uid } => {
                next.authority.stops.remove_mut(uid);
            }
            Change::SessionEnded { .. }
            | Change::ClockRepaired { .. }
            | Change::Bundle { .. }
            | Change::Published(_) => {}
        }
        next.snapshot = next.snapshot.with_revision(revision);
        Ok(next)
    }

    /// Whether the change would change nothing.
    pub fn contains_change(&self, change: &Change) -> bool {
        let authority = &self.authority;
        match change {
            Change::Grant(delegation) => {
                authority.delegations.get(&delegation.id) == Some(delegation)
            }
            Change::Task(task) => authority.tasks.get(&task.id) == Some(task),
            Change::Approval(approval) => authority.approvals.get(&approval.id) == Some(approval),
            Change::Stopped(stop) => authority.stops.get(&stop.uid) == Some(stop),
            _ => false,
        }
    }

    /// The direct parents of an entity; none if there is no such entity.
    pub fn parents(&self, uid: &EntityUID) -> Vec<EntityUID> {
        let entity = self.snapshot.entity(uid);
        entity.map(|it| it.parents().collect()).unwrap_or_default()
    }

    /// The revision.
    pub fn revision(&self) -> u64 {
        self.snapshot.revision()
    }
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
