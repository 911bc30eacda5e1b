//! The verdict on one call: allow or deny, with reasons, determining policies and side effects.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use callgate_engine::obligation::Obligation;
use callgate_engine::{PolicyInfo, PolicyList};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::labels::Labels;
use crate::domain::ids::{ApprovalId, BudgetId, CallDigest};
use crate::domain::request::target::Target;
use crate::domain::schema::AccessLevel;
use crate::domain::shared_list::SharedList;

pub use crate::domain::reason::{Reason, ReasonCode};

/// The decision on a request, as in Cedar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The request is authorized.
    Allow,
    /// The request is not authorized.
    Deny,
}

/// The verdict on one call.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Allow or deny.
    pub outcome: Decision,
    /// The reasons for a deny, most important first; empty for an allow.
    pub reasons: Vec<Reason>,
    /// The satisfied permits of an allow, the satisfied forbids of a deny; each policy once.
    pub determining_policies: PolicyList,
    /// Policies in shadow mode that would have changed the decision.
    pub shadow: PolicyList,
    /// The verdict for each principal: the subject first, then its delegators up to the root.
    pub principals: Vec<PrincipalVerdict>,
    /// What the tool does, where the bundle declares an action for it: the name of such an action does not say it.
    pub access: Option<AccessLevel>,
    /// The resources acted upon, under their canonical names.
    pub targets: SmallVec<[TargetSummary; 1]>,
    /// What an approval has to cover, for a deny with [`ReasonCode::ApprovalRequired`].
    pub challenge: Option<Box<Challenge>>,
    /// The side effects of an allow. They are not applied yet.
    pub effects: SideEffects,
}

/// A resource that a call acts upon, as reported with the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSummary {
    /// The canonical name, the id of the `Mcp::Resource` entity.
    pub id: SmolStr,
    /// The kind of target: `path`, `url`, `email`, `uuid`, `id` or `uri`.
    pub kind: &'static str,
    /// The role of the target in the call, as registered.
    pub role: Option<SmolStr>,
    /// The query of a URL.
    pub query: Option<SmolStr>,
}

/// What an approval has to cover for the call to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `sha256:<hex>` over the call and its expiry.
    pub digest: CallDigest,
    /// The approval has to be given before this time. Whole seconds.
    pub expires_at: SystemTime,
    /// The time from the decision to `expires_at`.
    pub valid_for: Duration,
    /// The call to approve.
    pub call: ApprovedCall,
    /// What the approver sees beside the call.
    pub circumstances: ApprovalContext,
}

/// The side effects of an allowed call.
#[derive(Debug, Clone, Default)]
pub struct SideEffects {
    /// The approval it uses, and the number of calls that approval covers.
    pub approval: Option<(ApprovalId, u32)>,
    /// The call budget of the task that it draws on, and its size in calls.
    pub budget: Option<(BudgetId, u64)>,
    /// The call budget of this tool in the task that it draws on, and its size in calls.
    pub tool_budget: Option<(BudgetId, u64)>,
    /// The tool called.
    pub tool: Option<EntityUID>,
    /// The labels that the result adds to the session.
    pub yields: SharedList<SmolStr>,
    /// The targets acted upon.
    pub targets: SharedList<Target>,
    /// What stands for everything on the server, if the call changes targets or may act upon some that it does not name.
    pub on_server: Option<EntityUID>,
    /// Whether the call may act upon things of its server that it does not name.
    pub is_unnamed: bool,
    /// Whether the result may contain data of the targets.
    pub reads: bool,
    /// For a call that changes its targets: the labels of the data its workflow has read.
    pub writes: Option<Arc<Labels>>,
}

impl SideEffects {
    /// The labels that the result adds to the session, with `found`, the labels stored with the targets, if
    /// the call reads.
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

/// What a call has used up and left behind; of a dry run, what it would have.
#[derive(Debug, Clone, Default)]
pub struct LeftBehind {
    /// The approval, once.
    pub approval: Option<ApprovalId>,
    /// One call of the budget of the task.
    pub budget: Option<BudgetId>,
    /// One call of the budget of the tool in the task.
    pub tool_budget: Option<BudgetId>,
    /// The labels that the result brings.
    pub added_labels: SharedList<SmolStr>,
    /// Whether the result may contain data of the targets.
    pub reads: bool,
    /// The labels that its targets have got.
    pub target_labels: Option<Arc<Labels>>,
}

impl LeftBehind {
    /// What an allow would leave behind.
    pub fn of_dry_run(effects: &SideEffects) -> Self {
        let id = |counted: &Option<(BudgetId, u64)>| counted.as_ref().map(|(id, _)| id.clone());
        Self {
            approval: effects.approval.as_ref().map(|(id, _)| id.clone()),
            budget: id(&effects.budget),
            tool_budget: id(&effects.tool_budget),
            added_labels: effects.yields.clone(),
            reads: effects.reads,
            target_labels: (effects.writes.clone()).filter(|it| !it.items().is_empty()),
        }
    }

