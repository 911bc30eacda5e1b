//! From a tool's JSON Schema to the Cedar type of its `context.input`.
//!
//! Start at [`input_type`]. Only what both languages mean alike is taken over; whatever else a schema
//! says, its property is left out and shows up in `context.arguments.untyped` instead. A number is a `decimal`: a call
//! whose number has more than Cedar's four places is refused, never rounded.

use serde_json::{Map, Value as Json, json};

/// Objects within objects.
const MAX_DEPTH: usize = 4;
/// Properties of one object.
const MAX_PROPERTIES: usize = 128;

/// The Cedar record for a tool's arguments, in the JSON form of Cedar's schemas.
pub fn input_type(input_schema: &Json) -> Json {
    record(input_schema, 0).unwrap_or_else(|| json!({"type": "Record", "attributes": {}}))
}

fn record(schema: &Json, depth: usize) -> Option<Json> {
    if depth > MAX_DEPTH || is_combined(schema) {
        return None;
    }
    let properties = schema.get("properties")?.as_object()?;
    if properties.len() > MAX_PROPERTIES {
        return None;
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let mut attributes = Map::new();
    for (name, property) in properties {
        if let Some(mut cedar) = value_type(property, depth) {
            cedar["required"] = json!(required.contains(&name.as_str()));
            attributes.insert(name.clone(), cedar);
        }
    }
    Some(json!({"type": "Record", "attributes": attributes}))
}

fn value_type(schema: &Json, depth: usize) -> Option<Json> {
    if is_combined(schema) {
        return None;
    }
    match schema.get("type").and_then(Json::as_str) {
        Some("array") => {
            let element = schema.get("items").and_then(primitive)?;
            Some(json!({"type": "Set", "element": element}))
        }
        Some("object") => record(schema, depth + 1),
        _ => primitive(schema),
    }
}

fn primitive(schema: &Json) -> Option<Json> {
    if is_combined(schema) {
        return None;
    }
    let of_strings = |list: &Json| {
        list.as_array()
            .is_some_and(|l| !l.is_empty() && l.iter().all(Json::is_string))
    };
    match schema.get("type") {
        Some(Json::String(name)) => match name.as_str() {
            "string" => Some(json!({"type": "String"})),
            "integer" => Some(json!({"type": "Long"})),
            "number" => Some(json!({"type": "Extension", "name": "decimal"})),
            "boolean" => Some(json!({"type": "Bool"})),
            _ => None,
        },
        None if schema.get("enum").is_some_and(of_strings) => Some(json!({"type": "String"})),
        _ => None,
    }
}

/// Whether a schema means more than its own `type` says.
fn is_combined(schema: &Json) -> bool {
    const COMBINERS: [&str; 11] = [
        "$ref",
        "$dynamicRef",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "patternProperties",
        "dependentSchemas",
        "dependentRequired",
        "unevaluatedProperties",
    ];
    COMBINERS.iter().any(|word| schema.get(word).is_some())
}

#[cfg(test)]
mod tests;
