//! Everything one decision reads, of one revision, immutable.

use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, PolicySet, Value};
use cedar_policy_core::validator::ValidatorSchema;

/// Policies, entities and schema of one revision. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Snapshot {}

/// What a snapshot is built from.
pub struct Parts<E> {
    /// Static policies and template links.
    pub policies: PolicySet,
    /// Entities with their direct parents; ancestors are worked out here.
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
}

impl Snapshot {
    /// Compiles policies and entities. Costs time in proportion to both; never call it on a request.
    pub fn build<E: IntoIterator<Item = Entity>>(parts: Parts<E>) -> Result<Self, BuildError> {
        let _ = parts.entities.into_iter();
        todo!()
    }

    /// The revision this snapshot was published as; 0 before that.
    pub fn revision(&self) -> u64 {
        todo!()
    }

    /// The same snapshot under another revision.
    pub fn at_revision(&self, revision: u64) -> Self {
        let _ = revision;
        todo!()
    }

    /// A snapshot in which these entities are added or replaced. Costs O(changed).
    pub fn upsert(&self, entities: impl IntoIterator<Item = Entity>) -> Result<Self, BuildError> {
        let _ = entities.into_iter();
        todo!()
    }

    /// A snapshot without these entities.
    pub fn remove<'a>(&self, uids: impl IntoIterator<Item = &'a EntityUID>) -> Self {
        let _ = uids.into_iter();
        todo!()
    }

    /// Whether an entity is stored.
    pub fn contains(&self, uid: &EntityUID) -> bool {
        let _ = uid;
        todo!()
    }

    /// A stored entity's attribute.
    pub fn attribute(&self, uid: &EntityUID, name: &str) -> Option<Value> {
        let _ = (uid, name);
        todo!()
    }

    /// Whether the schema declares this action; without a schema, yes.
    pub fn has_action(&self, action: &EntityUID) -> bool {
        let _ = action;
        todo!()
    }

    /// The schema.
    pub fn schema(&self) -> Option<&Arc<ValidatorSchema>> {
        todo!()
    }

    /// Stored entities whose direct parents include `parent`, e.g. the tools of a server.
    pub fn children(&self, parent: &EntityUID) -> Vec<EntityUID> {
        let _ = parent;
        todo!()
    }

    /// How many policies.
    pub fn policy_count(&self) -> usize {
        todo!()
    }

    /// How many stored entities.
    pub fn entity_count(&self) -> usize {
        todo!()
    }
}
