//! The stored form of an entity: a few hundred bytes instead of the kilobytes of Cedar's own form.
//!
//! Cedar's form has a map of 64-byte values with source locations and two hash sets for every entity.
//! The packed form has none of these. Conditions are evaluated on it directly; an entity is unpacked
//! only for Cedar's own evaluator.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use crate::cedar::{Entity, EntityUID, Literal, PartialValue, Set, Value, ValueKind};
use smol_str::SmolStr;
use triomphe::{HeaderSlice, HeaderWithLength, ThinArc};

use crate::interner::{AttrNo, Interner};
use crate::key::{EntityKey, KeyHasher};
use crate::value::for_each_entity;

/// One entity as it is stored: in one piece of memory, so that reading it fetches little.
#[derive(Debug, Clone)]
pub(crate) struct StoredPack(ThinArc<Head, PackedValue>);

/// One entity, borrowed from the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedEntity<'s>(&'s HeaderSlice<HeaderWithLength<Head>, [PackedValue]>);

/// What an entity has beside the values of its attributes.
#[derive(Debug)]
struct Head {
    key: EntityKey,
    /// Shared by all entities that have the same.
    shape: Arc<Shape>,
    /// Shared by all entities that have the same.
    parents: Arc<[Parent]>,
    tags: Box<[(SmolStr, PackedValue)]>,
}

/// Which attributes an entity has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// The numbers of their names, in the order of their values.
    numbers: Box<[AttrNo]>,
    /// By the number of a name, where its value is; [`NOWHERE`] if there is none. Only for low numbers: others are looked for.
    places: Box<[u8]>,
}

/// Names with higher numbers are looked for one after the other.
const MOST_PLACES: usize = 256;
/// No place of a value.
const NOWHERE: u8 = u8::MAX;

/// A parent, with the hash of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Parent {
    pub(crate) key: EntityKey,
    pub(crate) hash: u64,
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

/// What entities have in common of those packed so far, so that equal ones are stored once.
#[derive(Debug, Default)]
pub(crate) struct SharedParts {
    /// Sets, records and extension values.
    values: BTreeSet<Arc<Value>>,
    shapes: HashSet<Arc<Shape>>,
    parents: HashSet<Arc<[Parent]>>,
}

/// The entity has an attribute or tag without a value, as only partial evaluation uses them.
#[derive(Debug)]
pub(crate) struct UnknownValueError;

impl StoredPack {
    pub(crate) fn pack(
        entity: Entity,
        interner: &mut Interner,
        hasher: &KeyHasher,
        shared: &mut SharedParts,
    ) -> Result<Self, UnknownValueError> {
        let (uid, attributes, _, parents, tags) = entity.into_inner();
        let key = EntityKey::pack(&uid, interner);
        let mut shape = Vec::with_capacity(attributes.len());
        let mut values = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            shape.push(interner.intern_attribute(&name));
            values.push(PackedValue::pack(value, interner, shared)?);
        }
        let tags = tags
            .into_iter()
            .map(|(name, value)| Ok((name, PackedValue::pack(value, interner, shared)?)))
            .collect::<Result<_, UnknownValueError>>()?;
        let parents = parents.iter().map(|parent| {
            let key = EntityKey::pack(parent, interner);
            let hash = hasher.hashed(key.borrow()).hash;
            Parent { key, hash }
        });
        let head = Head {
            key,
            parents: share(&mut shared.parents, parents.collect::<Arc<[_]>>()),
            shape: share(&mut shared.shapes, Arc::new(Shape::new(shape))),
            tags,
        };
        Ok(Self(ThinArc::from_header_and_iter(
            head,
            values.into_iter(),
        )))
    }

    pub(crate) fn get(&self) -> PackedEntity<'_> {
        PackedEntity(&self.0)
    }

    pub(crate) fn key(&self) -> &EntityKey {
        self.get().key()
    }
}

