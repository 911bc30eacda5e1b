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
//! Counts, tools and last steps are written in the background ([`Sessions::dirty`], [`Sessions::end_writing`]).
//!
//! # Memory
//!
//! Memory holds the sessions that are in use. When it is full, those that have been silent for the longest and are
//! written leave it ([`Sessions::is_held`] says no then), and are read from the store when they come again
//! ([`Sessions::adopt_stored`]). At the start all are in the store. If all that are in memory are still to be written,
//! there is no room for another one.
//!
//! # With other servers
//!
//! A session is held by one server at a time ([`Sessions::share`]). Only what it holds, a server advances. It takes a
//! session as the store has it ([`Sessions::adopt`]) and gives back what it has become ([`Sessions::release`]).
//!
//! # Retention
//!
//! A session is silent since its last allowed call. One that has been silent for longer than sessions are kept is
//! forgotten ([`Sessions::forget`]) and starts anew. That a session has ended stays known after that, by 16 bytes of a
//! hash of its id.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::session::{CedarSet, Session};
use crate::domain::ids::SessionId;
use crate::store::backend::{StoreWrite, StoredSession};
use crate::store::session_index::{IdHashes, SessionIndex, hash_of};
use crate::store::sharded::Sharded;

mod memory;
mod shared;

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;

/// Sessions that may be ended for good: about 100 MiB of hashes. One more is rejected.
const MAX_ENDED: usize = 4_000_000;

/// Sessions by id.
#[derive(Debug)]
pub struct Sessions {
    shards: Sharded<SessionShard>,
    /// The capacity of one shard, in sessions.
    room: usize,
    /// Hashes of the ids of ended sessions, also of those that are otherwise forgotten.
    ended: RwLock<IdHashes>,
    /// The last version given out. Versions are unique among all sessions, so a session that was evicted and started
    /// anew is never mistaken for its earlier self.
    version: AtomicU64,
    /// Sessions that were ended before their first call.
    unbegun: AtomicUsize,
    /// Whether there are other servers.
    is_shared: AtomicBool,
    /// Sessions without a change since then are forgotten, in milliseconds since the Unix epoch.
    forgotten: AtomicU64,
}

#[derive(Debug, Default)]
struct SessionShard {
    sessions: HashMap<SessionId, SessionSlot, RandomState>,
    /// Sessions with changes to write in the background.
    dirty: Vec<SessionId>,
    /// Sessions that are in the store alone; unused if there are other servers.
    stored: SessionIndex,
}

#[derive(Debug)]
struct SessionSlot {
    session: Session,
    /// Labels whose write has not been reported.
    unsettled: Vec<SmolStr>,
    is_dirty: bool,
    /// The version that is written, apart from labels.
    written: u64,
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
    pub fn write(&self, id: &SessionId, at: SystemTime) -> Option<StoreWrite> {
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
    /// It has to be read from the store first, or another server may hold it.
    NotHeld,
}

impl Sessions {
    /// Capacity for about `capacity` sessions in memory.
    pub fn new(capacity: usize) -> Self {
        let shards = Sharded::for_capacity(capacity);
        Self {
            room: shards.share_of(capacity),
            shards,
            ended: RwLock::default(),
            version: AtomicU64::new(0),
            unbegun: AtomicUsize::new(0),
            is_shared: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The current state of a session; a new one with version 0 if it is unknown, which is kept only after its first
    /// change. `None` if it has to be read from the store first, or another server may hold it.
    pub fn get(&self, id: &SessionId) -> Option<Session> {
        let shard = self.shard(id);
        match shard.sessions.get(id) {
            Some(slot) if slot.turn.is_some() || !self.is_shared() => Some(slot.session.clone()),
            None if !self.is_shared() && !shard.stored.has(id) => {
                drop(shard);
                let mut session = Session::new();
                session.is_ended = self.has_ended(id);
                Some(session)
            }
            _ => None,
        }
    }

    /// Whether the session was ended, at any time in the past.
    pub fn has_ended(&self, id: &SessionId) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        !ended.is_empty() && ended.contains(&hash_of(id.as_str()))
    }

    /// Whether the session may be ended: there is room to remember that, or it has ended already.
    pub fn can_end(&self, id: &SessionId) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        ended.len() < MAX_ENDED || ended.contains(&hash_of(id.as_str()))
    }

