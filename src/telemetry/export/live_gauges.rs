//! The values behind the gauges: what is in service, requests in flight, spans and losses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use callgate_engine::Snapshot;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::telemetry::export::exporter_state::ExporterStates;
use crate::telemetry::export::losses::Losses;
use crate::telemetry::export::span_counts::SpanCounts;

/// Values that the gauges read at each export.
#[derive(Debug)]
pub struct LiveGauges {
    started: Instant,
    revision: AtomicU64,
    policies: AtomicU64,
    entities: AtomicU64,
    /// Milliseconds from `started` to the last publication.
    published_ms: AtomicU64,
    /// Whether the last load of the directory failed.
    is_bundle_faulty: AtomicBool,
    /// What is in service.
    snapshot: ArcSwapOption<Snapshot>,
    approvals_waiting: AtomicU64,
    in_flight: AtomicI64,
    request_limit: AtomicU64,
    pub(crate) spans: SpanCounts,
    pub(crate) losses: Losses,
    pub(crate) exporters: ExporterStates,
}

/// A request in flight; dropping it ends the count.
#[derive(Debug)]
#[must_use = "the request counts as in flight only while this is held"]
pub struct InFlight(Arc<LiveGauges>);

impl Default for LiveGauges {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            revision: AtomicU64::new(0),
            policies: AtomicU64::new(0),
            entities: AtomicU64::new(0),
            published_ms: AtomicU64::new(0),
            is_bundle_faulty: AtomicBool::new(false),
            snapshot: ArcSwapOption::empty(),
            approvals_waiting: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            request_limit: AtomicU64::new(0),
            spans: SpanCounts::default(),
            losses: Losses::default(),
            exporters: ExporterStates::default(),
        }
    }
}

impl LiveGauges {
    /// Stores the generation that went into service, and the time.
    pub fn published(&self, snapshot: &Snapshot) {
        let (policies, entities) = (snapshot.policy_count(), snapshot.entity_count());
        self.revision.store(snapshot.revision(), Ordering::Relaxed);
        self.policies.store(policies as u64, Ordering::Relaxed);
        self.entities.store(entities as u64, Ordering::Relaxed);
        self.snapshot.store(Some(Arc::new(snapshot.clone())));
        self.published_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// What is in service; `None` before the first.
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Stores the number of approvals that wait for a person.
    pub fn set_approvals_waiting(&self, count: usize) {
        self.approvals_waiting
            .store(count as u64, Ordering::Relaxed);
    }

    /// Stores whether the last load of the directory failed.
    pub fn set_bundle_faulty(&self, is_faulty: bool) {
        self.is_bundle_faulty.store(is_faulty, Ordering::Relaxed);
    }

    /// Stores the limit on concurrent requests.
    pub fn set_request_limit(&self, limit: usize) {
        // It seldom changes, and a write takes the cache line from all others.
        if self.request_limit.load(Ordering::Relaxed) != limit as u64 {
            self.request_limit.store(limit as u64, Ordering::Relaxed);
        }
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

    /// Builds the gauges, which read from here at each export.
    pub(crate) fn observe(self: &Arc<Self>, meter: &Meter) {
        type Read = fn(&LiveGauges) -> u64;
        let gauges: [(&str, &str, &str, Read); 6] = [
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
                "callgate.bundle.faulty",
                "1",
                "1 while the directory has faults and an older one is in service",
                |live| u64::from(live.is_bundle_faulty.load(Ordering::Relaxed)),
            ),
            (
                "callgate.approvals.waiting",
                "{approval}",
                "Approvals that were requested, are not expired and wait for a person",
                |live| live.approvals_waiting.load(Ordering::Relaxed),
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

    /// Spans that are recorded and in none of the other states are waiting.
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
            .with_description(
                "Log lines, spans, log records and exports that did not reach their sink",
            )
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
