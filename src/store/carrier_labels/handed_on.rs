//! Labels that agents who work together have of each other.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
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

    /// Gives the pair of this agent and those of all that it works together with what any of them has, with its times.
    /// Returns what must be written before a response that depends on it. As many pairs have labels afterwards as there are
    /// links, whether there is room or not.
    pub fn share(&self, root: &EntityUID, agent: &EntityUID, now: SystemTime) -> Vec<StoreWrite> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut pairs = self.linked_pairs(root, agent, now);
        if pairs.is_empty() {
            return Vec::new();
        }
        pairs.push(pair_of(agent.clone(), root));
        let mut all: Vec<(SmolStr, LabelState)> = Vec::new();
        for pair in &pairs {
            let shard = self.shard(pair.as_ref());
            let Some(slot) = shard.slots.get(pair) else {
                continue;
            };
            let each = slot.labels.items().iter().zip(&slot.marks);
            for (label, mark) in each.filter(|(_, mark)| !self.is_over(mark.any, now)) {
                match all.iter_mut().find(|(known, _)| known == label) {
                    Some((_, known)) => {
                        known.take_in(mark);
                    }
                    None => all.push((label.clone(), *mark)),
                }
            }
        }
        if all.is_empty() {
            return Vec::new();
        }
        let shared = pairs.into_iter().map(|pair| self.take_in(pair, &all, now));
        shared.flatten().collect()
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

    /// Adds what a call has carried to one of those for whom it was made: labels that it lacks, or that are not written yet. It
    /// is unknown which conversation they come back to. What it has read itself it does not lack.
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
        let (mut lacking, mut unwritten) = (Vec::new(), Vec::<LabelTimes>::new());
        let shard = self.shard(carrier);
        let slot = shard.slots.get(&carrier);
        for label in carried {
            match slot.and_then(|slot| self.as_carried(slot, carrier, label, now)) {
                Some(mark) if mark.is_settled => {}
                // Session, task and delegations may carry the same one; a store writes each once.
                Some(_) if unwritten.iter().any(|it| it.label == *label) => {}
                Some(mark) => unwritten.push(mark.to_times(label)),
                None if lacking.contains(label) => {}
                None => lacking.push(label.clone()),
            }
        }
        drop(shard);
        let unwritten = (!unwritten.is_empty()).then(|| StoreWrite::Labels {
            carrier: carrier.to_carrier(),
            labels: unwritten,
            at: now,
        });
        let mut writes = Vec::from_iter(unwritten);
        if !lacking.is_empty() {
            writes.extend(self.add(carrier, &lacking, carrier.is_timed(), now)?);
        }
        Ok(writes)
    }

    /// The state of a label, unless the carrier lacks it.
    fn as_carried(
        &self,
        slot: &LabelSlot,
        carrier: LabelCarrierRef<'_>,
        label: &SmolStr,
        now: SystemTime,
    ) -> Option<LabelState> {
        let mark = *slot.marks.get(slot.place_of(label)?)?;
        let own = (!mark.is_handed).then_some(mark.any);
        let counts = [mark.loose, own].into_iter().flatten();
        let is_there = !carrier.is_timed() || counts.into_iter().any(|it| !self.is_over(it, now));
        is_there.then_some(mark)
    }

    /// Gives a pair labels with their times. Returns those that are not written.
    fn take_in(
        &self,
        pair: LabelCarrier,
        all: &[(SmolStr, LabelState)],
        now: SystemTime,
    ) -> Option<StoreWrite> {
        let mut shard = self.shard(pair.as_ref());
        let slot = self.stored_slot(&mut shard, pair.clone());
        slot.drop_if(|mark| self.is_over(mark.any, now));
        let mut unwritten = Vec::new();
        for (label, given) in all {
            let mark = match slot.place_of(label) {
                Some(place) => {
                    let mark = &mut slot.marks[place];
                    let is_written = mark.take_in(given);
                    mark.is_settled &= is_written;
                    mark
                }
                None => {
                    let mark = LabelState {
                        is_settled: false,
                        is_handed: true,
                        ..*given
                    };
                    slot.push(label, mark)
                }
            };
            if !mark.is_settled {
                unwritten.push(mark.to_times(label));
            }
        }
        (!unwritten.is_empty()).then_some(StoreWrite::Labels {
            carrier: pair,
            labels: unwritten,
            at: now,
        })
    }
}

/// The pair of one of those who work together for a root: the root itself acts for no one.
fn pair_of(agent: EntityUID, root: &EntityUID) -> LabelCarrier {
    LabelCarrier::Pair {
        root: (agent != *root).then(|| root.clone()),
        actor: agent,
    }
}
