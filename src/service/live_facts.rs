//! The facts that change with every call: sessions, labels, usage, quotas and shown definitions.
//!
//! Start at [`LiveFacts`]. Decisions read and change them through [`side_effects`](crate::service::side_effects); what the store
//! has written, what other servers have, and what is pruned comes in here.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::chain::resolve_chain;
use crate::domain::authority::change::Change;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::LabelCarrierRef;
use crate::domain::authority::state::Authority;
use crate::domain::ids::{ApprovalId, BudgetId};
use crate::domain::schema::TYPES;
use crate::service::fleet::shared_facts::{BudgetExhausted, SharedFacts};
use crate::service::fleet::state::FleetState;
use crate::service::replaced_tasks::ReplacedTasks;
use crate::service::settings::ServiceSettings;
use crate::store::backend::{
    Pruned, StoreError, StoreWrite, StoredDefinition, StoredLabel, StoredState, UsageCount,
};
use crate::store::carrier_labels::CarrierLabels;
use crate::store::quotas::{BudgetSpend, Quotas};
use crate::store::resource_labels::ResourceLabels;
use crate::store::sessions::Sessions;
use crate::store::shown_definitions::ShownDefinitions;
use crate::store::usage::UsageLedger;

/// The facts that change with every call.
pub struct LiveFacts {
    /// Sessions.
    pub sessions: Sessions,
    /// Labels of tasks, delegations and pairs.
    pub carrier_labels: CarrierLabels,
    /// Labels of resources that calls wrote to.
    pub resource_labels: ResourceLabels,
    /// Usage.
    pub usage: UsageLedger,
    /// Budgets and uses of approvals.
    pub quotas: Quotas,
    /// Definitions that lists have shown.
    pub definitions: ShownDefinitions,
    /// What several servers spend from, if there are others.
    pub shared: Option<SharedFacts>,
    /// What requests may still take tasks for.
    replaced_tasks: ReplacedTasks,
}

/// What an allow has used up in memory, before it is written and on record.
#[derive(Debug, Clone, Default)]
pub struct UsedUp {
    /// The approval, once.
    pub approval: Option<ApprovalId>,
    /// One call of each budget.
    pub budgets: Vec<BudgetId>,
}

impl LiveFacts {
    /// Restores the facts of a store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if usage cannot be read.
    pub fn restore(
        settings: &ServiceSettings,
        loaded: &mut StoredState,
        fleet: Option<Arc<FleetState>>,
    ) -> Result<Self, StoreError> {
        let facts = Self {
            shared: fleet.map(SharedFacts::new),
            sessions: Sessions::new(settings.sessions),
            carrier_labels: CarrierLabels::new(settings.carriers, settings.pair_label_ttl),
            resource_labels: ResourceLabels::new(
                settings.labeled_resources,
                settings.resource_label_ttl,
            ),
            usage: UsageLedger::new(settings.usage_entries),
            quotas: Quotas::new(),
            definitions: ShownDefinitions::new(settings.definition_ttl),
            replaced_tasks: ReplacedTasks::default(),
        };
        if facts.shared.is_some() {
            facts.sessions.share();
            facts.usage.share();
        }
        facts.refill(loaded)?;
        Ok(facts)
    }

    /// Restores the facts of a store into an empty memory.
    fn refill(&self, loaded: &mut StoredState) -> Result<(), StoreError> {
        self.sessions.restore(std::mem::take(&mut loaded.unbegun));
        self.sessions.restore_ended(&loaded.ended_sessions);
        let shown = std::mem::take(&mut loaded.shown_tools);
        self.definitions.restore(shown);
        let labels = std::mem::take(&mut loaded.labels).into_iter();
        let (places, labels) = labels.partition(|it| it.carrier.as_ref().is_resource());
        self.resource_labels.restore(places);
        self.carrier_labels.restore(labels);
        let at = loaded.clock.unwrap_or(SystemTime::UNIX_EPOCH);
        self.link_all_agents(&loaded.authority, at);
        self.usage.restore(std::mem::take(&mut loaded.usage))?;
        let uses = std::mem::take(&mut loaded.approval_uses);
        let spent = std::mem::take(&mut loaded.task_spent);
        if let Some(shared) = &self.shared {
            shared.budgets.restore(&spent, loaded.facts);
        }
        self.quotas.restore(uses, spent);
        let lost = std::mem::take(&mut loaded.task_lost);
        self.quotas.restore_lost(lost);
        if self.shared.is_some() {
            self.carrier_labels.unsettle();
            self.resource_labels.unsettle();
        }
        Ok(())
    }

