//! What calls use up and leave behind, when several servers decide.
//!
//! Uses of approvals and blocks of budgets are taken in the database, each only if it is left. New labels of tasks,
//! delegations, pairs and resources are written only if no other server has added one that the decision has not seen,
//! and are known everywhere before the response leaves. Labels of a session are written before the response by the one
//! server that decides it.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::service::fleet::state::FleetState;
use crate::service::side_effects::LiveFacts;
use crate::store::backend::{
    StoreError, StoreWrite, StoredDefinition, StoredLabel, StoredState, UsageCount,
};
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
    pub(in crate::service) fn seen_as(&self) -> (SmolStr, u64) {
        (self.state.member(), self.state.facts())
    }

    /// Spends one call of a budget. Returns what has to be written first.
    pub(in crate::service) fn spend(
        &self,
        id: &SmolStr,
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

impl LiveFacts {
    /// The calls left of a budget, as far as it is known here.
    pub fn calls_left(&self, id: &str, budget: u64) -> u64 {
        match &self.shared {
            Some(shared) => shared.budgets.calls_left(id, budget),
            None => self.quotas.calls_left(id, budget),
        }
    }

    /// Takes back what a refused write would have used up, and learns what the store says is used.
    pub(in crate::service) fn take_back(&self, writes: &[StoreWrite], error: &StoreError) {
        let Some(shared) = self.shared.as_ref().filter(|_| error.is_conflict()) else {
            return;
        };
        for write in writes {
            if let StoreWrite::ApprovalTaken { id, .. } = write {
                self.quotas.return_approval(id);
            }
        }
        let StoreError::Taken { id: taken, used } = error else {
            return;
        };
        for write in writes {
            match write {
                StoreWrite::ApprovalTaken { id, .. } if id == taken => {
                    let uses = u32::try_from(*used).unwrap_or(u32::MAX);
                    self.quotas.learn_approval(id, uses);
                }
                StoreWrite::BudgetTaken { id, .. } if id == taken => {
                    shared.budgets.learn_at_least(id, *used);
                }
                _ => {}
            }
        }
    }

    /// Applies what other servers have written.
    pub(in crate::service) fn merge(
        &self,
        labels: Vec<(StoredLabel, bool)>,
        tools: Vec<(SmolStr, EntityUID, Option<StoredDefinition>)>,
        usage: &[UsageCount],
        uses: &[(SmolStr, u32)],
        spent: &[(SmolStr, u64, u64)],
    ) {
        for (label, is_own) in labels {
            match label.carrier.as_ref().is_resource() {
                true => self.resource_labels.merge(label, is_own),
                false => self.carrier_labels.merge(label, is_own),
            }
        }
        self.definitions.merge(tools);
        self.usage.merge(usage);
        for (id, uses) in uses {
            self.quotas.learn_approval(id, *uses);
        }
        for (id, spent, fact) in spent {
            if let Some(shared) = &self.shared {
                shared.budgets.learn(id, *spent, *fact);
            }
        }
    }

    /// Forgets everything and takes over what a store holds. Nothing may be decided meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if usage cannot be read.
    pub(in crate::service) fn reload(&self, loaded: &mut StoredState) -> Result<(), StoreError> {
        self.sessions.clear();
        self.carrier_labels.clear();
        self.resource_labels.clear();
        self.usage.clear();
        self.quotas.clear();
        if let Some(shared) = &self.shared {
            shared.budgets.clear();
        }
        self.refill(loaded)
    }
}
