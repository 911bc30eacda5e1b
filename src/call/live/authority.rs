//! Everything that is lent, open, approved or stopped at one revision.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rpds::RedBlackTreeMapSync;
use smol_str::SmolStr;

use crate::call::decision::Reason;
use crate::call::live::approval::{Approval, ApprovalStatus};
use crate::call::live::approvals::Approvals;
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
    pub approvals: Approvals,
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

    /// What has been over since before a moment. A task goes last: what it was opened for can tell that it is over.
    pub fn ended_before(&self, before: SystemTime) -> Vec<Ended> {
        let grants = self.grants.values().filter(|it| it.ended_at() < before);
        let grants = grants.map(|it| Ended::Grant(it.id.clone()));
        let approvals = self.approvals.values().filter(|it| it.expires_at < before);
        let approvals = approvals.map(|it| Ended::Approval(it.id.clone()));
        let mut ended: Vec<Ended> = grants.chain(approvals).collect();
        let of_grants = self.grants.values().filter(|it| it.ended_at() >= before);
        let of_grants = of_grants.filter_map(|it| it.task.as_ref());
        let of_approvals = self.approvals.values().filter(|it| it.expires_at >= before);
        let of_approvals = of_approvals.filter_map(|it| it.call.task.as_ref());
        let needed: HashSet<&SmolStr> = of_grants.chain(of_approvals).collect();
        let is_over = |it: &&Arc<Task>| it.ended_at() < before && !needed.contains(&it.id);
        let tasks = self.tasks.values().filter(is_over);
        ended.extend(tasks.map(|it| Ended::Task(it.id.clone())));
        ended
    }

    /// The same without these, as far as they are still over since before that moment.
    pub fn without(&self, ended: &[Ended], before: SystemTime) -> Self {
        let mut next = self.clone();
        for ended in ended {
            match ended {
                Ended::Grant(id) => {
                    let grant = self.grants.get(id);
                    if grant.is_some_and(|it| it.ended_at() < before) {
                        next.grants.remove_mut(id);
                    }
                }
                Ended::Approval(id) => {
                    let approval = self.approvals.get(id);
                    if approval.is_some_and(|it| it.expires_at < before) {
                        next.approvals.remove_mut(id);
                    }
                }
                Ended::Task(id) => {
                    let task = self.tasks.get(id);
                    if task.is_some_and(|it| it.ended_at() < before) {
                        next.tasks.remove_mut(id);
                    }
                }
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

/// Something that is over, by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A delegation.
    Grant(SmolStr),
    /// An approval.
    Approval(SmolStr),
    /// A task.
    Task(SmolStr),
}
