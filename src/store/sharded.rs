//! State behind several locks: which lock guards an entry is decided by the hash of its key.
//!
//! Start at [`Sharded::lock`]. A thread holds one lock at a time, so there is no order of locks to keep.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// Entries for which one more shard is worth its lock. Few entries in many shards would be spread unevenly.
const ENTRIES_PER_SHARD: usize = 1_024;
/// The most shards.
const MAX_SHARDS: usize = 64;

/// Shards of state `S`, each behind its own lock.
#[derive(Debug)]
pub(super) struct Sharded<S> {
    /// A power of two of them.
    shards: Box<[Mutex<S>]>,
    hasher: RandomState,
}

impl<S: Default> Sharded<S> {
    /// Shards for about `capacity` entries: one for each 1,024 of them, and 64 at most.
    pub(super) fn for_capacity(capacity: usize) -> Self {
        Self::with_shards((capacity / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS))
    }

    /// As many shards as the next power of two.
    pub(super) fn with_shards(count: usize) -> Self {
        let count = count.next_power_of_two();
        Self {
            shards: (0..count).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl<S> Sharded<S> {
    /// The number of shards.
    pub(super) fn count(&self) -> usize {
        self.shards.len()
    }

    /// The share of one shard in a capacity, rounded up.
    pub(super) fn share_of(&self, capacity: usize) -> usize {
        capacity.div_ceil(self.shards.len())
    }

    /// Locks the shard of a key.
    pub(super) fn lock<K: Hash + ?Sized>(&self, key: &K) -> MutexGuard<'_, S> {
        // Hash tables inside a shard use the lower bits.
        let hash = self.hasher.hash_one(key) >> 32;
        lock(&self.shards[hash as usize & (self.shards.len() - 1)])
    }

    /// Locks one shard after the other. The lock of a shard is held until the iterator's item is dropped.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, S>> {
        self.shards.iter().map(lock)
    }
}

/// Each change of a shard is made in one step, so a shard is consistent also after a panic while it was locked.
fn lock<S>(shard: &Mutex<S>) -> MutexGuard<'_, S> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
