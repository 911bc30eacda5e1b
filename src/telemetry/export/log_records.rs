//! Log lines on their way to a collector, as OTLP log records.
//!
//! Start at [`LogRecords::layer`], which sees every line that Callgate logs, and [`LogRecords::start`], whose task sends them.
//! Lines are on standard error all the same. Those before the start wait until it is known whether they are to be sent. Lines
//! of other libraries are not sent: a client that logs as it sends would never come to an end.
//!
//! Invariant: logging never waits. Every record is sent or counted in [`Losses`](crate::telemetry::export::losses::Losses), by
//! what it is about and for as many as it stands for. Of the queue one place in eight is kept for lines of writes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Key, KeyValue, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::telemetry::TelemetryConfig;
use crate::supervision::kept_up_task;
use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::export_monitor::ExportMonitor;
use crate::telemetry::export::exporter_error::ExporterError;
use crate::telemetry::export::exporters;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::log_encoder::{LogRecordParts, log_record};
use crate::telemetry::export::log_queue::{record_count, record_kind};
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};
use crate::telemetry::export::otlp_encoder::{ExportFrame, push_record};
use crate::telemetry::export::span_queue::{
    LEAST_DELAY, MAX_BATCH_BYTES, most_in_batch, room_in_bytes,
};

/// Lines whose target begins so are Callgate's own.
const OWN: &str = "callgate";
/// One part in this many of the queue is reserved for lines of writes.
const FOR_WRITES: usize = 8;
/// The longest text of a field, in bytes; the rest is cut off.
const MAX_TEXT: usize = 4_096;
/// The most records in a queue, whatever the variable says.
const LONGEST_QUEUE: usize = 262_144;

/// What becomes of lines.
const UNDECIDED: u8 = 0;
const SENT: u8 = 1;
const IGNORED: u8 = 2;

/// The queue of records. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct LogRecords(Arc<ExporterState>);

#[derive(Debug)]
struct ExporterState {
    mode: AtomicU8,
    room: usize,
    batch: usize,
    delay: Duration,
    queue: Mutex<QueuedRecords>,
    /// Signals a full batch, or the end.
    due: Notify,
    live: Arc<LiveGauges>,
}

#[derive(Debug, Default)]
struct QueuedRecords {
    records: VecDeque<QueuedRecord>,
    /// Bytes of these.
    bytes: usize,
    /// What the task is sending.
    in_hand: Vec<QueuedRecord>,
    is_closed: bool,
}

#[derive(Debug)]
struct QueuedRecord {
    /// The encoded record; empty while it is sent.
    bytes: Vec<u8>,
    kind: RecordKind,
    /// The number of records that the line stands for.
    stands_for: u64,
}

/// The task that sends records.
#[derive(Debug)]
pub(crate) struct LogSender {
    records: LogRecords,
    task: JoinHandle<()>,
}

impl LogRecords {
    /// A queue, with the limits of the `OTEL_BLRP_*` variables.
    pub fn new(live: &Arc<LiveGauges>, var: EnvLookup<'_>) -> Self {
        let number = |name: &str, default: u64| -> u64 {
            let asked = var(name).and_then(|text| text.trim().parse().ok());
            asked.filter(|it| *it > 0).unwrap_or(default)
        };
        let count = |name, default| usize::try_from(number(name, default)).unwrap_or(usize::MAX);
        let room = count("OTEL_BLRP_MAX_QUEUE_SIZE", 2_048).min(LONGEST_QUEUE);
        let batch = number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 512);
        Self(Arc::new(ExporterState {
            mode: AtomicU8::new(UNDECIDED),
            room,
            batch: most_in_batch(batch, room as u64) as usize,
            delay: Duration::from_millis(
                number("OTEL_BLRP_SCHEDULE_DELAY", 1_000).max(LEAST_DELAY),
            ),
            queue: Mutex::default(),
            due: Notify::new(),
            live: Arc::clone(live),
        }))
    }

    /// The layer that takes lines.
    pub fn layer(&self) -> LogRecordLayer {
        LogRecordLayer(self.clone())
    }

    /// Says that no lines are sent, and forgets those that waited.
    pub(crate) fn ignore(&self) {
        self.0.mode.store(IGNORED, Ordering::Relaxed);
        let mut queue = self.0.lock();
        queue.records.clear();
        queue.bytes = 0;
    }

    /// Starts to send, each batch in this frame. Has to be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an unreadable certificate or an invalid endpoint.
    pub(crate) fn start(
        &self,
        config: &TelemetryConfig,
        frame: ExportFrame,
        var: EnvLookup<'_>,
    ) -> Result<LogSender, ExporterError> {
        let (collector, monitor) = exporters::logs(config, &self.0.live, var)?;
        self.0.mode.store(SENT, Ordering::Relaxed);
        let sending = Sending {
            inner: Arc::clone(&self.0),
            collector,
            monitor,
            frame,
        };
        Ok(LogSender {
            records: self.clone(),
            task: tokio::spawn(async move {
                kept_up_task("export of log lines", || sending.run()).await;
            }),
        })
    }
}