    /// Spends one call of a budget. Returns what has to be written first.
    pub(super) fn spend(
        &self,
        id: &BudgetId,
        budget: u64,
    ) -> Result<Option<StoreWrite>, BudgetExhausted> {
        if let Some(shared) = &self.shared {
            return shared.spend(id, budget);
        }
        match self.quotas.spend(id, budget) {
            BudgetSpend::Spent => Ok(None),
            BudgetSpend::Reserve { spent } => Ok(Some(StoreWrite::TaskSpent {
                id: id.clone(),
                spent,
                is_exact: false,
                lost: self.quotas.at_risk(id),
            })),
            BudgetSpend::Exhausted => Err(BudgetExhausted),
        }
    }

    /// The number of tasks, delegations, pairs and resources with labels.
    pub fn carriers_with_labels(&self) -> usize {
        self.carrier_labels.len() + self.resource_labels.len()
    }

    /// Notes that the store has made these writes.
    pub fn mark_written(&self, writes: &[StoreWrite]) {
        for write in writes {
            match write {
                StoreWrite::SessionLabels { id, labels, .. } => {
                    self.sessions.mark_written(id, labels)
                }
                StoreWrite::Labels {
                    carrier, labels, ..
                } if carrier.as_ref().is_resource() => {
                    self.resource_labels.mark_written(carrier, labels)
                }
                StoreWrite::Labels {
                    carrier, labels, ..
                } => self.carrier_labels.mark_written(carrier, labels),
                StoreWrite::TaskSpent { id, spent, .. } => self.quotas.mark_written(id, *spent),
                _ => {}
            }
        }
        if let Some(shared) = &self.shared {
            shared.mark_written(writes);
        }
    }

    /// Applies a change of authority that is written and goes into service in the place of `before`. Nothing is forgotten
    /// that requests read which have pinned a generation from before it.
    pub fn apply_change(&self, change: &Change, at: SystemTime, before: Option<&Authority>) {
        match change {
            Change::SessionEnded { session } => self.sessions.end(session, at),
            Change::Task(task) => {
                let before = before.and_then(|before| before.tasks.get(&task.id));
                self.replaced_tasks.note(before, task);
            }
            Change::Grant(delegation) => {
                if let Some((root, agent)) =
                    before.and_then(|before| self.link_agents(before, delegation, at))
                {
                    self.carrier_labels.share(root, agent, at);
                }
            }
            _ => {}
        }
    }

    /// Links the agents of all stored delegations, and gives each what those that it is linked to have read.
    fn link_all_agents(&self, authority: &Authority, at: SystemTime) {
        let linked: Vec<_> = (authority.delegations.values())
            .filter_map(|delegation| self.link_agents(authority, delegation, at))
            .map(|(root, agent)| (root.clone(), agent.clone()))
            .collect();
        self.carrier_labels.share_all(linked, at);
    }

