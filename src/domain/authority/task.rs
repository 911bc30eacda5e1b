//! A task: privilege that exists for one piece of work and ends with it.

use std::time::SystemTime;

use callgate_engine::Overlay;
use callgate_engine::cedar::{EntityUID, Value};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::authority::scope::Scope;
use crate::domain::authority::terms::{TaskTerms, ToolUse};
use crate::domain::schema::{self, TYPES};

/// One piece of work of an agent for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Names it.
    pub id: SmolStr,
    /// Who works. Agents that it lends to may work in the task as well.
    #[serde(with = "form::uid")]
    pub agent: EntityUID,
    /// For whom.
    #[serde(with = "form::uid")]
    pub person: EntityUID,
    /// What it is about, in the words of whoever opened it.
    pub purpose: SmolStr,
    /// Which calls belong to it; `None` if any may, which leaves the limits below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What single tools are for, and which places the person has named.
    #[serde(default, skip_serializing_if = "TaskTerms::is_empty")]
    pub terms: TaskTerms,
    /// How many calls may be allowed in it; `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_budget: Option<u64>,
    /// Its steps in order; empty if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<TaskStep>,
    /// Which of the steps it is at.
    #[serde(default)]
    pub at_step: usize,
    /// When it was opened.
    #[serde(with = "form::moment")]
    pub opened_at: SystemTime,
    /// Open until just before here.
    #[serde(with = "form::moment")]
    pub deadline: SystemTime,
    /// When it was closed before that.
    #[serde(
        default,
        with = "form::maybe_moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub closed_at: Option<SystemTime>,
}

/// One step of a task: while the task is at it, only these calls belong to the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStep {
    /// Its name.
    pub name: SmolStr,
    /// Which calls it covers.
    pub scope: Scope,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Calls may be made in it.
    Open,
    /// Somebody ended it.
    Closed,
    /// Its deadline is over.
    Overdue,
}

impl HasParts for Task {
    fn id(&self) -> &SmolStr {
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
    /// When it ends, or ended.
    pub fn ended_at(&self) -> SystemTime {
        self.closed_at
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// How it stands.
    pub fn status(&self, now: SystemTime) -> TaskStatus {
        if self.closed_at.is_some() {
            TaskStatus::Closed
        } else if self.deadline <= now {
            TaskStatus::Overdue
        } else {
            TaskStatus::Open
        }
    }

    /// Whether it names its tools one by one, rather than whole servers or groups, or none.
    pub fn lists_tools(&self) -> bool {
        let lists = |scope: &Scope| scope.servers.is_empty() && scope.groups.is_empty();
        self.scope
            .as_ref()
            .or(self.step().map(|step| &step.scope))
            .is_some_and(lists)
    }

    /// How many calls of a tool may be allowed in it, and under which name they are counted.
    pub fn tool_budget(&self, tool: &EntityUID) -> Option<(SmolStr, u64)> {
        let named: &ToolUse = self.terms.of(tool)?;
        Some((named.counter(&self.id), named.max_calls?))
    }

    /// The step it is at.
    pub fn step(&self) -> Option<&TaskStep> {
        self.steps.get(self.at_step)
    }

    /// `Mcp::Task::"<id>"`.
    pub fn uid(&self) -> EntityUID {
        schema::entity(&TYPES.task, self.id.clone())
    }

    /// Its entity, for the requests that are asked about it.
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
