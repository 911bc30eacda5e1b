//! The authority at one revision: delegations, tasks, approvals and stops.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use rpds::RedBlackTreeMapSync;

use crate::domain::authority::approval::{Approval, ApprovalStatus};
use crate::domain::authority::approval_index::ApprovalIndex;
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::indexed::{Indexed, Part};
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::{Task, TaskStatus};
use crate::domain::ids::{ApprovalId, DelegationId, TaskId};
use crate::domain::reason::Reason;

/// Delegations, tasks, approvals and stops at one revision. A clone is cheap: changed copies share what did
/// not change. Ids sort by creation time.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// Delegations, by id.
    pub delegations: Indexed<Delegation>,
    /// Tasks, by id.
    pub tasks: Indexed<Task>,
    /// Approvals, by id.
    pub approvals: ApprovalIndex,
    /// Stops by the uid of the stopped entity; each remains until it is lifted.
    pub stops: RedBlackTreeMapSync<EntityUID, Arc<Stop>>,
}

impl Authority {
    /// Verifies that none of these is stopped.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::Stopped`](crate::domain::reason::ReasonCode::Stopped) for the first that is.
    pub fn verify_not_stopped<'u>(
        &self,
        uids: impl IntoIterator<Item = &'u EntityUID>,
    ) -> Result<(), Reason> {
        if self.stops.is_empty() {
            return Ok(());
        }
        match uids.into_iter().find_map(|uid| self.stops.get(uid)) {
            Some(stop) => Err(Reason::stopped(stop)),
            None => Ok(()),
        }
    }

    /// Whether a delegation or a task names this agent.
    pub fn names(&self, agent: &EntityUID) -> bool {
        let parts = [Part::Acts(agent.clone()), Part::Behind(agent.clone())];
        parts.iter().any(|part| {
            let mut delegations = self.delegations.with(Some(part), None);
            delegations.next().is_some() || self.tasks.with(Some(part), None).next().is_some()
        })
    }

    /// The status of one link: the delegation and its task, regardless of its parents and of its agents.
    pub fn link_status(&self, link: &Delegation, now: SystemTime) -> DelegationStatus {
        let status = link.status(now);
        match status.is_over() || !self.is_over(link.task.as_ref(), now) {
            true => status,
            false => DelegationStatus::TaskEnded,
        }
    }

    /// The status of a delegation: that of the first link from it up to the root which is over, or else of the first which
    /// is not active for now. A delegation whose parent is gone, or that is further down than a link above it allows by now,
    /// counts as revoked.
    pub fn delegation_status(
        &self,
        snapshot: &Snapshot,
        delegation: &Delegation,
        now: SystemTime,
    ) -> DelegationStatus {
        let status_of = |link: &Delegation| match self.link_status(link, now) {
            status if status.is_over() || link.is_between_the_same(snapshot) => status,
            _ => DelegationStatus::AgentGone,
        };
        let mut link = delegation;
        let mut status = status_of(link);
        let mut links_below = 0;
        // Chains are short and acyclic: both are checked before a link is stored.
        while let (false, Some(id)) = (status.is_over(), &link.parent) {
            links_below += 1;
            let parent = self.delegations.get(id).map(Arc::as_ref);
            let Some(parent) = parent.filter(|parent| link.follows_from(parent, links_below))
            else {
                return DelegationStatus::Revoked;
            };
            status = status.with_parent(status_of(parent));
            link = parent;
        }
        status
    }

    /// The status of an approval after `uses` calls, including its task and its agents.
    pub fn approval_status(
        &self,
        snapshot: &Snapshot,
        approval: &Approval,
        uses: u32,
        now: SystemTime,
    ) -> ApprovalStatus {
        let status = approval.status(uses, now);
        if !matches!(status, ApprovalStatus::Approved | ApprovalStatus::Pending) {
            return status;
        }
        let task = approval.call.task.as_ref();
        if self.is_over(task, now) {
            return ApprovalStatus::TaskEnded;
        }
        let task = task.and_then(|id| self.tasks.get(id));
        let is_of_same_task = task.is_none_or(|task| task.is_of_the_same(snapshot));
        match is_of_same_task && approval.is_of_the_same(snapshot) {
            true => status,
            false => ApprovalStatus::AgentGone,
        }
    }

    /// Records that ended before this time. Tasks come last, after the records that refer to them.
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
        let needed: HashSet<&TaskId> = of_delegations.chain(of_approvals).collect();
        let is_over = |it: &&Arc<Task>| it.ended_at() < before && !needed.contains(&it.id);
        let tasks = self.tasks.values().filter(is_over);
        ended.extend(tasks.map(|it| ExpiredRecord::Task(it.id.clone())));
        ended
    }

    /// The authority without these records, as far as they ended before this time.
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

    /// Whether a task is given and not open.
    fn is_over(&self, task: Option<&TaskId>, now: SystemTime) -> bool {
        let open = |id| {
            let task = self.tasks.get(id)?;
            Some(task.status(now) == TaskStatus::Open)
        };
        task.is_some_and(|id| open(id) != Some(true))
    }
}

/// The id of a record that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpiredRecord {
    /// A delegation.
    Delegation(DelegationId),
    /// An approval.
    Approval(ApprovalId),
    /// A task.
    Task(TaskId),
}
