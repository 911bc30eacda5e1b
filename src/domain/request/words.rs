//! The words in the arguments of a call, for policies over statements in a language of their own.
//!
//! Patterns see how a statement is written: `INTO` after a line break, in other letters or beside a `*` is another text, and
//! the same statement. Words are the same whatever stands between them. Start at [`find`].

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

/// The words in all texts, at any depth: runs of letters, digits and `_`, in lower case.
pub fn find(arguments: &Map<String, Json>) -> BTreeSet<SmolStr> {
    let mut words = BTreeSet::new();
    let mut values: Vec<&Json> = arguments.values().collect();
    while let Some(value) = values.pop() {
        match value {
            Json::String(text) => add(text, &mut words),
            Json::Array(items) => values.extend(items),
            Json::Object(members) => values.extend(members.values()),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
    words
}

fn add(text: &str, words: &mut BTreeSet<SmolStr>) {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let parts = parts.filter(|part| !part.is_empty());
    words.extend(parts.map(|part| SmolStr::from(part.to_lowercase())));
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