    /// Replaces the session by `next`, whose version is assigned here, if it still has the version that the decision
    /// saw. The labels in the [`SessionUpdate`] must be written before the response leaves.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Conflict`] if the session has changed meanwhile, [`AdvanceError::Full`] if there is no room for
    /// it, [`AdvanceError::NotHeld`] if it has to be read from the store first, or another server may hold it.
    pub fn advance(
        &self,
        id: &SessionId,
        seen: u64,
        next: Session,
        now: SystemTime,
    ) -> Result<SessionUpdate, AdvanceError> {
        let mut shard = self.shard(id);
        match shard.sessions.get(id) {
            known if self.is_shared() && known.is_none_or(|slot| slot.turn.is_none()) => {
                return Err(AdvanceError::NotHeld);
            }
            None if shard.stored.has(id) => return Err(AdvanceError::NotHeld),
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
                if !self.has_room(&mut shard) {
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
    pub fn mark_written(&self, id: &SessionId, labels: &[SmolStr]) {
        if let Some(slot) = self.shard(id).sessions.get_mut(id) {
            slot.unsettled.retain(|label| !labels.contains(label));
        }
    }

    /// Ends a session, known or not. Decisions that read an earlier state fail to advance it. Called for a change that
    /// is already written, so there is always room.
    pub fn end(&self, id: &SessionId, now: SystemTime) {
        let version = self.next_version();
        let mut shard = self.shard(id);
        if !shard.sessions.contains_key(id) && shard.stored.has(id) {
            drop(shard);
            return self.note_ended(id);
        }
        let slot = shard.touch(id, now);
        let was_ended = std::mem::replace(&mut slot.session.is_ended, true);
        slot.session.version = version;
        if !was_ended && slot.is_unbegun() {
            self.unbegun.fetch_add(1, Ordering::Relaxed);
        }
        drop(shard);
        self.note_ended(id);
    }

    /// Whether the session has begun or ended, as far as this server knows.
    pub fn is_known(&self, id: &SessionId) -> bool {
        let shard = self.shard(id);
        shard.sessions.contains_key(id) || shard.stored.has(id)
    }

    /// How many sessions were ended before their first call.
    pub fn ended_unbegun(&self) -> usize {
        self.unbegun.load(Ordering::Relaxed)
    }

    /// The background writes for all changes since the last call, and what [`Sessions::end_writing`] has to know of them.
    pub fn dirty(&self) -> (Vec<StoreWrite>, WrittenVersions) {
        let (mut writes, mut versions) = (Vec::new(), Vec::new());
        for mut shard in self.shards.each() {
            for id in std::mem::take(&mut shard.dirty) {
                let Some(slot) = shard.sessions.get_mut(&id) else {
                    continue;
                };
                slot.is_dirty = false;
                let session = &slot.session;
                versions.push((id.clone(), session.version));
                writes.push(StoreWrite::Session {
                    id,
                    calls: session.calls,
                    tools: session.tools.items().to_vec(),
                    last: session.last_tools().cloned().collect(),
                    at: slot.at,
                });
            }
        }
        (writes, WrittenVersions(versions))
    }

    /// Notes whether the writes of [`Sessions::dirty`] were made. If not, they are due again.
    pub fn end_writing(&self, versions: &WrittenVersions, are_written: bool) {
        for (id, version) in &versions.0 {
            let mut shard = self.shard(id);
            let Some(slot) = shard.sessions.get_mut(id) else {
                continue;
            };
            if are_written {
                slot.written = slot.written.max(*version);
            } else if !std::mem::replace(&mut slot.is_dirty, true) {
                shard.dirty.push(id.clone());
            }
        }
    }

    /// Whether this server may advance the session as it is in memory.
    pub fn is_held(&self, id: &SessionId) -> bool {
        let shard = self.shard(id);
        match shard.sessions.get(id) {
            Some(slot) => slot.turn.is_some() || !self.is_shared(),
            None => !self.is_shared() && !shard.stored.has(id),
        }
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        for mut shard in self.shards.each() {
            *shard = SessionShard::default();
        }
        self.unbegun.store(0, Ordering::Relaxed);
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.clear();
    }

    fn slot_of(&self, stored: StoredSession) -> SessionSlot {
        let mut session = Session::new();
        session.version = self.next_version();
        session.is_ended = stored.is_ended;
        session.calls = stored.calls;
        session.labels = Arc::new(CedarSet::new(stored.labels));
        session.tools = Arc::new(CedarSet::new(stored.tools));
        SessionSlot {
            written: session.version,
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
            shard.sessions.insert(id, slot);
        }
    }

    /// Forgets sessions without a change since `before`, ended ones too. Memory must forget them before the store
    /// does, and with a margin of a minute: whatever is in memory must also be in the store, which is written a little
    /// later. Returns the writes that leave to other servers what this one held.
    pub fn forget(&self, before: SystemTime) -> Vec<StoreWrite> {
        self.forgotten
            .fetch_max(form::millis(before), Ordering::AcqRel);
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
    pub fn restore_ended(&self, ids: &[SessionId]) {
        for id in ids {
            self.note_ended(id);
        }
    }

    fn note_ended(&self, id: &SessionId) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.insert(hash_of(id.as_str()));
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

    fn shard(&self, id: &SessionId) -> MutexGuard<'_, SessionShard> {
        self.shards.lock(id)
    }
}

impl SessionSlot {
    /// Whether the store has all of it. What was ended before its first call stays in memory, where it is counted.
    fn is_written(&self) -> bool {
        self.written == self.session.version && self.unsettled.is_empty() && !self.is_unbegun()
    }

    /// Whether the session was ended before its first call.
    fn is_unbegun(&self) -> bool {
        let session = &self.session;
        session.is_ended && session.calls == 0 && session.labels.items().is_empty()
    }
}

/// Sessions that were to be written, with the versions that were.
#[derive(Debug, Default)]
pub struct WrittenVersions(Vec<(SessionId, u64)>);

impl SessionShard {
    /// The slot of a session that is about to change.
    fn touch(&mut self, id: &SessionId, now: SystemTime) -> &mut SessionSlot {
        let slot = self.sessions.entry_ref(id).or_insert_with(|| SessionSlot {
            session: Session::new(),
            unsettled: Vec::new(),
            is_dirty: false,
            written: 0,
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
