//! JSON as messages of Protobuf have it.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::Value as Json;

/// An object; what is none has no members.
pub fn structure(json: &Json) -> Struct {
    let members = json.as_object().into_iter().flatten();
    Struct {
        fields: members
            .map(|(name, value)| (name.clone(), wire(value)))
            .collect(),
    }
}

/// Any value.
pub fn wire(json: &Json) -> WireValue {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(wire).collect(),
        }),
        Json::Object(_) => Kind::StructValue(structure(json)),
    };
    WireValue { kind: Some(kind) }
}
