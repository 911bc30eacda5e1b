//! The context of a request, made as far as policies look at it.

use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityUID, Value};
use smol_str::SmolStr;

/// What can stand for a context or a record in it. What no policy reads need never be made.
pub trait ContextSource {
    /// The attribute of this name, always the same one.
    fn attribute(&self, name: &str) -> Option<Seen<'_>>;

    /// All attributes at once, as Cedar's own evaluator wants them.
    fn to_context(&self) -> Context;
}

/// An attribute as its source has it.
#[derive(Clone, Copy)]
pub enum Seen<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Long(i64),
    /// Text.
    Text(&'a str),
    /// An entity.
    Entity(&'a EntityUID),
    /// Any value, made already.
    Value(&'a Value),
    /// A record that makes its attributes when they are looked at.
    Record(&'a dyn ContextSource),
}

impl Seen<'_> {
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
                // Partial evaluation is never asked for, so nothing is unknown.
                Context::RestrictedResidual(_) => Value::empty_record(None),
            },
        }
    }
}

/// Every attribute of these names that the source has.
pub fn collect(source: &dyn ContextSource, names: &[&'static str]) -> Context {
    let attribute = |name: &&'static str| {
        let value = source.attribute(name)?.to_value();
        Some((SmolStr::new_static(name), value))
    };
    Context::Value(Arc::new(names.iter().filter_map(attribute).collect()))
}

impl ContextSource for Context {
    fn attribute(&self, name: &str) -> Option<Seen<'_>> {
        match self {
            Self::Value(attributes) => attributes.get(name).map(Seen::Value),
            Self::RestrictedResidual(_) => None,
        }
    }

    fn to_context(&self) -> Context {
        self.clone()
    }
}
