//! Which words are verbs that change something: those of the lexicon, and those made from them (`unfriend`, `poweroff`).

use crate::analysis::propose::lexicon::{
    ADMIN, BEFORE_CHANGES, BEFORE_VERBS, EITHER, HARMLESS, INSIDE, ITSELF, NOUNS, PARTICLES,
    PHRASAL, READ, STEMS, WRITE,
};

/// Whether a word is a verb of any kind.
pub(super) fn is_verb(word: &str) -> bool {
    READ.has(word) || changes(word)
}

/// Whether a word is a verb that changes something.
pub(super) fn changes(word: &str) -> bool {
    writes(word) || administers(word)
}

/// Whether a word is a verb of the level `write`.
pub(super) fn writes(word: &str) -> bool {
    WRITE.has(word) || derived(word) == Some(Derived::Writes)
}

/// Whether a word is a verb of the level `admin`.
pub(super) fn administers(word: &str) -> bool {
    ADMIN.has(word) || derived(word) == Some(Derived::Administers)
}

/// What a verb does that is made from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Derived {
    Writes,
    Administers,
}

impl Derived {
    fn from_stem(stem: &str) -> Self {
        match ADMIN.has(stem) {
            true => Self::Administers,
            false => Self::Writes,
        }
    }
}

/// The level of a verb that is made from a verb or stem of the lexicon. Words that the lexicon has are never derived.
fn derived(word: &str) -> Option<Derived> {
    let is_known = [READ, WRITE, ADMIN, EITHER, NOUNS, INSIDE, ITSELF, HARMLESS]
        .iter()
        .any(|list| list.has(word));
    if is_known {
        return None;
    }
    let is_change = |stem: &str| WRITE.has(stem) || ADMIN.has(stem);
    let is_stem = |stem: &str| is_change(stem) || STEMS.has(stem);
    let reverses = |stem: &str| is_stem(stem) || READ.has(stem) || EITHER.has(stem);
    let after = |prefix: &str| word.strip_prefix(prefix).filter(|stem| reverses(stem));
    let intensified = |prefix: &str| word.strip_prefix(prefix).filter(|stem| is_change(stem));
    let phrasal = |stem: &&str| is_change(stem) || PHRASAL.has(stem);
    let before = |particle: &str| word.strip_suffix(particle).filter(phrasal);
    let stem = BEFORE_VERBS
        .words()
        .find_map(after)
        .or_else(|| BEFORE_CHANGES.words().find_map(intensified))
        .or_else(|| PARTICLES.words().find_map(before))
        .or_else(|| UNMISTAKABLE.into_iter().find(|verb| word.ends_with(verb)));
    stem.map(Derived::from_stem)
}

/// Verbs that no other word ends with.
const UNMISTAKABLE: [&str; 8] = [
    "delete",
    "destroy",
    "execute",
    "overwrite",
    "purge",
    "remove",
    "revoke",
    "terminate",
];

/// Joins verbs that are written as two words: `re-index`, `power_off`.
pub(super) fn join(words: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let pair = joined.last().map(|before| format!("{before}{word}"));
        let is_one = joined.last().is_some_and(|before| is_split(before, &word))
            && pair.as_deref().is_some_and(changes);
        match (is_one, joined.last_mut(), pair) {
            (true, Some(last), Some(pair)) => *last = pair,
            _ => joined.push(word),
        }
    }
    joined
}

/// Whether two words can be a verb and what belongs to it, or a verb like `white list`. `on` and `off` before a word are prepositions.
fn is_split(before: &str, word: &str) -> bool {
    let is_prefix = BEFORE_VERBS.has(before) && !matches!(before, "on" | "off");
    // `order_in_store` has a preposition.
    let is_verb = PHRASAL.has(before) || changes(before) && matches!(word, "off" | "out");
    let is_particle = PARTICLES.has(word) && is_verb;
    is_prefix || is_particle || word == "list"
}

#[cfg(test)]
#[path = "verbs_tests.rs"]
mod tests;
