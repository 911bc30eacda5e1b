//! What sessions have seen and done, in memory.
//!
//! A decision takes a session as it is with [`Sessions::get`], and if it allows, puts what comes after
//! with [`Sessions::advance`]. That works only if nothing happened in between, so two calls of one session
//! cannot both be decided on what was before either of them: the later one is decided again.
//!
//! # When an answer may leave
//!
//! Labels must survive a crash. An allow rests on two kinds of them: those that its own call adds, and
//! those that other calls added a moment ago and that are in memory, but perhaps not yet on the disk.
//! [`Advanced::labels`] holds both: every label of the session that nobody has reported as written.
//! Whoever got it writes them all ([`Advanced::write`]), reports that with [`Sessions::settled`], and
//! answers then. So no answer waits for the write of another, a write that failed is made up for by the
//! next call, and ordinarily, as labels rarely are new, there is nothing to write.
//!
//! Counts, tools and last steps are written behind, from [`Sessions::dirty`].
//!
//! # What is forgotten
//!
//! A session is silent from its last allowed call on. One that is silent for longer than the idle time
//! may be dropped when room is needed; then it begins anew. An ended one is never dropped for room, only
//! by [`Sessions::forget`]; and that it was ended stays known after that, by 16 bytes of a hash of its id.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::domain::authority::session::{CedarSet, Session};
use crate::store::lock;
use crate::store::store::{StoreWrite, StoredSession};

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;

/// Sessions that can be ended for good in all: some 100 MiB. One more is refused.
const MAX_ENDED: usize = 4_000_000;

/// Sessions by id.
#[derive(Debug)]
pub struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// The most sessions of one shard.
    room: usize,
    idle: Duration,
    /// Hashes of the ids of those that were ended for good, forgotten or not.
    ended: RwLock<HashSet<u128, RandomState>>,
    /// The version given last. No two states of any sessions get the same one, so one that was dropped
    /// and began anew is not taken for what it was.
    version: AtomicU64,
    /// Those that were ended and never began.
    unbegun: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashMap<SmolStr, Slot, RandomState>,
    /// Those with something to write behind.
    dirty: Vec<SmolStr>,
    /// No session that may be dropped was silent before this.
    silent_since: Option<SystemTime>,
}

#[derive(Debug)]
struct Slot {
    session: Session,
    /// Labels that nobody has reported as written.
    unsettled: Vec<SmolStr>,
    is_dirty: bool,
    /// When it was changed last.
    at: SystemTime,
}

/// A session has come further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUpdate {
    /// Its version now.
    pub version: u64,
    /// The labels to write before the answer. Empty ordinarily.
    pub labels: Vec<SmolStr>,
}

impl SessionUpdate {
    /// What to write before the answer, if anything.
    pub fn write(&self, id: &SmolStr, at: SystemTime) -> Option<StoreWrite> {
        let labels = self.labels.clone();
        let id = id.clone();
        (!labels.is_empty()).then_some(StoreWrite::SessionLabels { id, labels, at })
    }
}

/// Why a session did not come further.
#[derive(Debug, Clone)]
pub enum AdvanceError {
    /// It changed since it was looked at. This is what it is now; decide again.
    Conflict(Session),
    /// There is no room for one more session.
    Full,
}

