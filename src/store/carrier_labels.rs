//! What calls have brought into the work that they belong to, by what carries it, in memory.
//!
//! Sessions keep their own labels ([`crate::store::sessions`]). Here they are kept with tasks, with stored delegations,
//! and with who acts for whom: for the latter a bounded time, counted from the last call that brought a label.
//!
//! # When an answer may leave
//!
//! [`Memory::bring`] returns what has to be written before the answer: labels that are new, and those that another call
//! added a moment ago and nobody has reported as written ([`Memory::settled`]). A call that brings nothing writes nothing:
//! what it was decided on came from calls that may not have been answered yet, and only ever made it stricter.
//!
//! A pair's label counts from the last time it was brought, which is not written each time. What is written is a moment a
//! quarter of the time ahead, and nothing more before it has passed. After a restart a label counts from there: a little
//! too long, never too short.
//!
//! # What is forgotten
//!
//! A pair's labels once their time is over, a task's with the task, a delegation's when it is pruned. Nothing else: where
//! there is no room for one carrier more, [`Full`] says that the call must not be allowed.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::domain::authority::labels::{LabelCarrier, LabelCarrierRef, Labels};
use crate::domain::authority::session::MAX_LABELS;
use crate::store::lock;
use crate::store::store::{LabelTimes, StoreWrite, StoredLabel};

#[cfg(test)]
#[path = "carrier_labels_tests.rs"]
mod tests;

/// Labels by what carries them.
#[derive(Debug)]
pub struct CarrierLabels {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// The most carriers of one shard.
    room: usize,
    /// How long a label of a pair counts.
    pair_for: Duration,
    /// Carriers with labels. Where there are none, nobody has to look.
    kept: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: HashMap<LabelCarrier, Slot, RandomState>,
    /// When it was last looked for pairs whose time is over.
    swept_at: Option<SystemTime>,
}

#[derive(Debug)]
struct Slot {
    labels: Arc<Labels>,
    /// Of each label, in the same order.
    marks: Vec<LabelState>,
}

/// When a label was brought.
#[derive(Debug, Clone, Copy)]
struct LabelState {
    /// By any call.
    any: LabelStamp,
    /// By a call outside of what Callgate has issued.
    loose: Option<LabelStamp>,
    /// Whether what has to be written is written.
    is_settled: bool,
}

/// A moment, and what stands for it in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LabelStamp {
    at: SystemTime,
    /// Never before `at`.
    through: SystemTime,
}

/// Which labels of a pair count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelWindow {
    /// All.
    All,
    /// Those that calls outside of what Callgate has issued have brought since then.
    UnattributedSince(SystemTime),
}

/// There is no room for what a call brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelCapacityError;

