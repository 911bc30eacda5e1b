//! Texts made lately, for what is asked again and again: people, purposes and addresses recur from call
//! to call, and a keyed digest costs more than looking one up.
//!
//! Invariant: as many texts as there are places, whatever is asked. A newer text takes the place of an
//! older one, and nobody waits for a place.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;

/// Texts that are kept.
const SLOTS: usize = 512;

/// Remembers what was made of a key.
pub struct DigestCache<K> {
    /// Seeded, so that nobody can choose keys that share a place.
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
    /// What was made of this key before, else what is made of it now.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> Arc<str>) -> Arc<str>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(place) = self.place(key) else {
            return make();
        };
        // Whoever finds the place taken by another thread is quicker without it.
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
