//! The queue of encoded spans: every span is exported, or counted as lost.
//!
//! Start at [`SpanQueue::start`]. Whoever decided copies an encoded span into the batch that is being filled; a thread takes
//! whole batches, hands them to an exporter and gives their memory back to be filled again. `OTEL_BSP_*` says how long the
//! queue is, how large a batch is, and for how long a span waits for others. Both are bounded in bytes, too.
//!
//! Invariant: a span that was handed over is counted once, as exported, failed or dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::LossReason;
use crate::telemetry::export::otlp_encoder::push_record;
use crate::telemetry::export::span_counts::{FOR_WRITES, SpanBatch};

/// The variable with the length of the queue.
const QUEUE_VARIABLE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const DEFAULT_QUEUE: usize = 2_048;
/// Upper bound of the queue.
const LONGEST_QUEUE: usize = 262_144;
/// The variable with the most spans of one export.
const BATCH_VARIABLE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
const DEFAULT_BATCH: usize = 512;
/// The least delay in milliseconds: without any, the thread would never rest.
pub(super) const LEAST_DELAY: u64 = 10;
/// The variable with the milliseconds for which a span waits for others.
const DELAY_VARIABLE: &str = "OTEL_BSP_SCHEDULE_DELAY";
const DEFAULT_DELAY: u64 = 5_000;

/// The most bytes of spans in one export, unless one alone is larger: half of what collectors take over gRPC without being told
/// otherwise.
pub(super) const MAX_BATCH_BYTES: usize = 2 << 20;
/// Bytes in the queue for each place in it. Most spans have under 2 KiB.
const BYTES_A_PLACE: usize = 4 << 10;

/// Takes encoded spans.
pub trait SpanSink: Send + Sync + std::fmt::Debug {
    /// Takes a span, encoded as `opentelemetry.proto.trace.v1.Span`. Never waits for an export.
    fn push(&self, span: &[u8], is_write: bool);

    /// Whether nothing more is taken.
    fn is_closed(&self) -> bool;
}

/// Exports batches of encoded spans.
pub trait SpanBatchExporter: Send + Sync + 'static {
    /// Exports a batch. Ends in bounded time.
    fn export(&self, batch: &EncodedSpans) -> impl Future<Output = OTelSdkResult> + Send;
}

/// Spans of one scope, each as a field of `opentelemetry.proto.trace.v1.ScopeSpans`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EncodedSpans {
    bytes: Vec<u8>,
    counts: SpanBatch,
}

/// The queue and its thread. Dropping it closes it without waiting.
#[derive(Debug)]
pub struct SpanQueue {
    shared: Arc<SpanQueueState>,
}

#[derive(Debug)]
struct SpanQueueState {
    live: Arc<LiveGauges>,
    room: u64,
    /// The room in bytes.
    room_bytes: usize,
    batch: u64,
    delay: Duration,
    queue: Mutex<QueuedSpans>,
    /// Something is to be exported.
    came: Condvar,
    /// An export has ended, or the thread.
    went: Condvar,
    /// As in the queue, to be read without its lock.
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct QueuedSpans {
    filling: EncodedSpans,
    full: VecDeque<EncodedSpans>,
    /// Bytes of all that waits.
    bytes: usize,
    /// An empty batch whose memory is used again.
    spare: EncodedSpans,
    /// Batches that are to be exported without waiting for more spans, and those exported.
    flushes: [u64; 2],
    /// Why the last export failed, if it did.
    last_failure: Option<String>,
    is_closed: bool,
    has_ended: bool,
}

impl EncodedSpans {
    /// Adds a span.
    pub fn push(&mut self, span: &[u8], is_write: bool) {
        push_record(&mut self.bytes, span);
        self.counts.writes += u64::from(is_write);
        self.counts.decisions += u64::from(!is_write);
    }

    /// The encoded fields, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of spans by kind.
    pub fn counts(&self) -> SpanBatch {
        self.counts
    }

