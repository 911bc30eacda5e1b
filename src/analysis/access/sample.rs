//! Arguments that fit the pinned schema of a tool: for calls that are made up, in tests.

use callgate_engine::Snapshot;
use callgate_engine::cedar::{EntityUID, Literal, ValueKind};
use serde_json::{Map, Value as Json, json};

use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};

/// What a text may be: an argument that names a target has to look like one.
pub const TEXTS: [&str; 5] = [
    "x",
    "/x",
    "https://example.com/x",
    "x@example.com",
    "00000000-0000-4000-8000-000000000000",
];
/// The deepest nesting of objects.
const MAX_DEPTH: usize = 8;

/// The required arguments of a tool, each text `text` where the schema does not choose. Empty without a pinned schema.
pub fn arguments(snapshot: &Snapshot, tool: &EntityUID, text: &str) -> Map<String, Json> {
    let stored = snapshot.entity(tool);
    let pinned = stored.and_then(|it| it.attribute("input_schema"));
    let schema = pinned.and_then(|it| match it.value {
        ValueKind::Lit(Literal::String(schema)) => serde_json::from_str::<Json>(&schema).ok(),
        _ => None,
    });
    schema.map_or_else(Map::new, |schema| {
        object(&SchemaLocation::top(&schema), text, 0)
    })
}

fn object(place: &SchemaLocation<'_>, text: &str, depth: usize) -> Map<String, Json> {
    let required = place.members().into_iter().filter(|it| place.requires(it));
    let each = required.filter_map(|name| {
        let member = place.member(name, depth == 0)?;
        Some((name.to_owned(), value(&member, text, depth)))
    });
    each.collect()
}

fn value(place: &SchemaLocation<'_>, text: &str, depth: usize) -> Json {
    let types = place.types();
    let choices = place.choices();
    if let Some(first) = choices.as_ref().and_then(|it| it.first()) {
        json!(first)
    } else if types.has(JsonTypes::STRING) {
        json!(text)
    } else if types.has(JsonTypes::NUMBER) {
        json!(1)
    } else if types.has(JsonTypes::BOOLEAN) {
        json!(false)
    } else if types.has(JsonTypes::ARRAY) {
        json!([])
    } else if types.has(JsonTypes::OBJECT) && depth < MAX_DEPTH {
        Json::Object(object(place, text, depth + 1))
    } else {
        Json::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_arguments_have_their_types() {
        let schema = json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "mode": {"enum": ["fast", "slow"], "type": "string"},
                "depth": {"type": "integer"},
                "all": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "at": {"type": "object", "properties": {"line": {"type": "number"}}, "required": ["line"]},
                "left": {"type": "string"},
            },
            "required": ["path", "mode", "depth", "all", "tags", "at"],
        });
        let made = object(&SchemaLocation::top(&schema), "/x", 0);
        let wanted = json!({
            "path": "/x", "mode": "fast", "depth": 1, "all": false, "tags": [], "at": {"line": 1},
        });
        assert_eq!(Json::Object(made), wanted);
    }

    #[test]
    fn a_schema_without_end_has_an_end() {
        let schema = json!({
            "type": "object",
            "properties": {"next": {"$ref": "#"}},
            "required": ["next"],
        });
        let made = object(&SchemaLocation::top(&schema), "x", 0);
        assert!(made.contains_key("next"));
    }
}
