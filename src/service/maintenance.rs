//! What the service does beside answering: it writes behind what may be lost for a second, and forgets
//! what has ended long ago.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::service::decisions::Service;
use crate::store::store::{Pruned, Retention, StoreError, StoreWrite};

/// How often what is written behind is written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for what can be forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// By how much longer the store keeps sessions than memory does: what is kept here must be kept there.
const MARGIN: Duration = Duration::from_secs(60);

/// Counts of a day need what happened in it, and in the hour that began before it.
const USAGE_RETENTION: Duration = Duration::from_secs(26 * 3_600);

/// How long what is over is kept.
#[derive(Debug, Clone, Copy)]
pub struct RetentionPeriods {
    /// Delegations, tasks and approvals after their end, silent sessions, idempotency keys and counts.
    pub ended: Duration,
    /// Changes, to be told to watchers.
    pub changes: Duration,
}

impl Service {
    /// Flushes and prunes until it is dropped.
    pub async fn keep(self: &Arc<Self>, keep: RetentionPeriods) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            tokio::select! {
                _ = flush.tick() => self.apart(|it| it.flush()).await,
                _ = prune.tick() => self.apart(move |it| it.prune(keep)).await,
            }
        }
    }

    /// Does what looks through everything on a thread that decides nothing.
    async fn apart(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        let service = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&service)).await {
            tracing::error!(%error, "what is over was not looked through to its end");
        }
    }

    /// The latest moment that is sure: how far what happened is forgotten, whatever the clock says.
    pub fn sure(&self) -> SystemTime {
        self.clock().sure()
    }

    /// Hands what has changed since the last time to the writer: sessions but for their labels, counts,
    /// and how far time has come.
    pub fn flush(&self) {
        self.ledger().retry();
        let mut writes = self.facts().sessions.dirty();
        writes.extend(self.facts().usage.dirty());
        self.clock().fault();
        writes.push(StoreWrite::Clock(self.sure()));
        writes.push(StoreWrite::Lease(self.clock().lease()));
        // In small pieces, so that answers that wait for their writes do not wait for these.
        let submitted = self.ledger().writer().submit_behind(writes, |result| {
            if let Err(error) = result {
                tracing::error!(%error, "counts and sessions were not written");
            }
        });
        if let Err(error) = submitted {
            tracing::error!(%error, "counts and sessions are not written");
        }
    }

    /// Forgets what has been over for long, here and in the store.
    pub fn prune(&self, keep: RetentionPeriods) {
        // What is sure now, and not when it was asked last.
        self.now();
        let before = |age: Duration| {
            let at = self.sure().checked_sub(age);
            at.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        // Sessions and counts are of use for longer than what is kept only to be listed may be kept.
        let silent = keep.ended.max(self.settings().session_idle);
        let counted = keep.ended.max(USAGE_RETENTION);
        self.facts().sessions.forget(before(silent));
        self.facts().memory.sweep(self.sure());
        self.facts().places.sweep(self.sure());
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
        self.flush();
        let unwritten = self.ledger().unwritten();
        if unwritten > 0 {
            tracing::error!(
                unwritten,
                "what was taken away may not be written before the end"
            );
        }
        let mut released = self.facts().meters.release();
        released.push(StoreWrite::Lease(self.sure()));
        if let Err(error) = self.ledger().writer().submit(released, |_| {}) {
            tracing::error!(%error, "unused budgets are not given back");
        }
        self.ledger().writer().close();
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
