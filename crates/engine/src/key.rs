//! How an entity is named inside the engine: by a key with an interned type, or by Cedar's uid.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::cedar::{Eid, EntityUID};
use crate::interner::{Interner, TypeNo};

/// A uid whose type is a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EntityKey {
    pub(crate) ty: TypeNo,
    pub(crate) eid: SmolStr,
}

/// A borrowed key, for lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EntityKeyRef<'k> {
    pub(crate) ty: TypeNo,
    pub(crate) eid: &'k str,
}

/// A borrowed key with its hash, by which several tables are asked without hashing it again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashedKey<'k> {
    pub(crate) key: EntityKeyRef<'k>,
    pub(crate) hash: u64,
}

/// Hashes keys. Its clones hash alike, so the tables of one snapshot share one.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyHasher(RandomState);

impl KeyHasher {
    pub(crate) fn hash(&self, ty: TypeNo, eid: &str) -> u64 {
        let mut state = self.0.build_hasher();
        state.write_u32(ty);
        state.write(eid.as_bytes());
        state.finish()
    }

    pub(crate) fn hashed<'k>(&self, key: EntityKeyRef<'k>) -> HashedKey<'k> {
        HashedKey {
            key,
            hash: self.hash(key.ty, key.eid),
        }
    }
}

impl HashedKey<'_> {
    pub(crate) fn is(&self, key: &EntityKey) -> bool {
        self.key.ty == key.ty && key.eid == self.key.eid
    }
}

/// A uid in either of its two forms: a stored entity's key, or a uid from a request or a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EntityRef<'a> {
    Stored(&'a EntityKey),
    Given(&'a EntityUID),
}

/// Whether both name one entity. Ids differ more often than types do, and are compared faster.
pub(crate) fn is_same_uid(one: &EntityUID, other: &EntityUID) -> bool {
    one.eid() == other.eid() && one.entity_type() == other.entity_type()
}

impl EntityRef<'_> {
    /// Whether both are one value in memory, which says that they name one entity. Two values may name one entity too.
    pub(crate) fn is_identical(self, other: EntityRef<'_>) -> bool {
        match (self, other) {
            (Self::Stored(one), EntityRef::Stored(other)) => std::ptr::eq(one, other),
            (Self::Given(one), EntityRef::Given(other)) => std::ptr::eq(one, other),
            _ => false,
        }
    }
}

impl EntityKey {
    pub(crate) fn pack(uid: &EntityUID, interner: &mut Interner) -> Self {
        Self {
            ty: interner.intern_type(uid.entity_type()),
            eid: SmolStr::new(AsRef::<str>::as_ref(uid.eid())),
        }
    }

    /// Whether this is the key of a uid.
    pub(crate) fn is(&self, uid: &EntityUID, interner: &Interner) -> bool {
        let eid: &str = uid.eid().as_ref();
        self.eid == eid && interner.entity_type(self.ty) == uid.entity_type()
    }

    pub(crate) fn borrow(&self) -> EntityKeyRef<'_> {
        EntityKeyRef {
            ty: self.ty,
            eid: &self.eid,
        }
    }

    pub(crate) fn unpack(&self, interner: &Interner) -> EntityUID {
        EntityUID::from_components(
            interner.entity_type(self.ty).clone(),
            Eid::new(self.eid.clone()),
            None,
        )
    }
}
