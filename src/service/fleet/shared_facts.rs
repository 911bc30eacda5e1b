//! What calls use up and leave behind, when several servers decide.
//!
//! Uses of approvals and blocks of budgets are taken in the database, each only if it is left. New labels of tasks,
//! delegations, pairs and resources are written only if no other server has added one that the decision has not seen,
//! and are known everywhere before the response leaves. Labels of a session are written before the response by the one
//! server that decides it.

use std::sync::Arc;

use crate::domain::ids::{BudgetId, MemberId};
use crate::service::fleet::state::FleetState;
use crate::store::backend::StoreWrite;
use crate::store::shared_budgets::{SharedBudgets, SharedSpend};

/// Facts that several servers change.
pub struct SharedFacts {
    /// How far this server is.
    pub state: Arc<FleetState>,
    /// Call budgets.
    pub budgets: SharedBudgets,
}

/// Nothing is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetExhausted;

impl SharedFacts {
    /// Facts of which nothing is known yet.
    pub fn new(state: Arc<FleetState>) -> Self {
        Self {
            state,
            budgets: SharedBudgets::new(),
        }
    }

    /// The membership under which a decision is made, and the last fact that it sees at least.
    pub(in crate::service) fn seen_as(&self) -> (MemberId, u64) {
        (self.state.member(), self.state.facts())
    }

    /// Spends one call of a budget. Returns what has to be written first.
    pub(in crate::service) fn spend(
        &self,
        id: &BudgetId,
        budget: u64,
    ) -> Result<Option<StoreWrite>, BudgetExhausted> {
        match self.budgets.spend(id, budget) {
            SharedSpend::Spent => Ok(None),
            SharedSpend::Take { calls } => Ok(Some(StoreWrite::BudgetTaken {
                id: id.clone(),
                calls,
                most: budget,
            })),
            SharedSpend::Exhausted => Err(BudgetExhausted),
        }
    }

    /// Notes that the store has made these writes, in the callback of their commit.
    pub(in crate::service) fn mark_written(&self, writes: &[StoreWrite]) {
        let mut has_taken = false;
        for write in writes {
            if let StoreWrite::BudgetTaken { id, calls, .. } = write {
                self.budgets.taken(id, *calls);
                has_taken = true;
            }
        }
        if has_taken {
            for (id, spent, fact) in self.state.membership().progress().spent() {
                self.budgets.learn(&id, spent, fact);
            }
        }
    }
}
