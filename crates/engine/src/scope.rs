//! What policy scopes say of principal, action and resource, each distinct statement numbered.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::cedar::{EntityReference, EntityUID, PrincipalOrResourceConstraint};
use crate::interner::{Interner, TypeNo};
use crate::key::{EntityKey, HashedKey, KeyHasher};

/// Number of what a scope says of one variable: nothing, a type, or an entity.
pub(crate) type ScopeNo = u32;

/// A scope that says nothing.
pub(crate) const ANY: ScopeNo = 0;

/// The numbers of all scopes in use.
#[derive(Debug, Default)]
pub(crate) struct ScopeNumbers {
    hasher: KeyHasher,
    /// `is T`
    types: HashMap<TypeNo, ScopeNo, RandomState>,
    /// `== e`
    equal: ByEntity,
    /// `in e`
    inside: ByEntity,
    /// `is T in e`
    inside_by_type: HashMap<TypeNo, ByEntity, RandomState>,
    last: ScopeNo,
}

/// Asked by keys whose hash is known.
#[derive(Debug, Default)]
struct ByEntity(HashTable<(EntityKey, ScopeNo)>);

impl ByEntity {
    fn get(&self, wanted: HashedKey<'_>) -> Option<ScopeNo> {
        let found = self.0.find(wanted.hash, |(key, _)| wanted.is(key))?;
        Some(found.1)
    }

    /// The number of a key; the next one if it was not seen before.
    fn number(&mut self, key: EntityKey, hasher: &KeyHasher, last: &mut ScopeNo) -> ScopeNo {
        let hashed = hasher.hashed(key.borrow());
        if let Some(known) = self.get(hashed) {
            return known;
        }
        *last += 1;
        let hash = hashed.hash;
        self.0
            .insert_unique(hash, (key, *last), |(key, _)| hasher.hash(key.ty, &key.eid));
        *last
    }
}

impl ScopeNumbers {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            ..Self::default()
        }
    }

    /// The number of a constraint; a new one if it was not seen before.
    pub(crate) fn intern(
        &mut self,
        constraint: &PrincipalOrResourceConstraint,
        interner: &mut Interner,
    ) -> ScopeNo {
        use EntityReference::{EUID, Slot};
        use PrincipalOrResourceConstraint as Constraint;
        match constraint {
            Constraint::Is(ty) => number(&mut self.types, interner.intern_type(ty), &mut self.last),
            Constraint::Eq(EUID(uid)) => self.intern_equal(uid, interner),
            Constraint::In(EUID(uid)) => self.intern_inside(uid, interner),
            Constraint::IsIn(ty, EUID(uid)) => {
                let by_entity = self
                    .inside_by_type
                    .entry(interner.intern_type(ty))
                    .or_default();
                by_entity.number(EntityKey::pack(uid, interner), &self.hasher, &mut self.last)
            }
            // A policy is a template with every slot filled, so there are no slots here.
            Constraint::Any
            | Constraint::Eq(Slot(_))
            | Constraint::In(Slot(_))
            | Constraint::IsIn(_, Slot(_)) => ANY,
        }
    }

    /// The number of `== uid`.
    pub(crate) fn intern_equal(&mut self, uid: &EntityUID, interner: &mut Interner) -> ScopeNo {
        let key = EntityKey::pack(uid, interner);
        self.equal.number(key, &self.hasher, &mut self.last)
    }

    /// The number of `in uid`.
    pub(crate) fn intern_inside(&mut self, uid: &EntityUID, interner: &mut Interner) -> ScopeNo {
        let key = EntityKey::pack(uid, interner);
        self.inside.number(key, &self.hasher, &mut self.last)
    }

    /// Passes the numbers of all scopes that an entity with these ancestors matches to `found`. A key is `None` for an
    /// entity of a type that no scope and no stored entity mentions.
    pub(crate) fn each_matching<'k>(
        &self,
        entity: Option<HashedKey<'k>>,
        ancestors: impl Iterator<Item = HashedKey<'k>>,
        mut found: impl FnMut(ScopeNo),
    ) {
        found(ANY);
        let of_type = entity.and_then(|hashed| self.inside_by_type.get(&hashed.key.ty));
        if let Some(key) = entity {
            if let Some(number) = self.types.get(&key.key.ty) {
                found(*number);
            }
            if let Some(number) = self.equal.get(key) {
                found(number);
            }
        }
        // An entity is in itself.
        for key in entity.into_iter().chain(ancestors) {
            if let Some(number) = self.inside.get(key) {
                found(number);
            }
            if let Some(number) = of_type.and_then(|by_entity| by_entity.get(key)) {
                found(number);
            }
        }
    }
}

fn number(
    numbers: &mut HashMap<TypeNo, ScopeNo, RandomState>,
    key: TypeNo,
    last: &mut ScopeNo,
) -> ScopeNo {
    *numbers.entry(key).or_insert_with(|| {
        *last += 1;
        *last
    })
}