impl Sessions {
    /// Room for about this many sessions. When it is needed, those that were silent for longer than
    /// `idle` make room.
    pub fn new(capacity: usize, idle: Duration) -> Self {
        // Few sessions would be spread unevenly.
        let shards = (capacity / 1_024).clamp(1, 64).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            room: capacity.div_ceil(shards),
            idle,
            ended: RwLock::default(),
            version: AtomicU64::new(0),
            unbegun: AtomicUsize::new(0),
        }
    }

    /// The session as it is; a new one, version 0, if it is not known. A new one is only remembered once
    /// something happens in it.
    pub fn get(&self, id: &str) -> Session {
        if let Some(slot) = self.shard(id).sessions.get(id) {
            return slot.session.clone();
        }
        let mut session = Session::new();
        session.is_ended = self.has_ended(id);
        session
    }

    /// Whether it was ended for good, however long ago.
    pub fn has_ended(&self, id: &str) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        !ended.is_empty() && ended.contains(&hash_of(id))
    }

    /// Whether one more can be remembered as ended; of one that has ended already, always.
    pub fn can_end(&self, id: &str) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        ended.len() < MAX_ENDED || ended.contains(&hash_of(id))
    }

    /// Replaces the session by `next` (its version is given here), if it still has the version that the
    /// decision saw.
    ///
    /// Before the answer leaves, what [`Advanced`] names has to be written.
    pub fn advance(
        &self,
        id: &SmolStr,
        seen: u64,
        next: Session,
        now: SystemTime,
    ) -> Result<SessionUpdate, AdvanceError> {
        let mut shard = self.shard(id);
        match shard.sessions.get(id) {
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

    /// These labels of the session are written. To be called for what [`Advanced`] named, and only once
    /// the store said so.
    pub fn settled(&self, id: &str, labels: &[SmolStr]) {
        if let Some(slot) = self.shard(id).sessions.get_mut(id) {
            slot.unsettled.retain(|label| !labels.contains(label));
        }
    }

    /// Ends a session, known or not; whatever was decided on what it was does not advance it. For a
    /// change that is written already, so there is always room.
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

    /// Whether anything is remembered of it.
    pub fn is_known(&self, id: &str) -> bool {
        self.shard(id).sessions.contains_key(id)
    }

    /// How many were ended that never began.
    pub fn ended_unbegun(&self) -> usize {
        self.unbegun.load(Ordering::Relaxed)
    }

    /// What changed since this was asked last, to be written behind.
    pub fn dirty(&self) -> Vec<StoreWrite> {
        let mut changed = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
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

    /// Takes over what a store holds. For the start, before anything else.
    pub fn restore(&self, stored: Vec<StoredSession>) {
        for stored in stored {
            let mut session = Session::new();
            session.version = self.next_version();
            session.is_ended = stored.is_ended;
            session.calls = stored.calls;
            session.labels = Arc::new(CedarSet::new(stored.labels));
            session.tools = Arc::new(CedarSet::new(stored.tools));
            let session = session.with_last_tools(&stored.last);
            let slot = Slot {
                session,
                unsettled: Vec::new(),
                is_dirty: false,
                at: stored.at,
            };
            if slot.is_unbegun() {
                self.unbegun.fetch_add(1, Ordering::Relaxed);
            }
            let mut shard = self.shard(&stored.id);
            shard.silent_since = None;
            shard.sessions.insert(stored.id, slot);
        }
    }

    /// Forgets the sessions that nothing happened in since then, ended ones too. Has to come before the
    /// store forgets them, and a minute more of them: what is kept here must be kept there, and that is
    /// written a little later.
    pub fn forget(&self, before: SystemTime) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.sessions.retain(|_, slot| {
                let stays = slot.at >= before;
                if !stays && slot.is_unbegun() {
                    self.unbegun.fetch_sub(1, Ordering::Relaxed);
                }
                stays
            });
        }
    }

    /// Takes over which sessions a store knows to be ended. For the start.
    pub fn restore_ended(&self, ids: &[SmolStr]) {
        for id in ids {
            self.note_ended(id);
        }
    }

    fn note_ended(&self, id: &str) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.insert(hash_of(id));
    }

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).sessions.len()).sum()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        // The upper bits: the map within looks at the lower ones.
        let hash = self.hasher.hash_one(id) >> 32;
        lock(&self.shards[hash as usize & (self.shards.len() - 1)])
    }
}

impl Slot {
    /// Ended before anything happened in it.
    fn is_unbegun(&self) -> bool {
        let session = &self.session;
        session.is_ended && session.calls == 0 && session.labels.items().is_empty()
    }
}

impl Shard {
    /// Whether there is room for one more session, or room can be made.
    fn has_room(&mut self, room: usize, idle: Duration, now: SystemTime) -> bool {
        if self.sessions.len() < room {
            return true;
        }
        let is_idle = |at: SystemTime| at.checked_add(idle).is_some_and(|until| until < now);
        // Looking through all of them is only worth it if one can have become idle since.
        if self.silent_since.is_some_and(|at| !is_idle(at)) {
            return false;
        }
        self.sessions
            .retain(|_, slot| slot.session.is_ended || !is_idle(slot.at));
        let droppable = self.sessions.values().filter(|slot| !slot.session.is_ended);
        self.silent_since = Some(droppable.map(|slot| slot.at).min().unwrap_or(now));
        self.sessions.len() < room
    }

    /// The session, which is about to change.
    fn touch(&mut self, id: &SmolStr, now: SystemTime) -> &mut Slot {
        let slot = self.sessions.entry_ref(id).or_insert_with(|| Slot {
            session: Session::new(),
            unsettled: Vec::new(),
            is_dirty: false,
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

/// Half of SHA-256: what is ended stays so under a name that nobody else's session shares.
fn hash_of(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}
