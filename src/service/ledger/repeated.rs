//! Changes that were asked for before, or are so already.

use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use crate::domain::authority::change::Change;
use crate::service::generation::Generation;
use crate::service::ledger::{CommittedChange, Ledger, WriteError};
use crate::store::store::{StoreError, StoredKey};

/// How long a repeated request waits for the first one that is still under way.
const REPEAT_WAIT: Duration = Duration::from_secs(5);

impl Ledger {
    /// The answer of a request that was carried out before, once its change is in service.
    pub(super) async fn repeat<E>(
        &self,
        known: StoredKey,
    ) -> Result<CommittedChange, WriteError<E>> {
        let mut revisions = self.revisions();
        let arrived = revisions.wait_for(|newest| *newest >= known.revision);
        let in_time = tokio::time::timeout(REPEAT_WAIT, arrived).await;
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

    /// Whether a change would change nothing: asking again and again then costs no row.
    pub(super) fn is_so(&self, generation: &Generation, change: &Change) -> bool {
        match change {
            Change::SessionEnded { session } => self.facts.sessions.get(session).is_ended,
            change => generation.has(change),
        }
    }

    /// The answer to what was so already, once that is in service.
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
        // What fell back may have been what it was so by.
        let stands = self.head().attempt == attempt;
        match (in_time, self.live()) {
            (Ok(Ok(_)), Some(generation)) if stands => Ok(CommittedChange {
                revision,
                id,
                generation,
                is_durable: self.unwritten.is_empty(),
            }),
            _ => Err(StoreError::Closed.into()),
        }
    }
}
