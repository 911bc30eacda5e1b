//! Idempotency keys: which requests were carried out already, and how many keys are kept.
//!
//! A key is kept as long as ended records are. Without room for one more, a request with a new key is rejected:
//! dropping a key could carry out its request twice.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::ChangeOrigin;
use crate::store::backend::StoredKey;

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;

/// The most keys that are kept.
#[derive(Debug, Clone, Copy)]
pub struct KeyLimits {
    /// For all callers together.
    pub total: usize,
    /// For one caller.
    pub per_caller: usize,
}

/// The keys in use.
#[derive(Debug)]
pub(super) struct IdempotencyKeys {
    by_caller: HashMap<SmolStr, HashMap<SmolStr, StoredKey>>,
    count: usize,
    /// The times of use, oldest first. Keys that are no longer kept may be among them.
    order: VecDeque<(SystemTime, SmolStr, SmolStr)>,
    room: KeyLimits,
}

/// The result of looking up a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyLookup {
    /// There is no key, or it is new.
    New,
    /// The same request was carried out under it.
    Repeated(StoredKey),
    /// Another request was carried out under it.
    Reused,
    /// There is no room for it. The text names the limit.
    Full(String),
}

impl IdempotencyKeys {
    /// The keys of a store.
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

    /// Looks up the key of a request.
    pub(super) fn lookup(&self, asked: &ChangeOrigin) -> KeyLookup {
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
        let (all, caller) = (self.room.total, self.room.per_caller);
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

    /// Whether a key is still the one of this request and revision. It is not if the change was not made after all.
    pub(super) fn holds(&self, known: &StoredKey) -> bool {
        let of_caller = self.by_caller.get(&known.caller);
        let kept = of_caller.and_then(|keys| keys.get(&known.text));
        kept.is_some_and(|it| (it.revision, &it.id) == (known.revision, &known.id))
    }

    /// Adds a key.
    pub(super) fn remember(&mut self, key: StoredKey) {
        let (caller, text) = (key.caller.clone(), key.text.clone());
        self.order.push_back((key.at, caller.clone(), text.clone()));
        let of_caller = self.by_caller.entry(caller).or_default();
        if of_caller.insert(text, key).is_none() {
            self.count += 1;
        }
    }

    /// Drops keys used before a moment.
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

    /// Drops keys of changes that were not made: everything later than a revision.
    pub(super) fn roll_back(&mut self, newest: u64) {
        let mut count = 0;
        self.by_caller.retain(|_, keys| {
            keys.retain(|_, known| known.revision <= newest);
            count += keys.len();
            !keys.is_empty()
        });
        self.count = count;
    }
}
