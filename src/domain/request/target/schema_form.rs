//! Whether a JSON Schema of arguments has the form that is read of it.
//!
//! Start at [`fault`]. A schema that is no schema says nothing, and a call is then held against nothing: a `required` that is no
//! list requires no argument. Keywords that are not read are not looked at.

use std::cell::Cell;

use serde_json::{Map, Value as Json};

use crate::domain::request::visible::shown;

/// The deepest nesting that is looked at; deeper schemas are not read either.
const MAX_DEPTH: usize = 16;
/// The most subschemas that are looked at.
const MAX_SCHEMAS: usize = 4_096;
/// The types of JSON Schema.
const TYPES: [&str; 7] = [
    "null", "boolean", "object", "array", "string", "integer", "number",
];

/// The first fault of the schema of a tool's arguments: what is wrong and where, as `properties.path.type` is …; `None` if there
/// is none.
pub fn fault(schema: &Json) -> Option<String> {
    let Json::Object(words) = schema else {
        return Some("is not an object".to_owned());
    };
    let is_object = match words.get("type") {
        Some(Json::String(name)) => name == "object",
        Some(Json::Array(names)) => names.iter().any(|it| it == "object"),
        _ => true,
    };
    if !is_object && type_fault(words).is_none() {
        return Some("has the `type` of something else than an object".to_owned());
    }
    let left = Cell::new(MAX_SCHEMAS);
    let checker = FormCheck { left };
    checker.words(words, &Place::Top).err()
}

/// A place in a schema.
enum Place<'a> {
    Top,
    Below(&'a Place<'a>, &'a str, Option<&'a str>),
}

impl Place<'_> {
    /// `properties.path`; empty at the top.
    fn path(&self) -> String {
        match self {
            Self::Top => String::new(),
            Self::Below(above, word, member) => {
                let mut path = above.path();
                for part in [Some(*word), *member].into_iter().flatten() {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&shown(part));
                }
                path
            }
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Top => 0,
            Self::Below(above, ..) => above.depth() + 1,
        }
    }

    fn fault(&self, word: &str, is: &str) -> String {
        let below = Place::Below(self, word, None);
        format!("`{}` {is}", below.path())
    }
}

struct FormCheck {
    left: Cell<usize>,
}

impl FormCheck {
    fn schema(&self, schema: &Json, place: &Place<'_>) -> Result<(), String> {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if left == 0 || place.depth() > MAX_DEPTH {
            return Ok(());
        }
        match schema {
            Json::Bool(_) => Ok(()),
            Json::Object(words) => self.words(words, place),
            _ => Err(format!("`{}` is no schema", place.path())),
        }
    }

    fn words(&self, words: &Map<String, Json>, place: &Place<'_>) -> Result<(), String> {
        if let Some(is) = type_fault(words) {
            return Err(place.fault("type", &is));
        }
        let is_texts = |it: &Json| {
            it.as_array()
                .is_some_and(|it| it.iter().all(Json::is_string))
        };
        if words.get("required").is_some_and(|it| !is_texts(it)) {
            return Err(place.fault("required", "is not a list of names"));
        }
        let is_switch = |it: &Json| it.is_boolean() || it.is_object();
        if words
            .get("additionalProperties")
            .is_some_and(|it| !is_switch(it))
        {
            return Err(place.fault("additionalProperties", "is no schema"));
        }
        for word in ["properties", "patternProperties"] {
            match words.get(word) {
                None => {}
                Some(Json::Object(members)) => {
                    for (name, schema) in members {
                        self.schema(schema, &Place::Below(place, word, Some(name)))?;
                    }
                }
                Some(_) => return Err(place.fault(word, "is not an object")),
            }
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            match words.get(word) {
                None => {}
                Some(Json::Array(parts)) => {
                    for schema in parts {
                        self.schema(schema, &Place::Below(place, word, None))?;
                    }
                }
                Some(_) => return Err(place.fault(word, "is not a list of schemas")),
            }
        }
        match words.get("items") {
            None => Ok(()),
            // Older drafts have one schema for each item.
            Some(Json::Array(items)) => items
                .iter()
                .try_for_each(|it| self.schema(it, &Place::Below(place, "items", None))),
            Some(items) => self.schema(items, &Place::Below(place, "items", None)),
        }
    }
}

/// What is wrong with the `type` of a schema.
fn type_fault(words: &Map<String, Json>) -> Option<String> {
    let unknown = |name: &str| {
        format!(
            "is `{}`, which is none of {}",
            shown(name),
            TYPES.join(", ")
        )
    };
    let names = match words.get("type")? {
        Json::String(name) if TYPES.contains(&name.as_str()) => return None,
        Json::String(name) => return Some(unknown(name)),
        Json::Array(names) if !names.is_empty() => names,
        _ => return Some("is neither a type nor a list of types".to_owned()),
    };
    for name in names {
        match name.as_str() {
            Some(name) if TYPES.contains(&name) => {}
            Some(name) => return Some(unknown(name)),
            None => return Some("is neither a type nor a list of types".to_owned()),
        }
    }
    None
}

#[cfg(test)]
#[path = "schema_form_tests.rs"]
mod tests;