    /// Both of these: an attempt to decide a call, and one before it.
    pub fn and(mut self, before: &Self) -> Self {
        let is_new = |label: &&SmolStr| !self.added_labels.contains(label);
        let new: Vec<_> = (before.added_labels.iter())
            .filter(is_new)
            .cloned()
            .collect();
        if !new.is_empty() {
            let all = self.added_labels.iter().cloned().chain(new);
            self.added_labels = all.collect();
        }
        let or = |own: Option<BudgetId>, before: &Option<BudgetId>| own.or_else(|| before.clone());
        Self {
            approval: self.approval.or_else(|| before.approval.clone()),
            budget: or(self.budget, &before.budget),
            tool_budget: or(self.tool_budget, &before.tool_budget),
            reads: self.reads || before.reads,
            target_labels: match (self.target_labels, &before.target_labels) {
                (Some(own), Some(before)) => Some(own.with(before.items())),
                (own, before) => own.or_else(|| before.clone()),
            },
            added_labels: self.added_labels,
        }
    }
}

/// The verdict for one principal.
#[derive(Debug, Clone)]
pub struct PrincipalVerdict {
    /// The principal of the Cedar request.
    pub principal: EntityUID,
    /// The action of the Cedar request.
    pub action: EntityUID,
    /// The resource of the Cedar request.
    pub resource: EntityUID,
    /// Cedar's decision; a policy that errors denies.
    pub outcome: Decision,
    /// The satisfied permits.
    pub permits: PolicyList,
    /// The satisfied forbids.
    pub forbids: PolicyList,
    /// The policies that could not be evaluated, each with Cedar's message.
    pub errors: Vec<(Arc<PolicyInfo>, String)>,
    /// The number of policies evaluated.
    pub policies_evaluated: u32,
}

impl Verdict {
    /// A deny for one reason, before or instead of evaluating policies.
    pub fn deny(reason: Reason) -> Self {
        Self {
            outcome: Decision::Deny,
            reasons: vec![reason],
            determining_policies: PolicyList::new(),
            shadow: PolicyList::new(),
            principals: Vec::new(),
            access: None,
            targets: SmallVec::new(),
            challenge: None,
            effects: SideEffects::default(),
        }
    }

    /// An allow that needs no policy: listing is free, calling is not.
    pub fn allow_unconditionally() -> Self {
        Self {
            outcome: Decision::Allow,
            reasons: Vec::new(),
            determining_policies: PolicyList::new(),
            shadow: PolicyList::new(),
            principals: Vec::new(),
            access: None,
            targets: SmallVec::new(),
            challenge: None,
            effects: SideEffects::default(),
        }
    }

    /// The allow that takes the place of a deny in observe mode. It keeps the reasons of the deny, and nothing that somebody
    /// would act upon: no challenge, no policies with their obligations.
    pub fn waived(self) -> Self {
        Self {
            outcome: Decision::Allow,
            determining_policies: PolicyList::new(),
            challenge: None,
            ..self
        }
    }

    /// The obligations of the determining policies, each once.
    pub fn obligations(&self) -> impl Iterator<Item = &Obligation> + Clone {
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

    /// The id of the root of the delegation chain, the party that obligations refer to.
    pub fn about(&self) -> &str {
        self.principals
            .last()
            .map_or("", |it| it.principal.eid().as_ref())
    }

    /// Whether the decision is allow.
    pub fn is_allow(&self) -> bool {
        self.outcome == Decision::Allow
    }
}

impl From<&Target> for TargetSummary {
    fn from(target: &Target) -> Self {
        Self {
            id: target.uid().eid().clone().into_smolstr(),
            kind: target.kind.as_str(),
            role: target.role.clone(),
            query: target.query.clone(),
        }
    }
}

impl Decision {
    /// `allow` or `deny`, as in telemetry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
