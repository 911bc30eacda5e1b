//! A cache of keyed digests. Users, purposes and addresses recur from call to call, and a digest costs more than a lookup.
//!
//! Invariant: the size is fixed. A newer text replaces the one in its slot, and no thread waits for a slot.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;

/// Number of slots.
const SLOTS: usize = 512;

/// A direct-mapped cache from a key to a text.
pub struct DigestCache<K> {
    /// Seeded, so that callers cannot choose keys that collide.
    hasher: RandomState,
    places: Box<[CacheSlot<K>]>,
}

type CacheSlot<K> = Mutex<Option<(K, Arc<str>)>>;

impl<K> Default for DigestCache<K> {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            places: (0..SLOTS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl<K> DigestCache<K> {
    /// The cached text of a key, or a new one.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> Arc<str>) -> Arc<str>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(place) = self.place(key) else {
            return make();
        };
        // Computing the text is faster than waiting for another thread.
        let Ok(mut place) = place.try_lock() else {
            return make();
        };
        match &*place {
            Some((kept, text)) if kept.borrow() == key => Arc::clone(text),
            _ => {
                let text = make();
                *place = Some((key.to_owned(), Arc::clone(&text)));
                text
            }
        }
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&CacheSlot<K>> {
        let hash = self.hasher.hash_one(key) % SLOTS as u64;
        self.places.get(usize::try_from(hash).ok()?)
    }
}

#[cfg(test)]
#[path = "digest_cache_tests.rs"]
mod tests;
