//! The entity store: keyed, immutable, and cheap to change one entity at a time.
//!
//! A fixed number of shards, each a small hash table behind an `Arc`. A changed store shares every
//! shard it did not touch with the store it came from, so an upsert copies one shard, and readers of
//! the old store are not affected.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::cedar::{Entity, EntityType, EntityUID};
use crate::error::BuildError;
use crate::interner::{Interner, TypeNo};
use crate::key::{EntityKey, EntityKeyRef, HashedKey, KeyHasher};
use crate::packed::{PackedEntity, Parent, SharedParts, StoredPack};

/// In a store of a million entities, a shard holds about a thousand.
const SHARDS: usize = 1024;

/// Up to this many ancestors are searched linearly; beyond, in a hash set.
const FEW_ANCESTORS: usize = 32;

/// Room for the ancestors of most entities.
pub(crate) const USUAL_ANCESTORS: usize = 4;

/// All entities of one revision.
#[derive(Debug, Clone)]
pub(crate) struct EntityStore {
    interner: Arc<Interner>,
    shards: Arc<[Arc<Shard>]>,
    hasher: KeyHasher,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Shard(HashTable<StoredPack>);

/// A store while entities are added to it.
struct Loader {
    interner: Interner,
    shards: Vec<Arc<Shard>>,
    hasher: KeyHasher,
    len: usize,
    shared: SharedParts,
    added: Vec<StoredPack>,
}

/// What happens to an entity whose uid is stored already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDuplicate {
    Refuse,
    Replace,
}

impl EntityStore {
    pub(crate) fn build(entities: impl IntoIterator<Item = Entity>) -> Result<Self, BuildError> {
        let empty = Self {
            interner: Arc::default(),
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            hasher: KeyHasher::default(),
            len: 0,
        };
        empty.with(entities, OnDuplicate::Refuse)
    }

