//! The record of one attempt to change delegations, tasks, approvals, stops or entities.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;

use crate::domain::decide::verdict::Verdict;
use crate::domain::ids::CallDigest;
use crate::domain::request::trace_context::TraceContext;

/// Everything that a trace, a metric, a log line or an auditor needs of one attempt. It borrows, as it lives only
/// between the write and the response.
#[derive(Debug, Clone)]
pub struct ControlRecord<'a> {
    /// The verb of the request, e.g. `GrantDelegation`.
    pub verb: &'static str,
    /// The caller, as configured.
    pub caller: &'a Arc<str>,
    /// The adapter it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// The principal on whose behalf it was requested, as asserted by the caller.
    pub actor: &'a EntityUID,
    /// Its outcome.
    pub outcome: ControlOutcome,
    /// Its revision.
    pub revision: Option<u64>,
    /// The id of what it made or changed, or was to make or change, as far as that is known.
    pub id: Option<&'a str>,
    /// The digest of the approval that was requested or decided, `sha256:<hex>`.
    pub approval_digest: Option<&'a CallDigest>,
    /// Of a stop: why, in the words of whoever made it.
    pub stop_reason: Option<&'a str>,
    /// The verdict of Cedar, or the evidence that denied it; `None` if it was not decided.
    pub decision: Option<&'a Verdict>,
    /// The trace it belongs to.
    pub trace: &'a TraceContext,
    /// When the request arrived.
    pub started_at: SystemTime,
    /// How long it took, writing included.
    pub took: Duration,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlOutcome {
    /// It is written.
    Done,
    /// The same request was carried out before.
    Repeated,
    /// Evidence or Cedar said no.
    Denied,
    /// The request is invalid, or cannot be carried out now.
    Refused,
    /// It was not written, as far as is known.
    Failed,
    /// The server gave it up before its end, or the store did not answer. It may have been written.
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
