//! The metrics, and the live numbers behind the gauges.
//!
//! Invariant: every label is one of a fixed set of words, so the number of series has a bound that no
//! caller can move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::audit::control_record::ControlRecord;
use crate::audit::decision_record::DecisionRecord;
use crate::telemetry::export::losses::Losses;
use crate::telemetry::export::span_processor::SpanCounts;
use crate::telemetry::record::{decision_mapping, write_mapping};

/// Bounds of the latency histogram in seconds: decisions take microseconds.
const LATENCY_BOUNDS: [f64; 14] = [
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0,
];

/// Bounds of the histogram of writes in seconds: they wait for the disk.
const WRITE_BOUNDS: [f64; 12] = [
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0,
];

/// How an attempt to load a bundle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// It went live.
    Applied,
    /// It was the same as the live one.
    Unchanged,
    /// It had faults; the live one stays.
    Faulty,
}

/// The limit on which a request was turned away before it could be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// Too many requests at once.
    Overloaded,
    /// It took longer than it may.
    Deadline,
    /// It was malformed or too large.
    Malformed,
    /// The caller is unknown, or may not ask this.
    NotEntitled,
    /// Nothing is loaded yet, or the server is stopping.
    Unavailable,
    /// The answer failed inside the server.
    Failed,
}

/// Instruments of a meter.
#[derive(Debug)]
pub struct Metrics {
    decisions: Counter<u64>,
    duration: Histogram<f64>,
    shadow_flips: Counter<u64>,
    reloads: Counter<u64>,
    refusals: Counter<u64>,
    writes: Counter<u64>,
    write_duration: Histogram<f64>,
}

/// Numbers that gauges read at each export.
#[derive(Debug)]
pub struct LiveGauges {
    started: Instant,
    revision: AtomicU64,
    policies: AtomicU64,
    entities: AtomicU64,
    /// Milliseconds from `started` to the last publication.
    published_ms: AtomicU64,
    in_flight: AtomicI64,
    request_limit: AtomicU64,
    pub(crate) spans: SpanCounts,
    pub(crate) losses: Losses,
}

/// Counts a request as in flight for as long as it is held.
#[derive(Debug)]
#[must_use = "the request counts as in flight only while this is held"]
pub struct InFlight(Arc<LiveGauges>);

impl ReloadResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Faulty => "faulty",
        }
    }
}

impl RejectionKind {
    /// The word for it in labels and log lines.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Malformed => "malformed",
            Self::NotEntitled => "not_entitled",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    /// Makes every instrument, the gauges reading from `live`.
    pub fn new(meter: &Meter, live: &Arc<LiveGauges>) -> Self {
        live.observe(meter);
        Self {
            decisions: meter
                .u64_counter("callgate.decisions")
                .with_unit("{decision}")
                .with_description("Decisions made")
                .build(),
            duration: meter
                .f64_histogram("callgate.decision.duration")
                .with_unit("s")
                .with_description("Time from a parsed question to its decision")
                .with_boundaries(LATENCY_BOUNDS.to_vec())
                .build(),
            shadow_flips: meter
                .u64_counter("callgate.shadow.flips")
                .with_unit("{decision}")
                .with_description("Decisions that policies in shadow mode would have changed")
                .build(),
            reloads: meter
                .u64_counter("callgate.reloads")
                .with_unit("{reload}")
                .with_description("Attempts to load the bundle")
                .build(),
            refusals: meter
                .u64_counter("callgate.refusals")
                .with_unit("{request}")
                .with_description("Requests turned away undecided")
                .build(),
            writes: meter
                .u64_counter("callgate.control.writes")
                .with_unit("{write}")
                .with_description("Attempts to change what decisions are made from")
                .build(),
            write_duration: meter
                .f64_histogram("callgate.control.duration")
                .with_unit("s")
                .with_description("Time from a parsed request to its durable change")
                .with_boundaries(WRITE_BOUNDS.to_vec())
                .build(),
        }
    }

    /// Counts one decision.
    pub fn decision(&self, record: &DecisionRecord<'_>) {
        let labels = decision_mapping::labels(record);
        self.decisions.add(1, &labels);
        self.duration.record(record.took.as_secs_f64(), &labels);
        if !record.decision.shadow.is_empty() {
            self.shadow_flips.add(1, &labels);
        }
    }

    /// Counts one attempt to change something.
    pub fn write(&self, record: &ControlRecord<'_>) {
        let labels = write_mapping::labels(record);
        self.writes.add(1, &labels);
        self.write_duration
            .record(record.took.as_secs_f64(), &labels);
    }

