//! Form elicitation: the fields of a form, from its message and JSON Schema.
//!
//! A server must not ask for passwords, keys, tokens or payment data by form (MCP, elicitation). Whether a
//! field looks like that is a fact for policies. It is determined from everything a user would read: the
//! field's name, title, description, format and choices, and the texts of the form.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::secrets::{names_secret, names_secret_field};

/// The maximum nesting depth examined; forms are flat by the standard.
const MAX_DEPTH: usize = 16;
/// The maximum number of fields of a form.
pub const MAX_FIELDS: usize = 1_000;

/// JSON Schema keywords that can add fields not listed in `properties`. Forms are flat by the standard and
/// have none.
const OTHER_FIELDS: [&str; 15] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "dependentSchemas",
    "extends",
    "patternProperties",
    "unevaluatedProperties",
];

/// The fields of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElicitationForm {
    /// The names of the fields.
    pub field_names: Vec<SmolStr>,
    /// The names of fields that look like a request for a secret. Also contains schema keywords whose text
    /// asks for a secret although no field does.
    pub secret_fields: Vec<SmolStr>,
}

/// Parses a form and its message. `None` if the schema is no form, or its fields cannot be determined.
pub fn read_form(message: &str, requested_schema: &Json) -> Option<ElicitationForm> {
    let schema = requested_schema.as_object()?;
    let properties = schema.get("properties")?.as_object()?;
    if properties.len() > MAX_FIELDS || has_other_fields(schema) {
        return None;
    }
    let mut form = ElicitationForm::default();
    let mut whole_asks = names_secret(message);
    for (keyword, value) in schema
        .iter()
        .filter(|(keyword, _)| *keyword != "properties")
    {
        if !describes_secret(value, 0) {
            continue;
        }
        match keyword.as_str() {
            "title" | "description" => whole_asks = true,
            _ => form.secret_fields.push(SmolStr::new(keyword)),
        }
    }
    for (name, field) in properties {
        let name = SmolStr::new(name);
        let asks_for_secret = names_secret(&name)
            || describes_secret(field, 0)
            || is_written(field) && (whole_asks || names_secret_field(&name));
        if asks_for_secret {
            form.secret_fields.push(name.clone());
        }
        form.field_names.push(name);
    }
    Some(form)
}

fn has_other_fields(schema: &Map<String, Json>) -> bool {
    let is_open = schema.get("additionalProperties");
    OTHER_FIELDS.iter().any(|it| schema.contains_key(*it)) || is_open.is_some_and(Json::is_object)
}

/// Whether the user types text into a field. A checkbox or a choice among given values cannot hold a secret
/// of the user.
fn is_written(field: &Json) -> bool {
    let is_chosen = |name: &str| {
        let choices = field.get(name).and_then(Json::as_array);
        choices.is_some_and(|it| it.iter().all(|choice| choice.get("const").is_some()))
    };
    if field.get("type").is_some_and(|it| it == "boolean")
        || field.get("enum").is_some_and(Json::is_array)
        || is_chosen("oneOf")
        || is_chosen("anyOf")
    {
        return false;
    }
    field.get("items").is_none_or(is_written)
}

/// Whether a text in the schema of a field names a secret, at any depth.
fn describes_secret(schema: &Json, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        // Too deep to be shown to a user: treated as a secret.
        return true;
    }
    match schema {
        Json::String(text) => names_secret(text),
        Json::Array(items) => items.iter().any(|item| describes_secret(item, depth + 1)),
        Json::Object(members) => members.iter().any(|(name, value)| {
            names_secret(name)
                || is_write_only(name, value)
                || is_elsewhere(name, value)
                || describes_secret(value, depth + 1)
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Whether a field is one that is never shown again, as a password is.
fn is_write_only(name: &str, value: &Json) -> bool {
    name == "writeOnly" && value != &Json::Bool(false)
}

/// Whether a part of the schema is defined elsewhere, where it could add anything.
fn is_elsewhere(name: &str, value: &Json) -> bool {
    let is_reference = ["$ref", "$dynamicRef", "$recursiveRef"].contains(&name);
    is_reference && value.as_str().is_none_or(|it| !it.starts_with('#'))
}

#[cfg(test)]
#[path = "elicitation_tests.rs"]
mod tests;