impl<'s> PackedEntity<'s> {
    pub(crate) fn key(self) -> &'s EntityKey {
        &self.head().key
    }

    pub(crate) fn parents(self) -> &'s [Parent] {
        &self.head().parents
    }

    fn head(self) -> &'s Head {
        &self.0.header.header
    }

    /// Its attributes, by the numbers of their names.
    fn attributes(self) -> impl Iterator<Item = (AttrNo, &'s PackedValue)> {
        let numbers = self.head().shape.numbers.iter().copied();
        numbers.zip(&self.0.slice)
    }

    fn packed_attribute(self, attribute: AttrNo) -> Option<&'s PackedValue> {
        let place = self.head().shape.place(attribute)?;
        self.0.slice.get(place)
    }

    /// The packed value of an attribute.
    pub(crate) fn attribute_value(self, attribute: AttrNo) -> Option<PackedValueRef<'s>> {
        self.packed_attribute(attribute).map(PackedValue::borrow)
    }

    /// The packed value of a tag.
    pub(crate) fn tag_value(self, tag: &str) -> Option<PackedValueRef<'s>> {
        let (_, value) = self.head().tags.iter().find(|(name, _)| name == tag)?;
        Some(value.borrow())
    }

    /// Cedar's form of the entity, with these ancestors.
    pub(crate) fn unpack(
        self,
        interner: &Interner,
        indirect: HashSet<EntityUID>,
        parents: HashSet<EntityUID>,
    ) -> Entity {
        Entity::new_with_attr_partial_value(
            self.key().unpack(interner),
            self.attributes().map(|(number, value)| {
                (
                    interner.attribute(number).clone(),
                    value.unpack(interner).into(),
                )
            }),
            indirect,
            parents,
            self.head()
                .tags
                .iter()
                .map(|(name, value)| (name.clone(), value.unpack(interner).into())),
        )
    }

    /// Passes every entity in its attributes and tags.
    pub(crate) fn for_each_reference(self, interner: &Interner, each: &mut impl FnMut(EntityUID)) {
        let attributes = self.attributes().map(|(_, value)| value);
        let tags = self.head().tags.iter().map(|(_, value)| value);
        for value in attributes.chain(tags) {
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
    pub(crate) fn attribute(self, interner: &Interner, name: &str) -> Option<Value> {
        let number = interner.attribute_number(name)?;
        let value = self.packed_attribute(number)?;
        Some(value.unpack(interner))
    }

    /// An attribute that is true or false.
    pub(crate) fn bool(self, interner: &Interner, name: &str) -> Option<bool> {
        let number = interner.attribute_number(name)?;
        match self.packed_attribute(number)? {
            PackedValue::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// Whether an attribute is this entity.
    pub(crate) fn refers_to(self, interner: &Interner, name: &str, uid: &EntityUID) -> bool {
        let number = interner.attribute_number(name);
        match number.and_then(|number| self.packed_attribute(number)) {
            Some(PackedValue::Entity(key)) => key.is(uid, interner),
            _ => false,
        }
    }
}

impl Shape {
    fn new(numbers: Vec<AttrNo>) -> Self {
        let low = |number: &AttrNo| Some(*number as usize).filter(|it| *it < MOST_PLACES);
        let end = numbers.iter().filter_map(low).max().map_or(0, |it| it + 1);
        let mut places = vec![NOWHERE; end];
        for (place, number) in numbers.iter().enumerate() {
            if let (Some(number), Ok(place)) = (low(number), u8::try_from(place)) {
                places[number] = place;
            }
        }
        Self {
            numbers: numbers.into(),
            places: places.into(),
        }
    }

    /// Where the value of an attribute is.
    fn place(&self, attribute: AttrNo) -> Option<usize> {
        let number = attribute as usize;
        // So few that no place is taken for none.
        if number < MOST_PLACES && self.numbers.len() <= usize::from(NOWHERE) {
            let place = *self.places.get(number)?;
            return (place != NOWHERE).then_some(usize::from(place));
        }
        self.numbers.iter().position(|known| *known == attribute)
    }
}

impl PackedValue {
    fn pack(
        value: PartialValue,
        interner: &mut Interner,
        shared: &mut SharedParts,
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
            kind => Self::Shared(shared.value(without_locations(kind))),
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

impl SharedParts {
    fn value(&mut self, value: Value) -> Arc<Value> {
        if let Some(known) = self.values.get(&value) {
            return Arc::clone(known);
        }
        let value = Arc::new(value);
        self.values.insert(Arc::clone(&value));
        value
    }
}

/// What is known already, or this from now on.
fn share<T: Eq + Hash + ?Sized>(known: &mut HashSet<Arc<T>>, new: Arc<T>) -> Arc<T> {
    if let Some(same) = known.get(&new) {
        return Arc::clone(same);
    }
    known.insert(Arc::clone(&new));
    new
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

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