    fn is_empty(&self) -> bool {
        self.counts.sum() == 0
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.counts = SpanBatch::default();
    }
}

impl QueuedSpans {
    /// Adds a span. Whether a batch became full, which is one of so many spans, or of as many bytes as fit into it.
    fn push(&mut self, span: &[u8], is_write: bool, batch: u64) -> bool {
        let before = self.full.len();
        let bytes = self.filling.bytes.len();
        if !self.filling.is_empty() && bytes + span.len() > MAX_BATCH_BYTES {
            self.fill_another();
        }
        let begun = self.filling.bytes.len();
        self.filling.push(span, is_write);
        self.bytes += self.filling.bytes.len() - begun;
        if self.filling.counts.sum() >= batch {
            self.fill_another();
        }
        self.full.len() > before
    }

    fn fill_another(&mut self) {
        let spare = std::mem::take(&mut self.spare);
        let full = std::mem::replace(&mut self.filling, spare);
        self.full.push_back(full);
    }

    /// Takes the oldest full batch.
    fn take_full(&mut self) -> Option<EncodedSpans> {
        let full = self.full.pop_front()?;
        self.bytes = self.bytes.saturating_sub(full.bytes.len());
        Some(full)
    }

    /// Takes the batch that is being filled.
    fn take_filling(&mut self) -> EncodedSpans {
        let spare = std::mem::take(&mut self.spare);
        let batch = std::mem::replace(&mut self.filling, spare);
        self.bytes = self.bytes.saturating_sub(batch.bytes.len());
        batch
    }

    fn last_result(&self) -> OTelSdkResult {
        match &self.last_failure {
            None => Ok(()),
            Some(text) => Err(OTelSdkError::InternalFailure(text.clone())),
        }
    }
}

impl SpanQueue {
    /// Starts the thread, with the limits of the variables.
    ///
    /// # Errors
    ///
    /// The error of the system if the thread or its runtime cannot start.
    pub fn start(
        exporter: impl SpanBatchExporter,
        live: &Arc<LiveGauges>,
        var: EnvLookup<'_>,
    ) -> io::Result<Self> {
        let number = |name: &str| var(name).and_then(|text| text.trim().parse::<u64>().ok());
        let room = queue_length(var);
        let batch = number(BATCH_VARIABLE).unwrap_or(DEFAULT_BATCH as u64);
        let delay = number(DELAY_VARIABLE).unwrap_or(DEFAULT_DELAY);
        let delay = Duration::from_millis(delay.max(LEAST_DELAY));
        Self::with_limits(
            exporter,
            live,
            room,
            most_in_batch(batch, room as u64),
            delay,
        )
    }

    fn with_limits(
        exporter: impl SpanBatchExporter,
        live: &Arc<LiveGauges>,
        room: usize,
        batch: u64,
        delay: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(SpanQueueState {
            live: Arc::clone(live),
            room: room as u64,
            room_bytes: room_in_bytes(room),
            batch,
            delay,
            queue: Mutex::default(),
            came: Condvar::new(),
            went: Condvar::new(),
            is_closed: AtomicBool::new(false),
        });
        // For the waits between attempts; connections belong to the runtime in which the exporter was made.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("callgate-spans".to_owned())
            .spawn(move || {
                let _end = EndOfExport(&of_thread);
                of_thread.export_all(|batch| runtime.block_on(exporter.export(batch)));
            })?;
        Ok(Self { shared })
    }

    /// Where spans are handed over.
    pub fn sink(&self) -> Arc<dyn SpanSink> {
        Arc::clone(&self.shared) as Arc<dyn SpanSink>
    }

