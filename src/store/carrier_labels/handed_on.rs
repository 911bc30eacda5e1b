//! Labels that agents who work together have of each other.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smol_str::SmolStr;

use super::slot::{LabelSlot, LabelState};
use super::{CarrierLabels, LabelCapacityError};
use crate::domain::authority::labels::{LabelCarrier, LabelCarrierRef};
use crate::store::backend::{LabelTimes, StoreWrite};

impl CarrierLabels {
    /// The pairs of all agents that an agent works together with for a root, without its own.
    pub fn linked_pairs(
        &self,
        root: &EntityUID,
        agent: &EntityUID,
        now: SystemTime,
    ) -> Vec<LabelCarrier> {
        let linked = self.links.linked(root, agent, now).into_iter();
        linked.map(|agent| pair_of(agent, root)).collect()
    }

    /// Gives the pair of this agent and those of all that it works together with what any of them has, with its times. The next
    /// call of theirs writes it ([`CarrierLabels::add_carried`]). As many pairs have labels afterwards as there are links, whether
    /// there is room or not.
    pub fn share(&self, root: &EntityUID, agent: &EntityUID, now: SystemTime) {
        if !self.is_empty() {
            let others = self.links.linked(root, agent, now);
            self.share_among(root, agent, &others, now);
        }
    }

    /// Does so for each of these agents, behind its root; once for all of those who work together.
    pub fn share_all(
        &self,
        agents: impl IntoIterator<Item = (EntityUID, EntityUID)>,
        now: SystemTime,
    ) {
        if self.is_empty() {
            return;
        }
        let mut given: HashSet<(EntityUID, EntityUID), RandomState> = HashSet::default();
        for (root, agent) in agents {
            if given.contains(&(root.clone(), agent.clone())) {
                continue;
            }
            let others = self.links.linked(&root, &agent, now);
            self.share_among(&root, &agent, &others, now);
            let together = others.into_iter().chain([agent]);
            given.extend(together.map(|it| (root.clone(), it)));
        }
    }

    fn share_among(
        &self,
        root: &EntityUID,
        agent: &EntityUID,
        others: &[EntityUID],
        now: SystemTime,
    ) {
        if others.is_empty() {
            return;
        }
        let agents = others.iter().chain([agent]);
        let pairs: Vec<LabelCarrier> = agents.map(|it| pair_of(it.clone(), root)).collect();
        let mut all: Vec<(SmolStr, LabelState)> = Vec::new();
        for pair in &pairs {
            let shard = self.shard(pair.as_ref());
            let Some(slot) = shard.slots.get(pair) else {
                continue;
            };
            for (label, mark) in slot.each().filter(|(_, mark)| !self.is_over(mark.any, now)) {
                match all.iter_mut().find(|(known, _)| known == label) {
                    Some((_, known)) => {
                        known.take_in(mark);
                    }
                    None => all.push((label.clone(), *mark)),
                }
            }
        }
        if all.is_empty() {
            return;
        }
        self.has_shared.store(true, Ordering::Relaxed);
        for pair in pairs {
            self.take_in(pair, &all, now);
        }
    }

    /// What an agent has for a root by a link, or by a call that was denied in the end, and no store holds yet.
    pub fn unwritten(&self, pair: LabelCarrierRef<'_>, now: SystemTime) -> Option<StoreWrite> {
        if !self.has_shared.load(Ordering::Relaxed) {
            return None;
        }
        let shard = self.shard(pair);
        self.unwritten_of(shard.slots.get(&pair)?, pair, now)
    }

    fn unwritten_of(
        &self,
        slot: &LabelSlot,
        carrier: LabelCarrierRef<'_>,
        now: SystemTime,
    ) -> Option<StoreWrite> {
        let counts = |mark: &LabelState| !(carrier.is_timed() && self.is_over(mark.any, now));
        let unwritten = slot
            .each()
            .filter(|(_, mark)| !mark.is_settled && counts(mark));
        let labels: Vec<LabelTimes> = unwritten
            .map(|(label, mark)| mark.to_times(label))
            .collect();
        (!labels.is_empty()).then(|| StoreWrite::Labels {
            carrier: carrier.to_carrier(),
            labels,
            at: now,
        })
    }

    /// Adds labels that a pair has because one that works together with it has brought them.
    ///
    /// # Errors
    ///
    /// As [`CarrierLabels::add`].
    pub fn add_by_link(
        &self,
        pair: LabelCarrierRef<'_>,
        labels: &[SmolStr],
        is_loose: bool,
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        self.add_as(pair, labels, (is_loose, true), now)
    }

    /// Adds what a call has carried to one of those for whom it was made, as far as it lacks it, and returns that and whatever else
    /// of it is not written: what was given by a link, or what another call was to write that was refused. It is unknown which
    /// conversation it comes back to. What it has read itself it does not lack.
    ///
    /// # Errors
    ///
    /// As [`CarrierLabels::add`].
    pub fn add_carried<'l>(
        &self,
        carrier: LabelCarrierRef<'_>,
        carried: impl Iterator<Item = &'l SmolStr>,
        now: SystemTime,
    ) -> Result<Vec<StoreWrite>, LabelCapacityError> {
        let mut lacking = Vec::new();
        let shard = self.shard(carrier);
        let slot = shard.slots.get(&carrier);
        let unwritten = slot.and_then(|slot| self.unwritten_of(slot, carrier, now));
        for label in carried {
            let is_there = slot.is_some_and(|slot| self.has_carried(slot, carrier, label, now));
            if !is_there && !lacking.contains(label) {
                lacking.push(label.clone());
            }
        }
        drop(shard);
        let mut writes = Vec::from_iter(unwritten);
        if !lacking.is_empty() {
            writes.extend(self.add(carrier, &lacking, carrier.is_timed(), now)?);
        }
        Ok(writes)
    }

    /// Whether a carrier has a label, and not only by a link or in one conversation.
    fn has_carried(
        &self,
        slot: &LabelSlot,
        carrier: LabelCarrierRef<'_>,
        label: &SmolStr,
        now: SystemTime,
    ) -> bool {
        let Some(mark) = slot.place_of(label).and_then(|at| slot.marks.get(at)) else {
            return false;
        };
        let own = (!mark.is_handed).then_some(mark.any);
        let mut counts = [mark.loose, own].into_iter().flatten();
        !carrier.is_timed() || counts.any(|it| !self.is_over(it, now))
    }

    /// Gives a pair labels with their times.
    fn take_in(&self, pair: LabelCarrier, all: &[(SmolStr, LabelState)], now: SystemTime) {
        let mut shard = self.shard(pair.as_ref());
        let slot = self.stored_slot(&mut shard, pair);
        slot.drop_if(|mark| self.is_over(mark.any, now));
        for (label, given) in all {
            match slot.place_of(label) {
                Some(place) => {
                    let mark = &mut slot.marks[place];
                    let is_written = mark.take_in(given);
                    mark.is_settled &= is_written;
                }
                None => {
                    let mark = LabelState {
                        is_settled: false,
                        is_handed: true,
                        ..*given
                    };
                    slot.push(label, mark);
                }
            }
        }
    }
}

/// The pair of one of those who work together for a root: the root itself acts for no one.
fn pair_of(agent: EntityUID, root: &EntityUID) -> LabelCarrier {
    LabelCarrier::Pair {
        root: (agent != *root).then(|| root.clone()),
        actor: agent,
    }
}
