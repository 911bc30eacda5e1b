//! Quotas: uses of approvals and call budgets of tasks.
//!
//! Both are taken in memory under a lock, so never more than the quota is granted, and both are written before the
//! response leaves.
//!
//! Uses of an approval are rare, so each is a write. Calls of a task are frequent, so they are reserved in blocks: the
//! store holds how far the task may spend without another write. A crash loses what was reserved and not spent; it
//! never gives anything back. How much crashes may have lost so far is written with each block, and blocks shrink by
//! it, down to single calls, which lose nothing. So crashes lose a sixteenth of a budget at most.
//!
//! A call may be answered only on a block that is on disk. [`Quotas::spend`] returns [`BudgetSpend::Reserve`] until
//! that has been reported with [`Quotas::mark_written`]. Concurrent calls write the same number again and wait for
//! their own write: none depends on another, and the next call makes up for a failed write.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::domain::ids::{ApprovalId, BudgetId, TaskId};
use crate::store::backend::StoreWrite;
use crate::store::sharded::Sharded;

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;

const SHARDS: usize = 32;

/// Uses of approvals and budgets of tasks, by id.
#[derive(Debug)]
pub struct Quotas {
    uses: Sharded<HashMap<ApprovalId, u32, RandomState>>,
    budgets: Sharded<HashMap<BudgetId, TaskBudget, RandomState>>,
    /// Whether reservations were released, so that nothing may be spent any more.
    is_released: AtomicBool,
}

/// What a task has spent, in calls. `spent` and `settled` never exceed `reserved`.
#[derive(Debug, Clone, Copy, Default)]
struct TaskBudget {
    /// Calls allowed.
    spent: u64,
    /// Calls that may be allowed once this is written.
    reserved: u64,
    /// Calls that may be allowed according to the store.
    settled: u64,
    /// Calls that crashes before the start may have lost.
    lost: u64,
    /// Calls that may be lost if the server crashes now, earlier crashes included.
    at_risk: u64,
}

/// The result of spending one call. The call is counted unless the budget is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetSpend {
    /// The call is covered by a written block.
    Spent,
    /// The call is covered once [`StoreWrite::TaskSpent`] with this number is written. Report that with
    /// [`Quotas::mark_written`].
    Reserve {
        /// The number of calls that the task may have spent then.
        spent: u64,
    },
    /// The budget is used up.
    Exhausted,
}

impl Quotas {
    /// Quotas of which nothing is used.
    pub fn new() -> Self {
        Self {
            uses: Sharded::with_shards(SHARDS),
            budgets: Sharded::with_shards(SHARDS),
            is_released: AtomicBool::new(false),
        }
    }

    /// The number of uses of an approval.
    pub fn approval_uses(&self, id: &ApprovalId) -> u32 {
        self.uses.lock(id).get(id).copied().unwrap_or_default()
    }

    /// Uses an approval once if it has been used fewer than `max` times. Returns the number of uses, which must be
    /// written as [`StoreWrite::ApprovalUsed`] before the response.
    pub fn use_approval(&self, id: &ApprovalId, max: u32) -> Option<u32> {
        let mut shard = self.uses.lock(id);
        let uses = shard.entry_ref(id).or_default();
        if *uses >= max {
            return None;
        }
        *uses += 1;
        Some(*uses)
    }

    /// Gives back a use of a call that is not made, as nothing of it is written.
    pub fn return_approval(&self, id: &ApprovalId) {
        if let Some(uses) = self.uses.lock(id).get_mut(id) {
            *uses = uses.saturating_sub(1);
        }
    }

    /// Notes how often an approval has been used on all servers together.
    pub fn learn_approval(&self, id: &ApprovalId, uses: u32) {
        let mut shard = self.uses.lock(id);
        let known = shard.entry_ref(id).or_default();
        *known = (*known).max(uses);
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        self.uses.each().for_each(|mut shard| shard.clear());
        self.budgets.each().for_each(|mut shard| shard.clear());
    }

