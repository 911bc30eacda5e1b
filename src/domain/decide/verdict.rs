//! The answer: allow or deny, with the reasons and the policies behind it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::PolicyInfo;
use callgate_engine::cedar::EntityUID;
use callgate_engine::obligation::Obligation;
use smol_str::SmolStr;

use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::labels::Labels;
use crate::domain::request::target::Target;
use crate::domain::request::visible::escaped;

/// Whether the call may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// The answer to one call.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Allow or deny.
    pub outcome: Decision,
    /// Why not, most important first; empty on an allow.
    pub reasons: Vec<Reason>,
    /// The permits of an allow, the forbids of a deny; each policy once.
    pub determining_policies: Vec<Arc<PolicyInfo>>,
    /// Shadow policies that would have changed the outcome.
    pub shadow: Vec<Arc<PolicyInfo>>,
    /// How each principal fared: the subject first, then its delegators up to the root.
    pub principals: Vec<PrincipalVerdict>,
    /// What the call acts upon, under the names that policies know.
    pub targets: Vec<TargetSummary>,
    /// What an approval has to answer, for a deny with [`ReasonCode::ApprovalRequired`].
    pub challenge: Option<Box<Challenge>>,
    /// What an allow uses up and leaves behind. Nothing has happened yet.
    pub effects: SideEffects,
}

/// One thing that a call acts upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSummary {
    /// Its canonical name, the id of the entity.
    pub id: SmolStr,
    /// What sort of thing it is.
    pub kind: &'static str,
    /// What part it plays, if its registration says.
    pub role: Option<SmolStr>,
    /// The query of a URL.
    pub query: Option<SmolStr>,
}

/// What an approval has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `sha256:<hex>` over the call and its expiry.
    pub digest: SmolStr,
    /// When an answer comes too late. Whole seconds.
    pub expires_at: SystemTime,
    /// How long that is from the decision.
    pub valid_for: Duration,
    /// The call.
    pub call: ApprovedCall,
    /// What a person decides by.
    pub circumstances: ApprovalContext,
}

/// What an allowed call uses up and leaves behind.
#[derive(Debug, Clone, Default)]
pub struct SideEffects {
    /// The approval it uses, and how often that may be used.
    pub approval: Option<(SmolStr, u32)>,
    /// The task whose budget it draws on, and that budget.
    pub budget: Option<(SmolStr, u64)>,
    /// Under which name calls of its tool are counted in the task, and how many there may be.
    pub tool_budget: Option<(SmolStr, u64)>,
    /// The tool it calls.
    pub tool: Option<EntityUID>,
    /// The labels it brings into its session.
    pub yields: Vec<SmolStr>,
    /// What it acts upon.
    pub targets: Vec<Target>,
    /// Whether something of what it acts upon comes back.
    pub reads: bool,
    /// If it changes what it acts upon: what its work has read.
    pub writes: Option<Arc<Labels>>,
}

impl SideEffects {
    /// The labels it brings into its session, with those that were found in what it acts upon.
    pub fn added_labels(&self, found: Option<&Labels>) -> Cow<'_, [SmolStr]> {
        match found.filter(|_| self.reads) {
            None => Cow::Borrowed(&self.yields),
            Some(found) => {
                let is_new = |label: &&SmolStr| !self.yields.contains(label);
                let new = found.items().iter().filter(is_new).cloned();
                Cow::Owned(self.yields.iter().cloned().chain(new).collect())
            }
        }
    }
}

/// How one principal fared.
#[derive(Debug, Clone)]
pub struct PrincipalVerdict {
    /// Who was asked about.
    pub principal: EntityUID,
    /// Under which Cedar action.
    pub action: EntityUID,
    /// On which Cedar resource.
    pub resource: EntityUID,
    /// What Cedar's answer amounts to, errors denying.
    pub outcome: Decision,
    /// Permits that were satisfied.
    pub permits: Vec<Arc<PolicyInfo>>,
    /// Forbids that were satisfied.
    pub forbids: Vec<Arc<PolicyInfo>>,
    /// Policies that could not be evaluated.
    pub errors: Vec<(Arc<PolicyInfo>, String)>,
    /// How many policies were evaluated.
    pub policies_evaluated: u32,
}

