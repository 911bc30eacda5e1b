//! Idempotency keys: which requests were carried out already, and how many may be remembered.
//!
//! A key is remembered as long as what is over is kept. Where there is no room for one more, a request with a new key is
//! refused: to forget one would be to carry out its request twice.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::ChangeOrigin;
use crate::store::store::StoredKey;

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;

/// How many keys may be remembered.
#[derive(Debug, Clone, Copy)]
pub struct KeyLimits {
    /// Of all callers.
    pub all: usize,
    /// Of one.
    pub caller: usize,
}

/// The keys that are known.
#[derive(Debug)]
pub(super) struct IdempotencyKeys {
    by_caller: HashMap<SmolStr, HashMap<SmolStr, StoredKey>>,
    count: usize,
    /// When which was used, the oldest first. What is no longer known may be among them.
    order: VecDeque<(SystemTime, SmolStr, SmolStr)>,
    room: KeyLimits,
}

/// What a key is at first sight.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyLookup {
    /// There is none, or nothing was asked under it.
    New,
    /// This was asked under it, and is asked again.
    Repeated(StoredKey),
    /// Something else was asked under it.
    Reused,
    /// There is no room for it. The text says which limit.
    Full(String),
}

impl IdempotencyKeys {
    /// The keys that a store held.
    pub(super) fn new(mut stored: Vec<StoredKey>, room: KeyLimits) -> Self {
        stored.sort_by_key(|key| key.at);
        let mut keys = Self {
            by_caller: HashMap::new(),
            count: 0,
            order: VecDeque::new(),
            room,
        };
        stored.into_iter().for_each(|key| keys.remember(key));
        keys
    }

    /// What the key of a request is.
    pub(super) fn look(&self, asked: &ChangeOrigin) -> KeyLookup {
        let Some(key) = &asked.key else {
            return KeyLookup::New;
        };
        let of_caller = self.by_caller.get(&asked.caller);
        match of_caller.and_then(|keys| keys.get(&key.text)) {
            Some(known) if known.request == key.request => {
                return KeyLookup::Repeated(known.clone());
            }
            Some(_) => return KeyLookup::Reused,
            None => {}
        }
        let (all, caller) = (self.room.all, self.room.caller);
        if of_caller.is_some_and(|keys| keys.len() >= caller) {
            return KeyLookup::Full(format!(
                "{caller} idempotency keys of this caller are remembered, as many as \
                 `limits.idempotency_keys_per_caller` allows"
            ));
        }
        if self.count >= all {
            return KeyLookup::Full(format!(
                "{all} idempotency keys are remembered, as many as `limits.idempotency_keys` allows"
            ));
        }
        KeyLookup::New
    }

    /// This was asked.
    pub(super) fn remember(&mut self, key: StoredKey) {
        let (caller, text) = (key.caller.clone(), key.text.clone());
        self.order.push_back((key.at, caller.clone(), text.clone()));
        let of_caller = self.by_caller.entry(caller).or_default();
        if of_caller.insert(text, key).is_none() {
            self.count += 1;
        }
    }

    /// Forgets what was asked before a moment.
    pub(super) fn forget(&mut self, before: SystemTime) {
        while self.order.front().is_some_and(|(at, ..)| *at < before) {
            let Some((_, caller, text)) = self.order.pop_front() else {
                return;
            };
            let Some(of_caller) = self.by_caller.get_mut(&caller) else {
                continue;
            };
            if of_caller.get(&text).is_some_and(|known| known.at < before) {
                of_caller.remove(&text);
                self.count -= 1;
            }
            if of_caller.is_empty() {
                self.by_caller.remove(&caller);
            }
        }
    }

    /// Forgets what was not carried out after all: everything later than a revision.
    pub(super) fn fall_back(&mut self, newest: u64) {
        let mut count = 0;
        self.by_caller.retain(|_, keys| {
            keys.retain(|_, known| known.revision <= newest);
            count += keys.len();
            !keys.is_empty()
        });
        self.count = count;
    }
}