    /// Links the agents of a stored delegation until it ends, or as far as it goes without it. If they are linked by it, gives the
    /// root and one of them, which is then to be given what the other has read for the root. That is written with the next
    /// call of one of them; until then, a start and every other server give it anew.
    fn link_agents<'a>(
        &self,
        authority: &'a Authority,
        delegation: &'a Delegation,
        at: SystemTime,
    ) -> Option<(&'a EntityUID, &'a EntityUID)> {
        // A user does not work together with agents: see `call_carriers`.
        if *delegation.from.entity_type() != TYPES.agent {
            return None;
        }
        let root = match &delegation.parent {
            None => Some(&delegation.from),
            Some(parent) => {
                let parent = authority.delegations.get(parent);
                let chain = parent.and_then(|parent| resolve_chain(authority, parent).ok());
                chain.and_then(|chain| Some(&chain.first()?.from))
            }
        };
        let root = root?;
        let (labels, agents) = (&self.carrier_labels, [&delegation.from, &delegation.to]);
        let until = delegation.expires_at;
        if delegation.revoked_at.is_some() || until <= at {
            labels.links.ended(root, agents, &delegation.id);
            return None;
        }
        labels.links.granted(root, agents, &delegation.id, until);
        Some((root, &delegation.to))
    }

    /// Forgets the labels of closed tasks that no request takes for open any more.
    pub fn forget_closed(&self) {
        for id in self.replaced_tasks.take_over() {
            self.carrier_labels.remove(LabelCarrierRef::Task(&id));
        }
    }

    /// Forgets what the store has pruned.
    pub fn forget(&self, gone: &Pruned) {
        self.sessions.forget_stored(&gone.sessions);
        self.quotas.forget(&gone.approvals, &gone.tasks);
        if let Some(shared) = &self.shared {
            shared.budgets.forget(&gone.tasks);
        }
        let tasks = gone.tasks.iter().map(LabelCarrierRef::Task);
        let delegations = gone.delegations.iter().map(LabelCarrierRef::Delegation);
        for carrier in tasks.chain(delegations) {
            self.carrier_labels.remove(carrier);
        }
    }

    /// The calls left of a budget, as far as it is known here.
    pub fn calls_left(&self, id: &BudgetId, budget: u64) -> u64 {
        match &self.shared {
            Some(shared) => shared.budgets.calls_left(id, budget),
            None => self.quotas.calls_left(id, budget),
        }
    }

    /// Gives back what a call has used up of which nothing is written, and learns what the store says is used. What may
    /// have been written stays used up.
    pub(super) fn release(&self, used_up: &UsedUp, writes: &[StoreWrite], error: &StoreError) {
        if error.is_outcome_unknown() {
            tracing::error!(%error, "what a denied call would use up may be written: it stays used up");
            return;
        }
        let Some(shared) = &self.shared else {
            return self.give_back(used_up);
        };
        if let Some(approval) = &used_up.approval {
            self.quotas.return_approval(approval);
        }
        // A call of a block that this server had stays spent: the block may be gone meanwhile.
        let StoreError::Taken { id: taken, used } = error else {
            return;
        };
        for write in writes {
            match write {
                StoreWrite::ApprovalTaken { id, .. } if id == taken.as_str() => {
                    let uses = u32::try_from(*used).unwrap_or(u32::MAX);
                    self.quotas.learn_approval(id, uses);
                }
                StoreWrite::BudgetTaken { id, .. } if id == taken.as_str() => {
                    shared.budgets.learn_at_least(id, *used);
                }
                _ => {}
            }
        }
    }

    /// Gives back what a call has used up that is not made, although that may be written. With other servers it stays used
    /// up, as they go by what is written.
    pub(super) fn give_back(&self, used_up: &UsedUp) {
        if self.shared.is_some() {
            return;
        }
        if let Some(approval) = &used_up.approval {
            self.quotas.return_approval(approval);
        }
        for budget in &used_up.budgets {
            self.quotas.return_call(budget);
        }
    }

    /// Applies what other servers have written.
    pub(super) fn merge(
        &self,
        labels: Vec<(StoredLabel, bool)>,
        tools: Vec<(SmolStr, EntityUID, Option<StoredDefinition>)>,
        usage: &[UsageCount],
        uses: &[(ApprovalId, u32)],
        spent: &[(BudgetId, u64, u64)],
    ) {
        let is_resource = |(label, _): &(StoredLabel, bool)| label.carrier.as_ref().is_resource();
        let (of_resources, of_carriers): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(is_resource);
        self.resource_labels.merge(of_resources);
        self.carrier_labels.merge(of_carriers);
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
    pub(super) fn reload(&self, loaded: &mut StoredState) -> Result<(), StoreError> {
        self.sessions.clear();
        self.carrier_labels.clear();
        self.resource_labels.clear();
        self.usage.clear();
        self.quotas.clear();
        self.replaced_tasks.clear();
        if let Some(shared) = &self.shared {
            shared.budgets.clear();
        }
        self.refill(loaded)
    }
}
