//! Entity types and attribute names, each stored once and referred to by number.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use crate::cedar::EntityType;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smol_str::SmolStr;

/// Number of an entity type.
pub(crate) type TypeNo = u32;
/// Number of an attribute name.
pub(crate) type AttrNo = u32;

/// The interned names. There are few, so cloning them when a new one appears is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interner {
    types: Vec<EntityType>,
    /// Numbers of types, hashed by the last part of their names: few types share one, and every look-up of an entity asks.
    type_numbers: HashTable<TypeNo>,
    hasher: RandomState,
    attributes: Vec<SmolStr>,
    attribute_numbers: HashMap<SmolStr, AttrNo, RandomState>,
}

impl Interner {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.types.len() + self.attributes.len()
    }

    pub(crate) fn entity_type(&self, number: TypeNo) -> &EntityType {
        &self.types[number as usize]
    }

    pub(crate) fn type_number(&self, name: &EntityType) -> Option<TypeNo> {
        let is_same = |number: &TypeNo| self.entity_type(*number) == name;
        self.type_numbers
            .find(type_hash(&self.hasher, name), is_same)
            .copied()
    }

    /// Keeps clones of those of these types that are known. Their namespaces are in one memory then, so that comparing two of
    /// them ends there.
    pub(crate) fn share_names(&mut self, types: &[&EntityType]) {
        for ty in types {
            if let Some(number) = self.type_number(ty) {
                self.types[number as usize] = ty.with_loc(None);
            }
        }
    }

    /// The type as it is kept here, if it is, for what is compared often.
    pub(crate) fn known_type<'t>(&'t self, name: &'t EntityType) -> &'t EntityType {
        self.type_number(name)
            .map_or(name, |number| self.entity_type(number))
    }

    pub(crate) fn intern_type(&mut self, name: &EntityType) -> TypeNo {
        if let Some(number) = self.type_number(name) {
            return number;
        }
        let number = self.types.len() as TypeNo;
        // A source location keeps the whole text it points into alive.
        let name = name.with_loc(None);
        self.types.push(name);
        let hash = |number: &TypeNo| type_hash(&self.hasher, &self.types[*number as usize]);
        self.type_numbers.insert_unique(hash(&number), number, hash);
        number
    }

    pub(crate) fn attribute(&self, number: AttrNo) -> &SmolStr {
        &self.attributes[number as usize]
    }

    pub(crate) fn attribute_number(&self, name: &str) -> Option<AttrNo> {
        self.attribute_numbers.get(name).copied()
    }

    pub(crate) fn intern_attribute(&mut self, name: &SmolStr) -> AttrNo {
        if let Some(number) = self.attribute_number(name) {
            return number;
        }
        let number = self.attributes.len() as AttrNo;
        self.attributes.push(name.clone());
        self.attribute_numbers.insert(name.clone(), number);
        number
    }
}

fn type_hash(hasher: &RandomState, name: &EntityType) -> u64 {
    let last: &str = name.name().basename_as_ref().as_ref();
    hasher.hash_one(last)
}
