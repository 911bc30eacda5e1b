//! Entity types and attribute names, each kept once and referred to by number.

use std::collections::HashMap;

use cedar_policy_core::ast::EntityType;
use foldhash::fast::RandomState;
use smol_str::SmolStr;

/// Number of an entity type.
pub(super) type TypeNo = u32;
/// Number of an attribute name.
pub(super) type AttrNo = u32;

/// The names in use. Few, so that copying them when a new one turns up is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    types: Vec<EntityType>,
    type_numbers: HashMap<EntityType, TypeNo, RandomState>,
    attributes: Vec<SmolStr>,
    attribute_numbers: HashMap<SmolStr, AttrNo, RandomState>,
}

impl Names {
    pub(super) fn entity_type(&self, number: TypeNo) -> &EntityType {
        &self.types[number as usize]
    }

    pub(super) fn type_number(&self, name: &EntityType) -> Option<TypeNo> {
        self.type_numbers.get(name).copied()
    }

    pub(super) fn intern_type(&mut self, name: &EntityType) -> TypeNo {
        if let Some(number) = self.type_number(name) {
            return number;
        }
        let number = self.types.len() as TypeNo;
        // Source locations would keep whole files alive and never matter here.
        let name = name.with_loc(None);
        self.types.push(name.clone());
        self.type_numbers.insert(name, number);
        number
    }

    pub(super) fn attribute(&self, number: AttrNo) -> &SmolStr {
        &self.attributes[number as usize]
    }

    pub(super) fn attribute_number(&self, name: &str) -> Option<AttrNo> {
        self.attribute_numbers.get(name).copied()
    }

    pub(super) fn intern_attribute(&mut self, name: &SmolStr) -> AttrNo {
        if let Some(number) = self.attribute_number(name) {
            return number;
        }
        let number = self.attributes.len() as AttrNo;
        self.attributes.push(name.clone());
        self.attribute_numbers.insert(name.clone(), number);
        number
    }
}
