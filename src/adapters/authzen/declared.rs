//! What the schema declares of what was sent.
//!
//! AuthZEN has a decision point ignore what it does not know, and Cedar refuses it. A name that the schema
//! does not declare cannot be read by any policy that was validated, so leaving it out changes no decision.

use callgate_engine::cedar::{Attributes, EntityType, EntityUID, Type, ValidatorSchema};
use serde_json::{Map, Value as Json};

/// The part of a context that an action declares.
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

/// The part of an entity's properties that its type declares.
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
