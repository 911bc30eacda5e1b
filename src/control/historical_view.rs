//! Changes as they were when they were made, whatever happened to them since.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;

use crate::control::entities::{EntitySource, EntityView};
use crate::control::live_view::{ApprovalView, DelegationView, TaskView};
use crate::domain::authority::approval::Approval;
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::Task;

/// The moment of a change, and what is known now of the authority at that time.
#[derive(Clone, Copy)]
pub struct HistoricalView<'p> {
    /// When the change was made.
    pub at: SystemTime,
    /// The current authority, whose ended records have their end times.
    pub authority: &'p Authority,
}

impl HistoricalView<'_> {
    /// A delegation as the change left it. A parent that has been pruned since was in force at that time.
    pub fn delegation(self, delegation: &Arc<Delegation>) -> DelegationView {
        let mut status = self.status(delegation, delegation.revoked_at.is_some());
        let mut link = Arc::clone(delegation);
        // Chains are short and have no cycles: both are checked when a delegation is granted.
        while let (false, Some(parent)) = (status.is_over(), self.parent(&link)) {
            let above = self.status(&parent, self.was(parent.revoked_at));
            status = status.with_parent(above);
            link = parent;
        }
        DelegationView {
            delegation: Arc::clone(delegation),
            status,
        }
    }

    /// A task as the change left it. The rest of its budget is known only at its opening.
    pub fn task(self, task: &Arc<Task>, is_opened: bool) -> TaskView {
        TaskView {
            status: task.status(self.at),
            calls_left: task.call_budget.filter(|_| is_opened),
            tool_calls_left: {
                let uses = task.terms.uses.iter();
                uses.map(|it| it.max_calls.filter(|_| is_opened)).collect()
            },
            task: Arc::clone(task),
        }
    }

    /// An approval as the change left it: requested or decided, and not used yet.
    pub fn approval(self, approval: &Arc<Approval>) -> ApprovalView {
        ApprovalView {
            status: approval.status(0, self.at),
            approval: Arc::clone(approval),
            used: 0,
        }
    }

    fn parent(self, link: &Delegation) -> Option<Arc<Delegation>> {
        self.authority
            .delegations
            .get(link.parent.as_ref()?)
            .cloned()
    }

    fn status(self, delegation: &Delegation, is_revoked: bool) -> DelegationStatus {
        let task = delegation.task.as_ref();
        let task = task.and_then(|id| self.authority.tasks.get(id));
        if is_revoked {
            return DelegationStatus::Revoked;
        }
        let standing = Delegation {
            revoked_at: None,
            ..delegation.clone()
        };
        let status = standing.status(self.at);
        match status.is_over() || task.is_none_or(|task| !self.is_over(task)) {
            true => status,
            false => DelegationStatus::TaskEnded,
        }
    }

    fn is_over(self, task: &Task) -> bool {
        self.was(task.closed_at) || task.deadline <= self.at
    }

    /// Whether an event had happened before the change. An event at the same moment came after it: what a change
    /// relies on holds when it is made.
    fn was(self, happened: Option<SystemTime>) -> bool {
        happened.is_some_and(|at| at < self.at)
    }
}

/// An entity as it was put. Only entities that the bundle does not define can be put, so it was in force.
pub fn entity(uid: &EntityUID, json: &str) -> Option<EntityView> {
    Some(EntityView {
        uid: uid.clone(),
        json: serde_json::from_str(json).ok()?,
        source: EntitySource::Stored,
    })
}

#[cfg(test)]
#[path = "historical_view_tests.rs"]
mod tests;
