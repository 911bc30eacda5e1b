//! Which sessions are in the store and not in memory, by 16 bytes of a hash of their ids.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;
use sha2::{Digest, Sha256};

use crate::domain::ids::SessionId;

/// Sessions of which it is known one by one that they are in the store: about 150 MiB of hashes. With more, every
/// session that is not in memory may be in the store.
const MAX_KNOWN: usize = 4_000_000;

/// A set of hashes of ids, which are hashes already.
pub(super) type IdHashes = HashSet<u128, BuildHasherDefault<FirstBytes>>;

/// Takes a part of what is a hash already.
#[derive(Debug, Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The sessions of one shard that may be in the store and are not in memory.
#[derive(Debug, Default)]
pub(super) struct SessionIndex {
    hashes: IdHashes,
    /// There were too many: any session may be in the store.
    is_overfull: bool,
}

impl SessionIndex {
    /// Whether the session may be in the store.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.is_overfull || (!self.hashes.is_empty() && self.hashes.contains(&hash_of(id.as_str())))
    }

    /// Notes a session that is in the store and not in memory. The shard is one of so many.
    pub(super) fn add(&mut self, id: &str, shards: usize) {
        match self.hashes.len() >= MAX_KNOWN / shards.max(1) {
            true => {
                self.is_overfull = true;
                self.hashes = IdHashes::default();
            }
            false if self.is_overfull => {}
            false => {
                self.hashes.insert(hash_of(id));
            }
        }
    }

    /// Notes that a session is in memory, or no longer in the store.
    pub(super) fn remove(&mut self, id: &SessionId) {
        if !self.hashes.is_empty() {
            self.hashes.remove(&hash_of(id.as_str()));
        }
    }

    /// How many sessions are known to be in the store alone.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }
}

/// The first half of SHA-256 of an id: collisions are infeasible, so no session can be taken for another.
pub(super) fn hash_of(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

#[cfg(test)]
#[path = "session_index_tests.rs"]
mod tests;
