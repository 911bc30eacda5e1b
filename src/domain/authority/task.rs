//! Tasks: authority for one piece of work, which ends with it.

use std::time::SystemTime;

use callgate_engine::cedar::{EntityUID, Value};
use callgate_engine::{Overlay, Snapshot};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::authority::ownership;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::terms::{TaskTerms, ToolUse};
use crate::domain::ids::{BudgetId, TaskId};
use crate::domain::schema::{self, TYPES};

/// A piece of work of an agent for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The agent. Its delegates may work in the task as well.
    #[serde(with = "form::uid")]
    pub agent: EntityUID,
    /// Whose the agent was when the task was opened. It is for no other agent of this name. `None` if it was opened before
    /// this was recorded.
    #[serde(
        default,
        with = "form::maybe_uid",
        skip_serializing_if = "Option::is_none"
    )]
    pub agent_owner: Option<EntityUID>,
    /// The user.
    #[serde(with = "form::uid")]
    pub person: EntityUID,
    /// The purpose, in the words of whoever opened the task.
    pub purpose: SmolStr,
    /// The calls that belong to the task; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What tools are for, and the resources that the user has named.
    #[serde(default, skip_serializing_if = "TaskTerms::is_empty")]
    pub terms: TaskTerms,
    /// The maximum number of allowed calls; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_budget: Option<u64>,
    /// The steps in order; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<TaskStep>,
    /// The index of the current step.
    #[serde(default)]
    pub at_step: usize,
    /// When it was opened.
    #[serde(with = "form::moment")]
    pub opened_at: SystemTime,
    /// Open before this time.
    #[serde(with = "form::moment")]
    pub deadline: SystemTime,
    /// When it was closed.
    #[serde(
        default,
        with = "form::maybe_moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub closed_at: Option<SystemTime>,
}

/// A step of a task, which restricts the task's scope while it is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStep {
    /// The name of the step.
    pub name: SmolStr,
    /// The calls it covers.
    pub scope: Scope,
}

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Open.
    Open,
    /// Closed before its deadline.
    Closed,
    /// Past its deadline.
    Overdue,
    /// Its agent is gone, or belongs to somebody else than when it was opened.
    AgentGone,
}

impl HasParts for Task {
    type Id = TaskId;

    fn id(&self) -> &TaskId {
        &self.id
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        [
            Part::Acts(self.agent.clone()),
            Part::Behind(self.person.clone()),
        ]
        .into_iter()
    }
}

impl Task {
    /// When it ends or ended.
    pub fn ended_at(&self) -> SystemTime {
        self.closed_at
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// Whether its agent is there, and belongs to whom it did when the task was opened.
    pub fn is_of_the_same(&self, snapshot: &Snapshot) -> bool {
        ownership::is_the_same(snapshot, &self.agent, self.agent_owner.as_ref())
    }

    /// The status at `now`, its agent considered.
    pub fn status_in(&self, snapshot: &Snapshot, now: SystemTime) -> TaskStatus {
        match self.status(now) {
            TaskStatus::Open if !self.is_of_the_same(snapshot) => TaskStatus::AgentGone,
            status => status,
        }
    }

    /// The status at `now`, regardless of its agent.
    pub fn status(&self, now: SystemTime) -> TaskStatus {
        if self.closed_at.is_some() {
            TaskStatus::Closed
        } else if self.deadline <= now {
            TaskStatus::Overdue
        } else {
            TaskStatus::Open
        }
    }

    /// Whether its scope names tools only, rather than servers or groups.
    pub fn lists_tools(&self) -> bool {
        let lists = |scope: &Scope| scope.servers.is_empty() && scope.groups.is_empty();
        self.scope
            .as_ref()
            .or(self.step().map(|step| &step.scope))
            .is_some_and(lists)
    }

    /// The budget in calls, and its size; `None` without a limit.
    pub fn budget(&self) -> Option<(BudgetId, u64)> {
        Some((BudgetId::of_task(&self.id), self.call_budget?))
    }

    /// The budget in calls of a tool, and its size; `None` without a limit.
    pub fn tool_budget(&self, tool: &EntityUID) -> Option<(BudgetId, u64)> {
        let named: &ToolUse = self.terms.for_tool(tool)?;
        Some((named.budget_id(&self.id), named.max_calls?))
    }

    /// The current step.
    pub fn step(&self) -> Option<&TaskStep> {
        self.steps.get(self.at_step)
    }

    /// `Mcp::Task::"<id>"`.
    pub fn uid(&self) -> EntityUID {
        schema::entity_uid(&TYPES.task, self.id.text().clone())
    }

    /// The task's entity, as an overlay for Cedar requests.
    pub fn overlay(&self) -> Overlay {
        let attributes = [
            ("agent", Value::new(self.agent.clone(), None)),
            ("person", Value::new(self.person.clone(), None)),
            ("purpose", Value::new(self.purpose.clone(), None)),
        ];
        Overlay {
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (SmolStr::new_static(name), value))
                .collect(),
            ..Overlay::bare(self.uid())
        }
    }
}
