//! Whether a request is one that the schema knows, and if not, what is missing or wrong.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{
    Context, EntityType, EntityUID, Literal, RequestSchema, Value, ValueKind,
};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::types::{Attributes, BoolType, EntityKind, Type};
use cedar_policy_core::validator::{ValidatorEntityTypeKind, ValidatorSchema};
use smol_str::SmolStr;

use crate::engine::evaluate::Overlay;
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
        if self.is_plainly_about(principal, action, resource) {
            return Ok(());
        }
        schema
            .validate_scope_variables(Some(principal), Some(action), Some(resource))
            .map_err(|error| RequestFault::Invalid(error.to_string()))
    }

    fn is_plainly_about(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
    ) -> bool {
        self.action(action).is_some_and(|action| {
            action.principals.contains(principal.entity_type())
                && action.resources.contains(resource.entity_type())
        })
    }

    /// Whether the context of an action may have an attribute of this name. Without a schema it may have any.
    pub fn declares_fact(&self, action: &EntityUID, name: &str) -> bool {
        let Some(schema) = self.schema() else {
            return true;
        };
        match schema.context_type(action) {
            Some(Type::Record { attrs, .. }) => attrs.get_attr(name).is_some(),
            _ => false,
        }
    }

    /// Checks a context against what the action declares. All that is missing is listed at once.
    /// Without a schema everything is fine.
    pub fn check_context(&self, action: &EntityUID, context: &Context) -> Result<(), RequestFault> {
        let Some(schema) = self.schema() else {
            return Ok(());
        };
        if let (Some(Type::Record { attrs, .. }), Context::Value(values)) =
            (schema.context_type(action), context)
            && is_record_of(schema, attrs, values)
        {
            return Ok(());
        }
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

/// What a request says of an entity.
#[derive(Debug, Clone)]
pub struct Asserted {
    /// Which entity.
    pub uid: EntityUID,
    /// Its attributes, as they are said to be.
    pub attributes: Vec<(SmolStr, Value)>,
}

impl Snapshot {
    /// What is asserted of an entity, as something a request may add: attributes that the schema does not
    /// declare are left out, since no policy can read them, and one of the wrong type is a fault. Without
    /// a schema everything is fine.
    pub fn overlay(&self, asserted: &Asserted) -> Result<Overlay, RequestFault> {
        let mut overlay = Overlay::bare(asserted.uid.clone());
        let Some(schema) = self.schema() else {
            overlay.attributes.clone_from(&asserted.attributes);
            return Ok(overlay);
        };
        let Some(declared) = schema.get_entity_type(asserted.uid.entity_type()) else {
            return Ok(overlay);
        };
        for (name, value) in &asserted.attributes {
            let Some(attribute) = declared.attr(name) else {
                continue;
            };
            if !is_value_of(schema, &attribute.attr_type, value) {
                let uid = &asserted.uid;
                let fault = format!("the attribute `{name}` of `{uid}` has another type");
                return Err(RequestFault::Invalid(fault));
            }
            overlay.attributes.push((name.clone(), value.clone()));
        }
        Ok(overlay)
    }
}

/// Whether a record certainly has this type. Cedar's own check turns every value into an expression
/// first, which costs more than a decision; it is asked only about what is not plainly right.
fn is_record_of(
    schema: &ValidatorSchema,
    declared: &Attributes,
    values: &BTreeMap<SmolStr, Value>,
) -> bool {
    let mut present = 0;
    for (name, attribute) in declared.iter() {
        match values.get(name) {
            None if attribute.is_required => return false,
            None => {}
            Some(value) if is_value_of(schema, &attribute.attr_type, value) => present += 1,
            Some(_) => return false,
        }
    }
    present == values.len()
}

fn is_value_of(schema: &ValidatorSchema, declared: &Type, value: &Value) -> bool {
    match (declared, &value.value) {
        (Type::Bool(BoolType::AnyBool), ValueKind::Lit(Literal::Bool(_)))
        | (Type::Long, ValueKind::Lit(Literal::Long(_)))
        | (Type::String, ValueKind::Lit(Literal::String(_))) => true,
        (Type::Entity(EntityKind::Entity(types)), ValueKind::Lit(Literal::EntityUID(uid))) => {
            types.get_single_entity() == Some(uid.entity_type())
                && has_free_names(schema, uid.entity_type())
        }
        (
            Type::Set {
                element_type: Some(element),
            },
            ValueKind::Set(set),
        ) => set.iter().all(|item| is_value_of(schema, element, item)),
        (Type::Record { attrs, .. }, ValueKind::Record(record)) => {
            is_record_of(schema, attrs, record)
        }
        (Type::ExtensionType { name }, ValueKind::ExtensionValue(value)) => {
            value.typename() == *name
        }
        _ => false,
    }
}

/// Whether entities of this type may have any name: those of an enumeration and actions may not.
pub(super) fn has_free_names(schema: &ValidatorSchema, ty: &EntityType) -> bool {
    schema
        .get_entity_type(ty)
        .is_some_and(|ty| matches!(ty.kind, ValidatorEntityTypeKind::Standard(_)))
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

#[cfg(test)]
mod tests;