    /// A store in which these entities are added or replaced.
    pub(crate) fn upsert(
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
            interner: Interner::clone(&self.interner),
            shards: self.shards.to_vec(),
            hasher: self.hasher.clone(),
            len: self.len,
            shared: SharedParts::default(),
            added: Vec::new(),
        };
        for entity in entities {
            loader.add(entity, on_duplicate)?;
        }
        let store = Self {
            interner: Arc::new(loader.interner),
            shards: loader.shards.into(),
            hasher: loader.hasher,
            len: loader.len,
        };
        // Only an added entity can close a cycle.
        for entity in loader.added.iter().map(StoredPack::get) {
            if store
                .lineage(entity.parents())
                .any(|ancestor| ancestor == entity.key())
            {
                let uid = entity.key().unpack(&store.interner);
                return Err(BuildError::EntityCycle(uid));
            }
        }
        Ok(store)
    }

    /// A store without these entities. Their children keep them as parents by name.
    pub(crate) fn remove<'a>(&self, uids: impl IntoIterator<Item = &'a EntityUID>) -> Self {
        let mut shards = self.shards.to_vec();
        let mut len = self.len;
        for uid in uids {
            let Some(key) = self.key_of(uid) else {
                continue;
            };
            let shard = Arc::make_mut(&mut shards[shard_of(key.hash)]);
            if let Ok(entry) = shard.0.find_entry(key.hash, |packed| key.is(packed.key())) {
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

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether both are one store, but for names that were interned since.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shards, &other.shards)
    }

    pub(crate) fn contains(&self, uid: &EntityUID) -> bool {
        self.find(uid).is_some()
    }

    /// Cedar's form of a stored entity with all its ancestors, and with `more_parents` besides its own.
    pub(crate) fn unpack(&self, uid: &EntityUID, more_parents: &[EntityUID]) -> Option<Entity> {
        let packed = self.find(uid)?;
        let parents: HashSet<EntityUID> = packed
            .parents()
            .iter()
            .map(|parent| parent.key.unpack(&self.interner))
            .chain(more_parents.iter().cloned())
            .collect();
        let mut indirect = HashSet::new();
        for key in self.lineage(packed.parents()).skip_roots() {
            indirect.insert(key.unpack(&self.interner));
        }
        self.add_lineage_of(more_parents, &mut indirect);
        indirect.retain(|ancestor| !parents.contains(ancestor));
        Some(packed.unpack(&self.interner, indirect, parents))
    }

    /// Adds the ancestors of these entities, but not the entities themselves.
    pub(crate) fn add_lineage_of(&self, uids: &[EntityUID], ancestors: &mut HashSet<EntityUID>) {
        for uid in uids {
            if let Some(packed) = self.find(uid) {
                ancestors.extend(
                    self.lineage(packed.parents())
                        .map(|key| key.unpack(&self.interner)),
                );
            }
        }
    }

    pub(crate) fn interner(&self) -> &Interner {
        &self.interner
    }

    /// For interning names that scopes mention, before the store is shared.
    pub(crate) fn interner_mut(&mut self) -> &mut Interner {
        Arc::make_mut(&mut self.interner)
    }

    /// The key of a uid; `None` if its type is not interned.
    pub(crate) fn key_of<'k>(&self, uid: &'k EntityUID) -> Option<HashedKey<'k>> {
        let ty = self.interner.type_number(uid.entity_type())?;
        Some(self.hasher.hashed(EntityKeyRef {
            ty,
            eid: uid.eid().as_ref(),
        }))
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    pub(crate) fn find(&self, uid: &EntityUID) -> Option<PackedEntity<'_>> {
        self.find_key(self.key_of(uid)?)
    }

    pub(crate) fn find_key(&self, key: HashedKey<'_>) -> Option<PackedEntity<'_>> {
        let shard = &self.shards[shard_of(key.hash)];
        shard
            .0
            .find(key.hash, |packed| key.is(packed.key()))
            .map(StoredPack::get)
    }

    /// Identifies the order of entities. It is the same in all stores that were derived from one by
    /// changes, and different in any other.
    pub(crate) fn order(&self) -> u64 {
        self.hasher.hash(TypeNo::MAX, "order")
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The entities of a type in one shard whose hash is above `done`, sorted by hash, and the number of
    /// entities that were visited.
    pub(crate) fn entities_of_type(
        &self,
        ty: &EntityType,
        shard: usize,
        done: Option<u64>,
    ) -> (Vec<(u64, EntityUID)>, usize) {
        let (Some(ty), Some(shard)) = (self.interner.type_number(ty), self.shards.get(shard))
        else {
            return (Vec::new(), 0);
        };
        let mut found: Vec<(u64, EntityUID)> = shard
            .0
            .iter()
            .map(StoredPack::key)
            .filter(|key| key.ty == ty)
            .map(|key| (self.hasher.hash(ty, &key.eid), key))
            .filter(|(hash, _)| done.is_none_or(|done| *hash > done))
            .map(|(hash, key)| (hash, key.unpack(&self.interner)))
            .collect();
        found.sort_unstable();
        (found, shard.0.len())
    }

    /// Every stored entity, in no particular order.
    pub(crate) fn uids(&self) -> impl Iterator<Item = EntityUID> {
        let packed = self.shards.iter().flat_map(|shard| shard.0.iter());
        packed.map(|packed| packed.key().unpack(&self.interner))
    }

    pub(crate) fn lineage<'s>(&'s self, parents: &'s [Parent]) -> Lineage<'s> {
        Lineage {
            store: self,
            seen: parents.iter().collect(),
            index: None,
            next: 0,
            expanded: 0,
        }
    }
}

/// Walks the hierarchy upwards, breadth first, each ancestor once.
pub(crate) struct Lineage<'s> {
    store: &'s EntityStore,
    seen: SmallVec<[&'s Parent; USUAL_ANCESTORS]>,
    /// The same as `seen`, made only beyond [`FEW_ANCESTORS`].
    index: Option<HashSet<&'s EntityKey, RandomState>>,
    next: usize,
    expanded: usize,
}

impl<'s> Lineage<'s> {
    /// Leaves out the entities that the walk started from.
    fn skip_roots(mut self) -> Self {
        self.next = self.seen.len();
        self
    }

    /// The next ancestor, as somebody's parent.
    pub(crate) fn step(&mut self) -> Option<&'s Parent> {
        while self.next == self.seen.len() && self.expanded < self.seen.len() {
            let Parent { key, hash } = self.seen[self.expanded];
            self.expanded += 1;
            let (key, hash) = (key.borrow(), *hash);
            let Some(packed) = self.store.find_key(HashedKey { key, hash }) else {
                continue;
            };
            for parent in packed.parents() {
                self.add(parent);
            }
        }
        let found = *self.seen.get(self.next)?;
        self.next += 1;
        Some(found)
    }

    fn add(&mut self, parent: &'s Parent) {
        if self.index.is_none() && self.seen.len() > FEW_ANCESTORS {
            self.index = Some(self.seen.iter().map(|known| &known.key).collect());
        }
        let is_new = match &mut self.index {
            Some(index) => index.insert(&parent.key),
            None => {
                let is_it = |known: &&Parent| known.hash == parent.hash && known.key == parent.key;
                !self.seen.iter().any(is_it)
            }
        };
        if is_new {
            self.seen.push(parent);
        }
    }
}

impl<'s> Iterator for Lineage<'s> {
    type Item = &'s EntityKey;

    fn next(&mut self) -> Option<&'s EntityKey> {
        self.step().map(|parent| &parent.key)
    }
}

impl Loader {
    fn add(&mut self, entity: Entity, on_duplicate: OnDuplicate) -> Result<(), BuildError> {
        let uid = entity.uid().clone();
        let (interner, shared) = (&mut self.interner, &mut self.shared);
        let packed = StoredPack::pack(entity, interner, &self.hasher, shared)
            .map_err(|_| BuildError::UnknownValue(uid.clone()))?;
        let key = self.hasher.hashed(packed.key().borrow());
        let hash = key.hash;
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        match shard.0.find_mut(hash, |known| key.is(known.key())) {
            Some(_) if on_duplicate == OnDuplicate::Refuse => {
                return Err(BuildError::DuplicateEntity(uid));
            }
            Some(known) => *known = packed.clone(),
            None => {
                let hasher = &self.hasher;
                shard.0.insert_unique(hash, packed.clone(), |known| {
                    hasher.hash(known.key().ty, &known.key().eid)
                });
                self.len += 1;
            }
        }
        self.added.push(packed);
        Ok(())
    }
}

/// Uses bits that the hash tables do not use for their buckets.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
