//! One decision, as it goes on record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use uuid::Uuid;

use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::CallContext;

/// Everything a trace, a metric, a log line or an auditor may want to know of one decision.
///
/// It borrows: it lives for the moment between deciding and answering.
#[derive(Debug, Clone)]
pub struct DecisionRecord<'a> {
    /// Names the decision (UUID version 7, so ids sort by time).
    pub decision_id: Uuid,
    /// The enforcement point that asked.
    pub caller: &'a Arc<str>,
    /// The front door it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// How the one who asked calls the request, if it said so beside the question.
    pub request_id: Option<&'a str>,
    /// What was asked.
    pub question: RecordedRequest<'a>,
    /// What was answered.
    pub decision: &'a Verdict,
    /// The revision it was made at.
    pub revision: u64,
    /// The digest of the policy set, `sha256:<hex>`.
    pub policy_set_digest: &'a Arc<str>,
    /// Whether nothing was to be changed by it.
    pub is_dry_run: bool,
    /// When the question arrived.
    pub started_at: SystemTime,
    /// How long deciding took.
    pub took: Duration,
}

/// For whom a call was made.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalfOf<'a> {
    /// On whose behalf.
    pub root: &'a EntityUID,
    /// Links from there to the subject.
    pub depth: usize,
}

impl<'a> OnBehalfOf<'a> {
    /// As the call says, or, where it only names grants, as the decision found.
    pub fn of(call: &'a CallContext, decision: &'a Verdict) -> Option<Self> {
        let delegation = call.delegation.as_ref()?;
        let found = decision
            .principals
            .last()
            .filter(|_| decision.principals.len() > 1);
        match &delegation.root {
            Some(root) => Some(Self {
                root,
                depth: delegation.actors.len() + 1,
            }),
            None => found.map(|last| Self {
                root: &last.principal,
                depth: decision.principals.len() - 1,
            }),
        }
    }
}

/// The two kinds of question.
#[derive(Debug, Clone, Copy)]
pub enum RecordedRequest<'a> {
    /// A call of an agent or a server.
    Call(&'a CallContext),
    /// What of a list may be used.
    Filter {
        /// Who asks and for whom; the operation is the listing.
        call: &'a CallContext,
        /// How many were kept.
        kept: usize,
        /// How many were hidden.
        hidden: usize,
    },
    /// Which entities Cedar's own question would be allowed with.
    Search {
        /// What was sought: `subject`, `resource` or `action`.
        sought: &'static str,
        /// The principal, unless sought.
        principal: Option<&'a EntityUID>,
        /// The action, unless sought.
        action: Option<&'a EntityUID>,
        /// The resource, unless sought.
        resource: Option<&'a EntityUID>,
        /// How many were found.
        kept: usize,
        /// How many were looked at and left out.
        hidden: usize,
        /// The trace the caller named.
        trace: &'a crate::domain::request::call_context::TraceContext,
    },
    /// Cedar's own question.
    Cedar {
        /// The principal.
        principal: &'a EntityUID,
        /// The action.
        action: &'a EntityUID,
        /// The resource.
        resource: &'a EntityUID,
        /// The trace the caller named.
        trace: &'a crate::domain::request::call_context::TraceContext,
    },
}