impl LogSender {
    /// Sends what waits, for no longer than `within`. The rest is counted as lost, and later lines are not sent.
    pub(crate) async fn finish(mut self, within: Duration) {
        let inner = &self.records.0;
        inner.lock().is_closed = true;
        inner.due.notify_one();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
        inner.mode.store(IGNORED, Ordering::Relaxed);
        let mut queue = inner.lock();
        let in_hand = std::mem::take(&mut queue.in_hand);
        let waiting = queue.records.drain(..).chain(in_hand);
        let lost: Vec<QueuedRecord> = waiting.collect();
        drop(queue);
        inner.count_lost(&lost, LossReason::Shutdown);
    }
}

impl ExporterState {
    fn lock(&self) -> MutexGuard<'_, QueuedRecords> {
        // Each change is one step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: QueuedRecord) {
        let mut queue = self.lock();
        let room = |all: usize| match record.kind {
            RecordKind::Control => all,
            _ => all - all / FOR_WRITES,
        };
        let bytes = queue.bytes.saturating_add(record.bytes.len());
        let is_full =
            queue.records.len() >= room(self.room) || bytes > room(room_in_bytes(self.room));
        if queue.is_closed || is_full {
            let reason = match queue.is_closed {
                true => LossReason::Shutdown,
                false => LossReason::QueueFull,
            };
            drop(queue);
            return self.count_lost(&[record], reason);
        }
        queue.records.push_back(record);
        queue.bytes = bytes;
        let is_due = queue.records.len() >= self.batch || bytes >= MAX_BATCH_BYTES;
        drop(queue);
        if is_due {
            self.due.notify_one();
        }
    }

    /// Encodes the oldest records, as many as fit into one export, which are in hand from then on; `None` if none wait.
    fn take_batch(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        let mut bytes = 0;
        let fits = |record: &&QueuedRecord| {
            bytes += record.bytes.len();
            bytes <= MAX_BATCH_BYTES
        };
        let count = queue
            .records
            .iter()
            .take(self.batch)
            .take_while(fits)
            .count();
        // One alone is sent however large it is.
        let count = count.max(1).min(queue.records.len());
        // In hand before it is encoded, and under one lock: whatever ends the task, each line is sent or counted.
        let batch: Vec<QueuedRecord> = queue.records.drain(..count).collect();
        queue.in_hand = batch;
        let mut records = Vec::new();
        let mut taken = 0;
        for record in &mut queue.in_hand {
            let bytes = std::mem::take(&mut record.bytes);
            taken += bytes.len();
            push_record(&mut records, &bytes);
        }
        queue.bytes = queue.bytes.saturating_sub(taken);
        (!queue.in_hand.is_empty()).then_some(records)
    }

    fn count_lost(&self, lost: &[QueuedRecord], reason: LossReason) {
        for record in lost {
            let losses = &self.live.losses;
            losses.add(
                LostSignal::LogRecord,
                record.kind,
                reason,
                record.stands_for,
            );
        }
    }
}

/// What the task needs.
struct Sending {
    inner: Arc<ExporterState>,
    collector: CollectorClient,
    monitor: ExportMonitor,
    frame: ExportFrame,
}

