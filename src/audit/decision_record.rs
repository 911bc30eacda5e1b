//! The record of one decision.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use uuid::Uuid;

use crate::domain::authority::chain;
use crate::domain::authority::state::Authority;
use crate::domain::decide::verdict::{LeftBehind, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::trace_context::TraceContext;

/// Everything that a trace, a metric, a log line or an auditor needs of one decision. It borrows, as it lives only
/// between the decision and the response.
#[derive(Debug, Clone)]
pub struct DecisionRecord<'a> {
    /// The id of the decision: a UUID version 7, so ids sort by time.
    pub decision_id: Uuid,
    /// The caller: the enforcement point that asked.
    pub caller: &'a Arc<str>,
    /// The adapter it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// The caller's id of the request, if it gave one.
    pub request_id: Option<&'a str>,
    /// The request.
    pub question: RecordedRequest<'a>,
    /// The verdict; if it is not enforced, as it would have been.
    pub decision: &'a Verdict,
    /// What it has used up and left behind; of a dry run, what it would have. Only the decision log says it.
    pub left: Option<&'a LeftBehind>,
    /// Whether the response is the verdict. In observe mode it is allow, whatever the verdict.
    pub is_enforced: bool,
    /// The revision it was made at.
    pub revision: u64,
    /// The digest of the policy set, `sha256:<hex>`.
    pub policy_set_digest: &'a Arc<str>,
    /// The snapshot it was made from: what of the call's names is known.
    pub snapshot: Option<&'a Snapshot>,
    /// The authority it was made on: whose the delegations are that the call names.
    pub authority: Option<&'a Authority>,
    /// Whether it was made without side effects.
    pub is_dry_run: bool,
    /// When the request arrived, by the machine's clock.
    pub started_at: SystemTime,
    /// How long it took to decide.
    pub took: Duration,
}

/// On whose behalf a call was made.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalfOf<'a> {
    /// The root of the authority.
    pub root: &'a EntityUID,
    /// The number of links from the root to the subject.
    pub depth: usize,
}

impl<'a> DecisionRecord<'a> {
    /// Whether it is a deny that was not enforced.
    pub fn is_waived(&self) -> bool {
        !self.is_enforced && !self.decision.is_allow()
    }

    /// When it was decided.
    pub fn decided_at(&self) -> SystemTime {
        let decided_at = self.started_at.checked_add(self.took);
        decided_at.unwrap_or(self.started_at)
    }

    /// How many entries of a list were shown only because it was not enforced.
    pub fn waived_entries(&self) -> usize {
        match self.question {
            RecordedRequest::Filter { shown, .. } if !self.is_enforced => shown,
            _ => 0,
        }
    }

    /// On whose behalf a call was made: as it asserts, or, if it only names delegations, as those that are stored say. That
    /// does not take that they are good: who tried what on whose delegation is on record, too.
    pub fn on_behalf_of(&self) -> Option<OnBehalfOf<'a>> {
        let (RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. }) = self.question
        else {
            return None;
        };
        let delegation = call.actor_chain.as_ref()?;
        match &delegation.root {
            Some(root) => Some(OnBehalfOf {
                root,
                depth: delegation.actors.len() + 1,
            }),
            None => {
                let subject = &call.subject.entity;
                let found =
                    chain::stored_root(self.authority?, &delegation.delegation_ids, subject);
                found.map(|(root, depth)| OnBehalfOf { root, depth })
            }
        }
    }
}

/// The kinds of request.
#[derive(Debug, Clone, Copy)]
pub enum RecordedRequest<'a> {
    /// A call of an agent or a server.
    Call(&'a CallContext),
    /// A filtered list.
    Filter {
        /// The call, whose operation is the listing.
        call: &'a CallContext,
        /// The number of entries kept.
        kept: usize,
        /// The number of entries hidden.
        hidden: usize,
        /// How many of those were shown all the same, as the list is only observed.
        shown: usize,
    },
    /// A search for entities for which Cedar's own request would be allowed.
    Search {
        /// What was searched for: `subject`, `resource` or `action`.
        sought: &'static str,
        /// The principal, unless searched for.
        principal: Option<&'a EntityUID>,
        /// The action, unless searched for.
        action: Option<&'a EntityUID>,
        /// The resource, unless searched for.
        resource: Option<&'a EntityUID>,
        /// The number of hits.
        kept: usize,
        /// The number of candidates that are no hits.
        hidden: usize,
        /// The caller's trace.
        trace: &'a TraceContext,
    },
    /// Cedar's own request.
    Cedar {
        /// The principal.
        principal: &'a EntityUID,
        /// The action.
        action: &'a EntityUID,
        /// The resource.
        resource: &'a EntityUID,
        /// The caller's trace.
        trace: &'a TraceContext,
    },
}

impl<'a> RecordedRequest<'a> {
    /// The operation in records, span names and metric labels.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Call(call) => call.operation.kind.method(),
            Self::Filter { call, .. } => {
                let described = call.operation.kind.description();
                described.filter.unwrap_or(described.method)
            }
            Self::Cedar { .. } => "cedar",
            Self::Search { .. } => "cedar/search",
        }
    }

    /// The caller's trace.
    pub fn trace(&self) -> &'a TraceContext {
        match self {
            Self::Call(call) | Self::Filter { call, .. } => &call.trace,
            Self::Cedar { trace, .. } | Self::Search { trace, .. } => trace,
        }
    }

    /// The decision that the call follows from, as the caller states it.
    pub fn parent_decision_id(&self) -> Option<Uuid> {
        match self {
            Self::Call(call) | Self::Filter { call, .. } => call.workflow.parent_decision_id,
            Self::Cedar { .. } | Self::Search { .. } => None,
        }
    }
}
