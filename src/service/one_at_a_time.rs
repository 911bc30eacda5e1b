//! Work on one session at a time: of several that need the same, one does it and the others wait.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::ids::SessionId;

/// How long a wait lasts at most: a signal that is missed costs a moment.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The keys that are worked on.
#[derive(Debug, Default)]
pub struct OneAtATime {
    keys: Mutex<HashSet<SessionId>>,
    ended: Notify,
}

/// The turn of one key, until this is dropped.
#[derive(Debug)]
pub struct KeyTurn<'k> {
    keys: &'k OneAtATime,
    key: SessionId,
}

impl OneAtATime {
    /// Has the turn of a key as soon as `is_free` allows; `None` once `is_done` says that there is nothing left to do.
    pub async fn turn(
        &self,
        key: &SessionId,
        is_done: impl Fn() -> bool,
        is_free: impl Fn() -> bool,
    ) -> Option<KeyTurn<'_>> {
        loop {
            let ended = self.ended.notified();
            if is_done() {
                return None;
            }
            if is_free() && self.lock().insert(key.clone()) {
                let key = key.clone();
                return Some(KeyTurn { keys: self, key });
            }
            // Whoever has the turn has an end.
            let _ = tokio::time::timeout(LONGEST_WAIT, ended).await;
        }
    }

    /// Tells all that wait to look again.
    pub fn wake(&self) {
        self.ended.notify_waiters();
    }

    /// Each change is made in one step, so it is whole also after a panic.
    fn lock(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyTurn<'_> {
    /// The key.
    pub fn key(&self) -> &SessionId {
        &self.key
    }
}

impl Drop for KeyTurn<'_> {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
        self.keys.wake();
    }
}

#[cfg(test)]
#[path = "one_at_a_time_tests.rs"]
mod tests;
