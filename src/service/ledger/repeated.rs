//! Requests that were carried out before, and changes that would change nothing.

use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use crate::domain::authority::change::Change;
use crate::service::generation::Generation;
use crate::service::ledger::{CommittedChange, Ledger, WriteError};
use crate::store::backend::{StoreError, StoredKey};

/// How long a repeated request waits for the first one if that is in flight.
const REPEAT_WAIT: Duration = Duration::from_secs(5);

impl Ledger {
    /// The result of a request that was carried out before, once its change is in service.
    pub(super) async fn repeat<E>(
        &self,
        known: StoredKey,
    ) -> Result<CommittedChange, WriteError<E>> {
        let mut revisions = self.revisions();
        let arrived = revisions.wait_for(|newest| *newest >= known.revision);
        let in_time = tokio::time::timeout(REPEAT_WAIT, arrived).await;
        if self.fleet.is_some() && !self.head().keys.holds(&known) {
            // Another server has got that revision: the first request is planned again, and so is this one.
            let last = known.revision;
            return Err(StoreError::OutOfOrder { last, found: last }.into());
        }
        match (in_time, self.live()) {
            (Ok(Ok(_)), Some(generation)) => Ok(CommittedChange {
                revision: known.revision,
                is_durable: !self.unwritten.has(&known),
                id: known.id,
                generation,
            }),
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

    /// The result of a change that would change nothing, once the state it was compared with is in service.
    pub(super) async fn unchanged<E>(
        &self,
        id: SmolStr,
        planned: Arc<Generation>,
        attempt: u64,
    ) -> Result<CommittedChange, WriteError<E>> {
        let revision = planned.revision();
        let mut revisions = self.revisions();
        let arrived = revisions.wait_for(|newest| *newest >= revision);
        let in_time = tokio::time::timeout(REPEAT_WAIT, arrived).await;
        // The state it was compared with may have been rolled back.
        let stands = self.head().attempt == attempt;
        match (in_time, self.live()) {
            (Ok(Ok(_)), Some(generation)) if stands => Ok(CommittedChange {
                revision,
                id,
                generation,
                is_durable: self.unwritten.is_empty(),
            }),
            // Another server has written meanwhile: it is planned again.
            _ if self.fleet.is_some() => {
                let last = self.live().map_or(0, |live| live.revision());
                Err(StoreError::OutOfOrder { last, found: 0 }.into())
            }
            _ => Err(StoreError::Closed.into()),
        }
    }
}
