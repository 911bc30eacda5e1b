//! The entity store: keyed, immutable, and cheap to change one entity at a time.
//!
//! A fixed number of shards, each a small hash table behind an `Arc`. A changed store shares every
//! shard it did not touch with the store it came from, so an upsert costs one shard, and readers of
//! the old store never notice.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityType, EntityUID};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::engine::names::{Names, TypeNo};
use crate::engine::packed::{Key, KeyRef, Packed, Pool};
use crate::engine::snapshot::BuildError;

/// Enough that a shard of a store of a million entities holds a thousand.
const SHARDS: usize = 1024;

/// Up to this many ancestors are looked through one by one.
const FEW_ANCESTORS: usize = 32;

/// Every entity of one revision.
#[derive(Debug, Clone)]
pub(super) struct EntityStore {
    names: Arc<Names>,
    shards: Arc<[Arc<Shard>]>,
    hasher: RandomState,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Shard(HashTable<Arc<Packed>>);

/// Entities being added to a store.
struct Loader {
    names: Names,
    shards: Vec<Arc<Shard>>,
    hasher: RandomState,
    len: usize,
    pool: Pool,
    added: Vec<Arc<Packed>>,
}

/// What to do about an entity that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDuplicate {
    Refuse,
    Replace,
}

impl EntityStore {
    pub(super) fn build(entities: impl IntoIterator<Item = Entity>) -> Result<Self, BuildError> {
        let empty = Self {
            names: Arc::default(),
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            hasher: RandomState::default(),
            len: 0,
        };
        empty.with(entities, OnDuplicate::Refuse)
    }

    /// A store in which these entities are added or replaced.
    pub(super) fn upsert(
        &self,
        entities: impl IntoIterator<Item = Entity>,
    ) -> Result<Self, BuildError> {
        self.with(entities, OnDuplicate::Replace)
    }

    fn with(
        &self,
        entities: impl IntoIterator<Item = Entity>,
        on_duplicate: OnDuplicate,
    ) -> Result<Self, BuildError> {
        let mut loader = Loader {
            names: Names::clone(&self.names),
            shards: self.shards.to_vec(),
            hasher: self.hasher.clone(),
            len: self.len,
            pool: Pool::default(),
            added: Vec::new(),
        };
        for entity in entities {
            loader.add(entity, on_duplicate)?;
        }
        let store = Self {
            names: Arc::new(loader.names),
            shards: loader.shards.into(),
            hasher: loader.hasher,
            len: loader.len,
        };
        // Only an added entity can close a cycle.
        for entity in &loader.added {
            if store
                .lineage(&entity.parents)
                .any(|ancestor| *ancestor == entity.key)
            {
                return Err(BuildError::EntityCycle(entity.key.unpack(&store.names)));
            }
        }
        Ok(store)
    }

    /// A store without these entities. Whoever had them as parents keeps the name.
    pub(super) fn remove<'a>(&self, uids: impl IntoIterator<Item = &'a EntityUID>) -> Self {
        let mut shards = self.shards.to_vec();
        let mut len = self.len;
        for uid in uids {
            let Some(ty) = self.names.type_number(uid.entity_type()) else {
                continue;
            };
            let eid: &str = uid.eid().as_ref();
            let hash = hash_of(&self.hasher, ty, eid);
            let shard = Arc::make_mut(&mut shards[shard_of(hash)]);
            if let Ok(entry) = shard.0.find_entry(hash, |packed| is_named(packed, ty, eid)) {
                entry.remove();
                len -= 1;
            }
        }
        Self {
            shards: shards.into(),
            len,
            ..self.clone()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, uid: &EntityUID) -> bool {
        self.find(uid).is_some()
    }

    /// Cedar's form of a stored entity, all its ancestors worked out, with further parents if given.
    pub(super) fn unpack(&self, uid: &EntityUID, more_parents: &[EntityUID]) -> Option<Entity> {
        let packed = self.find(uid)?;
        let parents: HashSet<EntityUID> = packed
            .parents
            .iter()
            .map(|key| key.unpack(&self.names))
            .chain(more_parents.iter().cloned())
            .collect();
        let mut indirect = HashSet::new();
        for key in self.lineage(&packed.parents).skip_roots() {
            indirect.insert(key.unpack(&self.names));
        }
        self.add_lineage_of(more_parents, &mut indirect);
        indirect.retain(|ancestor| !parents.contains(ancestor));
        Some(packed.unpack(&self.names, indirect, parents))
    }

    /// Adds every ancestor of these entities, themselves left out.
    pub(super) fn add_lineage_of(&self, uids: &[EntityUID], ancestors: &mut HashSet<EntityUID>) {
        for uid in uids {
            if let Some(packed) = self.find(uid) {
                ancestors.extend(
                    self.lineage(&packed.parents)
                        .map(|key| key.unpack(&self.names)),
                );
            }
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// For numbering names that are not stored, before the store is in use.
    pub(super) fn names_mut(&mut self) -> &mut Names {
        Arc::make_mut(&mut self.names)
    }

    /// The key of a uid; `None` if nothing stored mentions its type.
    pub(super) fn key_of<'k>(&self, uid: &'k EntityUID) -> Option<KeyRef<'k>> {
        let ty = self.names.type_number(uid.entity_type())?;
        Some(KeyRef {
            ty,
            eid: uid.eid().as_ref(),
        })
    }

    pub(super) fn find(&self, uid: &EntityUID) -> Option<&Packed> {
        let key = self.key_of(uid)?;
        self.find_key(key.ty, key.eid)
    }

    pub(super) fn find_key(&self, ty: TypeNo, eid: &str) -> Option<&Packed> {
        let hash = hash_of(&self.hasher, ty, eid);
        let shard = &self.shards[shard_of(hash)];
        shard
            .0
            .find(hash, |packed| is_named(packed, ty, eid))
            .map(Arc::as_ref)
    }

    /// Tells the order of this store, and of all that were made from it by changes, from other orders.
    pub(super) fn order(&self) -> u64 {
        hash_of(&self.hasher, TypeNo::MAX, "order")
    }

    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The entities of a type in one shard, those up to `done` left out, in the order of their hashes;
    /// and how many entities there were to look at.
    pub(super) fn of_type(
        &self,
        ty: &EntityType,
        shard: usize,
        done: Option<u64>,
    ) -> (Vec<(u64, EntityUID)>, usize) {
        let (Some(ty), Some(shard)) = (self.names.type_number(ty), self.shards.get(shard)) else {
            return (Vec::new(), 0);
        };
        let mut found: Vec<(u64, EntityUID)> = shard
            .0
            .iter()
            .filter(|packed| packed.key.ty == ty)
            .map(|packed| (hash_of(&self.hasher, ty, &packed.key.eid), packed))
            .filter(|(hash, _)| done.is_none_or(|done| *hash > done))
            .map(|(hash, packed)| (hash, packed.key.unpack(&self.names)))
            .collect();
        found.sort_unstable();
        (found, shard.0.len())
    }

    pub(super) fn lineage<'s>(&'s self, parents: &'s [Key]) -> Lineage<'s> {
        Lineage {
            store: self,
            seen: parents.iter().collect(),
            index: None,
            next: 0,
            expanded: 0,
        }
    }
}

