//! Which names say that something is a secret: single words, pairs (`auth_header`), and words written as one (`apikey`).
//!
//! Start at [`named`].

use crate::analysis::propose::lexicon::{
    CODES, ENDINGS_OF_SECRETS, OPENING, READ, SECRET, SECRET_PAIRS,
};

/// The first words of a name that mean a secret.
pub(super) fn named(words: &[String]) -> Option<String> {
    if let Some(word) = words.iter().find(|word| is_secret(word)) {
        return Some(word.clone());
    }
    // `pin_message` pins something; `show_pin` and `change_pin` are about a number.
    let reads = words.iter().position(|word| READ.has(word));
    let pin = words
        .iter()
        .rposition(|word| matches!(word.as_str(), "pin" | "pins"));
    if let Some(at) = pin
        && (reads.is_some_and(|reads| reads < at) || at > 0 && at + 1 == words.len())
    {
        return words.get(at).cloned();
    }
    let mut pairs = words.windows(2);
    let pair = pairs.find(|pair| match pair {
        [before, word] => is_pair(before, word),
        _ => false,
    });
    pair.map(|pair| pair.join(" "))
}

/// Whether a name has a key that opens something: `api key` or `apikey`.
pub(super) fn opens(words: &[String]) -> bool {
    let is_pair = |pair: &[String]| match pair {
        [before, word] => is_opening_key(before, word),
        _ => false,
    };
    words.windows(2).any(is_pair) || words.iter().any(|word| is_key(singular(word)))
}

fn is_opening_key(before: &str, word: &str) -> bool {
    OPENING.has(before) && matches!(word, "key" | "keys")
}

fn is_key(word: &str) -> bool {
    word.strip_suffix("key")
        .is_some_and(|before| OPENING.has(before))
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

fn is_secret(word: &str) -> bool {
    let singular = singular(word);
    let ends = |end: &str| singular.ends_with(end);
    SECRET.has(word) || is_key(singular) || ENDINGS_OF_SECRETS.words().any(ends)
}

fn is_pair(before: &str, word: &str) -> bool {
    let singular = singular(word);
    let is_code = singular == "code" && CODES.has(before);
    is_opening_key(before, word) || is_code || SECRET_PAIRS.has(&format!("{before}_{singular}"))
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
