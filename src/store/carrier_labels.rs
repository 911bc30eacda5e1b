//! Labels of tasks, delegations and pairs of actor and root, in memory.
//!
//! Sessions keep their own labels ([`crate::store::sessions`]). Labels of a task or of a stored delegation are kept as
//! long as that is. Labels of a pair, an actor and the root it acts for, count for a bounded time after the last call
//! that added them.
//!
//! # When a response may leave
//!
//! [`CarrierLabels::add`] returns what has to be written before the response: labels that are new, and labels of
//! concurrent calls whose write has not been reported yet ([`CarrierLabels::mark_written`]). A call that adds no label
//! writes only what its agents have by a link ([`CarrierLabels::unwritten`]): it may have been decided on labels of others that are not
//! on disk yet, which only made the decision stricter.
//!
//! A label of a pair counts from the last time it was added, which is not written each time. Instead a moment a
//! quarter of the lifetime ahead is written, and nothing more before that moment has passed. After a restart the label
//! counts from the written moment: up to a quarter too long, never too short.
//!
//! # Who works together
//!
//! [`CarrierLabels::links`] says which agents work together for a root. What one of their pairs is given the others are
//! given as well (`handed_on`), with the same time, so that what a response depends on is stored for each of them.
//!
//! # Retention
//!
//! A pair's labels are dropped once their time has passed, a task's when it is closed and open to no request any more, or when it
//! is pruned, a delegation's when it is pruned.
//! Nothing is evicted: without room for one more carrier [`LabelCapacityError`] says that the call must be denied.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::domain::authority::labels::{LabelCarrier, LabelCarrierRef, Labels};
use crate::store::backend::{LabelTimes, StoreWrite, StoredLabel};
use crate::store::pair_links::PairLinks;
use crate::store::sharded::Sharded;

mod handed_on;
mod slot;

use slot::{LabelSlot, LabelStamp, LabelState};

#[cfg(test)]
#[path = "carrier_labels_tests.rs"]
mod tests;

/// Labels by carrier.
#[derive(Debug)]
pub struct CarrierLabels {
    shards: Sharded<LabelShard>,
    /// The capacity of one shard, in carriers.
    room: usize,
    /// The lifetime of a label of a pair.
    pair_for: Duration,
    /// The number of carriers with labels. With none, lookups are skipped.
    kept: AtomicUsize,
    /// Whether there ever was a pair of a user with itself: calls that a program makes as the user. Without any, lookups of
    /// these are skipped, of which every call of an agent for a user makes one.
    has_own_pairs: AtomicBool,
    /// Whether a link ever gave anything. If none did, nothing that is given waits to be written.
    has_shared: AtomicBool,
    /// Who works together.
    pub links: PairLinks,
}

#[derive(Debug, Default)]
struct LabelShard {
    slots: HashMap<LabelCarrier, LabelSlot, RandomState>,
    /// The time of the last sweep of expired pairs.
    swept_at: Option<SystemTime>,
}

/// Which labels of a pair a decision sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelWindow {
    /// All.
    All,
    /// Those that any call has added since then.
    Since(SystemTime),
    /// Those that calls outside of any vouched session have added since then.
    LooseSince(SystemTime),
}

/// There is no room for the labels of a call, which must be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelCapacityError;

impl CarrierLabels {
    /// Capacity for about `capacity` carriers. A label of a pair counts for `pair_for` after it was last added.
    pub fn new(capacity: usize, pair_for: Duration) -> Self {
        let shards = Sharded::for_capacity(capacity);
        Self {
            room: shards.share_of(capacity),
            shards,
            pair_for,
            kept: AtomicUsize::new(0),
            has_own_pairs: AtomicBool::new(false),
            has_shared: AtomicBool::new(false),
            links: PairLinks::new(capacity, pair_for),
        }
    }

    /// The labels of a task or a delegation.
    pub fn get(&self, carrier: LabelCarrierRef<'_>) -> Option<Arc<Labels>> {
        let shard = self.shard(carrier);
        shard
            .slots
            .get(&carrier)
            .map(|slot| Arc::clone(&slot.labels))
    }

