//! Side effects of an allowed call: committed in memory first, then written, then the response leaves.
//!
//! Order: the session, other carriers of labels, the budget, the approval. Each step holds or denies. What an earlier
//! step took is not given back, so a call that loses a race costs its session or task a little and gains nothing. What is
//! taken is noted as it is ([`LeftBehind`]), so that the record of the decision says it, whatever becomes of the call. If the
//! store refuses the write, or the call cannot be put on record, the budget and the approval are given back, as the call is
//! denied; labels stay.

use std::borrow::Cow;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;

use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::task::Task;
use crate::domain::authority::usage::Usage;
use crate::domain::decide::inputs::{self, History};
use crate::domain::decide::verdict::{LeftBehind, Reason, ReasonCode, SideEffects};
use crate::domain::ids::{BudgetId, MemberId};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::operation::{Listing, OperationKind};
use crate::service::call_carriers::CallCarriers;
use crate::service::fleet::shared_facts::{BudgetExhausted, SharedFacts};
use crate::service::generation::Generation;
use crate::service::live_facts::{LiveFacts, UsedUp};
use crate::service::request::RequestMeta;
use crate::store::backend::StoreWrite;
use crate::store::carrier_labels::LabelCapacityError;
use crate::store::sessions::AdvanceError;
use crate::store::shown_definitions::GatewayTool;
use smol_str::SmolStr;

/// The facts that one decision observed.
pub struct Observed<'c> {
    carriers: CallCarriers<'c>,
    carried: CarriedLabels,
    session: Option<Session>,
    /// The session has to be had first; nothing may be decided on these facts.
    is_session_missing: bool,
    usage: Option<Usage>,
    calls_left: Option<u64>,
    tool_calls_left: Option<u64>,
    spent_tools: Vec<EntityUID>,
    approval_uses: Vec<u32>,
    definition: Option<DefinitionDigests>,
    /// The membership under which they were observed, and the last fact before.
    seen_as: Option<(MemberId, u64)>,
}

impl Observed<'_> {
    /// Takes the chain of the call for a mere assertion.
    pub(super) fn doubt_chain(&mut self) {
        self.carriers.doubt();
    }

    /// Writes that are made only if other servers have written nothing that this decision should have seen.
    fn guarded(&self, mut writes: Vec<StoreWrite>) -> Vec<StoreWrite> {
        let Some((member, fact)) = self.seen_as.as_ref().filter(|_| !writes.is_empty()) else {
            return writes;
        };
        let mut guards = vec![StoreWrite::DecidedAs(member.clone())];
        if writes
            .iter()
            .any(|it| matches!(it, StoreWrite::Labels { .. }))
        {
            guards.push(StoreWrite::LabelsSeen {
                fact: *fact,
                carriers: self.carriers.all(),
            });
        }
        guards.append(&mut writes);
        guards
    }

    /// Whether the session has to be had first: read from the store, or from another server.
    pub fn is_session_missing(&self) -> bool {
        self.is_session_missing
    }

    /// The history for the decision.
    pub fn history(&self) -> History<'_> {
        History {
            session: self.session.as_ref(),
            carried: Some(&self.carried),
            usage: self.usage,
            calls_left: self.calls_left,
            tool_calls_left: self.tool_calls_left,
            spent_tools: &self.spent_tools,
            approval_uses: &self.approval_uses,
            definition: self.definition.as_ref(),
        }
    }
}

/// The result of committing the side effects of an allow.
pub enum Commit {
    /// All are committed in memory; the response waits until this is written, if it is anything. If it is not, what is used
    /// up is given back.
    Applied(Vec<StoreWrite>, UsedUp),
    /// The session has changed since it was observed: decide again.
    Conflict,
    /// A concurrent call took what was left.
    Denied(Reason),
    /// The session has left memory or gone to another server since: have it again, and decide again.
    SessionNotHeld,
}

