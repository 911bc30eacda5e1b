//! What one request adds to the stored entities.

use smol_str::SmolStr;

use crate::cedar::{EntityUID, Value};

/// Additions of one request to one entity. They never replace anything: a stored attribute or tag of
/// the same name wins.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The entity. It need not be stored.
    pub uid: EntityUID,
    /// Additional parents.
    pub parents: Vec<EntityUID>,
    /// Attributes, used where the stored entity has none of that name.
    pub attributes: Vec<(SmolStr, Value)>,
    /// Tags, used where the stored entity has none of that name.
    pub tags: Vec<(SmolStr, Value)>,
}

impl Overlay {
    /// An overlay that makes an entity known and adds nothing else.
    pub fn bare(uid: EntityUID) -> Self {
        Self {
            uid,
            parents: Vec::new(),
            attributes: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// An entity as a request describes it, before it is held against the schema
/// ([`Snapshot::overlay`](crate::Snapshot::overlay)).
#[derive(Debug, Clone)]
pub struct AssertedEntity {
    /// The entity.
    pub uid: EntityUID,
    /// Its attributes, none of them verified.
    pub attributes: Vec<(SmolStr, Value)>,
}
