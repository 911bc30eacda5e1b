//! Reads single values of a context.

use std::collections::BTreeSet;

use callgate_engine::cedar::{Context, EntityUID, Literal, Value, ValueKind};
use callgate_engine::{AttributeRef, ContextSource};
use smol_str::SmolStr;

fn literal(source: &dyn ContextSource, name: &str) -> Option<Literal> {
    match source.attribute(name)?.to_value().value {
        ValueKind::Lit(literal) => Some(literal),
        _ => None,
    }
}

/// An attribute that is an entity.
pub(super) fn entity(source: &dyn ContextSource, name: &str) -> Option<EntityUID> {
    match literal(source, name)? {
        Literal::EntityUID(uid) => Some(EntityUID::clone(&uid)),
        _ => None,
    }
}

/// An attribute that is a text.
pub(super) fn text(source: &dyn ContextSource, name: &str) -> Option<SmolStr> {
    match literal(source, name)? {
        Literal::String(text) => Some(text),
        _ => None,
    }
}

/// An attribute that is a number; 0 if it is not there.
pub(super) fn number(source: &dyn ContextSource, name: &str) -> i64 {
    match literal(source, name) {
        Some(Literal::Long(number)) => number,
        _ => 0,
    }
}

/// Whether an attribute is `true`.
pub(super) fn is_true(source: &dyn ContextSource, name: &str) -> bool {
    literal(source, name) == Some(Literal::Bool(true))
}

fn values(source: &dyn ContextSource, name: &str) -> Vec<Value> {
    match source.attribute(name).map(|it| it.to_value().value) {
        Some(ValueKind::Set(set)) => set.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The entities of an attribute that is a set.
pub(super) fn entities(source: &dyn ContextSource, name: &str) -> BTreeSet<EntityUID> {
    let each = values(source, name).into_iter();
    each.filter_map(|it| match it.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(EntityUID::clone(&uid)),
        _ => None,
    })
    .collect()
}

/// The texts of an attribute that is a set.
pub(super) fn texts(source: &dyn ContextSource, name: &str) -> BTreeSet<SmolStr> {
    let each = values(source, name).into_iter();
    each.filter_map(|it| match it.value {
        ValueKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    })
    .collect()
}

/// Reads an attribute that is a record; `None` if it is not there or is none.
pub(super) fn record<R>(
    source: &dyn ContextSource,
    name: &str,
    read: impl FnOnce(&dyn ContextSource) -> R,
) -> Option<R> {
    match source.attribute(name)? {
        AttributeRef::Record(record) => Some(read(record)),
        AttributeRef::Value(Value {
            value: ValueKind::Record(attributes),
            ..
        }) => Some(read(&Context::Value(attributes.clone()))),
        _ => None,
    }
}
