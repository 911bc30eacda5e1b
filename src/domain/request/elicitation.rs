//! What a server's form asks for, read from its message and its JSON Schema.
//!
//! A server must not ask for passwords, keys, tokens or payment data by form (MCP, elicitation). Whether
//! a field looks like that is a fact for policies, found in everything a person would read: the field's
//! name, title, description, format, the choices it offers, and what is said about the form as a whole.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::secrets::names_secret;

/// Deepest nesting looked into; forms are flat by the standard.
const MAX_DEPTH: usize = 16;
/// Most fields of one form; more are beyond reading by a person.
pub const MAX_FIELDS: usize = 1_000;

/// Keywords by which a JSON Schema brings in fields that its `properties` do not tell. Forms are flat by the
/// standard and have none of them.
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
    /// The fields' names.
    pub field_names: Vec<SmolStr>,
    /// Those that look like they ask for a secret. Beside fields there may be keywords of the schema, where
    /// one asks for a secret and no field does.
    pub secret_fields: Vec<SmolStr>,
}

/// Reads a form and the message that comes with it. `None` if it is no form at all, or one whose fields cannot be
/// told: then nobody can say what it asks for.
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
        let asks_for_secret =
            names_secret(&name) || describes_secret(field, 0) || whole_asks && is_written(field);
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

/// Whether a person writes into a field. A box to tick and a choice among what the server offers hold no secret
/// of the person's.
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

/// Whether anything in a field's schema, at any depth, names a secret.
fn describes_secret(schema: &Json, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        // Nobody nests a form this deep to be understood.
        return true;
    }
    match schema {
        Json::String(text) => names_secret(text),
        Json::Array(items) => items.iter().any(|item| describes_secret(item, depth + 1)),
        Json::Object(members) => members.iter().any(|(name, value)| {
            names_secret(name) || is_elsewhere(name, value) || describes_secret(value, depth + 1)
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Whether a part of the schema is kept in another place, where it may ask for anything.
fn is_elsewhere(name: &str, value: &Json) -> bool {
    let is_reference = ["$ref", "$dynamicRef", "$recursiveRef"].contains(&name);
    is_reference && value.as_str().is_none_or(|it| !it.starts_with('#'))
}

#[cfg(test)]
#[path = "elicitation_tests.rs"]
mod tests;
