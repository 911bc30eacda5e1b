//! A change before and after it is written, and why it was not made.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::domain::authority::change::Change;
use crate::service::generation::{Generation, StoredEntityError};
use crate::store::backend::StoreError;

/// Verbs of restrictions: writes that only remove permissions. They never wait behind other writes.
pub const RESTRICTIONS: [&str; 6] = [
    "RevokeDelegation",
    "NarrowDelegation",
    "CloseTask",
    "RejectCall",
    "EndSession",
    "StopEntity",
];

/// A planned change.
#[derive(Debug, Clone)]
pub struct PlannedChange {
    /// The verb of the request, e.g. `GrantDelegation`.
    pub verb: &'static str,
    /// The change.
    pub change: Change,
    /// The id of what it makes or changes, for the response to a repeated request.
    pub id: SmolStr,
}

impl PlannedChange {
    /// Whether it only removes permissions.
    pub(super) fn is_restriction(&self) -> bool {
        RESTRICTIONS.contains(&self.verb)
    }
}

/// A change that is in service.
#[derive(Debug, Clone)]
pub struct CommittedChange {
    /// Its revision.
    pub revision: u64,
    /// The id of what it made or changed.
    pub id: SmolStr,
    /// A generation that includes it.
    pub generation: Arc<Generation>,
    /// Whether it survives a crash. A restriction takes force at once even if it cannot be written; then it is written
    /// as soon as possible, under a later revision.
    pub is_durable: bool,
    /// Whether the decision log has it, as far as it was waited for.
    pub is_recorded: bool,
    /// Whether it was made before, under the same key: perhaps at another server, since this request was planned here.
    pub is_repeated: bool,
}

impl CommittedChange {
    pub(super) fn in_memory(id: SmolStr, generation: Arc<Generation>) -> Self {
        Self {
            revision: generation.revision(),
            id,
            generation,
            is_durable: false,
            is_recorded: true,
            is_repeated: false,
        }
    }
}

/// Why a change was not made. Nothing of it is in service.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError<E> {
    /// No bundle is loaded.
    #[error("no policies are loaded")]
    NotReady,
    /// The plan rejected it.
    #[error("the change is refused")]
    Rejected(E),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// There is no room for another idempotency key. The text names the limit.
    #[error("{0}")]
    TooManyKeys(String),
    /// It puts an entity that does not fit the schema.
    #[error(transparent)]
    StoredEntity(#[from] StoredEntityError),
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}
