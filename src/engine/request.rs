//! Whether a request is one that the schema knows, and if not, what is missing or wrong.

use cedar_policy_core::ast::{Context, EntityUID, RequestSchema, Value, ValueKind};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::types::{Attributes, Type};

use crate::engine::snapshot::Snapshot;

/// Why a request is not one that the schema knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Attributes that the action's context requires, as paths such as `input.title`.
    #[error("the context lacks {}", .0.join(", "))]
    ContextMissing(Vec<String>),
    /// Something else, e.g. a principal type the action does not apply to.
    #[error("{0}")]
    Invalid(String),
}

impl Snapshot {
    /// Checks that the action is declared and applies to a principal and a resource of these types.
    /// Without a schema everything is fine.
    pub fn check_scope(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
    ) -> Result<(), RequestFault> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        schema
            .validate_scope_variables(Some(principal), Some(action), Some(resource))
            .map_err(|error| RequestFault::Invalid(error.to_string()))
    }

    /// Checks a context against what the action declares. All that is missing is listed at once.
    /// Without a schema everything is fine.
    pub fn check_context(&self, action: &EntityUID, context: &Context) -> Result<(), RequestFault> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        let Err(error) = schema.validate_context(context, action, Extensions::all_available())
        else {
            return Ok(());
        };
        let mut missing = Vec::new();
        if let (Some(Type::Record { attrs, .. }), Context::Value(values)) =
            (schema.context_type(action), context)
        {
            find_missing(attrs, &|name| values.get(name), "", &mut missing);
        }
        if missing.is_empty() {
            return Err(RequestFault::Invalid(error.to_string()));
        }
        Err(RequestFault::ContextMissing(missing))
    }
}

fn find_missing<'v>(
    required: &Attributes,
    value_of: &dyn Fn(&str) -> Option<&'v Value>,
    prefix: &str,
    missing: &mut Vec<String>,
) {
    for (name, attribute) in required.iter() {
        let path = format!("{prefix}{name}");
        match value_of(name) {
            None if attribute.is_required => missing.push(path),
            None => {}
            Some(value) => {
                if let (Type::Record { attrs, .. }, ValueKind::Record(record)) =
                    (attribute.attr_type.as_ref(), &value.value)
                {
                    find_missing(
                        attrs,
                        &|name| record.get(name),
                        &format!("{path}."),
                        missing,
                    );
                }
            }
        }
    }
}
