//! The words in the arguments of a call, for policies over statements in a language of their own.
//!
//! Patterns see how a statement is written: `INTO` after a line break, in other letters or beside a `*` is another text, and
//! the same statement. Words are the same whatever stands between them. Start at [`find`].

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

/// The words in all texts, at any depth: runs of letters, digits and `_`, in lower case. Of a run that begins with a digit also
/// what follows each of its digits: some readers end a number there (`1INTO`).
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
    for part in parts {
        let word = part.to_lowercase();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = word.match_indices(|c: char| c.is_ascii_digit());
            let tails = digits.map(|(at, _)| &word[at + 1..]);
            let tails =
                tails.filter(|tail| tail.starts_with(|c: char| c.is_alphabetic() || c == '_'));
            words.extend(tails.map(SmolStr::from));
        }
        words.insert(SmolStr::from(word));
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
