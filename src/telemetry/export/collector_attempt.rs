//! How one attempt to export ends, over gRPC or HTTP.

use std::time::Duration;

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct AttemptError {
    /// What went wrong. The collector's own words are left out: they may quote a header with a credential.
    pub(super) text: String,
    pub(super) retry: Retry,
}

impl AttemptError {
    /// Another attempt may succeed.
    pub(super) fn may_pass(text: &str) -> Self {
        Self {
            text: format!("export failed: {text}"),
            retry: Retry::After(None),
        }
    }
}

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It will not.
    No,
    /// It may, after this time if the collector asked for one.
    After(Option<Duration>),
}

/// The used part of the responses: `ExportTraceServiceResponse` and those of the other signals.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// The used part of `ExportTracePartialSuccess` and its like. Its message is left out: it may quote a header with a
/// credential.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
}

impl ExportResponse {
    /// The number of spans, data points or log records that the collector rejected.
    pub(super) fn rejected(&self) -> u64 {
        let partly = self.partial_success.as_ref();
        let rejected = partly.map(|partly| partly.rejected).unwrap_or_default();
        u64::try_from(rejected).unwrap_or_default()
    }
}
