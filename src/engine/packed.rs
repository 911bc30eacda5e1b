//! An entity at rest: a few hundred bytes instead of the kilobytes of Cedar's own form.
//!
//! Cedar wants a map of 64-byte values with source locations and two hash sets for every entity. At
//! rest none of that is needed; a decision unpacks the handful of entities it looks at.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{
    Eid, Entity, EntityUID, Literal, PartialValue, Set, Value, ValueKind,
};
use smol_str::SmolStr;

use crate::engine::names::{AttrNo, Names, TypeNo};

/// A uid, with its type as a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) ty: TypeNo,
    pub(super) eid: SmolStr,
}

/// A key that borrows, to look others up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyRef<'k> {
    pub(super) ty: TypeNo,
    pub(super) eid: &'k str,
}

impl hashbrown::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.ty == key.ty && key.eid == self.eid
    }
}

/// One entity.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) key: Key,
    pub(super) parents: Box<[Key]>,
    attributes: Box<[(AttrNo, PackedValue)]>,
    tags: Box<[(SmolStr, PackedValue)]>,
}

/// A value; what is large is shared among all entities that have it.
#[derive(Debug, Clone)]
enum PackedValue {
    Bool(bool),
    Long(i64),
    String(SmolStr),
    Entity(Key),
    Shared(Arc<Value>),
}

/// A value looked at where it rests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peek<'p> {
    Bool(bool),
    Long(i64),
    String(&'p str),
    Entity(&'p Key),
    Shared(&'p Value),
}

/// Sets, records and extension values met while packing, so that equal ones are kept once.
#[derive(Debug, Default)]
pub(super) struct Pool(BTreeSet<Arc<Value>>);

/// An attribute or tag whose value is not known, as partial evaluation has them.
#[derive(Debug)]
pub(super) struct UnknownValue;

impl Key {
    pub(super) fn pack(uid: &EntityUID, names: &mut Names) -> Self {
        Self {
            ty: names.intern_type(uid.entity_type()),
            eid: eid_of(uid),
        }
    }

    pub(super) fn borrow(&self) -> KeyRef<'_> {
        KeyRef {
            ty: self.ty,
            eid: &self.eid,
        }
    }

    pub(super) fn unpack(&self, names: &Names) -> EntityUID {
        EntityUID::from_components(
            names.entity_type(self.ty).clone(),
            Eid::new(self.eid.clone()),
            None,
        )
    }
}

fn eid_of(uid: &EntityUID) -> SmolStr {
    SmolStr::new(AsRef::<str>::as_ref(uid.eid()))
}

impl Packed {
    pub(super) fn pack(
        entity: Entity,
        names: &mut Names,
        pool: &mut Pool,
    ) -> Result<Self, UnknownValue> {
        let (uid, attributes, _, parents, tags) = entity.into_inner();
        let key = Key::pack(&uid, names);
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| {
                let number = names.intern_attribute(&name);
                Ok((number, PackedValue::pack(value, names, pool)?))
            })
            .collect::<Result<_, UnknownValue>>()?;
        let tags = tags
            .into_iter()
            .map(|(name, value)| Ok((name, PackedValue::pack(value, names, pool)?)))
            .collect::<Result<_, UnknownValue>>()?;
        let parents = parents
            .iter()
            .map(|parent| Key::pack(parent, names))
            .collect();
        Ok(Self {
            key,
            parents,
            attributes,
            tags,
        })
    }

    /// A value of the entity where it rests.
    pub(super) fn peek(&self, attribute: AttrNo) -> Option<Peek<'_>> {
        let (_, value) = self
            .attributes
            .iter()
            .find(|(number, _)| *number == attribute)?;
        Some(value.peek())
    }

    /// The value of a tag where it rests.
    pub(super) fn peek_tag(&self, tag: &str) -> Option<Peek<'_>> {
        let (_, value) = self.tags.iter().find(|(name, _)| name == tag)?;
        Some(value.peek())
    }

    /// Cedar's form of it, under these ancestors.
    pub(super) fn unpack(
        &self,
        names: &Names,
        indirect: HashSet<EntityUID>,
        parents: HashSet<EntityUID>,
    ) -> Entity {
        Entity::new_with_attr_partial_value(
            self.key.unpack(names),
            self.attributes.iter().map(|(number, value)| {
                (names.attribute(*number).clone(), value.unpack(names).into())
            }),
            indirect,
            parents,
            self.tags
                .iter()
                .map(|(name, value)| (name.clone(), value.unpack(names).into())),
        )
    }

    pub(super) fn attribute(&self, names: &Names, name: &str) -> Option<Value> {
        let number = names.attribute_number(name)?;
        let (_, value) = self
            .attributes
            .iter()
            .find(|(candidate, _)| *candidate == number)?;
        Some(value.unpack(names))
    }
}

impl PackedValue {
    fn pack(value: PartialValue, names: &mut Names, pool: &mut Pool) -> Result<Self, UnknownValue> {
        let PartialValue::Value(value) = value else {
            return Err(UnknownValue);
        };
        Ok(match value.value {
            ValueKind::Lit(Literal::Bool(bool)) => Self::Bool(bool),
            ValueKind::Lit(Literal::Long(long)) => Self::Long(long),
            ValueKind::Lit(Literal::String(text)) => Self::String(text),
            ValueKind::Lit(Literal::EntityUID(uid)) => Self::Entity(Key::pack(&uid, names)),
            kind => Self::Shared(pool.share(without_locations(kind))),
        })
    }

    fn peek(&self) -> Peek<'_> {
        match self {
            Self::Bool(bool) => Peek::Bool(*bool),
            Self::Long(long) => Peek::Long(*long),
            Self::String(text) => Peek::String(text),
            Self::Entity(key) => Peek::Entity(key),
            Self::Shared(value) => Peek::Shared(value),
        }
    }

    fn unpack(&self, names: &Names) -> Value {
        match self {
            Self::Bool(bool) => Value::new(*bool, None),
            Self::Long(long) => Value::new(*long, None),
            Self::String(text) => Value::new(text.clone(), None),
            Self::Entity(key) => Value::new(key.unpack(names), None),
            Self::Shared(value) => Value::clone(value),
        }
    }
}

impl Pool {
    fn share(&mut self, value: Value) -> Arc<Value> {
        if let Some(known) = self.0.get(&value) {
            return Arc::clone(known);
        }
        let value = Arc::new(value);
        self.0.insert(Arc::clone(&value));
        value
    }
}

/// Source locations keep the text they point into alive.
fn without_locations(kind: ValueKind) -> Value {
    let kind = match kind {
        ValueKind::Set(set) => ValueKind::Set(Set::new(
            set.iter()
                .map(|value| without_locations(value.value.clone())),
        )),
        ValueKind::Record(record) => ValueKind::record(
            record
                .iter()
                .map(|(name, value)| (name.clone(), without_locations(value.value.clone()))),
        ),
        ValueKind::Lit(Literal::EntityUID(uid)) => {
            let (ty, eid) = EntityUID::clone(&uid).components();
            EntityUID::from_components(ty.with_loc(None), eid, None).into()
        }
        other @ (ValueKind::Lit(_) | ValueKind::ExtensionValue(_)) => other,
    };
    Value::new(kind, None)
}
