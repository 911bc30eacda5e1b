//! Spans on their way to the collector: each is exported, or counted as lost.
//!
//! Start at [`Counted`], which stands before the SDK's queue, and [`Flow::exported`], called behind it. The SDK drops what
//! its queue does not take without a word, so no more are handed to it than it takes.
//!
//! Invariant: a span that was handed over is counted as exported, failed or given up, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use crate::telemetry::export::exporters::EnvLookup;
use crate::telemetry::export::losses::{LossReason, Losses, LostSignal, RecordKind};
use crate::telemetry::record::metrics::LiveGauges;

/// The variable that says how many spans may wait.
const QUEUE_VARIABLE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const DEFAULT_QUEUE: usize = 2_048;
/// The queue's memory is taken when it is made.
const LONGEST_QUEUE: usize = 262_144;
/// One part in so many of the queue is left to spans of writes: a flood of decisions does not take it.
const FOR_WRITES: u64 = 8;

/// How many spans there were, and where they are.
#[derive(Debug, Default)]
pub struct SpanCounts {
    pub(crate) recorded: AtomicU64,
    pub(crate) exported: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// In the queue.
    waiting: AtomicU64,
    /// In the queue or being exported, by kind.
    open: [AtomicU64; 2],
}

/// Spans of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanBatch {
    decisions: u64,
    writes: u64,
}

/// The kind of a span, by the name that the recorder gave it.
fn is_write(span: &SpanData) -> bool {
    span.name.starts_with("control ")
}

impl SpanBatch {
    /// Counts them.
    pub fn of(spans: &[SpanData]) -> Self {
        let writes = spans.iter().filter(|span| is_write(span)).count() as u64;
        Self {
            decisions: (spans.len() as u64).saturating_sub(writes),
            writes,
        }
    }

    fn sum(self) -> u64 {
        self.decisions + self.writes
    }

    fn lose(self, losses: &Losses, reason: LossReason) {
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
    /// Lets a span into the queue, if there is room.
    fn admit(&self, is_write: bool, room: u64) -> bool {
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

    /// The exporter has taken them out of the queue.
    pub fn taken(&self, batch: SpanBatch) {
        take(&self.waiting, batch.sum());
    }

    /// The collector has taken them, but for so many that it dropped.
    pub fn exported(&self, batch: SpanBatch, rejected: u64, losses: &Losses) {
        let done = self.settle(batch);
        let rejected = rejected.min(done.sum());
        self.exported
            .fetch_add(done.sum() - rejected, Ordering::Relaxed);
        // It does not say which.
        let kind = match (done.decisions, done.writes) {
            (_, 0) => RecordKind::Decision,
            (0, _) => RecordKind::Control,
            _ => RecordKind::Other,
        };
        losses.add(LostSignal::Span, kind, LossReason::Rejected, rejected);
        self.failed.fetch_add(rejected, Ordering::Relaxed);
    }

    /// The collector has not taken them.
    pub fn failed(&self, batch: SpanBatch, losses: &Losses) {
        let lost = self.settle(batch);
        self.failed.fetch_add(lost.sum(), Ordering::Relaxed);
        lost.lose(losses, LossReason::ExportFailed);
    }

    /// Nobody waits any longer for those that are still open.
    pub fn give_up(&self, losses: &Losses) {
        let [decisions, writes] = [0, 1].map(|at: usize| self.open[at].swap(0, Ordering::AcqRel));
        let lost = SpanBatch { decisions, writes };
        self.dropped.fetch_add(lost.sum(), Ordering::Relaxed);
        lost.lose(losses, LossReason::Shutdown);
    }

    /// What of a batch has no end on record yet.
    fn settle(&self, batch: SpanBatch) -> SpanBatch {
        SpanBatch {
            decisions: take(&self.open[0], batch.decisions),
            writes: take(&self.open[1], batch.writes),
        }
    }
}

/// Takes so many away, or all there are; says how many that were.
fn take(from: &AtomicU64, count: u64) -> u64 {
    let less = |now: u64| Some(now.saturating_sub(count));
    let before = from.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    before.unwrap_or_else(|now| now).min(count)
}

/// The SDK's queue, and what it would not take.
#[derive(Debug)]
pub struct CountedSpanProcessor {
    queue: BatchSpanProcessor,
    live: Arc<LiveGauges>,
    room: u64,
    is_closed: AtomicBool,
}

impl CountedSpanProcessor {
    /// A queue as long as `OTEL_BSP_MAX_QUEUE_SIZE` says.
    pub fn new(
        exporter: impl SpanExporter + 'static,
        live: &Arc<LiveGauges>,
        var: EnvLookup<'_>,
    ) -> Self {
        Self::with_room(exporter, live, room(var))
    }

    fn with_room(
        exporter: impl SpanExporter + 'static,
        live: &Arc<LiveGauges>,
        room: usize,
    ) -> Self {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(room)
            .build();
        Self {
            queue: BatchSpanProcessor::new(exporter, config),
            live: Arc::clone(live),
            room: room as u64,
            is_closed: AtomicBool::new(false),
        }
    }
}

/// What is no number counts as absent, as the SDK has it.
fn room(var: EnvLookup<'_>) -> usize {
    let asked = var(QUEUE_VARIABLE).and_then(|text| text.trim().parse().ok());
    let asked = asked.unwrap_or(DEFAULT_QUEUE);
    let room = asked.clamp(1, LONGEST_QUEUE);
    if room != asked {
        tracing::warn!(
            "{QUEUE_VARIABLE} is {asked}, but must be 1 to {LONGEST_QUEUE}: {room} is used"
        );
    }
    room
}

impl SpanProcessor for CountedSpanProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let is_write = is_write(&span);
        let reason = if self.is_closed.load(Ordering::Acquire) {
            LossReason::Shutdown
        } else if self.live.spans.admit(is_write, self.room) {
            return self.queue.on_end(span);
        } else {
            LossReason::QueueFull
        };
        self.live.spans.dropped.fetch_add(1, Ordering::Relaxed);
        SpanBatch::of(&[span]).lose(&self.live.losses, reason);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.is_closed.store(true, Ordering::Release);
        let result = self.queue.shutdown_with_timeout(timeout);
        self.live.spans.give_up(&self.live.losses);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

#[cfg(test)]
#[path = "span_processor_tests.rs"]
mod tests;
