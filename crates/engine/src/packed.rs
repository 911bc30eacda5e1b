//! The stored form of an entity: a few hundred bytes instead of the kilobytes of Cedar's own form.
//!
//! Cedar's form has a map of 64-byte values with source locations and two hash sets for every entity.
//! The packed form has none of these. Conditions are evaluated on it directly; an entity is unpacked
//! only for Cedar's own evaluator.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::cedar::{Entity, EntityUID, Literal, PartialValue, Set, Value, ValueKind};
use smol_str::SmolStr;

use crate::interner::{AttrNo, Interner};
use crate::key::EntityKey;
use crate::value::for_each_entity;

/// One entity.
#[derive(Debug)]
pub(crate) struct PackedEntity {
    pub(crate) key: EntityKey,
    pub(crate) parents: Box<[EntityKey]>,
    attributes: Box<[(AttrNo, PackedValue)]>,
    tags: Box<[(SmolStr, PackedValue)]>,
}

/// A value. Sets, records and extension values are shared by all entities that have them.
#[derive(Debug, Clone)]
enum PackedValue {
    Bool(bool),
    Long(i64),
    String(SmolStr),
    Entity(EntityKey),
    Shared(Arc<Value>),
}

/// A borrowed packed value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PackedValueRef<'p> {
    Bool(bool),
    Long(i64),
    String(&'p str),
    Entity(&'p EntityKey),
    Shared(&'p Value),
}

/// The sets, records and extension values packed so far, so that equal ones are stored once.
#[derive(Debug, Default)]
pub(crate) struct ValuePool(BTreeSet<Arc<Value>>);

/// The entity has an attribute or tag without a value, as only partial evaluation uses them.
#[derive(Debug)]
pub(crate) struct UnknownValueError;

impl PackedEntity {
    pub(crate) fn pack(
        entity: Entity,
        interner: &mut Interner,
        pool: &mut ValuePool,
    ) -> Result<Self, UnknownValueError> {
        let (uid, attributes, _, parents, tags) = entity.into_inner();
        let key = EntityKey::pack(&uid, interner);
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| {
                let number = interner.intern_attribute(&name);
                Ok((number, PackedValue::pack(value, interner, pool)?))
            })
            .collect::<Result<_, UnknownValueError>>()?;
        let tags = tags
            .into_iter()
            .map(|(name, value)| Ok((name, PackedValue::pack(value, interner, pool)?)))
            .collect::<Result<_, UnknownValueError>>()?;
        let parents = parents
            .iter()
            .map(|parent| EntityKey::pack(parent, interner))
            .collect();
        Ok(Self {
            key,
            parents,
            attributes,
            tags,
        })
    }

    /// The packed value of an attribute.
    pub(crate) fn attribute_value(&self, attribute: AttrNo) -> Option<PackedValueRef<'_>> {
        let (_, value) = self
            .attributes
            .iter()
            .find(|(number, _)| *number == attribute)?;
        Some(value.borrow())
    }

    /// The packed value of a tag.
    pub(crate) fn tag_value(&self, tag: &str) -> Option<PackedValueRef<'_>> {
        let (_, value) = self.tags.iter().find(|(name, _)| name == tag)?;
        Some(value.borrow())
    }

    /// Cedar's form of the entity, with these ancestors.
    pub(crate) fn unpack(
        &self,
        interner: &Interner,
        indirect: HashSet<EntityUID>,
        parents: HashSet<EntityUID>,
    ) -> Entity {
        Entity::new_with_attr_partial_value(
            self.key.unpack(interner),
            self.attributes.iter().map(|(number, value)| {
                (
                    interner.attribute(*number).clone(),
                    value.unpack(interner).into(),
                )
            }),
            indirect,
            parents,
            self.tags
                .iter()
                .map(|(name, value)| (name.clone(), value.unpack(interner).into())),
        )
    }

    /// Passes every entity in its attributes and tags.
    pub(crate) fn for_each_reference(&self, interner: &Interner, each: &mut impl FnMut(EntityUID)) {
        let attributes = self.attributes.iter().map(|(_, value)| value);
        for value in attributes.chain(self.tags.iter().map(|(_, value)| value)) {
            match value {
                PackedValue::Entity(key) => each(key.unpack(interner)),
                PackedValue::Shared(value) => {
                    for_each_entity(value, &mut |uid: &EntityUID| each(uid.clone()))
                }
                PackedValue::Bool(_) | PackedValue::Long(_) | PackedValue::String(_) => {}
            }
        }
    }

    /// Cedar's form of an attribute's value.
    pub(crate) fn attribute(&self, interner: &Interner, name: &str) -> Option<Value> {
        let number = interner.attribute_number(name)?;
        let (_, value) = self
            .attributes
            .iter()
            .find(|(candidate, _)| *candidate == number)?;
        Some(value.unpack(interner))
    }
}

impl PackedValue {
    fn pack(
        value: PartialValue,
        interner: &mut Interner,
        pool: &mut ValuePool,
    ) -> Result<Self, UnknownValueError> {
        let PartialValue::Value(value) = value else {
            return Err(UnknownValueError);
        };
        Ok(match value.value {
            ValueKind::Lit(Literal::Bool(bool)) => Self::Bool(bool),
            ValueKind::Lit(Literal::Long(long)) => Self::Long(long),
            ValueKind::Lit(Literal::String(text)) => Self::String(text),
            ValueKind::Lit(Literal::EntityUID(uid)) => {
                Self::Entity(EntityKey::pack(&uid, interner))
            }
            kind => Self::Shared(pool.share(without_locations(kind))),
        })
    }

    fn borrow(&self) -> PackedValueRef<'_> {
        match self {
            Self::Bool(bool) => PackedValueRef::Bool(*bool),
            Self::Long(long) => PackedValueRef::Long(*long),
            Self::String(text) => PackedValueRef::String(text),
            Self::Entity(key) => PackedValueRef::Entity(key),
            Self::Shared(value) => PackedValueRef::Shared(value),
        }
    }

    fn unpack(&self, interner: &Interner) -> Value {
        match self {
            Self::Bool(bool) => Value::new(*bool, None),
            Self::Long(long) => Value::new(*long, None),
            Self::String(text) => Value::new(text.clone(), None),
            Self::Entity(key) => Value::new(key.unpack(interner), None),
            Self::Shared(value) => Value::clone(value),
        }
    }
}

impl ValuePool {
    fn share(&mut self, value: Value) -> Arc<Value> {
        if let Some(known) = self.0.get(&value) {
            return Arc::clone(known);
        }
        let value = Arc::new(value);
        self.0.insert(Arc::clone(&value));
        value
    }
}

/// Drops source locations: each keeps the whole text it points into alive.
pub(crate) fn without_locations(kind: ValueKind) -> Value {
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