/// One reason for a deny.
#[derive(Debug, Clone)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// A sentence that may be shown to the agent.
    pub message: String,
    /// The principal that was not allowed, if it is about one.
    pub principal: Option<EntityUID>,
    /// What is missing, for [`ReasonCode::ContextMissing`].
    pub missing: Vec<String>,
    /// The policies behind it; only for callers entitled to explanations.
    pub policies: Vec<SmolStr>,
    /// What went wrong in detail; only for callers entitled to explanations.
    pub detail: Option<String>,
}

/// Stable, machine-readable reasons. The wire names are the same in upper snake case.
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
    /// A fact is not of the type that the action requires.
    ContextInvalid,
    /// The lent authority has ended.
    DelegationExpired,
    /// The lent authority was taken back.
    DelegationRevoked,
    /// What was lent does not cover the call.
    DelegationOutOfScope,
    /// The delegation chain does not hold together or cannot be verified.
    DelegationChainBroken,
    /// Someone for whom the subject acts may not do this.
    DelegatorDenied,
    /// The task is not open here.
    TaskClosed,
    /// The call does not belong to its task.
    TaskOutOfScope,
    /// The task has made all the calls it may.
    TaskBudgetSpent,
    /// The session was ended.
    SessionEnded,
    /// Who acts, for whom, the server or the tool was stopped.
    Stopped,
    /// A person's approval would turn this into an allow.
    ApprovalRequired,
    /// The approval is not valid for this call.
    ApprovalInvalid,
    /// The tool is not registered.
    ToolUnknown,
    /// The tool's definition is not the pinned one.
    ToolChanged,
    /// The server is not registered, or out of service.
    ServerUnknown,
    /// The subject or a delegator is not known.
    SubjectUnknown,
    /// The caller is not trusted to assert what the call asserts.
    CallerNotTrusted,
    /// The demanded revision is not here yet.
    Stale,
    /// Too many questions at once.
    Overloaded,
    /// What the call would use up or leave behind could not be written down.
    StoreUnavailable,
    /// Callgate failed while deciding.
    Internal,
}

impl ReasonCode {
    /// The name on the wire and in traces.
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
            Self::Internal => "INTERNAL",
        }
    }
}

impl Reason {
    /// The call lacks these facts.
    pub fn lacking(missing: Vec<String>) -> Self {
        let message = format!("the call lacks {}", missing.join(", "));
        Self {
            missing,
            ..Self::new(ReasonCode::ContextMissing, message)
        }
    }

    /// A reason with a code and the sentence an agent may see, about nobody in particular. Callers choose names in
    /// it, so nothing in it stays invisible.
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
            missing: Vec::new(),
            policies: Vec::new(),
            detail: None,
        }
    }
}

impl Verdict {
    /// A deny for one reason, before or instead of asking Cedar.
    pub fn deny(reason: Reason) -> Self {
        Self {
            outcome: Decision::Deny,
            reasons: vec![reason],
            determining_policies: Vec::new(),
            shadow: Vec::new(),
            principals: Vec::new(),
            targets: Vec::new(),
            challenge: None,
            effects: SideEffects::default(),
        }
    }

    /// An allow that needed no policy: asking which tools there are is free, calling them is not.
    pub fn allow_unconditionally() -> Self {
        Self {
            outcome: Decision::Allow,
            reasons: Vec::new(),
            determining_policies: Vec::new(),
            shadow: Vec::new(),
            principals: Vec::new(),
            targets: Vec::new(),
            challenge: None,
            effects: SideEffects::default(),
        }
    }

    /// What has to be done for it to hold, each once, by what determined it.
    pub fn obligations(&self) -> impl Iterator<Item = &Obligation> {
        let mut all: Vec<&Obligation> = Vec::new();
        for obligation in self
            .determining_policies
            .iter()
            .flat_map(|it| &it.obligations)
        {
            if !all.contains(&&**obligation) {
                all.push(obligation);
            }
        }
        all.into_iter()
    }

    /// The id of whom it is about, for what it obliges to: the root of the authority, whoever acts for it.
    pub fn about(&self) -> &str {
        self.principals
            .last()
            .map_or("", |it| it.principal.eid().as_ref())
    }

    /// Whether the call may happen.
    pub fn is_allow(&self) -> bool {
        self.outcome == Decision::Allow
    }
}

impl From<&Target> for TargetSummary {
    fn from(target: &Target) -> Self {
        let id: &str = target.uid().eid().as_ref();
        Self {
            id: SmolStr::new(id),
            kind: target.kind.as_str(),
            role: target.role.clone(),
            query: target.query.clone(),
        }
    }
}

impl Decision {
    /// `allow` or `deny`, as in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
