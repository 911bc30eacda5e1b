//! The carriers of labels that one call belongs to beside its session.
//!
//! # Users
//!
//! An agent may hold the token of the user for whom it acts, and leave out that it acts. So a user at the root passes on
//! labels as an agent that delegates does, both ways, by two pairs:
//!
//! | pair | has the labels of | is seen by |
//! |---|---|---|
//! | user, for no one | calls of the user in person, and of agents for the user | all calls of the user |
//! | user, for the user | calls that a program makes as the user | all calls of the user, and of agents for the user |
//!
//! No agent sees the first, so what one agent has read says nothing of another; nor does what the user has read in person.
//!
//! # Agents that work together
//!
//! Who delegates and who works for them know the same. An allowed call under a chain links the agents of the chain, and gives
//! those for whom it is made what it carries itself ([`CallCarriers::hand_on`]); what a call of one brings, linked or under a
//! chain, is stored for all of them. Its task, its delegations and a vouched session keep all that it has seen
//! ([`CallCarriers::kept_in_session`]). So a call that leaves the chain out sheds nothing.
//!
//! Nothing here is verified: invalid evidence denies in the decision, and then these labels do not matter. Where such a call passes
//! all the same, as it is only observed, its chain links nobody ([`CallCarriers::doubt`]).

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::chain::resolve_chain;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::{
    self, CarriedLabels, LabelCarrier, LabelCarrierRef, Labels, union,
};
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::Task;
use crate::domain::request::call_context::CallContext;
use crate::domain::schema::TYPES;
use crate::store::backend::StoreWrite;
use crate::store::carrier_labels::{CarrierLabels, LabelCapacityError, LabelWindow};
use crate::store::pair_links::LinkCapacityError;

/// The carriers of one call.
#[derive(Debug, Clone)]
pub struct CallCarriers<'c> {
    subject: &'c EntityUID,
    /// The root on whose behalf it is made, if it is not made for the subject itself.
    root: Option<&'c EntityUID>,
    /// The actors between root and subject, as asserted by the call.
    actors: &'c [EntityUID],
    /// The stored delegations of its chain, the root's first.
    delegations: Vec<&'c Delegation>,
    task: Option<&'c Task>,
    is_session_vouched: bool,
    /// Nobody knows that the chain is true.
    is_doubted: bool,
    user: UserRole<'c>,
}

