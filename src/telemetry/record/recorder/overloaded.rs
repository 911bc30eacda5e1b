//! Requests that were refused together, at the least possible cost.

use crate::telemetry::record::metrics::RejectionKind;
use crate::telemetry::record::recorder::Recorder;

impl Recorder {
    /// Counts requests that were rejected together because the server is overloaded, with one log line at DEBUG.
    pub fn overloaded(&self, adapter: &'static str, count: u64) {
        let why = RejectionKind::Overloaded;
        if let Some(metrics) = &self.inner.metrics {
            metrics.rejections(adapter, why, count);
        }
        let why = why.as_str();
        tracing::debug!(target: "callgate::rejection", adapter, why, count, "requests rejected");
    }
}
