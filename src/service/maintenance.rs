//! Background work of the service: it writes what may be lost for a second, and prunes what ended long ago.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::service::Service;
use crate::store::backend::{Pruned, Retention, StoreError, StoreWrite};
use crate::telemetry::export::condition_gauges::StoreCondition;

/// The interval of background writes.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// The interval of pruning.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// The interval of the warning that something is only observed.
const REMIND_EVERY: Duration = Duration::from_secs(60);
/// How much longer the store keeps records than memory does: whatever is in memory must be in the store.
const MARGIN: Duration = Duration::from_secs(60);

/// The retention of usage: a day, and the hour whose bucket began before it.
const USAGE_RETENTION: Duration = Duration::from_secs(26 * 3_600);

/// How long ended records are kept.
#[derive(Debug, Clone, Copy)]
pub struct RetentionPeriods {
    /// Delegations, tasks and approvals after their end, silent sessions, idempotency keys and usage.
    pub ended: Duration,
    /// Changes, for watchers that reconnect.
    pub changes: Duration,
}

impl Service {
    /// Flushes and prunes until it is dropped.
    pub async fn run_maintenance(self: &Arc<Self>, keep: RetentionPeriods) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        // The first warning is that of the start.
        let mut remind = tokio::time::interval_at(Instant::now() + REMIND_EVERY, REMIND_EVERY);
        loop {
            tokio::select! {
                _ = remind.tick() => self.warn_of_observing(),
                _ = flush.tick() => self.run_blocking(|it| it.flush()).await,
                _ = prune.tick() => self.run_blocking(move |it| it.prune(keep)).await,
            }
        }
    }

    /// Runs work that scans everything on a blocking thread.
    async fn run_blocking(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        let service = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&service)).await {
            tracing::error!(%error, "what is over was not looked through to its end");
        }
    }

    /// The latest confirmed moment, see [`crate::service::clock::MonotonicClock`]: what is older may expire, whatever
    /// the clock says.
    pub fn confirmed_now(&self) -> SystemTime {
        self.clock().confirmed_now()
    }

    /// Submits the background writes: sessions without their labels, usage, and the time.
    pub fn flush(&self) {
        self.ledger().retry();
        if let Some(fleet) = self.fleet() {
            fleet.give_up_silent();
        }
        let (mut writes, versions) = self.facts().sessions.dirty();
        writes.extend(self.facts().usage.to_tell());
        writes.extend(self.facts().usage.dirty());
        self.facts().forget_closed();
        self.count_waiting_approvals();
        writes.push(StoreWrite::Clock(self.confirmed_now()));
        writes.push(StoreWrite::Lease(self.clock().lease()));
        // In the background queue, so that responses that wait for their writes do not wait for these.
        let (facts, versions) = (Arc::clone(self.facts()), Arc::new(versions));
        let (written, told) = (Arc::clone(&versions), Arc::clone(&self.background_error));
        let submitted = self.ledger().writer().submit_behind(writes, move |result| {
            facts.sessions.end_writing(&written, result.is_ok());
            match result {
                Ok(()) => told.reset(),
                Err(error) if told.is_due() => {
                    tracing::error!(%error, "counts and sessions were not written");
                }
                Err(_) => {}
            }
        });
        self.tell_condition(submitted.is_ok());
        if let Err(error) = submitted {
            self.facts().sessions.end_writing(&versions, false);
            if self.background_error.is_due() {
                tracing::error!(%error, "counts and sessions are not written");
            }
        }
    }

    /// Tells the gauges how store and clock are. A store that does not answer takes no more writes after a while.
    fn tell_condition(&self, takes_writes: bool) {
        let unwritten = self.ledger().unwritten();
        let writes = self.ledger().writer().health().borrow().is_none();
        let is_confirmed = self.fleet().is_none_or(|it| it.state().is_valid());
        let clock_fault = self.clock().check();
        let is_clock_faulty = clock_fault.is_some();
        let before = &self.was_clock_faulty;
        if before.swap(is_clock_faulty, Ordering::Relaxed) != is_clock_faulty
            && let Some(audit) = self.recorder().audit()
        {
            audit.clock(clock_fault);
        }
        self.recorder().store(StoreCondition {
            is_failing: !(takes_writes && writes && is_confirmed && unwritten == 0),
            unwritten,
            is_clock_faulty,
        });
    }

    fn count_waiting_approvals(&self) {
        if let Some(generation) = self.live() {
            let approvals = &generation.authority.approvals;
            let waiting = approvals.undecided(self.confirmed_now());
            self.recorder().approvals_waiting(waiting);
        }
    }

    /// Prunes what ended long ago, in memory and in the store.
    pub fn prune(&self, keep: RetentionPeriods) {
        if self.clock().differs() {
            tracing::warn!("nothing is pruned while the clock differs from the database's");
            return;
        }
        // Updates the confirmed moment.
        self.now();
        let before = |age: Duration| {
            let at = self.confirmed_now().checked_sub(age);
            at.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        // Sessions and usage are needed for longer than the configured retention may be.
        let silent = keep.ended.max(self.settings().session_idle);
        let counted = keep.ended.max(USAGE_RETENTION);
        let released = self.facts().sessions.forget(before(silent));
        if let Err(error) = self.ledger().writer().submit_behind(released, |_| {}) {
            tracing::error!(%error, "sessions are not given back");
        }
        self.facts().carrier_labels.sweep(self.confirmed_now());
        self.facts().resource_labels.sweep(self.confirmed_now());
        self.facts().usage.forget(before(counted));
        self.ledger().forget(before(keep.ended));
        let retention = Retention {
            ended: before(silent + MARGIN),
            recent: before(counted + MARGIN),
            places: before(self.settings().resource_label_ttl + MARGIN),
            changes: before(keep.changes),
        };
        let facts = Arc::clone(self.facts());
        let done = move |result: Result<Pruned, StoreError>| match result {
            Ok(gone) => facts.forget(&gone),
            Err(error) => tracing::error!(%error, "the store was not pruned"),
        };
        if let Err(error) = self.ledger().writer().prune(retention, done) {
            tracing::error!(%error, "the store is not pruned");
        }
    }

    /// Writes everything that is left and closes the store. Nothing is written after that.
    pub fn close(&self) {
        if let Some(fleet) = self.fleet() {
            fleet.stop();
        }
        self.flush();
        let unwritten = self.ledger().unwritten();
        if unwritten > 0 {
            tracing::error!(
                unwritten,
                "what was taken away may not be written before the end"
            );
        }
        let mut released = match &self.facts().shared {
            Some(shared) => shared.budgets.release(),
            None => self.facts().quotas.release(),
        };
        released.extend(self.facts().sessions.release_all());
        released.push(StoreWrite::Lease(self.confirmed_now()));
        if let Err(error) = self.ledger().writer().submit(released, |_| {}) {
            tracing::error!(%error, "unused budgets are not given back");
        }
        self.ledger().writer().close();
        if let Some(fleet) = self.fleet() {
            fleet.leave();
        }
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
