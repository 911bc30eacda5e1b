//! Reasons for a deny: stable codes with a message.

use std::borrow::Cow;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::stop::Stop;
use crate::domain::request::visible::escaped;
use crate::domain::schema::TYPES;

/// A reason for a deny.
#[derive(Debug, Clone)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// A sentence that is safe to show to the agent.
    pub message: String,
    /// The principal that was denied, if the reason concerns one.
    pub principal: Option<EntityUID>,
    /// The stop that is in force, for [`ReasonCode::Stopped`].
    pub stop: Option<Arc<Stop>>,
    /// Whether a wider delegation would turn the deny, for [`ReasonCode::DelegationOutOfScope`].
    pub lacks_scope: bool,
    /// The missing facts, for [`ReasonCode::ContextMissing`].
    pub missing: Vec<String>,
    /// Ids of the policies responsible; only for callers entitled to explanations.
    pub policies: Vec<SmolStr>,
    /// Details; only for callers entitled to explanations.
    pub detail: Option<String>,
}

/// Stable, machine-readable codes. The wire names are the same in upper snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// No policy permits the call.
    NoPermit,
    /// A policy forbids the call.
    Forbidden,
    /// A policy that applies could not be evaluated.
    EvaluationError,
    /// A fact that the action requires is missing.
    ContextMissing,
    /// A fact does not have the type that the action requires.
    ContextInvalid,
    /// The delegation has expired.
    DelegationExpired,
    /// The delegation was revoked.
    DelegationRevoked,
    /// The delegation does not cover the call.
    DelegationOutOfScope,
    /// The delegation chain is broken or cannot be verified.
    DelegationChainBroken,
    /// A delegator of the subject may not make the call.
    DelegatorDenied,
    /// The task is unknown, closed or past its deadline.
    TaskClosed,
    /// The call does not belong to its task.
    TaskOutOfScope,
    /// The call budget of the task is spent.
    TaskBudgetSpent,
    /// The session was ended.
    SessionEnded,
    /// The subject, a delegator, the server or the tool is stopped.
    Stopped,
    /// An approval would turn the deny into an allow.
    ApprovalRequired,
    /// The approval is not valid for this call.
    ApprovalInvalid,
    /// The tool is not registered.
    ToolUnknown,
    /// The definition of the tool differs from the pinned one.
    ToolChanged,
    /// The server is not registered or not active.
    ServerUnknown,
    /// The subject or a delegator is unknown.
    SubjectUnknown,
    /// The caller has no right to assert what the call asserts.
    CallerNotTrusted,
    /// The demanded revision is not available yet.
    Stale,
    /// Too many requests at once.
    Overloaded,
    /// The side effects of the call could not be stored.
    StoreUnavailable,
    /// The decision could not be put on record.
    AuditUnavailable,
    /// An internal failure.
    Internal,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::NoPermit,
        Self::Forbidden,
        Self::EvaluationError,
        Self::ContextMissing,
        Self::ContextInvalid,
        Self::DelegationExpired,
        Self::DelegationChainBroken,
        Self::DelegatorDenied,
        Self::DelegationRevoked,
        Self::DelegationOutOfScope,
        Self::TaskClosed,
        Self::TaskOutOfScope,
        Self::TaskBudgetSpent,
        Self::SessionEnded,
        Self::Stopped,
        Self::ApprovalRequired,
        Self::ApprovalInvalid,
        Self::ToolUnknown,
        Self::ToolChanged,
        Self::ServerUnknown,
        Self::SubjectUnknown,
        Self::CallerNotTrusted,
        Self::Stale,
        Self::Overloaded,
        Self::StoreUnavailable,
        Self::AuditUnavailable,
        Self::Internal,
    ];

    /// Those of a deny for which nothing was evaluated: the state was too old, there was too much to do, the store or the
    /// decision log could not be read or written, or the program failed.
    pub const NOT_EVALUATED: [Self; 5] = [
        Self::Stale,
        Self::Overloaded,
        Self::StoreUnavailable,
        Self::AuditUnavailable,
        Self::Internal,
    ];

    /// The name on the wire and in telemetry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPermit => "NO_PERMIT",
            Self::Forbidden => "FORBIDDEN",
            Self::EvaluationError => "EVALUATION_ERROR",
            Self::ContextMissing => "CONTEXT_MISSING",
            Self::ContextInvalid => "CONTEXT_INVALID",
            Self::DelegationExpired => "DELEGATION_EXPIRED",
            Self::DelegationChainBroken => "DELEGATION_CHAIN_BROKEN",
            Self::DelegatorDenied => "DELEGATOR_DENIED",
            Self::DelegationRevoked => "DELEGATION_REVOKED",
            Self::DelegationOutOfScope => "DELEGATION_OUT_OF_SCOPE",
            Self::TaskClosed => "TASK_CLOSED",
            Self::TaskOutOfScope => "TASK_OUT_OF_SCOPE",
            Self::TaskBudgetSpent => "TASK_BUDGET_SPENT",
            Self::SessionEnded => "SESSION_ENDED",
            Self::Stopped => "STOPPED",
            Self::ApprovalRequired => "APPROVAL_REQUIRED",
            Self::ApprovalInvalid => "APPROVAL_INVALID",
            Self::ToolUnknown => "TOOL_UNKNOWN",
            Self::ToolChanged => "TOOL_CHANGED",
            Self::ServerUnknown => "SERVER_UNKNOWN",
            Self::SubjectUnknown => "SUBJECT_UNKNOWN",
            Self::CallerNotTrusted => "CALLER_NOT_TRUSTED",
            Self::Stale => "STALE",
            Self::Overloaded => "OVERLOADED",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::AuditUnavailable => "AUDIT_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

impl Reason {
    /// The reason of a deny for a stop.
    pub fn stopped(stop: &Arc<Stop>) -> Self {
        let message = format!("`{}` is stopped: {}", stop.uid, stop.reason);
        let is_principal = [&TYPES.agent, &TYPES.user].contains(&stop.uid.entity_type());
        Self {
            principal: is_principal.then(|| stop.uid.clone()),
            stop: Some(Arc::clone(stop)),
            ..Self::new(ReasonCode::Stopped, message)
        }
    }

    /// A deny because facts are missing.
    pub fn context_missing(missing: Vec<String>) -> Self {
        let message = format!("the call lacks {}", missing.join(", "));
        Self {
            missing,
            ..Self::new(ReasonCode::ContextMissing, message)
        }
    }

    /// Creates a reason with a code and a message, about no principal in particular. Invisible characters in
    /// the message are escaped, because callers choose names in it.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = match escaped(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(escaped) => escaped,
        };
        Self {
            code,
            message,
            principal: None,
            stop: None,
            lacks_scope: false,
            missing: Vec::new(),
            policies: Vec::new(),
            detail: None,
        }
    }
}