/// Walks the hierarchy upwards, nearest first, each ancestor once.
pub(super) struct Lineage<'s> {
    store: &'s EntityStore,
    seen: Vec<&'s Key>,
    /// Only for the rare entity with many ancestors: a scan of few beats hashing.
    index: Option<HashSet<&'s Key, RandomState>>,
    next: usize,
    expanded: usize,
}

impl<'s> Lineage<'s> {
    /// Goes past the entities it started from.
    fn skip_roots(mut self) -> Self {
        self.next = self.seen.len();
        self
    }

    fn see(&mut self, key: &'s Key) {
        if self.index.is_none() && self.seen.len() > FEW_ANCESTORS {
            self.index = Some(self.seen.iter().copied().collect());
        }
        let is_new = match &mut self.index {
            Some(index) => index.insert(key),
            None => !self.seen.contains(&key),
        };
        if is_new {
            self.seen.push(key);
        }
    }
}

impl<'s> Iterator for Lineage<'s> {
    type Item = &'s Key;

    fn next(&mut self) -> Option<&'s Key> {
        while self.next == self.seen.len() && self.expanded < self.seen.len() {
            let key = self.seen[self.expanded];
            self.expanded += 1;
            let Some(packed) = self.store.find_key(key.ty, &key.eid) else {
                continue;
            };
            for parent in &packed.parents {
                self.see(parent);
            }
        }
        let key = self.seen.get(self.next)?;
        self.next += 1;
        Some(key)
    }
}

impl Loader {
    fn add(&mut self, entity: Entity, on_duplicate: OnDuplicate) -> Result<(), BuildError> {
        let uid = entity.uid().clone();
        let packed = Packed::pack(entity, &mut self.names, &mut self.pool)
            .map_err(|_| BuildError::UnknownValue(uid.clone()))?;
        let packed = Arc::new(packed);
        let Key { ty, eid } = &packed.key;
        let hash = hash_of(&self.hasher, *ty, eid);
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        match shard.0.find_mut(hash, |known| is_named(known, *ty, eid)) {
            Some(_) if on_duplicate == OnDuplicate::Refuse => {
                return Err(BuildError::DuplicateEntity(uid));
            }
            Some(known) => *known = Arc::clone(&packed),
            None => {
                let hasher = &self.hasher;
                shard.0.insert_unique(hash, Arc::clone(&packed), |known| {
                    hash_of(hasher, known.key.ty, &known.key.eid)
                });
                self.len += 1;
            }
        }
        self.added.push(packed);
        Ok(())
    }
}

fn hash_of(hasher: &RandomState, ty: TypeNo, eid: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u32(ty);
    state.write(eid.as_bytes());
    state.finish()
}

/// Takes bits that the tables themselves do not use for their buckets.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

fn is_named(packed: &Packed, ty: TypeNo, eid: &str) -> bool {
    packed.key.ty == ty && packed.key.eid == eid
}

#[cfg(test)]
mod tests;
