//! Counts of spans by state, from the end of a span to its export or loss.
//!
//! Invariant: a span that was admitted is counted once, as exported, failed or dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::export::losses::{LossReason, Losses, LostSignal, RecordKind};

/// One part in this many of the queue is reserved for spans of writes, so that decisions cannot fill it.
pub(super) const FOR_WRITES: u64 = 8;

/// Counts of spans by state.
#[derive(Debug, Default)]
pub struct SpanCounts {
    pub(crate) recorded: AtomicU64,
    pub(crate) exported: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Waiting in the queue.
    waiting: AtomicU64,
    /// Waiting or being exported, by kind: decisions and writes.
    open: [AtomicU64; 2],
}

/// The number of spans of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanBatch {
    pub(super) decisions: u64,
    pub(super) writes: u64,
}

impl SpanBatch {
    /// One span.
    pub(super) fn of_one(is_write: bool) -> Self {
        Self {
            decisions: u64::from(!is_write),
            writes: u64::from(is_write),
        }
    }

    pub(super) fn sum(self) -> u64 {
        self.decisions + self.writes
    }

    pub(super) fn count_lost(self, losses: &Losses, reason: LossReason) {
        losses.add(
            LostSignal::Span,
            RecordKind::Decision,
            reason,
            self.decisions,
        );
        losses.add(LostSignal::Span, RecordKind::Control, reason, self.writes);
    }
}

impl SpanCounts {
    /// Counts a span as waiting if the queue has room. Whether it had.
    pub(super) fn admit(&self, is_write: bool, room: u64) -> bool {
        let room = if is_write {
            room
        } else {
            room - room / FOR_WRITES
        };
        let one_more = |waiting: u64| (waiting < room).then_some(waiting + 1);
        let admitted = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if admitted.is_ok() {
            self.open[usize::from(is_write)].fetch_add(1, Ordering::AcqRel);
        }
        admitted.is_ok()
    }

    /// Counts a batch as taken out of the queue.
    pub fn taken(&self, batch: SpanBatch) {
        subtract_up_to(&self.waiting, batch.sum());
    }

    /// Counts a batch as exported, and `rejected` of it as failed.
    pub fn exported(&self, batch: SpanBatch, rejected: u64, losses: &Losses) {
        let done = self.settle(batch);
        let rejected = rejected.min(done.sum());
        self.exported
            .fetch_add(done.sum() - rejected, Ordering::Relaxed);
        // The collector does not tell which ones.
        let kind = match (done.decisions, done.writes) {
            (_, 0) => RecordKind::Decision,
            (0, _) => RecordKind::Control,
            _ => RecordKind::Other,
        };
        losses.add(LostSignal::Span, kind, LossReason::Rejected, rejected);
        self.failed.fetch_add(rejected, Ordering::Relaxed);
    }

    /// Counts a batch as failed.
    pub fn failed(&self, batch: SpanBatch, losses: &Losses) {
        let lost = self.settle(batch);
        self.failed.fetch_add(lost.sum(), Ordering::Relaxed);
        lost.count_lost(losses, LossReason::ExportFailed);
    }

    /// Counts all open spans as dropped, at shutdown.
    pub fn discard_open(&self, losses: &Losses) {
        let [decisions, writes] = [0, 1].map(|at: usize| self.open[at].swap(0, Ordering::AcqRel));
        let lost = SpanBatch { decisions, writes };
        self.dropped.fetch_add(lost.sum(), Ordering::Relaxed);
        lost.count_lost(losses, LossReason::Shutdown);
    }

    /// The part of a batch that is still open, now counted as closed.
    fn settle(&self, batch: SpanBatch) -> SpanBatch {
        SpanBatch {
            decisions: subtract_up_to(&self.open[0], batch.decisions),
            writes: subtract_up_to(&self.open[1], batch.writes),
        }
    }
}

/// Subtracts up to `count`, and returns how much it subtracted.
fn subtract_up_to(from: &AtomicU64, count: u64) -> u64 {
    let less = |now: u64| Some(now.saturating_sub(count));
    let before = from.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    before.unwrap_or_else(|now| now).min(count)
}
