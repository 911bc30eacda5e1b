//! Sessions where other servers decide from the same store: each is held by one of them at a time.

use std::sync::atomic::Ordering;

use crate::domain::ids::SessionId;
use crate::store::backend::{StoreWrite, StoredSession};
use crate::store::sessions::{AdvanceError, SessionSlot, Sessions};

/// The most sessions that are given up at once, so that the queue of writes has room for others.
const GIVEN_UP_AT_ONCE: usize = 4_096;

impl Sessions {
    /// From now on there are other servers.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Takes a session as the store has it, with its turn. What is in memory of an earlier turn is forgotten.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Full`] if there is no room for it.
    pub fn adopt(&self, stored: StoredSession, turn: u64) -> Result<(), AdvanceError> {
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
                if !self.has_room(&mut shard) {
                    return Err(AdvanceError::Full);
                }
                shard.sessions.insert(id, slot);
            }
        }
        Ok(())
    }

    /// Gives a session back: the write that leaves it to others. `None` if this server does not hold it.
    pub fn release(&self, id: &SessionId) -> Option<StoreWrite> {
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

    /// Sessions that another server could have as well: of every shard that is nearly full, those that have been silent
    /// for the longest.
    pub fn to_give_up(&self) -> Vec<SessionId> {
        let (most, some) = (self.room - self.room / 8, self.room / 4);
        let mut ids = Vec::new();
        for shard in self.shards.each() {
            if shard.sessions.len() > most {
                let held = |slot: &SessionSlot| slot.turn.is_some();
                ids.extend(shard.longest_silent(some, held));
            }
        }
        ids.truncate(GIVEN_UP_AT_ONCE);
        ids
    }
}

impl SessionSlot {
    pub(super) fn release(&mut self, id: &SessionId) -> Option<StoreWrite> {
        Some(StoreWrite::SessionReleased {
            turn: self.turn.take()?,
            id: id.clone(),
            session: self.session.clone(),
            at: self.at,
        })
    }
}
