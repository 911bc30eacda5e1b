//! Sessions in memory: their labels, call counts and recent tools.
//!
//! A decision reads a session with [`Sessions::get`]. If it allows, the state after the call is put with
//! [`Sessions::advance`], which fails if the session has changed in between. So two calls of one session are never
//! both decided on the same state: the later one is decided again.
//!
//! # When a response may leave
//!
//! Labels must survive a crash. An allow depends on the labels that its own call adds, and on those that concurrent
//! calls added and that may not be on disk yet. [`SessionUpdate::labels`] holds both: every label of the session whose
//! write has not been reported. The caller writes them all ([`SessionUpdate::write`]), reports that with
//! [`Sessions::mark_written`], and responds then. So no response waits for the write of another, the next call makes
//! up for a failed write, and as labels are rarely new there usually is nothing to write.
//!
//! Counts, tools and last steps are written in the background, from [`Sessions::dirty`].
//!
//! # With other servers
//!
//! A session is held by one server at a time ([`Sessions::share`]). Only what it holds, a server advances. It takes a
//! session as the store has it ([`Sessions::adopt`]) and gives back what it has become ([`Sessions::release`]).
//!
//! # Retention
//!
//! A session is silent since its last allowed call. One that has been silent for longer than the idle time may be
//! evicted when room is needed; then it starts anew. An ended session is never evicted for room, only by
//! [`Sessions::forget`]. That it has ended stays known after that, by 16 bytes of a hash of its id.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::domain::authority::session::{CedarSet, Session};
use crate::store::backend::{StoreWrite, StoredSession};
use crate::store::sharded::Sharded;

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;

/// Sessions that may be ended for good: about 100 MiB of hashes. One more is rejected.
const MAX_ENDED: usize = 4_000_000;

/// Sessions by id.
#[derive(Debug)]
pub struct Sessions {
    shards: Sharded<Shard>,
    /// The capacity of one shard, in sessions.
    room: usize,
    idle: Duration,
    /// Hashes of the ids of ended sessions, also of those that are otherwise forgotten.
    ended: RwLock<HashSet<u128, RandomState>>,
    /// The last version given out. Versions are unique among all sessions, so a session that was evicted and started
    /// anew is never mistaken for its earlier self.
    version: AtomicU64,
    /// Sessions that were ended before their first call.
    unbegun: AtomicUsize,
    /// Whether there are other servers.
    is_shared: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashMap<SmolStr, Slot, RandomState>,
    /// Sessions with changes to write in the background.
    dirty: Vec<SmolStr>,
    /// No session that may be evicted has been silent since before this moment.
    silent_since: Option<SystemTime>,
}

#[derive(Debug)]
struct Slot {
    session: Session,
    /// Labels whose write has not been reported.
    unsettled: Vec<SmolStr>,
    is_dirty: bool,
    /// The turn in which this server holds it, if there are others.
    turn: Option<u64>,
    /// The time of the last change.
    at: SystemTime,
}

/// The result of a successful [`Sessions::advance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUpdate {
    /// The new version.
    pub version: u64,
    /// The labels to write before the response. Usually empty.
    pub labels: Vec<SmolStr>,
}

impl SessionUpdate {
    /// The write that must precede the response, if there is one.
    pub fn write(&self, id: &SmolStr, at: SystemTime) -> Option<StoreWrite> {
        let labels = self.labels.clone();
        let id = id.clone();
        (!labels.is_empty()).then_some(StoreWrite::SessionLabels { id, labels, at })
    }
}

/// Why a session was not advanced.
#[derive(Debug, Clone)]
pub enum AdvanceError {
    /// The session has changed since it was read. This is its current state; decide again.
    Conflict(Session),
    /// The capacity for sessions is used up.
    Full,
    /// Another server may hold it.
    NotHeld,
}

impl Sessions {
    /// Capacity for about `capacity` sessions. Sessions that have been silent for longer than `idle` make room when it
    /// is needed.
    pub fn new(capacity: usize, idle: Duration) -> Self {
        let shards = Sharded::for_capacity(capacity);
        Self {
            room: shards.share_of(capacity),
            shards,
            idle,
            ended: RwLock::default(),
            version: AtomicU64::new(0),
            unbegun: AtomicUsize::new(0),
            is_shared: AtomicBool::new(false),
        }
    }

    /// The current state of a session; a new one with version 0 if it is unknown. A new one is kept only after its
    /// first change.
    pub fn get(&self, id: &str) -> Session {
        if let Some(slot) = self.shard(id).sessions.get(id) {
            return slot.session.clone();
        }
        let mut session = Session::new();
        session.is_ended = self.has_ended(id);
        session
    }

