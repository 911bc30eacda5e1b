//! Borrowed values: what conditions are evaluated on.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::cedar::{EntityUID, Literal, Set, Value, ValueKind};
use crate::context::{AttributeRef, ContextSource};
use crate::key::EntityRef;
use crate::packed::PackedValueRef;

/// A value, borrowed from the store, the request or the policy.
#[derive(Clone, Copy)]
pub(crate) enum ValueRef<'a> {
    Bool(bool),
    Long(i64),
    String(&'a str),
    Entity(EntityRef<'a>),
    Set(&'a Set),
    Record(&'a Arc<BTreeMap<SmolStr, Value>>),
    /// The context, or a record in it that makes its attributes on demand. Only attribute access is
    /// supported.
    Source(&'a dyn ContextSource),
    Extension(&'a Value),
}

impl<'a> ValueRef<'a> {
    pub(crate) fn from_value(value: &'a Value) -> Self {
        match &value.value {
            ValueKind::Lit(literal) => Self::from_literal(literal),
            ValueKind::Set(set) => Self::Set(set),
            ValueKind::Record(record) => Self::Record(record),
            ValueKind::ExtensionValue(_) => Self::Extension(value),
        }
    }

    pub(crate) fn from_literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Bool(bool) => Self::Bool(*bool),
            Literal::Long(long) => Self::Long(*long),
            Literal::String(text) => Self::String(text),
            Literal::EntityUID(uid) => Self::Entity(EntityRef::Given(uid)),
        }
    }

    pub(crate) fn from_attribute(attribute: AttributeRef<'a>) -> Self {
        match attribute {
            AttributeRef::Bool(bool) => Self::Bool(bool),
            AttributeRef::Long(long) => Self::Long(long),
            AttributeRef::Text(text) => Self::String(text),
            AttributeRef::Entity(uid) => Self::Entity(EntityRef::Given(uid)),
            AttributeRef::Value(value) => Self::from_value(value),
            AttributeRef::Record(source) => Self::Source(source),
        }
    }

    pub(crate) fn from_packed(value: PackedValueRef<'a>) -> Self {
        match value {
            PackedValueRef::Bool(bool) => Self::Bool(bool),
            PackedValueRef::Long(long) => Self::Long(long),
            PackedValueRef::String(text) => Self::String(text),
            PackedValueRef::Entity(key) => Self::Entity(EntityRef::Stored(key)),
            PackedValueRef::Shared(value) => Self::from_value(value),
        }
    }
}

/// Passes every entity in a value. Values nest as deeply as the parser that made them lets them.
pub fn for_each_entity(value: &Value, each: &mut dyn FnMut(&EntityUID)) {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => each(uid),
        ValueKind::Set(set) => set.iter().for_each(|value| for_each_entity(value, each)),
        ValueKind::Record(record) => {
            record
                .values()
                .for_each(|value| for_each_entity(value, each));
        }
        ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => {}
    }
}