    /// The labels of a pair that a decision sees.
    pub fn recent_of_pair(
        &self,
        actor: &EntityUID,
        root: Option<&EntityUID>,
        counts: LabelWindow,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        let pair = LabelCarrierRef::Pair { actor, root };
        if pair.is_own_pair() && !self.has_own_pairs.load(Ordering::Relaxed) {
            return None;
        }
        self.recent(pair, counts, now)
    }

    /// The labels of a carrier with a bounded lifetime, as far as they have not expired.
    pub fn recent(
        &self,
        carrier: LabelCarrierRef<'_>,
        counts: LabelWindow,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        let shard = self.shard(carrier);
        let slot = shard.slots.get(&carrier)?;
        let counted = |mark: &LabelState| {
            let (stamp, since) = match counts {
                LabelWindow::All => (Some(mark.any), SystemTime::UNIX_EPOCH),
                LabelWindow::Since(since) => (Some(mark.any), since),
                LabelWindow::LooseSince(since) => (mark.loose, since),
            };
            stamp.is_some_and(|stamp| stamp.at >= since && !self.is_over(stamp, now))
        };
        if slot.marks.iter().all(counted) {
            return Some(Arc::clone(&slot.labels));
        }
        let left: Vec<SmolStr> = (slot.each())
            .filter(|(_, mark)| counted(mark))
            .map(|(label, _)| label.clone())
            .collect();
        (!left.is_empty()).then(|| Arc::new(Labels::new(left)))
    }

    /// Adds labels, and returns what must be written before the response. `is_loose` says that the call is outside of any
    /// vouched session.
    ///
    /// # Errors
    ///
    /// [`LabelCapacityError`] if there is no room for one more carrier.
    pub fn add(
        &self,
        carrier: LabelCarrierRef<'_>,
        labels: &[SmolStr],
        is_loose: bool,
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        self.add_as(carrier, labels, (is_loose, false), now)
    }

    /// The same; the pair may have them only by a link.
    fn add_as(
        &self,
        carrier: LabelCarrierRef<'_>,
        labels: &[SmolStr],
        (is_loose, is_handed): (bool, bool),
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        let ahead = match carrier.is_timed() {
            true => self.ahead(),
            false => Duration::ZERO,
        };
        let mut shard = self.shard(carrier);
        if !shard.slots.contains_key(&carrier) {
            // The carrier that stands for everything without room always has room itself.
            if carrier != LabelCarrierRef::AnyResource && !self.has_room(&mut shard, now) {
                return Err(LabelCapacityError);
            }
            shard.slots.insert(carrier.to_carrier(), LabelSlot::new());
            self.note_kept(carrier);
        }
        let Some(slot) = shard.slots.get_mut(&carrier) else {
            return Err(LabelCapacityError);
        };
        if carrier.is_timed() {
            slot.drop_if(|mark| self.is_over(mark.any, now));
        }
        let mut unwritten = Vec::new();
        for label in labels {
            let keeps_time = !ahead.is_zero();
            let mark = slot.mark(label, is_loose, now, ahead, keeps_time)?;
            mark.is_handed &= is_handed;
            if !mark.is_settled {
                unwritten.push(mark.to_times(label));
            }
        }
        Ok((!unwritten.is_empty()).then(|| StoreWrite::Labels {
            carrier: carrier.to_carrier(),
            labels: unwritten,
            at: now,
        }))
    }

    /// Notes that the store has written labels that [`CarrierLabels::add`] returned.
    pub fn mark_written(&self, carrier: &LabelCarrier, written: &[LabelTimes]) {
        let carrier = carrier.as_ref();
        let mut shard = self.shard(carrier);
        let Some(slot) = shard.slots.get_mut(&carrier) else {
            return;
        };
        for written in written {
            if let Some(place) = slot.place_of(&written.label) {
                let mark = &mut slot.marks[place];
                let loose = mark.loose.map(|loose| loose.through);
                if mark.any.through == written.through && loose == written.loose_through {
                    mark.is_settled = true;
                }
            }
        }
    }

