//! Exemplars of the latency of decisions: for each bucket, one span that fell into it.
//!
//! The SDK keeps none, so the recorder notes them here as it records the histogram. `prometheus` and `metric_exporter` put them
//! beside the buckets. A bucket takes one at most every [`INTERVAL`]; a decision never waits for the lock of another.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};

use crate::audit::envelope::nanos;
use crate::telemetry::export::otlp_encoder::SpanIds;

/// The histogram that has exemplars.
pub(crate) const WITH_EXEMPLARS: &str = "callgate.decision.duration";

/// The shortest time between two exemplars of one bucket, in nanoseconds.
const INTERVAL: u64 = 1_000_000_000;

/// One measurement and the span it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The labels of the series.
    pub labels: Vec<KeyValue>,
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The value, in seconds.
    pub value: f64,
    /// When it was measured.
    pub at: SystemTime,
}

/// The last exemplar of each bucket of a histogram.
#[derive(Debug)]
pub struct Exemplars {
    bounds: &'static [f64],
    buckets: Vec<ExemplarBucket>,
}

#[derive(Debug, Default)]
struct ExemplarBucket {
    /// When the next one may be taken, in nanoseconds since 1970.
    next_at: AtomicU64,
    last: Mutex<Option<Exemplar>>,
}

impl Exemplars {
    /// None yet, of a histogram with these upper bounds and one bucket more.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len())
                .map(|_| ExemplarBucket::default())
                .collect(),
        }
    }

    /// Takes a measurement of this time as exemplar, if one is due.
    pub fn note(&self, value: f64, labels: &[KeyValue], span: &SpanIds, at: SystemTime) {
        let Some(bucket) = self.buckets.get(self.bucket(value)) else {
            return;
        };
        let now = nanos(at);
        let wait = bucket.next_at.load(Ordering::Relaxed).saturating_sub(now);
        // More than that was noted by a clock that was set back since.
        if (1..=INTERVAL).contains(&wait) {
            return;
        }
        let Ok(mut last) = bucket.last.try_lock() else {
            return;
        };
        let next_at = now.saturating_add(INTERVAL);
        bucket.next_at.store(next_at, Ordering::Relaxed);
        *last = Some(Exemplar {
            labels: labels.to_vec(),
            trace_id: span.trace_id,
            span_id: span.span_id,
            value,
            at,
        });
    }

    /// The exemplar of a bucket, if it belongs to the series with exactly these labels.
    pub fn of(&self, bucket: usize, labels: &[KeyValue]) -> Option<Exemplar> {
        let last = self.buckets.get(bucket)?.last.lock().ok()?;
        let found = last.as_ref()?;
        let is_meant = found.labels.len() == labels.len()
            && found.labels.iter().all(|label| labels.contains(label));
        is_meant.then(|| found.clone())
    }

    /// Upper bounds are inclusive.
    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

#[cfg(test)]
#[path = "exemplars_tests.rs"]
mod tests;