impl Sending {
    async fn run(&self) {
        // What a panic has left.
        let left = std::mem::take(&mut self.inner.lock().in_hand);
        self.inner.count_lost(&left, LossReason::ExportFailed);
        loop {
            // Whichever comes first: a full batch or the end, or some time.
            let _ = tokio::time::timeout(self.inner.delay, self.inner.due.notified()).await;
            while let Some(message) = self.take() {
                let result = self.collector.send(message).await;
                self.settle(&result);
                self.monitor.note(&result.map(|_| ()));
            }
            if self.inner.lock().is_closed {
                return;
            }
        }
    }

    /// The next batch, encoded; `None` if nothing waits.
    fn take(&self) -> Option<Bytes> {
        let records = self.inner.take_batch()?;
        let mut message = Vec::new();
        self.frame.write(&records, &mut message);
        Some(Bytes::from(message))
    }

    fn settle(&self, result: &Result<u64, opentelemetry_sdk::error::OTelSdkError>) {
        let done = std::mem::take(&mut self.inner.lock().in_hand);
        match result {
            Err(_) => self.inner.count_lost(&done, LossReason::ExportFailed),
            Ok(0) => {}
            Ok(rejected) => {
                // The collector does not tell which ones, so the kind is known only if all are of one.
                let first = done.first().map(|record| record.kind);
                let is_one = done.iter().all(|record| Some(record.kind) == first);
                let kind = first.filter(|_| is_one).unwrap_or(RecordKind::Other);
                let count = (*rejected).min(done.len() as u64);
                let losses = &self.inner.live.losses;
                losses.add(LostSignal::LogRecord, kind, LossReason::Rejected, count);
            }
        }
    }
}

/// Takes the lines that Callgate logs.
#[derive(Debug)]
pub struct LogRecordLayer(LogRecords);

impl<S: Subscriber> Layer<S> for LogRecordLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let inner = &self.0.0;
        let metadata = event.metadata();
        let target = metadata.target();
        if inner.mode.load(Ordering::Relaxed) == IGNORED || !target.starts_with(OWN) {
            return;
        }
        let (severity, level) = severity(metadata.level());
        let mut fields = FieldVisitor(LogRecordParts {
            at: Some(SystemTime::now()),
            severity,
            level,
            ..LogRecordParts::default()
        });
        event.record(&mut fields);
        let FieldVisitor(mut record) = fields;
        let target = KeyValue::new("callgate.log.target", target.to_owned());
        record.attributes.push(target);
        let mut bytes = Vec::new();
        log_record(&mut bytes, &record);
        inner.push(QueuedRecord {
            bytes,
            kind: record_kind(metadata.target()),
            stands_for: record_count(),
        });
    }
}

/// The severity number of OpenTelemetry, and the level's name.
fn severity(level: &Level) -> (u8, &'static str) {
    match *level {
        Level::ERROR => (17, "ERROR"),
        Level::WARN => (13, "WARN"),
        Level::INFO => (9, "INFO"),
        Level::DEBUG => (5, "DEBUG"),
        Level::TRACE => (1, "TRACE"),
    }
}

/// Collects the fields of a line.
struct FieldVisitor(LogRecordParts);

impl FieldVisitor {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let key = Key::from_static_str(field.name());
        self.0.attributes.push(KeyValue::new(key, value));
    }

    fn text(&mut self, field: &Field, text: String) {
        let text = cut(text);
        match field.name() {
            "message" => self.0.body = text,
            // The record has places of its own for these.
            "trace_id" => match TraceId::from_hex(&text) {
                Ok(id) => self.0.trace_id = Some(id),
                Err(_) => self.put(field, text),
            },
            "span_id" => match SpanId::from_hex(&text) {
                Ok(id) => self.0.span_id = Some(id),
                Err(_) => self.put(field, text),
            },
            _ => self.put(field, text),
        }
    }
}

impl Visit for FieldVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.put(field, value),
            Err(_) => self.put(field, value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
#[path = "log_records_tests.rs"]
mod tests;