impl CarrierLabels {
    /// Room for about this many carriers. A label of a pair counts for `pair_for` after it was brought.
    pub fn new(capacity: usize, pair_for: Duration) -> Self {
        // Few carriers would be spread unevenly.
        let shards = (capacity / 1_024).clamp(1, 64).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            room: capacity.div_ceil(shards),
            pair_for,
            kept: AtomicUsize::new(0),
        }
    }

    /// Every label of a task or a delegation.
    pub fn of(&self, carrier: LabelCarrierRef<'_>) -> Option<Arc<Labels>> {
        let shard = self.shard(carrier);
        shard
            .slots
            .get(&carrier)
            .map(|slot| Arc::clone(&slot.labels))
    }

    /// The labels of a pair that count.
    pub fn lately(
        &self,
        actor: &EntityUID,
        root: Option<&EntityUID>,
        counts: LabelWindow,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        self.counted(LabelCarrierRef::Pair { actor, root }, counts, now)
    }

    /// The labels of what keeps them for a time, as far as they count.
    pub fn counted(
        &self,
        carrier: LabelCarrierRef<'_>,
        counts: LabelWindow,
        now: SystemTime,
    ) -> Option<Arc<Labels>> {
        let shard = self.shard(carrier);
        let slot = shard.slots.get(&carrier)?;
        let counted = |mark: &LabelState| match counts {
            LabelWindow::All => !self.is_over(mark.any, now),
            LabelWindow::UnattributedSince(since) => mark
                .loose
                .is_some_and(|stamp| stamp.at >= since && !self.is_over(stamp, now)),
        };
        if slot.marks.iter().all(counted) {
            return Some(Arc::clone(&slot.labels));
        }
        let each = slot.labels.items().iter().zip(&slot.marks);
        let left: Vec<SmolStr> = each
            .filter(|(_, mark)| counted(mark))
            .map(|(label, _)| label.clone())
            .collect();
        (!left.is_empty()).then(|| Arc::new(Labels::new(left)))
    }

    /// Adds labels, and says what to write before the answer leaves. `is_loose` says that the call belongs to nothing that
    /// Callgate has issued.
    pub fn bring(
        &self,
        carrier: LabelCarrierRef<'_>,
        labels: &[SmolStr],
        is_loose: bool,
        now: SystemTime,
    ) -> Result<Option<StoreWrite>, LabelCapacityError> {
        let ahead = match carrier.is_timed() {
            true => self.ahead(),
            false => Duration::ZERO,
        };
        let mut shard = self.shard(carrier);
        if !shard.slots.contains_key(&carrier) {
            // What stands for all that has no room has one of its own.
            if carrier != LabelCarrierRef::AnyResource && !self.has_room(&mut shard, now) {
                return Err(LabelCapacityError);
            }
            shard.slots.insert(carrier.to_carrier(), Slot::new());
            self.kept.fetch_add(1, Ordering::Relaxed);
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
            if !mark.is_settled {
                unwritten.push(LabelTimes {
                    label: label.clone(),
                    through: mark.any.through,
                    loose_through: mark.loose.map(|loose| loose.through),
                });
            }
        }
        Ok((!unwritten.is_empty()).then(|| StoreWrite::Labels {
            carrier: carrier.to_carrier(),
            labels: unwritten,
            at: now,
        }))
    }

    /// This is written. Only for what [`Memory::bring`] returned, and once the store said so.
    pub fn settled(&self, carrier: &LabelCarrier, written: &[LabelTimes]) {
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

    /// A task or a delegation is no more.
    pub fn end(&self, carrier: LabelCarrierRef<'_>) {
        if self.shard(carrier).slots.remove(&carrier).is_some() {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets pairs whose time is over.
    pub fn sweep(&self, now: SystemTime) {
        for shard in &self.shards {
            self.sweep_shard(&mut lock(shard), now);
        }
    }

    /// Takes over what a store holds. For the start, before anything else.
    pub fn restore(&self, stored: Vec<StoredLabel>) {
        for stored in stored {
            let mut shard = self.shard(stored.carrier.as_ref());
            let slot = shard.slots.entry(stored.carrier).or_insert_with(|| {
                self.kept.fetch_add(1, Ordering::Relaxed);
                Slot::new()
            });
            let whole = |at| LabelStamp { at, through: at };
            slot.labels = slot
                .labels
                .with(std::slice::from_ref(&stored.brought.label));
            slot.marks.push(LabelState {
                any: whole(stored.brought.through),
                loose: stored.brought.loose_through.map(whole),
                is_settled: true,
            });
        }
    }

    /// How many carriers have labels.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// By how much more than it has to be a pair's time is written.
    fn ahead(&self) -> Duration {
        self.pair_for / 4
    }

    fn is_over(&self, stamp: LabelStamp, now: SystemTime) -> bool {
        let until = stamp.at.checked_add(self.pair_for);
        until.is_some_and(|until| until < now)
    }

    fn has_room(&self, shard: &mut Shard, now: SystemTime) -> bool {
        if shard.slots.len() < self.room {
            return true;
        }
        // Looking through all of them is only worth it if the time of some can be over since.
        let looked = shard.swept_at.and_then(|at| at.checked_add(self.ahead()));
        if looked.is_none_or(|next| next <= now) {
            self.sweep_shard(shard, now);
        }
        shard.slots.len() < self.room
    }

    fn sweep_shard(&self, shard: &mut Shard, now: SystemTime) {
        let before = shard.slots.len();
        shard.slots.retain(|carrier, slot| {
            let is_timed = carrier.as_ref().is_timed();
            !is_timed || slot.marks.iter().any(|mark| !self.is_over(mark.any, now))
        });
        self.kept
            .fetch_sub(before - shard.slots.len(), Ordering::Relaxed);
        shard.swept_at = Some(now);
    }

    fn shard(&self, carrier: LabelCarrierRef<'_>) -> MutexGuard<'_, Shard> {
        // The upper bits: the map within looks at the lower ones.
        let hash = self.hasher.hash_one(carrier) >> 32;
        lock(&self.shards[hash as usize & (self.shards.len() - 1)])
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            labels: Arc::new(Labels::new(Vec::new())),
            marks: Vec::new(),
        }
    }

    fn place_of(&self, label: &SmolStr) -> Option<usize> {
        self.labels.items().iter().position(|known| known == label)
    }

    fn drop_if(&mut self, is_over: impl Fn(&LabelState) -> bool) {
        if !self.marks.iter().any(&is_over) {
            return;
        }
        let each = self
            .labels
            .items()
            .iter()
            .cloned()
            .zip(self.marks.drain(..));
        let (labels, marks): (Vec<_>, Vec<_>) = each.filter(|(_, mark)| !is_over(mark)).unzip();
        self.labels = Arc::new(Labels::new(labels));
        self.marks = marks;
    }

    /// Notes that a label is brought now.
    fn mark(
        &mut self,
        label: &SmolStr,
        is_loose: bool,
        now: SystemTime,
        ahead: Duration,
        keeps_time: bool,
    ) -> Result<LabelState, LabelCapacityError> {
        let new = LabelStamp {
            at: now,
            through: now.checked_add(ahead).unwrap_or(now),
        };
        let Some(place) = self.place_of(label) else {
            if self.marks.len() >= MAX_LABELS {
                return Err(LabelCapacityError);
            }
            let mark = LabelState {
                any: new,
                loose: is_loose.then_some(new),
                is_settled: false,
            };
            self.labels = self.labels.with(std::slice::from_ref(label));
            self.marks.push(mark);
            return Ok(mark);
        };
        let mark = &mut self.marks[place];
        if keeps_time {
            let mut is_written = mark.any.renew(new);
            if is_loose {
                is_written &= match &mut mark.loose {
                    Some(loose) => loose.renew(new),
                    None => {
                        mark.loose = Some(new);
                        false
                    }
                };
            }
            mark.is_settled &= is_written;
        }
        Ok(*mark)
    }
}

impl LabelStamp {
    /// The same at a later moment, and whether what is written still stands for it.
    fn renew(&mut self, new: Self) -> bool {
        self.at = self.at.max(new.at);
        if self.at <= self.through {
            return true;
        }
        self.through = new.through;
        false
    }
}
