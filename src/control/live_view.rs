//! Delegations, tasks and approvals with their status at one moment.

use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::authority::approval::{Approval, ApprovalStatus};
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::{Task, TaskStatus};
use crate::service::Service;
use crate::service::generation::Generation;

/// A delegation and its status.
#[derive(Debug, Clone)]
pub struct DelegationView {
    /// The delegation.
    pub delegation: Arc<Delegation>,
    /// Its status, its whole chain considered.
    pub status: DelegationStatus,
}

/// A task and its status.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task.
    pub task: Arc<Task>,
    /// Its status, its agent considered.
    pub status: TaskStatus,
    /// The calls left of its budget, if it has one.
    pub calls_left: Option<u64>,
    /// The calls left of each tool that its terms name, in their order.
    pub tool_calls_left: Vec<Option<u64>>,
}

/// An approval and its status.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// The approval.
    pub approval: Arc<Approval>,
    /// Its status, its task and its agents considered.
    pub status: ApprovalStatus,
    /// The number of its uses.
    pub used: u32,
}

/// A generation, and the moment of a view on it.
#[derive(Clone, Copy)]
pub(super) struct LiveView<'v> {
    pub(super) service: &'v Service,
    pub(super) generation: &'v Generation,
    pub(super) now: SystemTime,
}

impl LiveView<'_> {
    /// A delegation is in force only while its whole chain is, and each parent permits redelegation.
    pub(super) fn delegation(&self, delegation: &Arc<Delegation>) -> DelegationView {
        let Generation {
            authority,
            snapshot,
            ..
        } = self.generation;
        let status = authority.delegation_status(snapshot, delegation, self.now);
        DelegationView {
            delegation: Arc::clone(delegation),
            status,
        }
    }

    pub(super) fn task(&self, task: &Arc<Task>) -> TaskView {
        TaskView {
            status: task.status_in(&self.generation.snapshot, self.now),
            calls_left: self.service.calls_left(task),
            tool_calls_left: self.service.tool_calls_left(task),
            task: Arc::clone(task),
        }
    }

    pub(super) fn approval(&self, approval: &Arc<Approval>) -> ApprovalView {
        self.approval_in(&self.generation.authority, approval)
    }

    /// An approval whose tasks are those of another authority.
    pub(super) fn approval_in(
        &self,
        authority: &Authority,
        approval: &Arc<Approval>,
    ) -> ApprovalView {
        let used = self.service.facts().quotas.approval_uses(&approval.id);
        let snapshot = &self.generation.snapshot;
        ApprovalView {
            status: authority.approval_status(snapshot, approval, used, self.now),
            approval: Arc::clone(approval),
            used,
        }
    }
}
