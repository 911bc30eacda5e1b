//! One attempt to change what is lent, open, approved or known, as it goes on record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;

use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::TraceContext;

/// Everything a trace, a metric, a log line or an auditor may want to know of one attempt.
///
/// It borrows: it lives for the moment between writing and answering.
#[derive(Debug, Clone)]
pub struct ControlRecord<'a> {
    /// What was asked for, e.g. `GrantDelegation`.
    pub verb: &'static str,
    /// The caller, as configured.
    pub caller: &'a Arc<str>,
    /// The front door it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// The principal on whose behalf it was asked for, as the caller says.
    pub actor: &'a EntityUID,
    /// What became of it.
    pub outcome: ControlOutcome,
    /// The revision it got.
    pub revision: Option<u64>,
    /// What it made or changed.
    pub id: Option<&'a str>,
    /// What Cedar said, or which evidence denied it; `None` if it did not come to that.
    pub decision: Option<&'a Verdict>,
    /// The trace it belongs to.
    pub trace: &'a TraceContext,
    /// When the request arrived.
    pub started_at: SystemTime,
    /// How long it took, writing included.
    pub took: Duration,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlOutcome {
    /// It is written.
    Done,
    /// The same request was carried out before.
    Repeated,
    /// Evidence or Cedar said no.
    Denied,
    /// It could not be meant, or not now.
    Refused,
    /// It was not written, as far as is known.
    Failed,
    /// Whoever asked did not wait for the end. It may have been written.
    Abandoned,
}

impl ControlOutcome {
    /// The word in traces, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Repeated => "repeated",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}
