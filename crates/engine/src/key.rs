//! How an entity is named inside the engine: by a key with an interned type, or by Cedar's uid.

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

impl hashbrown::Equivalent<EntityKey> for EntityKeyRef<'_> {
    fn equivalent(&self, key: &EntityKey) -> bool {
        self.ty == key.ty && key.eid == self.eid
    }
}

/// A uid in either of its two forms: a stored entity's key, or a uid from a request or a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EntityRef<'a> {
    Stored(&'a EntityKey),
    Given(&'a EntityUID),
}

impl EntityKey {
    pub(crate) fn pack(uid: &EntityUID, interner: &mut Interner) -> Self {
        Self {
            ty: interner.intern_type(uid.entity_type()),
            eid: SmolStr::new(AsRef::<str>::as_ref(uid.eid())),
        }
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
