//! Which server decides a session.
//!
//! One does at a time. It has the session in memory and writes nothing for an ordinary call. When a call arrives
//! elsewhere, that server asks for the session in the database; the one that has it hears of it with its next
//! confirmation, writes down what the session has become and lets it go. Who does not let go is taken for dead once it
//! can decide nothing any more, and its sessions are anybody's.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::ids::SessionId;
use crate::service::fleet::state::{FleetState, with_slack};
use crate::service::ledger::Ledger;
use crate::service::live_facts::LiveFacts;
use crate::service::one_at_a_time::OneAtATime;
use crate::store::backend::StoreError;

/// The pause between two questions for a session.
const PAUSE: Duration = Duration::from_millis(4);
/// Time limit of one question.
const QUESTION: Duration = Duration::from_secs(2);
/// How much longer than two terms a session is waited for.
const MORE: Duration = Duration::from_secs(2);

/// Takes sessions and lets them go.
pub struct SessionHolder {
    state: Arc<FleetState>,
    ledger: Arc<Ledger>,
    facts: Arc<LiveFacts>,
    /// Sessions that are asked for: one question at a time for each.
    asked: OneAtATime,
    /// Sessions that are being written down to be given up: nothing of them is asked for before that has ended, or what
    /// this server itself has written last would be missing.
    released: Mutex<HashSet<SessionId>>,
    /// How often everything was forgotten. What was asked for before that does not count.
    forgotten: AtomicU64,
}

impl SessionHolder {
    /// A holder of nothing.
    pub fn new(state: Arc<FleetState>, ledger: Arc<Ledger>, facts: Arc<LiveFacts>) -> Self {
        Self {
            state,
            ledger,
            facts,
            asked: OneAtATime::default(),
            released: Mutex::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Has the session, or asks for it until it has.
    ///
    /// # Errors
    ///
    /// The reason to deny, if it is not to be had.
    pub async fn hold(&self, session: &SessionId, now: SystemTime) -> Result<(), Reason> {
        let is_held = || self.facts.sessions.is_held(session);
        let is_free = || !lock(&self.released).contains(session);
        let Some(turn) = self.asked.turn(session, is_held, is_free).await else {
            return Ok(());
        };
        let term = self
            .state
            .view()
            .longest_staleness
            .max(self.state.max_staleness());
        let limit = 2 * with_slack(term) + MORE;
        match tokio::time::timeout(limit, self.ask(turn.key(), now)).await {
            Ok(held) => held,
            Err(_) => Err(Reason::new(
                ReasonCode::Stale,
                "the session was not given up by another replica in time",
            )),
        }
    }

    async fn ask(&self, session: &SessionId, now: SystemTime) -> Result<(), Reason> {
        loop {
            if let Some(reason) = self.state.stale() {
                return Err(reason);
            }
            let before = self.forgotten.load(Ordering::Acquire);
            let membership = self.state.membership();
            match membership.acquire(session, now, QUESTION).await {
                Ok(Some((stored, turn))) => {
                    let adopted = self.facts.sessions.adopt(stored, turn);
                    if self.forgotten.load(Ordering::Acquire) != before {
                        // Others may have taken it meanwhile.
                        let _ = self.facts.sessions.release(session);
                        continue;
                    }
                    return adopted.map_err(|_| {
                        let message = "no more sessions can be remembered";
                        Reason::new(ReasonCode::Overloaded, message)
                    });
                }
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(reason_of(&error)),
            }
        }
    }

    /// Lets a session go that another server waits for.
    pub fn give_up(self: &Arc<Self>, session: &SessionId) {
        if lock(&self.released).contains(session) {
            return;
        }
        lock(&self.released).insert(session.clone());
        if let Some(release) = self.facts.sessions.release(session) {
            let (holder, id) = (Arc::clone(self), session.clone());
            let submitted = self.ledger.writer().submit(vec![release], move |result| {
                if let Err(error) = result {
                    tracing::error!(%error, "a session is not written down to be given up");
                }
                holder.end_release(&id);
            });
            if let Err(error) = submitted {
                tracing::error!(%error, "a session is not given to the replica that waits for it");
                self.end_release(session);
            }
            return;
        }
        self.end_release(session);
        // It is this server's by the database alone, as an answer was lost or the session was forgotten here: it is
        // taken, and given up with the next confirmation.
        let membership = self.state.membership();
        let (holder, session) = (Arc::clone(self), session.clone());
        if let Some(runtime) = membership.runtime() {
            runtime.spawn(async move {
                // Whoever waits asks again.
                let _ = holder.hold(&session, SystemTime::UNIX_EPOCH).await;
            });
        }
    }

    /// Lets sessions go that have been silent for the longest, if memory is nearly full.
    pub fn give_up_silent(self: &Arc<Self>) {
        for session in self.facts.sessions.to_give_up() {
            self.give_up(&session);
        }
    }

    /// Forgets that it holds any session: others may have taken them.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.facts.sessions.disown_all();
    }

    fn end_release(&self, session: &SessionId) {
        lock(&self.released).remove(session);
        self.asked.wake();
    }
}

/// Each change is made in one step, so it is whole also after a panic.
fn lock(held: &Mutex<HashSet<SessionId>>) -> MutexGuard<'_, HashSet<SessionId>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reason_of(error: &StoreError) -> Reason {
    tracing::error!(%error, "a session cannot be had");
    match error {
        StoreError::Fenced => {
            let message = "the other replicas have taken this one for dead";
            Reason::new(ReasonCode::Stale, message)
        }
        _ => {
            let message = "the session cannot be read from the database";
            Reason::new(ReasonCode::StoreUnavailable, message)
        }
    }
}
