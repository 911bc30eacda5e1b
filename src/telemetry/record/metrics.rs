//! The metrics. The values behind the gauges are in [`LiveGauges`].
//!
//! Invariant: every label is one of a fixed set of values, so callers cannot add series.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter};

use crate::audit::control_record::ControlRecord;
use crate::audit::decision_record::DecisionRecord;
use crate::config::telemetry::MetricLabels;
use crate::domain::decide::verdict::{Decision, ReasonCode};
use crate::telemetry::export::exemplars::Exemplars;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::otlp_encoder::SpanIds;
use crate::telemetry::record::bounded_names::BoundedNames;
use crate::telemetry::record::directory_metrics::DirectoryMetrics;
use crate::telemetry::record::{decision_mapping, write_mapping};

/// Bounds of the latency histogram in seconds: decisions take microseconds.
pub(crate) const LATENCY_BOUNDS: [f64; 14] = [
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0,
];

/// Bounds of the histogram of writes in seconds: they wait for the disk.
const WRITE_BOUNDS: [f64; 12] = [
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0,
];

/// The outcome of loading a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// It is in service.
    Applied,
    /// It is the same as the one in service.
    Unchanged,
    /// It has faults; the one in service stays.
    Faulty,
}

/// Why a request was rejected without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// A limit on concurrent work was reached.
    Overloaded,
    /// Its deadline passed.
    Deadline,
    /// It was malformed or too large.
    Malformed,
    /// The caller is not authenticated or has no right to the RPC.
    NotEntitled,
    /// Nothing is loaded yet, or the server is stopping.
    Unavailable,
    /// The server failed.
    Failed,
}

/// The instruments.
#[derive(Debug)]
pub struct Metrics {
    decisions: Counter<u64>,
    duration: Histogram<f64>,
    shadow_flips: Counter<u64>,
    shadow_policies: Counter<u64>,
    shadow_names: BoundedNames,
    observed: Counter<u64>,
    observed_entries: Counter<u64>,
    reloads: Counter<u64>,
    rejections: Counter<u64>,
    writes: Counter<u64>,
    write_duration: Histogram<f64>,
    exemplars: Option<Arc<Exemplars>>,
    directory: DirectoryMetrics,
    series: ArcSwap<HashMap<SeriesKey, Arc<DecisionSeries>, RandomState>>,
}

/// What the labels of a decision are made from: its decision, the code of its first reason, and the addresses of the static
/// texts that name operation and adapter. A text with two addresses has two entries, which lead to one series.
type SeriesKey = (Decision, Option<ReasonCode>, usize, usize);

/// The instruments of one series of decisions, looked up once.
#[derive(Debug)]
struct DecisionSeries {
    labels: [KeyValue; 4],
    decisions: BoundCounter<u64>,
    duration: BoundHistogram<f64>,
}

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
    /// The value in metric labels and log lines.
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
    /// Builds all instruments; the gauges read from `live`.
    pub fn new(
        meter: &Meter,
        live: &Arc<LiveGauges>,
        exemplars: Option<Arc<Exemplars>>,
        labels: &MetricLabels,
    ) -> Self {
        live.observe(meter);
        Self {
            directory: DirectoryMetrics::new(meter, live, labels),
            exemplars,
            series: ArcSwap::default(),
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
            shadow_policies: meter
                .u64_counter("callgate.shadow.policies")
                .with_unit("{decision}")
                .with_description(
                    "Decisions that a policy in shadow mode would have changed, by its id",
                )
                .build(),
            shadow_names: BoundedNames::new(labels.values),
            observed: meter
                .u64_counter("callgate.observed")
                .with_unit("{decision}")
                .with_description(
                    "Denies that were not enforced, as observe mode let the requests pass",
                )
                .build(),
            observed_entries: meter
                .u64_counter("callgate.observed.entries")
                .with_unit("{entry}")
                .with_description(
                    "Entries of lists that were shown only as observe mode let them pass",
                )
                .build(),
            reloads: meter
                .u64_counter("callgate.reloads")
                .with_unit("{reload}")
                .with_description("Attempts to load the bundle")
                .build(),
            rejections: meter
                .u64_counter("callgate.rejections")
                .with_unit("{request}")
                .with_description("Requests rejected without a decision")
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

    /// Counts one decision. Its span, if there is one, becomes an exemplar of its latency.
    pub fn decision(&self, record: &DecisionRecord<'_>, span: Option<&SpanIds>) {
        let key = (
            record.decision.outcome,
            decision_mapping::reason(record),
            record.question.operation().as_ptr() as usize,
            record.adapter.as_ptr() as usize,
        );
        let known = self.series.load();
        let added;
        let series = match known.get(&key) {
            Some(series) => series,
            None => {
                added = self.add_series(key, record);
                &added
            }
        };
        let DecisionSeries {
            labels,
            decisions,
            duration,
        } = &**series;
        decisions.add(1);
        self.directory.decision(record);
        let took = record.took.as_secs_f64();
        duration.record(took);
        if let Some((exemplars, span)) = self.exemplars.as_ref().zip(span) {
            exemplars.note(took, labels, span, record.decided_at());
        }
        if !record.decision.shadow.is_empty() {
            self.shadow_flips.add(1, labels);
            for policy in &record.decision.shadow {
                // Ids come from the directory, so callers cannot add series; reloads could.
                let name = self.shadow_names.value(&policy.id);
                let policy = KeyValue::new("callgate.policy.id", name);
                self.shadow_policies.add(1, &[policy]);
            }
        }
        if record.is_waived() {
            self.observed.add(1, labels);
        }
        if record.waived_entries() > 0 {
            let entries = record.waived_entries() as u64;
            self.observed_entries.add(entries, labels);
        }
    }

    #[cold]
    fn add_series(&self, key: SeriesKey, record: &DecisionRecord<'_>) -> Arc<DecisionSeries> {
        let labels = decision_mapping::labels(record);
        let series = Arc::new(DecisionSeries {
            decisions: self.decisions.bind(&labels),
            duration: self.duration.bind(&labels),
            labels,
        });
        self.series.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(key, Arc::clone(&series));
            known
        });
        series
    }

    /// Counts one control write, allowed or not.
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

    /// Counts one rejected request.
    pub fn rejection(&self, adapter: &'static str, why: RejectionKind) {
        self.rejections(adapter, why, 1);
    }

    /// Counts so many rejections of one kind.
    pub fn rejections(&self, adapter: &'static str, why: RejectionKind, count: u64) {
        let labels = [
            KeyValue::new("callgate.adapter", adapter),
            KeyValue::new("callgate.rejection", why.as_str()),
        ];
        self.rejections.add(count, &labels);
    }
}