    /// Whether the session was ended, at any time in the past.
    pub fn has_ended(&self, id: &str) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        !ended.is_empty() && ended.contains(&hash_of(id))
    }

    /// Whether the session may be ended: there is room to remember that, or it has ended already.
    pub fn can_end(&self, id: &str) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        ended.len() < MAX_ENDED || ended.contains(&hash_of(id))
    }

    /// Replaces the session by `next`, whose version is assigned here, if it still has the version that the decision
    /// saw. The labels in the [`SessionUpdate`] must be written before the response leaves.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Conflict`] if the session has changed meanwhile, [`AdvanceError::Full`] if there is no room for
    /// it, [`AdvanceError::NotHeld`] if another server may hold it.
    pub fn advance(
        &self,
        id: &SmolStr,
        seen: u64,
        next: Session,
        now: SystemTime,
    ) -> Result<SessionUpdate, AdvanceError> {
        let mut shard = self.shard(id);
        let is_shared = self.is_shared.load(Ordering::Relaxed);
        match shard.sessions.get(id) {
            known if is_shared && known.is_none_or(|slot| slot.turn.is_none()) => {
                return Err(AdvanceError::NotHeld);
            }
            Some(slot) if slot.session.version != seen || slot.session.is_ended => {
                return Err(AdvanceError::Conflict(slot.session.clone()));
            }
            Some(_) => {}
            None if self.has_ended(id) => {
                let mut ended = Session::new();
                ended.is_ended = true;
                return Err(AdvanceError::Conflict(ended));
            }
            None if seen != 0 => return Err(AdvanceError::Conflict(Session::new())),
            None => {
                if !shard.has_room(self.room, self.idle, now) {
                    return Err(AdvanceError::Full);
                }
            }
        }
        let version = self.next_version();
        let slot = shard.touch(id, now);
        let known = &slot.session.labels;
        if !Arc::ptr_eq(known, &next.labels) {
            let new = |label: &&SmolStr| !known.items().contains(label);
            let new = next.labels.items().iter().filter(new).cloned();
            slot.unsettled.extend(new);
        }
        slot.session = next;
        slot.session.version = version;
        Ok(SessionUpdate {
            version,
            labels: slot.unsettled.clone(),
        })
    }

    /// Notes that the store has written labels of the session: those that a [`SessionUpdate`] named.
    pub fn mark_written(&self, id: &str, labels: &[SmolStr]) {
        if let Some(slot) = self.shard(id).sessions.get_mut(id) {
            slot.unsettled.retain(|label| !labels.contains(label));
        }
    }

    /// Ends a session, known or not. Decisions that read an earlier state fail to advance it. Called for a change that
    /// is already written, so there is always room.
    pub fn end(&self, id: &SmolStr, now: SystemTime) {
        let version = self.next_version();
        let mut shard = self.shard(id);
        let slot = shard.touch(id, now);
        let was_ended = std::mem::replace(&mut slot.session.is_ended, true);
        slot.session.version = version;
        if !was_ended && slot.is_unbegun() {
            self.unbegun.fetch_add(1, Ordering::Relaxed);
        }
        drop(shard);
        self.note_ended(id);
    }

    /// Whether the session is in memory.
    pub fn is_known(&self, id: &str) -> bool {
        self.shard(id).sessions.contains_key(id)
    }

    /// How many sessions were ended before their first call.
    pub fn ended_unbegun(&self) -> usize {
        self.unbegun.load(Ordering::Relaxed)
    }

    /// The background writes for all changes since the last call.
    pub fn dirty(&self) -> Vec<StoreWrite> {
        let mut changed = Vec::new();
        for mut shard in self.shards.each() {
            for id in std::mem::take(&mut shard.dirty) {
                if let Some(slot) = shard.sessions.get_mut(&id) {
                    slot.is_dirty = false;
                    changed.push((id, slot.session.clone(), slot.at));
                }
            }
        }
        let write = |(id, session, at): (SmolStr, Session, SystemTime)| StoreWrite::Session {
            id,
            calls: session.calls,
            tools: session.tools.items().to_vec(),
            last: session.last_tools().cloned().collect(),
            at,
        };
        changed.into_iter().map(write).collect()
    }

    /// From now on there are other servers.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Whether this server may advance the session.
    pub fn is_held(&self, id: &str) -> bool {
        !self.is_shared.load(Ordering::Relaxed)
            || self
                .shard(id)
                .sessions
                .get(id)
                .is_some_and(|it| it.turn.is_some())
    }

    /// Takes a session as the store has it, with its turn. What is in memory of an earlier turn is forgotten.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Full`] if there is no room for it.
    pub fn adopt(
        &self,
        stored: StoredSession,
        turn: u64,
        now: SystemTime,
    ) -> Result<(), AdvanceError> {
        let id = stored.id.clone();
        let has_ended = self.has_ended(&id);
        let mut slot = self.slot_of(stored);
        slot.session.is_ended |= has_ended;
        slot.turn = Some(turn);
        let mut shard = self.shard(&id);
        match shard.sessions.get_mut(&id) {
            Some(known) if known.turn.is_some() => known.turn = Some(turn),
            Some(known) => {
                slot.is_dirty = known.is_dirty;
                slot.at = slot.at.max(known.at);
                *known = slot;
            }
            None => {
                if !shard.has_room(self.room, self.idle, now) {
                    return Err(AdvanceError::Full);
                }
                shard.silent_since = None;
                shard.sessions.insert(id, slot);
            }
        }
        Ok(())
    }

    /// Gives a session back: the write that leaves it to others. `None` if this server does not hold it.
    pub fn release(&self, id: &SmolStr) -> Option<StoreWrite> {
        let mut shard = self.shard(id);
        let slot = shard.sessions.get_mut(id)?;
        slot.release(id)
    }

    /// Gives all sessions back.
    pub fn release_all(&self) -> Vec<StoreWrite> {
        let mut writes = Vec::new();
        for mut shard in self.shards.each() {
            let held = shard.sessions.iter_mut();
            writes.extend(held.filter_map(|(id, slot)| slot.release(id)));
        }
        writes
    }

    /// Forgets that it holds any: others may have taken them.
    pub fn disown_all(&self) {
        for mut shard in self.shards.each() {
            shard
                .sessions
                .values_mut()
                .for_each(|slot| slot.turn = None);
        }
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        for mut shard in self.shards.each() {
            *shard = Shard::default();
        }
        self.unbegun.store(0, Ordering::Relaxed);
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.clear();
    }

    fn slot_of(&self, stored: StoredSession) -> Slot {
        let mut session = Session::new();
        session.version = self.next_version();
        session.is_ended = stored.is_ended;
        session.calls = stored.calls;
        session.labels = Arc::new(CedarSet::new(stored.labels));
        session.tools = Arc::new(CedarSet::new(stored.tools));
        Slot {
            session: session.with_last_tools(&stored.last),
            unsettled: Vec::new(),
            is_dirty: false,
            turn: None,
            at: stored.at,
        }
    }

    /// Restores what a store holds. At the start, or after [`Sessions::clear`].
    pub fn restore(&self, stored: Vec<StoredSession>) {
        for stored in stored {
            let id = stored.id.clone();
            let slot = self.slot_of(stored);
            if slot.is_unbegun() {
                self.unbegun.fetch_add(1, Ordering::Relaxed);
            }
            let mut shard = self.shard(&id);
            shard.silent_since = None;
            shard.sessions.insert(id, slot);
        }
    }

    /// Forgets sessions without a change since `before`, ended ones too. Memory must forget them before the store
    /// does, and with a margin of a minute: whatever is in memory must also be in the store, which is written a little
    /// later. Returns the writes that leave to other servers what this one held.
    pub fn forget(&self, before: SystemTime) -> Vec<StoreWrite> {
        let mut released = Vec::new();
        for mut shard in self.shards.each() {
            shard.sessions.retain(|id, slot| {
                let stays = slot.at >= before;
                if !stays {
                    released.extend(slot.release(id));
                }
                if !stays && slot.is_unbegun() {
                    self.unbegun.fetch_sub(1, Ordering::Relaxed);
                }
                stays
            });
        }
        released
    }

    /// Restores which sessions have ended. At the start, or after [`Sessions::clear`].
    pub fn restore_ended(&self, ids: &[SmolStr]) {
        for id in ids {
            self.note_ended(id);
        }
    }

    fn note_ended(&self, id: &str) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.insert(hash_of(id));
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.sessions.len()).sum()
    }

    /// Whether no session is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        self.shards.lock(id)
    }
}

