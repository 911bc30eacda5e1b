//! A cache of keyed digests. Users, purposes and addresses recur from call to call, and a digest costs more than a lookup.
//!
//! Invariant: the size is fixed. A newer value replaces the one in its slot, and no thread waits for a slot.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Mutex;

use foldhash::fast::RandomState;

/// Number of slots.
const SLOTS: usize = 512;

/// A direct-mapped cache from a key to what is made of it. Clones of a value are cheap.
pub struct DigestCache<K, V> {
    /// Seeded, so that callers cannot choose keys that collide.
    hasher: RandomState,
    places: Box<[CacheSlot<K, V>]>,
}

type CacheSlot<K, V> = Mutex<Option<(K, V)>>;

impl<K, V> Default for DigestCache<K, V> {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            places: (0..SLOTS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl<K, V: Clone> DigestCache<K, V> {
    /// The cached value of a key, or a new one.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(place) = self.place(key) else {
            return make();
        };
        // Computing the value is faster than waiting for another thread.
        let Ok(mut place) = place.try_lock() else {
            return make();
        };
        match &*place {
            Some((kept, value)) if kept.borrow() == key => value.clone(),
            _ => {
                let value = make();
                *place = Some((key.to_owned(), value.clone()));
                value
            }
        }
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&CacheSlot<K, V>> {
        let hash = self.hasher.hash_one(key) % SLOTS as u64;
        self.places.get(usize::try_from(hash).ok()?)
    }
}

#[cfg(test)]
#[path = "digest_cache_tests.rs"]
mod tests;
