//! The errors of this package.

use crate::cedar::EntityUID;

/// A snapshot that cannot be built or changed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Two entities have the same uid.
    #[error("entity `{0}` is defined twice")]
    DuplicateEntity(EntityUID),
    /// An entity is its own ancestor.
    #[error("entity `{0}` is its own ancestor")]
    EntityCycle(EntityUID),
    /// An entity has an attribute or tag without a value.
    #[error("entity `{0}` has an attribute whose value is not known")]
    UnknownValue(EntityUID),
    /// Actions belong to the schema and cannot be changed.
    #[error("action `{0}` cannot be changed")]
    ActionFixed(EntityUID),
}

impl BuildError {
    /// The entity that it is about.
    pub fn uid(&self) -> &EntityUID {
        match self {
            Self::DuplicateEntity(uid)
            | Self::EntityCycle(uid)
            | Self::UnknownValue(uid)
            | Self::ActionFixed(uid) => uid,
        }
    }
}

/// A request that does not conform to the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The context lacks these required attributes, given as paths such as `input.title`.
    #[error("the context lacks {}", .0.join(", "))]
    ContextMissing(Vec<String>),
    /// Anything else, e.g. a principal type that the action does not apply to. The text is Cedar's.
    #[error("{0}")]
    Invalid(String),
}

/// A cursor from another order of entities: that of a snapshot built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the place belongs to an earlier load of the directory")]
pub struct StaleCursorError;
