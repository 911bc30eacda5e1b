//! Everything that is lent, open, approved or stopped at one revision.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rpds::RedBlackTreeMapSync;
use smol_str::SmolStr;

use crate::domain::authority::approval::{Approval, ApprovalStatus};
use crate::domain::authority::approval_index::ApprovalIndex;
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::indexed::Indexed;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::{Task, TaskStatus};
use crate::domain::decide::verdict::Reason;

/// Delegations, tasks, approvals and stops of one revision. Cloning is cheap, and a changed copy shares what
/// did not change. Ids sort by the time they were made.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// Delegations, by id.
    pub delegations: Indexed<Delegation>,
    /// Tasks, by id.
    pub tasks: Indexed<Task>,
    /// Approvals, by id.
    pub approvals: ApprovalIndex,
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
    pub fn delegation_status(&self, delegation: &Delegation, now: SystemTime) -> DelegationStatus {
        match delegation.status(now) {
            DelegationStatus::Active if self.is_over(delegation.task.as_ref(), now) => {
                DelegationStatus::TaskEnded
            }
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
                ApprovalStatus::TaskEnded
            }
            status => status,
        }
    }

    /// What has been over since before a moment. A task goes last: what it was opened for can tell that it is over.
    pub fn ended_before(&self, before: SystemTime) -> Vec<ExpiredRecord> {
        let delegations = self
            .delegations
            .values()
            .filter(|it| it.ended_at() < before);
        let delegations = delegations.map(|it| ExpiredRecord::Delegation(it.id.clone()));
        let approvals = self.approvals.values().filter(|it| it.expires_at < before);
        let approvals = approvals.map(|it| ExpiredRecord::Approval(it.id.clone()));
        let mut ended: Vec<ExpiredRecord> = delegations.chain(approvals).collect();
        let of_delegations = self
            .delegations
            .values()
            .filter(|it| it.ended_at() >= before);
        let of_delegations = of_delegations.filter_map(|it| it.task.as_ref());
        let of_approvals = self.approvals.values().filter(|it| it.expires_at >= before);
        let of_approvals = of_approvals.filter_map(|it| it.call.task.as_ref());
        let needed: HashSet<&SmolStr> = of_delegations.chain(of_approvals).collect();
        let is_over = |it: &&Arc<Task>| it.ended_at() < before && !needed.contains(&it.id);
        let tasks = self.tasks.values().filter(is_over);
        ended.extend(tasks.map(|it| ExpiredRecord::Task(it.id.clone())));
        ended
    }

    /// The same without these, as far as they are still over since before that moment.
    pub fn without(&self, ended: &[ExpiredRecord], before: SystemTime) -> Self {
        let mut next = self.clone();
        for ended in ended {
            match ended {
                ExpiredRecord::Delegation(id) => {
                    let delegation = self.delegations.get(id);
                    if delegation.is_some_and(|it| it.ended_at() < before) {
                        next.delegations.remove_mut(id);
                    }
                }
                ExpiredRecord::Approval(id) => {
                    let approval = self.approvals.get(id);
                    if approval.is_some_and(|it| it.expires_at < before) {
                        next.approvals.remove_mut(id);
                    }
                }
                ExpiredRecord::Task(id) => {
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
pub enum ExpiredRecord {
    /// A delegation.
    Delegation(SmolStr),
    /// An approval.
    Approval(SmolStr),
    /// A task.
    Task(SmolStr),
}