    /// Counts one attempt to load the bundle.
    pub fn reload(&self, outcome: ReloadResult) {
        self.reloads
            .add(1, &[KeyValue::new("callgate.reload", outcome.as_str())]);
    }

    /// Counts one request that was turned away.
    pub fn refusal(&self, adapter: &'static str, why: RejectionKind) {
        let labels = [
            KeyValue::new("callgate.adapter", adapter),
            KeyValue::new("callgate.refusal", why.as_str()),
        ];
        self.refusals.add(1, &labels);
    }
}

impl Default for LiveGauges {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            revision: AtomicU64::new(0),
            policies: AtomicU64::new(0),
            entities: AtomicU64::new(0),
            published_ms: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            request_limit: AtomicU64::new(0),
            spans: SpanCounts::default(),
            losses: Losses::default(),
        }
    }
}

impl LiveGauges {
    /// Notes what went live, and when.
    pub fn published(&self, revision: u64, policies: usize, entities: usize) {
        self.revision.store(revision, Ordering::Relaxed);
        self.policies.store(policies as u64, Ordering::Relaxed);
        self.entities.store(entities as u64, Ordering::Relaxed);
        self.published_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Notes how many requests may be under way.
    pub fn set_request_limit(&self, limit: usize) {
        self.request_limit.store(limit as u64, Ordering::Relaxed);
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn age_ms(&self) -> u64 {
        self.now_ms()
            .saturating_sub(self.published_ms.load(Ordering::Relaxed))
    }

    fn observe(self: &Arc<Self>, meter: &Meter) {
        type Read = fn(&LiveGauges) -> u64;
        let gauges: [(&str, &str, &str, Read); 4] = [
            (
                "callgate.requests.limit",
                "{request}",
                "Requests that may be under way now; 0 before the first",
                |live| live.request_limit.load(Ordering::Relaxed),
            ),
            (
                "callgate.snapshot.revision",
                "{revision}",
                "Revision in service",
                |live| live.revision.load(Ordering::Relaxed),
            ),
            (
                "callgate.policies",
                "{policy}",
                "Policies in service",
                |live| live.policies.load(Ordering::Relaxed),
            ),
            (
                "callgate.entities",
                "{entity}",
                "Entities in service",
                |live| live.entities.load(Ordering::Relaxed),
            ),
        ];
        for (name, unit, description, read) in gauges {
            let live = Arc::clone(self);
            meter
                .u64_observable_gauge(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(move |observer| observer.observe(read(&live), &[]))
                .build();
        }
        let live = Arc::clone(self);
        meter
            .f64_observable_gauge("callgate.snapshot.age")
            .with_unit("s")
            .with_description("Time since the revision in service went live")
            .with_callback(move |observer| {
                observer.observe(live.age_ms() as f64 / 1000.0, &[]);
            })
            .build();
        let live = Arc::clone(self);
        meter
            .i64_observable_up_down_counter("callgate.requests.in_flight")
            .with_unit("{request}")
            .with_description("Requests being answered")
            .with_callback(move |observer| {
                observer.observe(live.in_flight.load(Ordering::Relaxed), &[]);
            })
            .build();
        self.observe_spans(meter);
        self.observe_losses(meter);
    }

    /// What is recorded and neither exported, failed nor dropped waits.
    fn observe_spans(self: &Arc<Self>, meter: &Meter) {
        let live = Arc::clone(self);
        meter
            .u64_observable_counter("callgate.spans")
            .with_unit("{span}")
            .with_description("Spans by what became of them")
            .with_callback(move |observer| {
                for (state, count) in [
                    ("recorded", &live.spans.recorded),
                    ("exported", &live.spans.exported),
                    ("failed", &live.spans.failed),
                    ("dropped", &live.spans.dropped),
                ] {
                    let labels = [KeyValue::new("callgate.span.state", state)];
                    observer.observe(count.load(Ordering::Relaxed), &labels);
                }
            })
            .build();
    }

    fn observe_losses(self: &Arc<Self>, meter: &Meter) {
        let live = Arc::clone(self);
        meter
            .u64_observable_counter("callgate.telemetry.dropped")
            .with_unit("{record}")
            .with_description("Log lines, spans and exports that did not reach their sink")
            .with_callback(move |observer| {
                for loss in live.losses.all() {
                    let labels = [
                        KeyValue::new("callgate.telemetry.signal", loss.signal.as_str()),
                        KeyValue::new("callgate.telemetry.kind", loss.kind.as_str()),
                        KeyValue::new("callgate.telemetry.reason", loss.reason.as_str()),
                    ];
                    observer.observe(loss.count, &labels);
                }
            })
            .build();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
