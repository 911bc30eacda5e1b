//! The inputs of a decision: one revision of policies and authority, and the history of the call's workflow.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::labels::{self, CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::Usage;
use crate::domain::decide::observer::EvaluationObserver;
use crate::domain::ids::TaskId;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::registration::{RegisteredTool, RegisteredTools};
use crate::domain::request::definition::DefinitionDigests;

/// Everything a decision reads besides the call.
#[derive(Debug, Clone, Copy)]
pub struct DecisionInputs<'w> {
    /// Policies, entities and schema.
    pub snapshot: &'w Snapshot,
    /// The registered tools of the snapshot; `None` reads each from its entity on demand.
    pub tools: Option<&'w RegisteredTools>,
    /// Delegations, tasks, approvals and stops.
    pub authority: &'w Authority,
    /// The history of the workflow.
    pub history: History<'w>,
    /// The users and groups that approval policies name.
    pub named_approvers: &'w [EntityUID],
    /// The validity period of a challenge.
    pub valid_for: Duration,
    /// Is shown the Cedar requests of the decision; `None` in a server.
    pub observer: Option<&'w dyn EvaluationObserver>,
}

/// What has happened so far in the workflow of one call.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'w> {
    /// The session of the call.
    pub session: Option<&'w Session>,
    /// The labels of the rest of its workflow; `None` if they were not looked up.
    pub carried: Option<&'w CarriedLabels>,
    /// The usage of the subject and of the tool by the subject; `None` if it was not looked up.
    pub usage: Option<Usage>,
    /// The remaining calls of the task's budget; `None` without a budget.
    pub calls_left: Option<u64>,
    /// The remaining calls of this tool in the task; `None` without a limit.
    pub tool_calls_left: Option<u64>,
    /// For a list: the tools whose own budget in the task is spent.
    pub spent_tools: &'w [EntityUID],
    /// The definition that a list last showed for the tool through this gateway; `None` if it is the pinned
    /// one or no list was seen.
    pub definition: Option<&'w DefinitionDigests>,
    /// How often each approval of the call was used, in the order of `approval_ids`.
    pub approval_uses: &'w [u32],
}

impl<'w> From<&'w Snapshot> for DecisionInputs<'w> {
    /// Policies and entities alone, with no authority and no history.
    fn from(snapshot: &'w Snapshot) -> Self {
        static NOTHING: LazyLock<Authority> = LazyLock::new(Authority::default);
        Self {
            snapshot,
            tools: None,
            authority: &NOTHING,
            history: History::default(),
            named_approvers: &[],
            valid_for: DEFAULT_VALIDITY,
            observer: None,
        }
    }
}

impl DecisionInputs<'_> {
    /// The registered tool with this uid.
    pub fn tool(&self, uid: &EntityUID) -> Option<Arc<RegisteredTool>> {
        match self.tools {
            Some(tools) => tools.get(uid).cloned(),
            None => {
                let stored = self.snapshot.entity(uid)?;
                Some(Arc::new(RegisteredTool::from_entity(uid, stored)))
            }
        }
    }
}

impl History<'_> {
    /// The labels of everything the call carries. A call that carries nothing, or whose carriers were not
    /// looked up, has the labels of an unknown origin.
    pub fn labels(&self, carries_anything: bool) -> Arc<Labels> {
        let session = self.session.map(|session| &session.labels);
        let unknown = (self.carried.is_none() || !carries_anything).then(labels::unknown_origin);
        let parts = self.carried.into_iter().flat_map(CarriedLabels::parts);
        let all = labels::union(unknown.iter().chain(session).chain(parts));
        all.unwrap_or_else(labels::no_labels)
    }
}

/// The reason once a task has used up its calls of a tool.
pub fn tool_budget_spent(task: &TaskId, tool: &EntityUID) -> Reason {
    let tool: &str = tool.eid().as_ref();
    let message = format!("task `{task}` has made all the calls of `{tool}` it may");
    Reason::new(ReasonCode::TaskBudgetSpent, message)
}

/// The reason once a task has used up its call budget.
pub fn budget_spent(task: &TaskId) -> Reason {
    let message = format!("task `{task}` has made all the calls it may");
    Reason::new(ReasonCode::TaskBudgetSpent, message)
}

/// The caller that requests a decision, and how its claims are mapped.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// The authenticated policy enforcement point.
    pub caller: &'a Caller,
    /// Which claims become facts.
    pub claims: &'a ClaimMapping,
}

/// The default validity period of a challenge.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(900);
