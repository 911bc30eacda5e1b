//! The context of a request, made as far as policies look at it.

use cedar_policy_core::ast::{Context, Value};

/// What can stand for a context. Attributes that no policy reads need never be made.
pub trait ContextSource {
    /// The attribute of this name, always the same one.
    fn attribute(&self, name: &str) -> Option<&Value>;

    /// All attributes at once, as Cedar's own evaluator wants them.
    fn to_context(&self) -> Context;
}

impl ContextSource for Context {
    fn attribute(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Value(attributes) => attributes.get(name),
            // Partial evaluation is never asked for, so nothing is unknown.
            Self::RestrictedResidual(_) => None,
        }
    }

    fn to_context(&self) -> Context {
        self.clone()
    }
}
