//! Delegations, tasks and approvals as they stand at one moment.

use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::authority::approval::{Approval, ApprovalStatus};
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::task::{Task, TaskStatus};
use crate::service::decisions::Service;
use crate::service::generation::Generation;

/// A delegation and how it stands.
#[derive(Debug, Clone)]
pub struct DelegationView {
    /// The delegation.
    pub delegation: Arc<Delegation>,
    /// How it stands, with everything it was lent on from.
    pub status: DelegationStatus,
}

/// A task and how it stands.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task.
    pub task: Arc<Task>,
    /// How it stands.
    pub status: TaskStatus,
    /// What is left of its budget, if it has one.
    pub calls_left: Option<u64>,
    /// The same for each tool of which its terms say something, in their order.
    pub tool_calls_left: Vec<Option<u64>>,
}

/// An approval and how it stands.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// The approval.
    pub approval: Arc<Approval>,
    /// How it stands, with its task.
    pub status: ApprovalStatus,
    /// How often the call was made.
    pub used: u32,
}

/// A state, and the moment it is looked at.
#[derive(Clone, Copy)]
pub(super) struct LiveView<'v> {
    pub(super) service: &'v Service,
    pub(super) generation: &'v Generation,
    pub(super) now: SystemTime,
}

impl LiveView<'_> {
    /// A link holds only while everything that it was lent on from holds, and may still be lent on.
    pub(super) fn delegation(&self, delegation: &Arc<Delegation>) -> DelegationView {
        let authority = &self.generation.authority;
        let mut status = authority.delegation_status(delegation, self.now);
        let mut link = delegation;
        // Chains are short and without cycles: both are checked before a link is made.
        while let (DelegationStatus::Active, Some(id)) = (status, &link.parent) {
            let parent = authority.delegations.get(id);
            let Some(parent) =
                parent.filter(|parent| parent.max_redelegations > link.max_redelegations)
            else {
                status = DelegationStatus::Revoked;
                break;
            };
            status = authority.delegation_status(parent, self.now);
            link = parent;
        }
        DelegationView {
            delegation: Arc::clone(delegation),
            status,
        }
    }

    pub(super) fn task(&self, task: &Arc<Task>) -> TaskView {
        TaskView {
            status: task.status(self.now),
            calls_left: self.service.calls_left(task),
            tool_calls_left: self.service.tool_calls_left(task),
            task: Arc::clone(task),
        }
    }

    pub(super) fn approval(&self, approval: &Arc<Approval>) -> ApprovalView {
        let used = self.service.facts().quotas.approval_uses(&approval.id);
        let authority = &self.generation.authority;
        ApprovalView {
            status: authority.approval_status(approval, used, self.now),
            approval: Arc::clone(approval),
            used,
        }
    }
}
