//! Call budgets that several servers spend from.
//!
//! The store holds how many calls of each budget are spent, and gives calls to one server only while some are left: so
//! no budget is overspent, whoever stops, restarts or is cut off. Each server takes calls in blocks of a sixteenth of
//! what is left, and spends them without a write. What a server has taken counts as spent everywhere else: near its end
//! a budget is taken call by call. A server that crashes loses the block that it has begun.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::domain::ids::{BudgetId, TaskId};
use crate::store::backend::StoreWrite;
use crate::store::sharded::Sharded;

#[cfg(test)]
#[path = "shared_budgets_tests.rs"]
mod tests;

const SHARDS: usize = 32;
/// The most calls of one block.
const MAX_BLOCK: u64 = 1_024;

/// Budgets by id.
#[derive(Debug)]
pub struct SharedBudgets {
    budgets: Sharded<HashMap<BudgetId, SharedBudget, RandomState>>,
    /// Nothing is spent any more.
    is_released: AtomicBool,
}

#[derive(Debug, Clone, Copy, Default)]
struct SharedBudget {
    /// Calls that are spent or taken by some server, as far as it is known here.
    spent: u64,
    /// The number of the fact that told it.
    fact: u64,
    /// Calls that this server has taken and not spent.
    free: u64,
}

/// The result of spending one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedSpend {
    /// It is covered by a block of this server.
    Spent,
    /// It is covered once [`StoreWrite::BudgetTaken`] with so many calls is written; report that with
    /// [`SharedBudgets::taken`].
    Take {
        /// The calls of the block, this one included.
        calls: u64,
    },
    /// Nothing is left, as far as it is known here.
    Exhausted,
}

impl SharedBudgets {
    /// Budgets of which nothing is spent.
    pub fn new() -> Self {
        Self {
            budgets: Sharded::with_shards(SHARDS),
            is_released: AtomicBool::new(false),
        }
    }

    /// Spends one call of a budget.
    pub fn spend(&self, id: &BudgetId, budget: u64) -> SharedSpend {
        let mut shard = self.budgets.lock(id);
        let known = shard.entry_ref(id).or_default();
        // Under the lock: either the release counts this call, or this call sees the release.
        if self.is_released.load(Ordering::Relaxed) {
            return SharedSpend::Exhausted;
        }
        if known.free > 0 {
            known.free -= 1;
            return SharedSpend::Spent;
        }
        match budget.saturating_sub(known.spent) {
            0 => SharedSpend::Exhausted,
            left => SharedSpend::Take {
                calls: (left / 16).clamp(1, MAX_BLOCK),
            },
        }
    }

    /// Notes that the store has given this server a block, of which one call is spent.
    pub fn taken(&self, id: &BudgetId, calls: u64) {
        let mut shard = self.budgets.lock(id);
        shard.entry_ref(id).or_default().free += calls.saturating_sub(1);
    }

    /// Notes how much is spent, as of a fact. An earlier one never replaces a later one.
    pub fn learn(&self, id: &BudgetId, spent: u64, fact: u64) {
        let mut shard = self.budgets.lock(id);
        let known = shard.entry_ref(id).or_default();
        if fact >= known.fact {
            (known.spent, known.fact) = (spent, fact);
        }
    }

    /// Notes that at least so much is spent.
    pub fn learn_at_least(&self, id: &BudgetId, spent: u64) {
        let mut shard = self.budgets.lock(id);
        let known = shard.entry_ref(id).or_default();
        known.spent = known.spent.max(spent);
    }

    /// The calls left, as far as it is known here.
    pub fn calls_left(&self, id: &BudgetId, budget: u64) -> u64 {
        let shard = self.budgets.lock(id);
        let known = shard.get(id).copied().unwrap_or_default();
        let left = budget.saturating_sub(known.spent);
        left.saturating_add(known.free).min(budget)
    }

    /// Gives back what is taken and not spent. Nothing is spent afterwards.
    pub fn release(&self) -> Vec<StoreWrite> {
        self.is_released.store(true, Ordering::Relaxed);
        let mut writes = Vec::new();
        for mut shard in self.budgets.each() {
            for (id, known) in shard.iter_mut().filter(|(_, known)| known.free > 0) {
                writes.push(StoreWrite::BudgetReturned {
                    id: id.clone(),
                    calls: std::mem::take(&mut known.free),
                });
            }
        }
        writes
    }

    /// Forgets everything, blocks of this server included: a store that has lost something has lost them.
    pub fn clear(&self) {
        self.budgets.each().for_each(|mut shard| shard.clear());
    }

    /// Restores what a store holds, as of a fact.
    pub fn restore(&self, spent: &[(BudgetId, u64)], fact: u64) {
        for (id, spent) in spent {
            self.learn(id, *spent, fact);
        }
    }

    /// Forgets the budgets of tasks that the store has pruned.
    pub fn forget(&self, tasks: &[TaskId]) {
        if tasks.is_empty() {
            return;
        }
        // The budgets of a task's tools, `<task>/<tool>`, go with it.
        let gone: HashSet<TaskId> = tasks.iter().cloned().collect();
        for mut shard in self.budgets.each() {
            shard.retain(|id, _| !id.is_within(&gone));
        }
    }
}

impl Default for SharedBudgets {
    fn default() -> Self {
        Self::new()
    }
}
