//! One server among several that decide from one database.
//!
//! Each decides from its own memory. [`confirm`] is the loop that asks the database what is new, applies it in order and
//! so confirms the memory; [`state`] says whether the memory may be believed: no longer than `max_staleness` from the
//! moment at which the last confirmation was *begun*, on a clock that nobody sets. So whoever has written something
//! knows when it is in force everywhere: when each server has said that it has applied it, or `max_staleness` has passed,
//! whichever comes first ([`state::FleetState::settled`]).
//!
//! What a call uses up or leaves behind is linearised in the database ([`shared_facts`]), and a session is decided by one
//! server at a time ([`sessions`]).

pub mod confirm;
pub mod sessions;
pub mod shared_facts;
pub mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

use crate::service::clock::MonotonicClock;
use crate::service::generation::LoadedBundle;
use crate::service::ledger::{Ledger, WriteError};
use crate::service::live_facts::LiveFacts;
use crate::store::backend::StoreError;
use crate::store::postgres::membership::ReplicaName;
use confirm::Confirmer;
use sessions::SessionHolder;
use state::FleetState;

/// The most attempts to publish a bundle beside the writes of others.
const PUBLISH_ATTEMPTS: usize = 100;
/// The pause between two of them.
const PUBLISH_PAUSE: Duration = Duration::from_millis(20);
/// Time limit of joining again.
const JOIN: Duration = Duration::from_secs(5);
/// Time limit of leaving at the end.
const LEAVE: Duration = Duration::from_secs(2);

/// What one server is to the others.
pub struct Fleet {
    state: Arc<FleetState>,
    holder: Arc<SessionHolder>,
    is_stopped: Arc<AtomicBool>,
    name: ReplicaName,
}

impl Fleet {
    /// Starts to confirm what this server decides from, once a bundle is in service.
    pub(in crate::service) fn new(
        state: Arc<FleetState>,
        ledger: &Arc<Ledger>,
        facts: &Arc<LiveFacts>,
        name: ReplicaName,
        (history, clock): (Option<SmolStr>, MonotonicClock),
    ) -> Self {
        let (ledger, facts) = (Arc::clone(ledger), Arc::clone(facts));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let holder =
            SessionHolder::new(Arc::clone(&state), Arc::clone(&ledger), Arc::clone(&facts));
        let holder = Arc::new(holder);
        let confirmer = Confirmer::new(
            Arc::clone(&state),
            ledger,
            facts,
            Arc::clone(&holder),
            name.clone(),
            Arc::clone(&is_stopped),
            (history, clock),
        );
        if let Some(runtime) = state.membership().runtime() {
            runtime.spawn(confirmer.run());
        }
        Self {
            state,
            holder,
            is_stopped,
            name,
        }
    }

    /// How far this server may be believed, and how far the others are.
    pub fn state(&self) -> &Arc<FleetState> {
        &self.state
    }

    /// Which sessions this server decides.
    pub fn holder(&self) -> &Arc<SessionHolder> {
        &self.holder
    }

    /// Gives up sessions that have been silent for the longest, if memory is nearly full.
    pub(in crate::service) fn give_up_silent(&self) {
        self.holder.give_up_silent();
    }

    /// Puts a bundle into service beside the writes of others. Waits; never call it on a request.
    ///
    /// # Errors
    ///
    /// As [`Ledger::publish`].
    pub(in crate::service) fn publish(
        &self,
        ledger: &Arc<Ledger>,
        facts: &Arc<LiveFacts>,
        load: LoadedBundle,
        now: impl Fn() -> SystemTime,
    ) -> Result<u64, WriteError<()>> {
        let mut last = StoreError::Busy;
        for _ in 0..PUBLISH_ATTEMPTS {
            match ledger.publish(load.clone(), now()) {
                Err(WriteError::Store(error)) if error.is_conflict() => last = error,
                other => return other,
            }
            if ledger.live().is_some() {
                self.state.wake();
                std::thread::sleep(PUBLISH_PAUSE);
                continue;
            }
            if last == StoreError::Fenced {
                // To load and to compile took longer than others wait for a sign of life.
                self.join_again()?;
            }
            // Nothing is confirmed before the first bundle: what others have written since is loaded.
            let (done, loaded) = std::sync::mpsc::sync_channel(1);
            ledger.writer().access(move |store| {
                // The receiver is this thread.
                let _ = done.send(store.and_then(|store| store.load()));
            })?;
            let mut loaded = loaded.recv().map_err(|_| StoreError::Closed)??;
            facts.reload(&mut loaded)?;
            self.state.set_facts(loaded.facts);
            ledger.restore(loaded);
        }
        Err(last.into())
    }

    /// Joins under a new name before anything is in service.
    fn join_again(&self) -> Result<(), StoreError> {
        let membership = self.state.membership().renewed();
        let (done, joined) = std::sync::mpsc::sync_channel(1);
        let (joining, name) = (membership.clone(), self.name.clone());
        let runtime = membership.runtime().ok_or(StoreError::Closed)?;
        runtime.spawn(async move {
            // The receiver waits as long as this may take.
            let _ = done.send(joining.join(&name, JOIN).await);
        });
        joined.recv().map_err(|_| StoreError::Closed)??;
        membership.write_as();
        self.state.set_membership(membership);
        Ok(())
    }

    /// Decides nothing any more. Sessions are given back by the caller.
    pub(in crate::service) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.state.invalidate();
        self.state.wake();
    }

    /// Leaves the others, once everything is written.
    pub(in crate::service) fn leave(&self) {
        let membership = self.state.membership();
        let (done, left) = std::sync::mpsc::sync_channel(1);
        let leaving = Arc::clone(&membership);
        if let Some(runtime) = membership.runtime() {
            runtime.spawn(async move {
                // The receiver is gone if it has given up: then the others find out by themselves.
                let _ = done.send(leaving.leave(LEAVE).await);
            });
            let _ = left.recv_timeout(LEAVE);
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}