    /// Spends one call of a task's budget.
    pub fn spend(&self, id: &BudgetId, budget: u64) -> BudgetSpend {
        let mut shard = self.budgets.lock(id);
        let task = shard.entry_ref(id).or_default();
        // Checked under the lock: either the release counts this call, or this call sees the release.
        if task.spent >= budget || self.is_released.load(Ordering::Relaxed) {
            return BudgetSpend::Exhausted;
        }
        if task.spent == task.reserved {
            let block = block(budget, task.lost);
            task.reserved = task.spent.saturating_add(block).min(budget);
            task.at_risk = task.at_risk.max(task.lost.saturating_add(block - 1));
        }
        task.spent += 1;
        if task.spent <= task.settled {
            return BudgetSpend::Spent;
        }
        BudgetSpend::Reserve {
            spent: task.reserved,
        }
    }

    /// Gives back one call of a budget that is not made, as nothing of it is written. The block that it belongs to is
    /// written with the next call.
    pub fn return_call(&self, id: &BudgetId) {
        if let Some(task) = self.budgets.lock(id).get_mut(id) {
            task.spent = task.spent.saturating_sub(1);
        }
    }

    /// How many calls of a task's budget are lost if the server crashes now, earlier crashes included; to be written
    /// with its block.
    pub fn at_risk(&self, id: &BudgetId) -> u64 {
        let shard = self.budgets.lock(id);
        shard.get(id).map_or(0, |task| task.at_risk)
    }

    /// Notes that the store holds that the task may have spent this many calls.
    pub fn mark_written(&self, id: &BudgetId, spent: u64) {
        if let Some(task) = self.budgets.lock(id).get_mut(id) {
            task.settled = task.settled.max(spent.min(task.reserved));
        }
    }

    /// The calls left of a task's budget.
    pub fn calls_left(&self, id: &BudgetId, budget: u64) -> u64 {
        let shard = self.budgets.lock(id);
        let spent = shard.get(id).map_or(0, |task| task.spent);
        budget.saturating_sub(spent)
    }

    /// Releases what is reserved and not spent, as the last write. No call is covered afterwards, as its reservation
    /// could be written before this is.
    pub fn release(&self) -> Vec<StoreWrite> {
        self.is_released.store(true, Ordering::Relaxed);
        let mut writes = Vec::new();
        for mut shard in self.budgets.each() {
            for (id, task) in shard.iter_mut() {
                if task.reserved > task.spent || task.at_risk > task.lost {
                    writes.push(StoreWrite::TaskSpent {
                        id: id.clone(),
                        spent: task.spent,
                        is_exact: true,
                        lost: task.lost,
                    });
                }
                task.reserved = task.spent;
            }
        }
        writes
    }

    /// Restores what a store holds. Only at the start.
    pub fn restore(&self, uses: Vec<(ApprovalId, u32)>, spent: Vec<(BudgetId, u64)>) {
        for (id, uses) in uses {
            self.uses.lock(&id).insert(id.clone(), uses);
        }
        for (id, spent) in spent {
            let task = TaskBudget {
                spent,
                reserved: spent,
                settled: spent,
                ..TaskBudget::default()
            };
            self.budgets.lock(&id).insert(id.clone(), task);
        }
    }

    /// Restores how many calls crashes may have lost. After [`Quotas::restore`].
    pub fn restore_lost(&self, lost: Vec<(BudgetId, u64)>) {
        for (id, lost) in lost {
            if let Some(task) = self.budgets.lock(&id).get_mut(&id) {
                task.lost = lost;
                task.at_risk = lost;
            }
        }
    }

    /// Forgets approvals and tasks that the store has pruned.
    pub fn forget(&self, approvals: &[ApprovalId], tasks: &[TaskId]) {
        for id in approvals {
            self.uses.lock(id).remove(id);
        }
        if tasks.is_empty() {
            return;
        }
        // The counters of a task's tools, `<task>/<tool>`, go with it.
        let gone: HashSet<TaskId> = tasks.iter().cloned().collect();
        for mut shard in self.budgets.each() {
            shard.retain(|id, _| !id.is_within(&gone));
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

/// The size of a block: few enough calls that losing them does not matter, many enough that calls of a large budget
/// rarely wait. With what crashes have lost it stays within a sixteenth of the budget.
fn block(budget: u64, lost: u64) -> u64 {
    (budget / 16).saturating_sub(lost).clamp(1, 1_024)
}
