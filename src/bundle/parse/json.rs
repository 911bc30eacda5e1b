//! JSON of a bundle: duplicate keys are rejected, nesting is bounded, and values can be located.
//!
//! Start at [`parse`]; [`offset_of`] finds the byte offset of a value.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};

/// One step from a value into a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The member of this name.
    Key(&'a str),
    /// The element at this index.
    Index(usize),
}

/// Parses a whole file; a duplicate key in an object is a fault.
///
/// # Errors
///
/// If the text is not JSON, nests too deep, or has a duplicate key.
pub fn parse(origin: SourceText<'_>) -> Result<Json, BundleDiagnostic> {
    let text = origin.text.strip_prefix('\u{feff}').unwrap_or(origin.text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict
        .deserialize(&mut deserializer)
        .and_then(|json| deserializer.end().map(|()| json));
    parsed.map_err(|error| {
        // Strip the place that serde_json appends to its message.
        let message = error.to_string();
        let bare = message
            .rfind(" at line ")
            .map_or(message.as_str(), |at| &message[..at]);
        BundleDiagnostic::at_line(
            origin,
            error.line(),
            error.column(),
            format!("not valid JSON: {bare}"),
        )
    })
}

/// Byte offset of the value at `path`, or of its deepest existing ancestor, in a text that [`parse`] accepted.
pub fn offset_of(text: &str, path: &[Step<'_>]) -> usize {
    let mut cursor = JsonCursor {
        bytes: text.as_bytes(),
        at: 0,
    };
    if text.starts_with('\u{feff}') {
        cursor.at = '\u{feff}'.len_utf8();
    }
    cursor.skip_space();
    for step in path {
        let take_admission = cursor.at;
        if !cursor.enter(text, *step) {
            return take_admission;
        }
    }
    cursor.at
}

/// The bytes of the value at `path`, or of its deepest existing ancestor, in a text that [`parse`] accepted.
pub fn span_of(text: &str, path: &[Step<'_>]) -> Range<usize> {
    let offset = offset_of(text, path);
    let mut cursor = JsonCursor {
        bytes: text.as_bytes(),
        at: offset,
    };
    cursor.skip_value();
    offset..cursor.at
}

/// A fault located at the value at `path`.
pub fn diagnostic_at(
    origin: SourceText<'_>,
    path: &[Step<'_>],
    message: impl Into<String>,
) -> BundleDiagnostic {
    let span = span_of(origin.text, path);
    BundleDiagnostic::at(origin, span.start, span.len(), message)
}

/// The steps to the first text equal to `text` within the value that `path` leads to. Lists on the way are searched; of a
/// reference to an entity its id is compared, not its type.
pub fn steps_to_text<'j>(json: &'j Json, path: &[&'j str], text: &str) -> Option<Vec<Step<'j>>> {
    let mut steps = Vec::new();
    find_text(json, path, text, &mut steps).then_some(steps)
}

fn find_text<'j>(json: &'j Json, path: &[&'j str], text: &str, steps: &mut Vec<Step<'j>>) -> bool {
    let mut within = |step, json, path: &[&'j str]| {
        steps.push(step);
        let is_found = find_text(json, path, text, steps);
        if !is_found {
            steps.pop();
        }
        is_found
    };
    match (json, path) {
        (Json::String(found), []) => found == text,
        (Json::Array(list), _) => {
            let mut list = list.iter().enumerate();
            list.any(|(index, json)| within(Step::Index(index), json, path))
        }
        (Json::Object(members), [key, rest @ ..]) => members
            .get(*key)
            .is_some_and(|json| within(Step::Key(key), json, rest)),
        (Json::Object(members), []) => {
            let mut members = members.iter().filter(|(key, _)| *key != "type");
            members.any(|(key, json)| within(Step::Key(key), json, &[]))
        }
        _ => false,
    }
}

struct JsonCursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl JsonCursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
    }

    /// Skips the value at the cursor.
    fn skip_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth == 0 => return,
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return,
                _ => self.at += 1,
            }
            if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
                return;
            }
        }
    }

    /// Moves to the child at `step`; returns `false` without moving if there is none.
    fn enter(&mut self, text: &str, step: Step<'_>) -> bool {
        let start = self.at;
        let expected = if matches!(step, Step::Key(_)) {
            b'{'
        } else {
            b'['
        };
        if self.peek() != Some(expected) {
            return false;
        }
        self.at += 1;
        for index in 0.. {
            self.skip_space();
            if self.peek().is_none_or(|byte| matches!(byte, b'}' | b']')) {
                break;
            }
            let found = match step {
                Step::Index(wanted) => wanted == index,
                Step::Key(wanted) => {
                    let from = self.at;
                    self.skip_string();
                    let key =
                        serde_json::from_str::<String>(text.get(from..self.at).unwrap_or_default());
                    self.skip_space();
                    self.at += 1;
                    self.skip_space();
                    key.is_ok_and(|key| key == wanted)
                }
            };
            if found {
                return true;
            }
            self.skip_value();
            self.skip_space();
            if self.peek() == Some(b',') {
                self.at += 1;
            }
        }
        self.at = start;
        false
    }
}

/// Deserializes a [`Json`] and rejects duplicate keys.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Strict)? {
            list.push(element);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` occurs twice"
                )));
            }
            let value = members.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
