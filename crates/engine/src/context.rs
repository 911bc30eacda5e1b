//! The context of a request, computed as far as policies read it.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::cedar::{Context, EntityUID, Value};

/// A context, or a record in it, whose attributes are computed when a policy reads them.
pub trait ContextSource {
    /// The attribute of this name. Every call returns the same value.
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>>;

    /// All attributes at once, for Cedar's own evaluator.
    fn to_context(&self) -> Context;
}

/// An attribute, borrowed from its source.
#[derive(Clone, Copy)]
pub enum AttributeRef<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Long(i64),
    /// A string.
    Text(&'a str),
    /// An entity.
    Entity(&'a EntityUID),
    /// Any value.
    Value(&'a Value),
    /// A record that computes its attributes on demand.
    Record(&'a dyn ContextSource),
}

impl AttributeRef<'_> {
    /// The attribute as a value.
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(bool) => Value::new(bool, None),
            Self::Long(long) => Value::new(long, None),
            Self::Text(text) => Value::new(SmolStr::new(text), None),
            Self::Entity(uid) => Value::new(uid.clone(), None),
            Self::Value(value) => value.clone(),
            Self::Record(source) => match source.to_context() {
                Context::Value(attributes) => Value::record_arc(attributes, None),
                // Only partial evaluation makes residual contexts, and the engine does none.
                Context::RestrictedResidual(_) => Value::empty_record(None),
            },
        }
    }
}

/// A context of the attributes with these names, as far as the source has them.
pub fn collect_context(source: &dyn ContextSource, names: &[&'static str]) -> Context {
    let attribute = |name: &&'static str| {
        let value = source.attribute(name)?.to_value();
        Some((SmolStr::new_static(name), value))
    };
    Context::Value(Arc::new(names.iter().filter_map(attribute).collect()))
}

impl ContextSource for Context {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        match self {
            Self::Value(attributes) => attributes.get(name).map(AttributeRef::Value),
            Self::RestrictedResidual(_) => None,
        }
    }

    fn to_context(&self) -> Context {
        self.clone()
    }
}
