//! Why a store failed.

use smol_str::SmolStr;

use crate::domain::ids::BundleId;

impl StoreError {
    /// Whether the store works, and has refused to write what does not fit what others have written.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::OutOfOrder { .. } | Self::Taken { .. } | Self::Outdated | Self::Fenced
        )
    }

    /// Whether the writes may have been made all the same.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::Closed)
    }
}

/// Why a store failed. Cloned for every caller whose writes failed together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("the store {place} cannot be opened: {why}")]
    Open {
        /// The path.
        place: String,
        /// The reason.
        why: String,
    },
    /// Nobody answers where it is, or a server that begins or ends: it may be there a moment later.
    #[error("the store {place} is away: {why}")]
    Away {
        /// The place.
        place: String,
        /// The reason.
        why: String,
    },
    /// It was written by a newer program.
    #[error("the store {place} has version {found}; this program knows versions up to {known}")]
    TooNew {
        /// The path.
        place: String,
        /// The version of its tables.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Its content is invalid.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// It cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(String),
    /// Its files were removed, replaced or truncated while it was open.
    #[error("STORE_LOST: {0}; nothing is written until a restart")]
    Lost(String),
    /// It cannot be written.
    #[error("the store did not write: {0}")]
    Write(String),
    /// No answer came to a write: it may have been made.
    #[error("the store may or may not have written: {0}")]
    OutcomeUnknown(String),
    /// The revision of a change is not the next one.
    #[error("revision {found} does not follow {last}")]
    OutOfOrder {
        /// The last revision written.
        last: u64,
        /// The one to write.
        found: u64,
    },
    /// Nothing is left of what was to be taken: an approval, or a budget.
    #[error("nothing is left of `{id}`")]
    Taken {
        /// The id.
        id: SmolStr,
        /// How much of it is used.
        used: u64,
    },
    /// Another server has written what the decision should have seen.
    #[error("another replica has written what this decision should have seen")]
    Outdated,
    /// The other servers have taken this one for dead.
    #[error("the other replicas have taken this one for dead")]
    Fenced,
    /// This machine's clock and that of the database are too far apart for either to be believed.
    #[error("{0}")]
    ClockDiffers(String),
    /// The database holds another store than the one that this server has decided from.
    #[error(
        "the database holds another store than this replica has loaded: it decides nothing. Put the right one back; or, to go on \
         with what is there, start the replica once with `--new-store`"
    )]
    OtherStore,
    /// A published bundle has to be compiled before its revision can be in service.
    #[error("the published bundle `{0}` is not compiled yet")]
    BundleNotPrepared(BundleId),
    /// The queue of writes is full.
    #[error("the store is too slow: too many writes wait")]
    Busy,
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
}
