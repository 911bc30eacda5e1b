//! Requests that were carried out before, and changes that would change nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin};
use crate::service::generation::Generation;
use crate::service::idempotency::KeyLookup;
use crate::service::ledger::{CommittedChange, Ledger, WriteError};
use crate::store::backend::{StoreError, StoredKey};

/// How long a repeated request waits for the first one if that is in flight.
const REPEAT_WAIT: Duration = Duration::from_secs(5);

impl Ledger {
    /// Whether a request was carried out, or is, under the idempotency key of this one: it need not be planned, whatever it
    /// would need for that.
    pub fn knows_key(&self, asked: &ChangeOrigin) -> bool {
        let found = self.head().keys.lookup(asked);
        matches!(found, KeyLookup::Repeated(_) | KeyLookup::Reused)
    }

    /// The result of a request that was carried out before, once its change is in service; `None` if it is not made after
    /// all, and has to be looked up again.
    pub(super) async fn repeat<E>(
        &self,
        known: StoredKey,
        attempt: u64,
    ) -> Result<Option<CommittedChange>, WriteError<E>> {
        let is_there = self.has_come(known.revision, attempt).await;
        if !self.head().keys.holds(&known) {
            // Another change has got that revision, or will: the first request is planned again, and so is this one.
            return Ok(None);
        }
        match self.live() {
            Some(generation) if is_there => Ok(Some(CommittedChange {
                revision: known.revision,
                is_durable: !self.unwritten.has(&known),
                is_recorded: true,
                is_repeated: true,
                id: known.id,
                generation,
            })),
            _ => Err(StoreError::Closed.into()),
        }
    }

    /// Whether a change would change nothing. Then it costs no row however often it is requested.
    pub(super) fn is_unchanged(&self, generation: &Generation, change: &Change) -> bool {
        match change {
            Change::SessionEnded { session } => self.facts.sessions.has_ended(session),
            change => generation.contains_change(change),
        }
    }

    /// The result of a change that would change nothing, once the state it was compared with is in service; `None` if it
    /// never is.
    pub(super) async fn unchanged<E>(
        &self,
        id: SmolStr,
        planned: Arc<Generation>,
        attempt: u64,
    ) -> Result<Option<CommittedChange>, WriteError<E>> {
        let revision = planned.revision();
        let is_there = self.has_come(revision, attempt).await;
        if self.head().attempt != attempt {
            // The state it was compared with was rolled back.
            return Ok(None);
        }
        match self.live() {
            Some(generation) if is_there => Ok(Some(CommittedChange {
                revision,
                id,
                generation,
                is_durable: self.unwritten.is_empty(),
                is_recorded: true,
                is_repeated: false,
            })),
            // Another server may have written meanwhile.
            _ if self.fleet.is_some() => Ok(None),
            _ => Err(StoreError::Closed.into()),
        }
    }

    /// Waits until a revision is in service. Returns whether it is in time. Does not wait on if planning was rolled back
    /// since this attempt; beside other servers the change may be written all the same.
    async fn has_come(&self, revision: u64, attempt: u64) -> bool {
        let is_alone = self.fleet.is_none();
        let is_over = || is_alone && self.attempts.load(Ordering::Acquire) != attempt;
        let mut revisions = self.revisions();
        let come = revisions.wait_for(|newest| *newest >= revision || is_over());
        match tokio::time::timeout(REPEAT_WAIT, come).await {
            Ok(Ok(newest)) => *newest >= revision,
            _ => false,
        }
    }
}