fn used_up(effects: &SideEffects) -> UsedUp {
    let budgets = effects.tool_budget.iter().chain(&effects.budget);
    UsedUp {
        approval: effects.approval.as_ref().map(|(id, _)| id.clone()),
        budgets: budgets.map(|(id, _)| id.clone()).collect(),
    }
}

/// What stays of a call if the store refuses these writes: labels, and what is not given back of a budget that several servers
/// spend from, a call of a part that this one had.
pub(super) fn after_refusal(
    left: &LeftBehind,
    writes: &[StoreWrite],
    is_shared: bool,
) -> LeftBehind {
    let is_refused = |budget: &BudgetId| {
        writes
            .iter()
            .any(|it| matches!(it, StoreWrite::BudgetTaken { id, .. } if id == budget))
    };
    let stays = |budget: &Option<BudgetId>| {
        let budget = budget.clone().filter(|_| is_shared);
        budget.filter(|budget| !is_refused(budget))
    };
    LeftBehind {
        approval: None,
        budget: stays(&left.budget),
        tool_budget: stays(&left.tool_budget),
        ..left.clone()
    }
}

impl Commit {
    /// Of a call that uses nothing up and leaves nothing behind.
    pub fn nothing() -> Self {
        Self::Applied(Vec::new(), UsedUp::default())
    }

    fn overloaded(message: &str) -> Self {
        Self::Denied(Reason::new(ReasonCode::Overloaded, message))
    }
}

