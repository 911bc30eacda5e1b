//! Drops the members of a request that the schema does not declare.
//!
//! AuthZEN requires a decision point to ignore unknown members; Cedar rejects them. A validated policy cannot
//! read an undeclared name, so dropping it changes no decision.

use callgate_engine::cedar::{Attributes, EntityType, EntityUID, Type, ValidatorSchema};
use serde_json::{Map, Value as Json};

/// Keeps the members of a context that the action declares.
pub(super) fn context(
    schema: Option<&ValidatorSchema>,
    action: &EntityUID,
    mut fields: Map<String, Json>,
) -> Map<String, Json> {
    if let Some(Type::Record { attrs, .. }) = schema.and_then(|it| it.context_type(action)) {
        keep(attrs, &mut fields);
    }
    fields
}

/// Keeps the properties of an entity that its type declares.
pub(super) fn properties(
    schema: Option<&ValidatorSchema>,
    ty: &EntityType,
    mut fields: Map<String, Json>,
) -> Map<String, Json> {
    let Some(schema) = schema else {
        return fields;
    };
    match schema.get_entity_type(ty) {
        Some(declared) => keep(declared.attributes(), &mut fields),
        None => fields.clear(),
    }
    fields
}

fn keep(declared: &Attributes, fields: &mut Map<String, Json>) {
    fields.retain(|name, value| {
        let Some(attribute) = declared.get_attr(name) else {
            return false;
        };
        if let (Type::Record { attrs, .. }, Json::Object(inner)) =
            (attribute.attr_type.as_ref(), value)
        {
            keep(attrs, inner);
        }
        true
    });
}