impl Slot {
    fn release(&mut self, id: &SmolStr) -> Option<StoreWrite> {
        Some(StoreWrite::SessionReleased {
            turn: self.turn.take()?,
            id: id.clone(),
            session: self.session.clone(),
            at: self.at,
        })
    }

    /// Whether the session was ended before its first call.
    fn is_unbegun(&self) -> bool {
        let session = &self.session;
        session.is_ended && session.calls == 0 && session.labels.items().is_empty()
    }
}

impl Shard {
    /// Whether there is room for one more session, evicting idle ones if necessary.
    fn has_room(&mut self, room: usize, idle: Duration, now: SystemTime) -> bool {
        if self.sessions.len() < room {
            return true;
        }
        let is_idle = |at: SystemTime| at.checked_add(idle).is_some_and(|until| until < now);
        // Scan the shard only if a session can have become idle since the last scan.
        if self.silent_since.is_some_and(|at| !is_idle(at)) {
            return false;
        }
        self.sessions
            .retain(|_, slot| slot.session.is_ended || !is_idle(slot.at));
        let droppable = self.sessions.values().filter(|slot| !slot.session.is_ended);
        self.silent_since = Some(droppable.map(|slot| slot.at).min().unwrap_or(now));
        self.sessions.len() < room
    }

    /// The slot of a session that is about to change.
    fn touch(&mut self, id: &SmolStr, now: SystemTime) -> &mut Slot {
        let slot = self.sessions.entry_ref(id).or_insert_with(|| Slot {
            session: Session::new(),
            unsettled: Vec::new(),
            is_dirty: false,
            turn: None,
            at: now,
        });
        slot.at = slot.at.max(now);
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.dirty.push(id.clone());
        }
        slot
    }
}

/// The first half of SHA-256 of an id: collisions are infeasible, so no other session can be taken for an ended one.
fn hash_of(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}
