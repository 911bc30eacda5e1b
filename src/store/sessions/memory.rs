//! What of the sessions is in memory: those that are in use, and for the others that the store has them.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::domain::authority::form;
use crate::domain::ids::SessionId;
use crate::store::backend::StoredSession;
use crate::store::sessions::{AdvanceError, SessionShard, SessionSlot, Sessions};

impl Sessions {
    /// Takes a session as the store has it, or that the store has none, where there are no other servers. Nobody else may
    /// read the same session from the store meanwhile.
    ///
    /// # Errors
    ///
    /// [`AdvanceError::Full`] if there is no room for it.
    pub fn adopt_stored(
        &self,
        id: &SessionId,
        stored: Option<StoredSession>,
    ) -> Result<(), AdvanceError> {
        let since = form::from_millis(self.forgotten.load(Ordering::Acquire));
        let stored = stored.filter(|it| since.is_none_or(|since| it.at >= since));
        let has_ended = self.has_ended(id);
        let mut shard = self.shard(id);
        if shard.sessions.contains_key(id) {
            return Ok(());
        }
        if !self.has_room(&mut shard) {
            return Err(AdvanceError::Full);
        }
        let mut slot = self.slot_of(stored.unwrap_or_else(|| StoredSession {
            id: id.clone(),
            is_ended: false,
            calls: 0,
            labels: Vec::new(),
            tools: Vec::new(),
            last: Vec::new(),
            at: since.unwrap_or(SystemTime::UNIX_EPOCH),
        }));
        slot.session.is_ended |= has_ended;
        shard.stored.remove(id);
        shard.sessions.insert(id.clone(), slot);
        Ok(())
    }

    /// Notes that a session is in the store. Its id is a text: a start tells millions of them, and none is kept.
    pub fn note_stored(&self, id: &str) {
        let mut shard = self.shards.lock(id);
        if !shard.sessions.contains_key(id) {
            shard.stored.add(id, self.shards.count());
        }
    }

    /// Notes that sessions are no longer in the store.
    pub fn forget_stored(&self, ids: &[SessionId]) {
        for id in ids {
            self.shard(id).stored.remove(id);
        }
    }

    /// How many sessions are in the store alone, as far as that is known.
    pub fn stored(&self) -> usize {
        self.shards.each().map(|shard| shard.stored.len()).sum()
    }

    /// Whether there is room for one more session in a shard, once what may leave it has left.
    pub(super) fn has_room(&self, shard: &mut SessionShard) -> bool {
        if shard.sessions.len() < self.room {
            return true;
        }
        let is_shared = self.is_shared();
        let may_leave = |slot: &SessionSlot| match is_shared {
            true => slot.turn.is_none() && !slot.is_unbegun(),
            false => slot.is_written(),
        };
        for id in shard.longest_silent((self.room / 8).max(1), may_leave) {
            shard.sessions.remove(&id);
            if !is_shared {
                shard.stored.add(id.as_str(), self.shards.count());
            }
        }
        shard.sessions.len() < self.room
    }
}

impl SessionShard {
    /// Of the sessions for which `matches`, up to `count` that have been silent for the longest.
    pub(super) fn longest_silent(
        &self,
        count: usize,
        matches: impl Fn(&SessionSlot) -> bool,
    ) -> Vec<SessionId> {
        let found = self.sessions.iter().filter(|(_, slot)| matches(slot));
        let mut found: Vec<(SystemTime, &SessionId)> =
            found.map(|(id, slot)| (slot.at, id)).collect();
        if found.len() > count {
            found.select_nth_unstable(count);
            found.truncate(count);
        }
        found.into_iter().map(|(_, id)| id.clone()).collect()
    }
}