    /// Removes a task or a delegation.
    pub fn remove(&self, carrier: LabelCarrierRef<'_>) {
        if self.shard(carrier).slots.remove(&carrier).is_some() {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Drops pairs whose labels have all expired.
    pub fn sweep(&self, now: SystemTime) {
        for mut shard in self.shards.each() {
            self.sweep_shard(&mut shard, now);
        }
        self.links.sweep(now);
    }

    /// Restores what a store holds. Only at the start.
    pub fn restore(&self, stored: Vec<StoredLabel>) {
        for stored in stored {
            let mut shard = self.shard(stored.carrier.as_ref());
            let slot = self.stored_slot(&mut shard, stored.carrier);
            let whole = |at| LabelStamp { at, through: at };
            let mark = LabelState {
                any: whole(stored.brought.through),
                loose: stored.brought.loose_through.map(whole),
                is_settled: true,
                is_handed: true,
            };
            slot.push(&stored.brought.label, mark);
        }
    }

    /// From now on each label is written once more before it is settled: what the store holds may not be known to all
    /// servers yet.
    pub fn unsettle(&self) {
        for mut shard in self.shards.each() {
            let marks = shard.slots.values_mut().flat_map(|slot| &mut slot.marks);
            marks.for_each(|mark| mark.is_settled = false);
        }
    }

    /// Adds labels that the store holds. They are not settled: others may not know them yet. What another server has written
    /// counts from the moment that is written, which is not before that server last added it; of what this one has written
    /// itself (`true`), only what is not known here. The other server may not know who works together, so they are given it here.
    pub fn merge(&self, stored: impl IntoIterator<Item = (StoredLabel, bool)>) {
        let (mut news, mut since) = (Vec::new(), None);
        for (stored, is_own) in stored {
            let StoredLabel { carrier, brought } = stored;
            let brought_at = brought.through.checked_sub(self.ahead());
            let mut shard = self.shard(carrier.as_ref());
            let slot = self.stored_slot(&mut shard, carrier.clone());
            let is_news = slot.merge(brought, is_own) && !is_own;
            drop(shard);
            if let (true, LabelCarrier::Pair { actor, root }) = (is_news, carrier) {
                news.push((root.unwrap_or_else(|| actor.clone()), actor));
                since = since.into_iter().chain(brought_at).min();
            }
        }
        if let Some(since) = since {
            self.share_all(news, since);
        }
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        for mut shard in self.shards.each() {
            self.kept.fetch_sub(shard.slots.len(), Ordering::Relaxed);
            *shard = LabelShard::default();
        }
        self.links.clear();
    }

    /// The number of carriers with labels.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether no carrier has labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot of a carrier that the store has, whether there is room or not.
    fn stored_slot<'s>(
        &self,
        shard: &'s mut LabelShard,
        carrier: LabelCarrier,
    ) -> &'s mut LabelSlot {
        if !shard.slots.contains_key(&carrier) {
            self.note_kept(carrier.as_ref());
        }
        shard.slots.entry(carrier).or_insert_with(LabelSlot::new)
    }

    /// Counts a carrier that is new.
    fn note_kept(&self, carrier: LabelCarrierRef<'_>) {
        self.kept.fetch_add(1, Ordering::Relaxed);
        if carrier.is_own_pair() {
            self.has_own_pairs.store(true, Ordering::Relaxed);
        }
    }

    /// How far ahead of a pair's last addition the store is written.
    fn ahead(&self) -> Duration {
        self.pair_for / 4
    }

    fn is_over(&self, stamp: LabelStamp, now: SystemTime) -> bool {
        let until = stamp.at.checked_add(self.pair_for);
        until.is_some_and(|until| until < now)
    }

    fn has_room(&self, shard: &mut LabelShard, now: SystemTime) -> bool {
        if shard.slots.len() < self.room {
            return true;
        }
        // Sweep the shard only if a pair can have expired since the last sweep.
        let looked = shard.swept_at.and_then(|at| at.checked_add(self.ahead()));
        if looked.is_none_or(|next| next <= now) {
            self.sweep_shard(shard, now);
        }
        shard.slots.len() < self.room
    }

    fn sweep_shard(&self, shard: &mut LabelShard, now: SystemTime) {
        let before = shard.slots.len();
        shard.slots.retain(|carrier, slot| {
            let is_timed = carrier.as_ref().is_timed();
            !is_timed || slot.marks.iter().any(|mark| !self.is_over(mark.any, now))
        });
        self.kept
            .fetch_sub(before - shard.slots.len(), Ordering::Relaxed);
        shard.swept_at = Some(now);
    }

    fn shard(&self, carrier: LabelCarrierRef<'_>) -> MutexGuard<'_, LabelShard> {
        self.shards.lock(&carrier)
    }
}