impl LiveFacts {
    /// Observes all facts that concern a call.
    pub fn observe<'c>(
        &self,
        ask: &RequestMeta<'_>,
        generation: &'c Generation,
        call: &'c CallContext,
        now: SystemTime,
    ) -> Observed<'c> {
        // First: what comes meanwhile counts as not seen.
        let seen_as = self.shared.as_ref().map(SharedFacts::seen_as);
        let is_in_person = ask.caller.rights.people_in_person;
        let carriers = CallCarriers::new(&generation.authority, call, is_in_person);
        let session = call.workflow.session_id.as_ref();
        let found = session.map(|id| self.sessions.get(id));
        let is_session_missing = matches!(found, Some(None));
        let task = call.workflow.task_id.as_ref();
        let task = task.and_then(|id| generation.authority.tasks.get(id));
        let budget = task.and_then(|task| task.budget());
        let tool = call.operation.tool_uid();
        let tool_budget = task.zip(tool.as_ref());
        let tool_budget = tool_budget.and_then(|(task, tool)| task.tool_budget(tool));
        let usage = || {
            let actor = &call.subject.entity;
            self.usage.view(actor, carriers.root(), tool.as_ref(), now)
        };
        Observed {
            carried: carriers.labels(&self.carrier_labels, &generation.snapshot, now),
            session: found.flatten(),
            is_session_missing,
            // Skip usage that no policy reads.
            usage: generation.snapshot.reads_context("usage").then(usage),
            calls_left: budget.map(|(id, most)| self.calls_left(&id, most)),
            tool_calls_left: tool_budget.map(|(id, most)| self.calls_left(&id, most)),
            spent_tools: match (task, &call.operation.kind) {
                (Some(task), OperationKind::List(Listing::Tools)) => self.spent_tools(task),
                _ => Vec::new(),
            },
            approval_uses: (call.approval_ids.iter())
                .map(|id| self.quotas.approval_uses(id))
                .collect(),
            definition: tool.and_then(|tool| self.definition_of(ask, tool, now)),
            carriers,
            seen_as,
        }
    }

    /// The tools of a task whose own budgets are spent.
    fn spent_tools(&self, task: &Task) -> Vec<EntityUID> {
        let is_spent = |tool: &EntityUID| {
            let budget = task.tool_budget(tool);
            budget.is_some_and(|(id, most)| self.calls_left(&id, most) == 0)
        };
        let tools = task.terms.uses.iter().map(|named| &named.tool);
        tools.filter(|tool| is_spent(tool)).cloned().collect()
    }

    fn definition_of(
        &self,
        ask: &RequestMeta<'_>,
        tool: EntityUID,
        now: SystemTime,
    ) -> Option<DefinitionDigests> {
        if self.definitions.is_empty() {
            return None;
        }
        let gateway = ask.gateway();
        self.definitions.get(&GatewayTool { gateway, tool }, now)
    }

    /// Commits the side effects of an allow, and notes in `left` what is committed.
    pub fn commit(
        &self,
        seen: &Observed<'_>,
        call: &CallContext,
        effects: &SideEffects,
        now: SystemTime,
        left: &mut LeftBehind,
    ) -> Commit {
        match self.take_all(seen, call, effects, now, left) {
            Err(commit) => commit,
            Ok(writes) => Commit::Applied(seen.guarded(writes), used_up(effects)),
        }
    }

    /// Takes all that an allow uses up, in order, and returns what has to be written before the response. Stops at the
    /// first that cannot be taken.
    fn take_all(
        &self,
        seen: &Observed<'_>,
        call: &CallContext,
        effects: &SideEffects,
        now: SystemTime,
        left: &mut LeftBehind,
    ) -> Result<Vec<StoreWrite>, Commit> {
        let mut writes = Vec::new();
        let unnamed = effects.on_server.as_ref().filter(|_| effects.is_unnamed);
        let found = (self.resource_labels).labels_of(&effects.targets, unnamed, now);
        let yields = effects.added_labels(found.as_deref());
        writes.extend(self.advance_session(seen, call, effects, &yields, now)?);
        left.reads = effects.reads;
        left.added_labels = match &yields {
            Cow::Borrowed(_) => effects.yields.clone(),
            Cow::Owned(all) => all.clone().into(),
        };
        // Only now: a call whose session was changed meanwhile is decided again, and must not see its own labels then. Where the
        // store of a fleet refuses it, it does: too many rather than too few.
        let labeled = self.label(seen, effects, (&yields, found.as_deref()), now, left);
        writes.extend(labeled.map_err(|LabelCapacityError| {
            Commit::overloaded("no more labels can be remembered")
        })?);
        self.spend_budgets(call, effects, &mut writes, left)?;
        writes.extend(self.use_approval(effects)?);
        left.approval = effects.approval.as_ref().map(|(id, _)| id.clone());
        // Usage that no policy reads is not counted.
        if seen.usage.is_some() && !call.operation.kind.is_unasked() {
            let actor = &call.subject.entity;
            self.usage.count_allowed(actor, effects.tool.as_ref(), now);
        }
        Ok(writes)
    }

    /// Adds the labels that a call carries and those that it brings, with those found at its targets, to all that keeps
    /// them.
    fn label(
        &self,
        seen: &Observed<'_>,
        effects: &SideEffects,
        (yields, found): (&[SmolStr], Option<&Labels>),
        now: SystemTime,
        left: &mut LeftBehind,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let (memory, session) = (&self.carrier_labels, seen.session.as_ref());
        let session = session.map(|session| &session.labels);
        let mut writes = (seen.carriers).hand_on(memory, session, &seen.carried, now)?;
        writes.extend(seen.carriers.add_labels(memory, yields, now)?);
        writes.extend(self.mark(effects, found, now, left)?);
        Ok(writes)
    }

    /// Adds the call to its session.
    fn advance_session(
        &self,
        seen: &Observed<'_>,
        call: &CallContext,
        effects: &SideEffects,
        yields: &[SmolStr],
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, Commit> {
        let session = call.workflow.session_id.as_ref().zip(seen.session.as_ref());
        // A session that has ended takes up nothing more. Only an observed call comes here in one.
        let Some((id, session)) = session.filter(|(_, session)| !session.is_ended) else {
            return Ok(None);
        };
        let kept = (seen.carriers.kept_in_session(&seen.carried))
            .filter(|label| !session.labels.items().contains(label));
        let mut labels = yields.iter().chain(kept).peekable();
        // Listing is no call of the session, nor is what a server sends unasked.
        let brings = effects.tool.is_some() || !yields.is_empty();
        let is_call = brings && !call.operation.kind.is_unasked();
        if !is_call && labels.peek().is_none() {
            return Ok(None);
        }
        let mut next = session.after(effects.tool.as_ref(), labels);
        if !is_call {
            next.calls = session.calls;
        }
        if next.is_full() {
            return Err(Commit::overloaded(
                "no more can be remembered of this session",
            ));
        }
        match self.sessions.advance(id, session.version, next, now) {
            Ok(advanced) => Ok(advanced.write(id, now)),
            Err(AdvanceError::Conflict(_)) => Err(Commit::Conflict),
            Err(AdvanceError::NotHeld) => Err(Commit::SessionNotHeld),
            Err(AdvanceError::Full) => {
                Err(Commit::overloaded("no more sessions can be remembered"))
            }
        }
    }

    /// Spends one call of the budget of the tool and of the task.
    fn spend_budgets(
        &self,
        call: &CallContext,
        effects: &SideEffects,
        writes: &mut Vec<StoreWrite>,
        left: &mut LeftBehind,
    ) -> Result<(), Commit> {
        let of_tool = (effects.tool_budget.iter()).map(|budget| (budget, effects.tool.as_ref()));
        let of_task = effects.budget.iter().map(|budget| (budget, None));
        for ((budget, most), tool) in of_tool.chain(of_task) {
            match self.spend(budget, *most) {
                Ok(written) => {
                    writes.extend(written);
                    let spent = match tool {
                        Some(_) => &mut left.tool_budget,
                        None => &mut left.budget,
                    };
                    *spent = Some(budget.clone());
                }
                Err(BudgetExhausted) => {
                    let task = call.workflow.task_id.clone().unwrap_or_default();
                    return Err(Commit::Denied(match tool {
                        Some(tool) => inputs::tool_budget_spent(&task, tool),
                        None => inputs::budget_spent(&task),
                    }));
                }
            }
        }
        Ok(())
    }

    /// Takes one use of the approval.
    fn use_approval(&self, effects: &SideEffects) -> Result<Option<StoreWrite>, Commit> {
        let Some((approval, max)) = &effects.approval else {
            return Ok(None);
        };
        let Some(uses) = self.quotas.use_approval(approval, *max) else {
            let message = format!("approval `{approval}` has been used");
            let reason = Reason::new(ReasonCode::ApprovalInvalid, message);
            return Err(Commit::Denied(reason));
        };
        let id = approval.clone();
        Ok(Some(match &self.shared {
            None => StoreWrite::ApprovalUsed { id, uses },
            Some(_) => StoreWrite::ApprovalTaken { id, most: *max },
        }))
    }
}

