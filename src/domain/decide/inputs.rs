//! What a decision is made from: one revision, and what has happened so far.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::labels::{self, CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::Usage;
use crate::domain::decide::challenge;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::registration::{RegisteredTool, RegisteredTools};
use crate::domain::request::definition::DefinitionDigests;

/// Everything that a decision reads, besides the call.
#[derive(Debug, Clone, Copy)]
pub struct DecisionInputs<'w> {
    /// Policies, entities, schema.
    pub snapshot: &'w Snapshot,
    /// The registered tools among the entities, read once; `None` if nobody has: then each is read as it is asked for.
    pub tools: Option<&'w RegisteredTools>,
    /// What is lent, open and approved.
    pub authority: &'w Authority,
    /// What has happened so far.
    pub past: History<'w>,
    /// Whom policies about approvals name: users, and groups of them.
    pub named_approvers: &'w [EntityUID],
    /// How long a challenge is good for.
    pub valid_for: Duration,
}

/// What has happened so far, as far as it concerns one call.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'w> {
    /// The session that the call names.
    pub session: Option<&'w Session>,
    /// What is known of the rest of its work; `None` if nobody looked.
    pub carried: Option<&'w CarriedLabels>,
    /// How much the subject, and the tool by the subject, have been used; `None` if nobody looked.
    pub usage: Option<Usage>,
    /// What is left of the budget of the task that the call names; `None` if it has none.
    pub calls_left: Option<u64>,
    /// What is left of what that task allows of the tool that is called; `None` if it does not count them.
    pub tool_calls_left: Option<u64>,
    /// What a list has shown last of the tool that is called, through the same gateway, unless that is what is pinned or
    /// no list was seen.
    pub definition: Option<&'w DefinitionDigests>,
    /// How often the approvals that the call names were used, in the same order.
    pub approval_uses: &'w [u32],
}

impl<'w> From<&'w Snapshot> for DecisionInputs<'w> {
    /// Policies and entities alone: nothing is lent, open or approved, and nothing has happened.
    fn from(snapshot: &'w Snapshot) -> Self {
        static NOTHING: LazyLock<Authority> = LazyLock::new(Authority::default);
        Self {
            snapshot,
            tools: None,
            authority: &NOTHING,
            past: History::default(),
            named_approvers: &[],
            valid_for: challenge::DEFAULT_VALIDITY,
        }
    }
}

impl DecisionInputs<'_> {
    /// The registered tool of this name.
    pub fn tool(&self, uid: &EntityUID) -> Option<Arc<RegisteredTool>> {
        match self.tools {
            Some(tools) => tools.get(uid).cloned(),
            None => {
                let stored = self.snapshot.entity(uid)?;
                Some(Arc::new(RegisteredTool::read(uid, stored)))
            }
        }
    }
}

impl History<'_> {
    /// The labels of everything that a call carries, together. A call that carries nothing, and one of which nobody has
    /// looked, counts as one that has read everything.
    pub fn labels(&self, carries_anything: bool) -> Arc<Labels> {
        let session = self.session.map(|session| &session.labels);
        let unknown = (self.carried.is_none() || !carries_anything).then(labels::unknown);
        let parts = self.carried.into_iter().flat_map(CarriedLabels::parts);
        let all = labels::union(unknown.iter().chain(session).chain(parts));
        all.unwrap_or_else(labels::none)
    }
}

/// The reason to deny once a task has made all the calls of a tool it may.
pub fn tool_budget_spent(task: &SmolStr, tool: &EntityUID) -> Reason {
    let tool: &str = tool.eid().as_ref();
    let message = format!("task `{task}` has made all the calls of `{tool}` it may");
    Reason::new(ReasonCode::TaskBudgetSpent, message)
}

/// The reason to deny once a task has made all the calls it may.
pub fn budget_spent(task: &SmolStr) -> Reason {
    let message = format!("task `{task}` has made all the calls it may");
    Reason::new(ReasonCode::TaskBudgetSpent, message)
}
