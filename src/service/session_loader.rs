//! Reads sessions that are not in memory from the store, where one server alone uses it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::ids::SessionId;
use crate::service::ledger::Ledger;
use crate::service::live_facts::LiveFacts;
use crate::service::one_at_a_time::OneAtATime;
use crate::store::backend::{StoreError, StoredSession};

/// Reads sessions.
pub struct SessionLoader {
    ledger: Arc<Ledger>,
    facts: Arc<LiveFacts>,
    turns: OneAtATime,
}

impl SessionLoader {
    /// A loader for these facts.
    pub fn new(ledger: &Arc<Ledger>, facts: &Arc<LiveFacts>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            facts: Arc::clone(facts),
            turns: OneAtATime::default(),
        }
    }

    /// Has the session in memory.
    ///
    /// # Errors
    ///
    /// The reason to deny: the store does not answer, or there is no room.
    pub async fn load(&self, id: &SessionId) -> Result<(), Reason> {
        let sessions = &self.facts.sessions;
        let is_there = || sessions.is_held(id);
        // One reads at a time: what an earlier one has read must not replace what the session has become since.
        let Some(_turn) = self.turns.turn(id, is_there, || true).await else {
            return Ok(());
        };
        let stored = self.read(id.clone()).await.map_err(|error| {
            tracing::error!(%error, "a session cannot be read");
            session_unread()
        })?;
        sessions.adopt_stored(id, stored).map_err(|_| {
            let message = "no more sessions can be held in memory (`limits.sessions`)";
            Reason::new(ReasonCode::Overloaded, message)
        })
    }

    async fn read(&self, id: SessionId) -> Result<Option<StoredSession>, StoreError> {
        let (done, answer) = oneshot::channel();
        self.ledger.writer().read(move |store| {
            // The receiver is gone if nobody waits any more.
            let _ = done.send(store.and_then(|store| store.session(&id)));
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// The reason to deny in a session that cannot be read.
pub fn session_unread() -> Reason {
    let message = "the session cannot be read from the store";
    Reason::new(ReasonCode::StoreUnavailable, message)
}

#[cfg(test)]
#[path = "session_loader_tests.rs"]
mod tests;