    /// Exports all spans handed over so far, and waits for that.
    ///
    /// # Errors
    ///
    /// The error of the last export.
    pub fn force_flush(&self) -> OTelSdkResult {
        let shared = &*self.shared;
        let mut queue = shared.lock();
        queue.flushes[0] += 1;
        let wanted = queue.flushes[0];
        shared.came.notify_one();
        while queue.flushes[1] < wanted && !queue.has_ended {
            let waited = shared.went.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        queue.last_result()
    }

    /// Takes no more spans, and exports those that wait, for no longer than `within`. The rest is counted as lost.
    ///
    /// # Errors
    ///
    /// The error of the last export, or [`OTelSdkError::Timeout`].
    pub fn shutdown(&self, within: Duration) -> OTelSdkResult {
        let until = Instant::now() + within;
        let shared = &*self.shared;
        let mut queue = shared.close();
        while !queue.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = shared.went.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let result = match queue.has_ended {
            true => queue.last_result(),
            false => Err(OTelSdkError::Timeout(within)),
        };
        drop(queue);
        shared.live.spans.discard_open(&shared.live.losses);
        result
    }
}

impl Drop for SpanQueue {
    fn drop(&mut self) {
        drop(self.shared.close());
    }
}

impl SpanSink for SpanQueueState {
    fn push(&self, span: &[u8], is_write: bool) {
        let mut queue = self.lock();
        let reason = if queue.is_closed {
            LossReason::Shutdown
        } else if queue.bytes + span.len() <= self.bytes_for(is_write)
            && self.live.spans.admit(is_write, self.room)
        {
            if queue.push(span, is_write, self.batch) {
                drop(queue);
                self.came.notify_one();
            }
            return;
        } else {
            LossReason::QueueFull
        };
        drop(queue);
        self.live.spans.dropped.fetch_add(1, Ordering::Relaxed);
        SpanBatch::of_one(is_write).count_lost(&self.live.losses, reason);
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

impl SpanQueueState {
    fn bytes_for(&self, is_write: bool) -> usize {
        match is_write {
            true => self.room_bytes,
            false => self.room_bytes - self.room_bytes / FOR_WRITES as usize,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueuedSpans> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> MutexGuard<'_, QueuedSpans> {
        let mut queue = self.lock();
        queue.is_closed = true;
        self.is_closed.store(true, Ordering::Relaxed);
        self.came.notify_one();
        queue
    }

    /// The exporting thread: one batch after the other, until the queue is closed and empty.
    fn export_all(&self, export: impl Fn(&EncodedSpans) -> OTelSdkResult) {
        while let Some((mut batch, flush)) = self.next() {
            let result = (!batch.is_empty()).then(|| export(&batch));
            batch.clear();
            let mut queue = self.lock();
            queue.spare = batch;
            if let Some(result) = result {
                queue.last_failure = result.err().map(|error| error.to_string());
            }
            if let Some(flush) = flush {
                queue.flushes[1] = queue.flushes[1].max(flush);
                self.went.notify_all();
            }
        }
    }

    /// Waits for a batch: full ones at once, others after the delay, when flushed or when closed. With it comes the flush that
    /// is done once this batch is exported. `None` once everything is exported and nothing more will come.
    fn next(&self) -> Option<(EncodedSpans, Option<u64>)> {
        let until = Instant::now() + self.delay;
        let mut queue = self.lock();
        loop {
            if let Some(full) = queue.take_full() {
                let is_last = queue.full.is_empty() && queue.filling.is_empty();
                return Some((full, is_last.then_some(queue.flushes[0])));
            }
            let left = until.saturating_duration_since(Instant::now());
            let is_flushed = queue.flushes[0] > queue.flushes[1];
            let is_due = left.is_zero() && !queue.filling.is_empty();
            if is_flushed || is_due || (queue.is_closed && !queue.filling.is_empty()) {
                let batch = queue.take_filling();
                return Some((batch, Some(queue.flushes[0])));
            }
            if queue.is_closed {
                return None;
            }
            // With nothing to export there is nothing to be late with.
            let wait = if left.is_zero() { self.delay } else { left };
            let waited = self.came.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Says that the thread has ended, also if it panicked.
struct EndOfExport<'a>(&'a SpanQueueState);

impl Drop for EndOfExport<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.is_closed = true;
        queue.has_ended = true;
        self.0.went.notify_all();
    }
}

/// The most of one export. A queue that is not long enough for two batches would be full, for what is no write, before one
/// is: then a batch is half of it.
pub(crate) fn most_in_batch(asked: u64, room: u64) -> u64 {
    asked.clamp(1, (room / 2).max(1))
}

/// The bytes that may wait in a queue of this length, which are two batches at least.
pub(super) fn room_in_bytes(room: usize) -> usize {
    room.saturating_mul(BYTES_A_PLACE).max(2 * MAX_BATCH_BYTES)
}

/// The length of the queue. Like in the SDK, a value that is not a number counts as absent.
fn queue_length(var: EnvLookup<'_>) -> usize {
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

#[cfg(test)]
#[path = "span_queue_tests.rs"]
mod tests;