impl LiveFacts {
    /// Adds to each target of a write, and to what stands for everything on its server, the labels of everything that may
    /// be in it: of what its work has read, of the tool, and of any of its targets.
    fn mark(
        &self,
        effects: &SideEffects,
        found: Option<&Labels>,
        now: SystemTime,
        left: &mut LeftBehind,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let Some(work) = &effects.writes else {
            return Ok(Vec::new());
        };
        let all = work.with(effects.yields.iter());
        let all = all.with(found.into_iter().flat_map(|found| found.items()));
        let mut writes = Vec::new();
        if !all.items().is_empty() {
            for target in &effects.targets {
                writes.extend(self.resource_labels.add(target, all.items(), now)?);
            }
            if let Some(place) = &effects.on_server {
                writes.extend(self.resource_labels.add_within(place, all.items(), now)?);
            }
            left.target_labels = Some(all);
        }
        Ok(writes)
    }

    /// Counts a denied call, if some policy reads usage.
    pub fn count_denial(&self, seen: &Observed<'_>, call: &CallContext, now: SystemTime) {
        if seen.usage.is_none() || call.operation.kind.is_unasked() {
            return;
        }
        let root = seen.carriers.root();
        self.usage.count_denied(&call.subject.entity, root, now);
    }
}

#[cfg(test)]
#[path = "side_effects_tests.rs"]
mod tests;