/// The part that a user has in a call.
#[derive(Debug, Clone, Copy)]
enum UserRole<'c> {
    /// None.
    None,
    /// It is made for the user.
    Root(&'c EntityUID),
    /// The user makes it.
    InPerson(&'c EntityUID),
    /// A program makes it with what it has of the user, and says of no agent.
    ByProgram(&'c EntityUID),
}

impl<'c> CallCarriers<'c> {
    /// The carriers that a call names, as far as they are stored. `is_in_person` says that the caller vouches for its users:
    /// they act themselves.
    pub fn new(authority: &'c Authority, call: &'c CallContext, is_in_person: bool) -> Self {
        let delegation = call.actor_chain.as_ref();
        let last = delegation.and_then(|it| authority.delegations.get(it.delegation_ids.last()?));
        let delegations = last.and_then(|last| resolve_chain(authority, last).ok());
        let delegations = delegations.unwrap_or_default();
        let root = match delegations.first() {
            Some(first) => Some(&first.from),
            None => delegation.and_then(|it| it.root.as_ref()),
        };
        let is_party = |uid: &&EntityUID| {
            let ty = uid.entity_type();
            *ty == TYPES.user || *ty == TYPES.agent
        };
        let actors = delegation.map_or(&[] as &[_], |it| &it.actors);
        let task = call.workflow.task_id.as_ref();
        let (subject, root) = (&call.subject.entity, root.filter(is_party));
        let is_user = |uid: &EntityUID| *uid.entity_type() == TYPES.user;
        let user = match root {
            Some(root) if is_user(root) => UserRole::Root(root),
            None if !is_user(subject) => UserRole::None,
            None if is_in_person => UserRole::InPerson(subject),
            None => UserRole::ByProgram(subject),
            Some(_) => UserRole::None,
        };
        Self {
            subject,
            root,
            actors: if delegations.is_empty() { actors } else { &[] },
            delegations,
            task: task.and_then(|id| authority.tasks.get(id).map(Arc::as_ref)),
            is_session_vouched: call.workflow.session_id.is_some()
                && call.workflow.is_session_vouched,
            is_doubted: false,
            user,
        }
    }

    /// Takes the chain for a mere assertion: it links nobody, and what the call carries comes to nobody.
    pub fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// On whose behalf everything happens, if somebody else's.
    pub fn root(&self) -> Option<&'c EntityUID> {
        self.root
    }

    /// The labels that earlier calls added to any of them. Skipped if no policy can see them.
    pub fn labels(
        &self,
        memory: &CarrierLabels,
        snapshot: &Snapshot,
        now: SystemTime,
    ) -> CarriedLabels {
        if memory.is_empty() || !labels::are_read(snapshot) {
            return CarriedLabels::default();
        }
        self.known(memory, now)
    }

    fn known(&self, memory: &CarrierLabels, now: SystemTime) -> CarriedLabels {
        let task = self.task.map(|task| LabelCarrierRef::Task(&task.id));
        let delegations = self.delegations.iter();
        let delegations = delegations
            .filter_map(|delegation| memory.get(LabelCarrierRef::Delegation(&delegation.id)));
        let recent = self.seen_pairs().filter_map(|(actor, root)| {
            let counts = self.counts(actor);
            memory.recent_of_pair(actor, root, counts, now)
        });
        CarriedLabels {
            task: task.and_then(|task| memory.get(task)),
            delegation: union(delegations),
            recent: union(recent),
        }
    }

    /// What a vouched session keeps of what a call in it saw: the labels of its task and its delegations and, under others,
    /// theirs. The next call of the session may name none of them. Nothing unless somebody vouches for the session, where
    /// whatever the agent has read counts anyway.
    pub fn kept_in_session<'l>(
        &self,
        carried: &'l CarriedLabels,
    ) -> impl Iterator<Item = &'l SmolStr> {
        let is_kept = self.is_session_vouched && !self.is_doubted;
        let is_under_others = self.is_agent() && self.others().next().is_some();
        let recent = carried.recent.as_ref().filter(|_| is_under_others);
        let parts = [carried.task.as_ref(), carried.delegation.as_ref(), recent];
        items(parts.map(|part| part.filter(|_| is_kept)))
    }

    /// Hands on what a call carries if it is made under others. Returns what must be written before the response, with what its
    /// agent has by a link and no store holds yet.
    ///
    /// # Errors
    ///
    /// [`LabelCapacityError`] if there is no room for one more link or carrier.
    pub fn hand_on(
        &self,
        memory: &CarrierLabels,
        session: Option<&Arc<Labels>>,
        carried: &CarriedLabels,
        now: SystemTime,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        if self.is_doubted || !self.is_agent() {
            return Ok(Vec::new());
        }
        let own_pair = LabelCarrierRef::Pair {
            actor: self.subject,
            root: self.root,
        };
        let mut writes = match self.root.filter(|_| self.others().next().is_some()) {
            Some(root) => self.hand_to_others(root, memory, session, carried, now)?,
            None => Vec::new(),
        };
        writes.extend(memory.unwritten(own_pair, now));
        Ok(writes)
    }

    /// Links the agents of a call, and gives the task and the delegations what it has seen: the labels of `session`, their own,
    /// and those of all agents of its chain. All who work together get the same, but of agents those of the subject alone.
    fn hand_to_others(
        &self,
        root: &EntityUID,
        memory: &CarrierLabels,
        session: Option<&Arc<Labels>>,
        carried: &CarriedLabels,
        now: SystemTime,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let mut writes = Vec::new();
        // Before the link: what it has of the others is theirs already.
        let own = carried.recent.as_ref().and_then(|_| {
            let counts = self.counts(self.subject);
            memory.recent_of_pair(self.subject, Some(root), counts, now)
        });
        let (mut is_new, mut has_room) = (false, Ok(()));
        for other in self.others() {
            match memory.links.acted(root, [other, self.subject], now) {
                Ok(is_first) => is_new |= is_first,
                Err(LinkCapacityError) => has_room = Err(LabelCapacityError),
            }
        }
        // Also if the call is then denied: the links that it made are there.
        if is_new {
            memory.share(root, self.subject, now);
        }
        has_room?;
        let (task, delegation) = (carried.task.as_ref(), carried.delegation.as_ref());
        for carrier in self.issued() {
            let all = items([session, task, delegation, carried.recent.as_ref()]);
            writes.extend(memory.add_carried(carrier, all, now)?);
        }
        for pair in memory.linked_pairs(root, self.subject, now) {
            let all = items([session, task, delegation, own.as_ref()]);
            writes.extend(memory.add_carried(pair.as_ref(), all, now)?);
        }
        Ok(writes)
    }

    /// Adds the labels of the call to all of them, and to those who work together with its agents. Returns what must be written
    /// before the response.
    ///
    /// # Errors
    ///
    /// [`LabelCapacityError`] if there is no room for one of them.
    pub fn add_labels(
        &self,
        memory: &CarrierLabels,
        labels: &[SmolStr],
        now: SystemTime,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let mut writes = Vec::new();
        if labels.is_empty() {
            return Ok(writes);
        }
        for carrier in self.issued() {
            writes.extend(memory.add(carrier, labels, false, now)?);
        }
        let to_user = match self.user {
            UserRole::Root(user) => Some((user, None)),
            _ => None,
        };
        for (actor, root) in self.pairs().chain(to_user) {
            let pair = LabelCarrierRef::Pair { actor, root };
            // It is unknown which conversation of a delegator this returns to.
            let is_loose = actor != self.subject || !self.is_session_vouched;
            writes.extend(memory.add(pair, labels, is_loose, now)?);
        }
        let root = self.root.unwrap_or(self.subject);
        let is_agent = |actor: &&EntityUID| *actor.entity_type() == TYPES.agent;
        // What a server is told, the agent that called it is told.
        if let Some(agent) = self.pairs().map(|(actor, _)| actor).find(is_agent) {
            let is_alone = self.pairs().count() == 1;
            let is_loose = !is_alone || !self.is_session_vouched;
            for linked in memory.linked_pairs(root, agent, now) {
                let LabelCarrierRef::Pair { actor, .. } = linked.as_ref() else {
                    continue;
                };
                if !self.pairs().any(|(known, _)| known == actor) {
                    writes.extend(memory.add_by_link(linked.as_ref(), labels, is_loose, now)?);
                }
            }
        }
        Ok(writes)
    }

    /// All of those whose labels it sees.
    pub fn all(&self) -> Vec<LabelCarrier> {
        let pairs = self.seen_pairs();
        let pairs = pairs.map(|(actor, root)| LabelCarrierRef::Pair { actor, root });
        self.issued()
            .chain(pairs)
            .map(LabelCarrierRef::to_carrier)
            .collect()
    }

    /// The task and the delegations.
    fn issued(&self) -> impl Iterator<Item = LabelCarrierRef<'c>> {
        let task = self.task.map(|task| LabelCarrierRef::Task(&task.id));
        let delegations = self.delegations.iter();
        let delegations = delegations.map(|delegation| LabelCarrierRef::Delegation(&delegation.id));
        task.into_iter().chain(delegations)
    }

    /// Those under whom the subject acts.
    fn others(&self) -> impl Iterator<Item = &'c EntityUID> {
        let actors = self.pairs().map(|(actor, _)| actor);
        actors.filter(|actor| *actor != self.subject)
    }

    /// Whether the subject is an agent. A server that asks for something works for the agent that called it: it links nobody.
    fn is_agent(&self) -> bool {
        *self.subject.entity_type() == TYPES.agent
    }

    /// Which labels of an actor count. A session whose name a client can choose sheds none. A vouched session starts anew,
    /// but for what was read outside of any, or came back from a delegate: it may well belong to it. So does a task, which
    /// Callgate has issued, but only for what was read before it was opened: which of several open ones a call names is the
    /// client's choice. Labels of a delegator always count: which of them led to the delegation is unknown.
    fn counts(&self, actor: &EntityUID) -> LabelWindow {
        if actor != self.subject {
            return LabelWindow::All;
        }
        match (self.task, self.is_session_vouched) {
            (None, false) => LabelWindow::All,
            (None, true) => LabelWindow::LooseSince(SystemTime::UNIX_EPOCH),
            (Some(task), false) => LabelWindow::Since(task.opened_at),
            (Some(task), true) => LabelWindow::LooseSince(task.opened_at),
        }
    }

    /// The pairs whose labels it sees: its own, and one more where a user takes part.
    fn seen_pairs(&self) -> impl Iterator<Item = ActorAndRoot<'c>> {
        self.pairs().chain(match self.user {
            UserRole::None => None,
            UserRole::Root(user) | UserRole::InPerson(user) => Some((user, Some(user))),
            UserRole::ByProgram(user) => Some((user, None)),
        })
    }

    /// The pairs of actor and root: the subject, the actors between, and a root that is an agent by itself.
    fn pairs(&self) -> impl Iterator<Item = ActorAndRoot<'c>> {
        let delegated = self.delegations.iter().map(|delegation| &delegation.to);
        let between = self.actors.iter().chain(delegated);
        let between = between.filter(|actor| *actor != self.subject);
        let acting = std::iter::once(self.subject).chain(between);
        let root = match self.user {
            UserRole::ByProgram(user) => Some(user),
            _ => self.root,
        };
        let agent = root.filter(|root| *root.entity_type() == TYPES.agent);
        let alone = agent.map(|agent| (agent, None));
        acting.map(move |actor| (actor, root)).chain(alone)
    }
}

/// The labels of these parts, some of them more than once.
fn items<const N: usize>(parts: [Option<&Arc<Labels>>; N]) -> impl Iterator<Item = &SmolStr> {
    parts.into_iter().flatten().flat_map(|part| part.items())
}

/// Who acts, for whom.
type ActorAndRoot<'c> = (&'c EntityUID, Option<&'c EntityUID>);

#[cfg(test)]
#[path = "call_carriers_tests.rs"]
mod tests;
