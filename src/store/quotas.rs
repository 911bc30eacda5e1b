//! How often approvals were used, and how much of their budgets tasks have spent.
//!
//! Both are taken here, in memory, under a lock: exactly as many callers get a yes as there is room for.
//! Both are written before the answer leaves.
//!
//! An approval is used rarely, so each use is a write. A task's calls are many, so they are reserved by
//! the block: what is written is how far the task may spend without writing again. A crash loses what was
//! reserved and not spent; it never gives anything back. How much crashes may have lost so far is written with each
//! block, and blocks become smaller by it, down to single calls, which lose nothing: however often a server crashes, a
//! sixteenth of the budget is lost at most.
//!
//! A call may only be answered on a block that is on the disk. [`Meters::spend`] says
//! [`Spend::Reserve`] as long as nobody has reported that with [`Meters::settled`]; calls that come
//! meanwhile write the same number once more and wait for their own write. So none depends on another, and
//! a write that failed is made up for by the next call.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::store::lock;
use crate::store::store::StoreWrite;

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;

const SHARDS: usize = 32;

/// Uses of approvals and budgets of tasks.
#[derive(Debug)]
pub struct Quotas {
    uses: Sharded<u32>,
    budgets: Sharded<TaskBudget>,
    /// What was reserved was given back, so nothing may be taken from it any more.
    is_released: AtomicBool,
}

/// What a task has spent. `spent` and `settled` are never beyond `reserved`.
#[derive(Debug, Clone, Copy, Default)]
struct TaskBudget {
    /// Calls allowed.
    spent: u64,
    /// Calls that may be allowed once that is written.
    reserved: u64,
    /// Calls that may be allowed, as it is written.
    settled: u64,
    /// Calls that crashes may have lost until the start.
    lost: u64,
    /// The same if the next crash is now.
    at_risk: u64,
}

/// How a call of a task stands. It is counted, unless the budget is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetSpend {
    /// It is paid for.
    Spent,
    /// It is once [`Write::TaskSpent`] with this number has been written. Then [`Meters::settled`].
    Reserve {
        /// How much the task may have spent then.
        spent: u64,
    },
    /// Nothing is left.
    Exhausted,
}

impl Quotas {
    /// Nothing used and nothing spent.
    pub fn new() -> Self {
        Self {
            uses: Sharded::new(),
            budgets: Sharded::new(),
            is_released: AtomicBool::new(false),
        }
    }

    /// How often an approval was used.
    pub fn approval_uses(&self, id: &str) -> u32 {
        self.uses.shard(id).get(id).copied().unwrap_or_default()
    }

    /// Uses an approval once, if it was used less than `max` times. Returns how often it was used now,
    /// which has to be written as [`Write::ApprovalUsed`] before the answer.
    pub fn use_approval(&self, id: &SmolStr, max: u32) -> Option<u32> {
        let mut shard = self.uses.shard(id);
        let uses = shard.entry_ref(id).or_default();
        if *uses >= max {
            return None;
        }
        *uses += 1;
        Some(*uses)
    }

    /// Takes a use back. Only for a call that was not allowed after all.
    pub fn give_use_back(&self, id: &str) {
        if let Some(uses) = self.uses.shard(id).get_mut(id) {
            *uses = uses.saturating_sub(1);
        }
    }

    /// Takes one call of a task's budget.
    pub fn spend(&self, id: &SmolStr, budget: u64) -> BudgetSpend {
        let mut shard = self.budgets.shard(id);
        let task = shard.entry_ref(id).or_default();
        // Asked under the lock: either a release counts this call, or this call sees the release.
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

    /// How much of a task's budget crashes may have lost if the next one is now: to be written with its block.
    pub fn at_risk(&self, id: &str) -> u64 {
        let shard = self.budgets.shard(id);
        shard.get(id).map_or(0, |task| task.at_risk)
    }

    /// It is written that the task may have spent that much.
    pub fn settled(&self, id: &str, spent: u64) {
        if let Some(task) = self.budgets.shard(id).get_mut(id) {
            task.settled = task.settled.max(spent.min(task.reserved));
        }
    }

    /// Takes a call back. Only for one that was not allowed after all.
    pub fn give_call_back(&self, id: &str) {
        if let Some(task) = self.budgets.shard(id).get_mut(id) {
            task.spent = task.spent.saturating_sub(1);
        }
    }

    /// How many calls are left of a task's budget.
    pub fn calls_left(&self, id: &str, budget: u64) -> u64 {
        let shard = self.budgets.shard(id);
        let spent = shard.get(id).map_or(0, |task| task.spent);
        budget.saturating_sub(spent)
    }

    /// Gives back what is reserved and not spent: what is to be written last. No call is paid for
    /// afterwards, as its reservation could be written before this is.
    pub fn release(&self) -> Vec<StoreWrite> {
        self.is_released.store(true, Ordering::Relaxed);
        let mut writes = Vec::new();
        for shard in &self.budgets.shards {
            for (id, task) in lock(shard).iter_mut() {
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

    /// Takes over what a store holds. For the start, before anything else.
    pub fn restore(&self, uses: Vec<(SmolStr, u32)>, spent: Vec<(SmolStr, u64)>) {
        for (id, uses) in uses {
            self.uses.shard(&id).insert(id.clone(), uses);
        }
        for (id, spent) in spent {
            let task = TaskBudget {
                spent,
                reserved: spent,
                settled: spent,
                ..TaskBudget::default()
            };
            self.budgets.shard(&id).insert(id.clone(), task);
        }
    }

    /// Takes over what crashes may have lost. After [`Meters::restore`].
    pub fn restore_lost(&self, lost: Vec<(SmolStr, u64)>) {
        for (id, lost) in lost {
            if let Some(task) = self.budgets.shard(&id).get_mut(&id) {
                task.lost = lost;
                task.at_risk = lost;
            }
        }
    }

    /// Forgets approvals and tasks that the store has forgotten.
    pub fn forget(&self, approvals: &[SmolStr], tasks: &[SmolStr]) {
        for id in approvals {
            self.uses.shard(id).remove(id);
        }
        if tasks.is_empty() {
            return;
        }
        // With the counters of its tools, `<task>/<tool>`.
        let gone: HashSet<&str> = tasks.iter().map(SmolStr::as_str).collect();
        for shard in &self.budgets.shards {
            let task = |id: &SmolStr| gone.contains(id.split('/').next().unwrap_or_default());
            lock(shard).retain(|id, _| !task(id) && !gone.contains(id.as_str()));
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

/// How many calls are reserved at once: few enough that losing them does not matter, many enough that
/// hardly a call of a large budget waits. Together with what crashes have lost it stays within a sixteenth.
fn block(budget: u64, lost: u64) -> u64 {
    (budget / 16).saturating_sub(lost).clamp(1, 1_024)
}

/// A map behind several locks.
#[derive(Debug)]
struct Sharded<T> {
    shards: [Mutex<HashMap<SmolStr, T, RandomState>>; SHARDS],
    hasher: RandomState,
}

impl<T> Sharded<T> {
    fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
        }
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, HashMap<SmolStr, T, RandomState>> {
        // The upper bits: the map within looks at the lower ones.
        let hash = self.hasher.hash_one(id) >> 32;
        lock(&self.shards[hash as usize % SHARDS])
    }
}
