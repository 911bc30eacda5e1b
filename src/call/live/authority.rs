//! Everything that is lent, open, approved or stopped at one revision.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy_core::ast::EntityUID;
use rpds::RedBlackTreeMapSync;
use smol_str::SmolStr;

use crate::call::decision::Reason;
use crate::call::live::approval::{Approval, ApprovalStatus};
use crate::call::live::grant::{Grant, GrantStatus};
use crate::call::live::stop::Stop;
use crate::call::live::task::{Task, TaskStatus};

/// Delegations, tasks, approvals and stops of one revision. Cloning is cheap, and a changed copy shares what
/// did not change. Ids sort by the time they were made.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// Delegations, by id.
    pub grants: RedBlackTreeMapSync<SmolStr, Arc<Grant>>,
    /// Tasks, by id.
    pub tasks: RedBlackTreeMapSync<SmolStr, Arc<Task>>,
    /// Approvals, by id.
    pub approvals: RedBlackTreeMapSync<SmolStr, Arc<Approval>>,
    /// What is stopped, by its name. It stays until the stop is lifted.
    pub stops: RedBlackTreeMapSync<EntityUID, Arc<Stop>>,
}

impl Authority {
    /// Nothing that is stopped takes part in anything.
    pub fn verify_running<'u>(
        &self,
        uids: impl IntoIterator<Item = &'u EntityUID>,
    ) -> Result<(), Reason> {
        if self.stops.is_empty() {
            return Ok(());
        }
        match uids.into_iter().find_map(|uid| self.stops.get(uid)) {
            Some(stop) => Err(stop.deny()),
            None => Ok(()),
        }
    }

    /// How a grant stands, with its task.
    pub fn grant_status(&self, grant: &Grant, now: SystemTime) -> GrantStatus {
        match grant.status(now) {
            GrantStatus::Active if self.is_over(grant.task.as_ref(), now) => GrantStatus::TaskOver,
            status => status,
        }
    }

    /// How an approval stands after that many uses, with its task.
    pub fn approval_status(
        &self,
        approval: &Approval,
        uses: u32,
        now: SystemTime,
    ) -> ApprovalStatus {
        match approval.status(uses, now) {
            ApprovalStatus::Approved | ApprovalStatus::Pending
                if self.is_over(approval.call.task.as_ref(), now) =>
            {
                ApprovalStatus::TaskOver
            }
            status => status,
        }
    }

    /// The same without what has been over since before a moment. A task goes last: what it was opened
    /// for can tell that it is over.
    pub fn without_ended(&self, before: SystemTime) -> Self {
        let mut next = self.clone();
        for (id, grant) in &self.grants {
            if grant.ended_at() < before {
                next.grants.remove_mut(id);
            }
        }
        for (id, approval) in &self.approvals {
            if approval.expires_at < before {
                next.approvals.remove_mut(id);
            }
        }
        let tasks_of_grants = next.grants.values().filter_map(|grant| grant.task.as_ref());
        let tasks_of_approvals = next.approvals.values();
        let tasks_of_approvals =
            tasks_of_approvals.filter_map(|approval| approval.call.task.as_ref());
        let needed: HashSet<&SmolStr> = tasks_of_grants.chain(tasks_of_approvals).collect();
        for (id, task) in &self.tasks {
            if task.ended_at() < before && !needed.contains(id) {
                next.tasks.remove_mut(id);
            }
        }
        next
    }

    /// Whether there was a task and it is no longer open.
    fn is_over(&self, task: Option<&SmolStr>, now: SystemTime) -> bool {
        let open = |id| {
            let task = self.tasks.get(id)?;
            Some(task.status(now) == TaskStatus::Open)
        };
        task.is_some_and(|id| open(id) != Some(true))
    }
}
