//! Labels and roles that registrations and entities give and that resemble one that has an effect.
//!
//! Start at [`check`]. A misspelt `yields` does not taint the session, and a misspelt role is not found by the policies that
//! read it, without any error. A word has an effect if it is built in or a policy compares with it. One that resembles no
//! such word is not told: registrations come before the policies that read their labels.

use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::cedar::{PartialValue, Pattern};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::validate::references::MAX_TOLD;
use crate::bundle::validate::references::known_entities::nearest;
use crate::bundle::validate::references::known_words::{KnownWords, each_word};
use crate::bundle::validate::references::vocabulary::{ROLES, Vocabulary, of_attribute};

/// The most comparisons of words in one compilation.
const MAX_COMPARISONS: usize = 1_000_000;

/// The labels and roles that policies read.
#[derive(Debug, Default)]
pub(crate) struct ReadWords {
    labels: WordsOfPolicies,
    roles: WordsOfPolicies,
}

#[derive(Debug, Default)]
struct WordsOfPolicies {
    words: BTreeSet<String>,
    patterns: Vec<Pattern>,
}

impl ReadWords {
    fn of_mut(&mut self, vocabulary: Vocabulary) -> Option<&mut WordsOfPolicies> {
        match vocabulary {
            Vocabulary::Label => Some(&mut self.labels),
            Vocabulary::Role => Some(&mut self.roles),
            _ => None,
        }
    }

    /// Adds a word that a policy compares with.
    pub(super) fn add(&mut self, vocabulary: Vocabulary, word: &str) {
        if let Some(read) = self.of_mut(vocabulary) {
            read.words.insert(word.to_owned());
        }
    }

    /// Adds a pattern of `like`.
    pub(super) fn add_pattern(&mut self, vocabulary: Vocabulary, pattern: &Pattern) {
        if let Some(read) = self.of_mut(vocabulary) {
            read.patterns.push(pattern.clone());
        }
    }

    /// Whether no policy compares with anything.
    pub(super) fn is_empty(&self) -> bool {
        let of = [&self.labels, &self.roles].into_iter();
        of.into_iter()
            .all(|it| it.words.is_empty() && it.patterns.is_empty())
    }

    /// Adds what another policy compares with.
    pub(super) fn extend(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.labels, &other.labels),
            (&mut self.roles, &other.roles),
        ] {
            own.words.extend(other.words.iter().cloned());
            own.patterns.extend(other.patterns.iter().cloned());
        }
    }

    /// Every word of a vocabulary that has an effect, and the patterns.
    fn with_effect(&self, vocabulary: Vocabulary) -> (BTreeSet<&str>, &[Pattern]) {
        let (read, roles): (_, &[&str]) = match vocabulary {
            Vocabulary::Role => (&self.roles, &ROLES),
            _ => (&self.labels, &[]),
        };
        let own = vocabulary.built_in().into_iter();
        let words = own.chain(roles.iter().copied());
        let words = words.chain(read.words.iter().map(String::as_str));
        (words.collect(), &read.patterns)
    }
}

/// Whether [`check`] may warn of any of the words that entities give.
pub(super) fn may_warn(words: &KnownWords, read: &ReadWords) -> bool {
    [Vocabulary::Label, Vocabulary::Role]
        .into_iter()
        .any(|vocabulary| {
            let (known, patterns) = read.with_effect(vocabulary);
            let mut found = words.found(vocabulary);
            found.any(|word| {
                !known.contains(word)
                    && !patterns.iter().any(|it| it.wildcard_match(word))
                    && !words.is_configured(vocabulary, word)
                    && nearest(word, known.iter().copied()).is_some()
            })
        })
}

/// Warns of labels and roles without an effect that resemble one with an effect.
pub(super) fn check(
    collected: &CollectedEntities,
    words: &KnownWords,
    read: &ReadWords,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let of = |vocabulary| (read.with_effect(vocabulary), BTreeMap::new());
    let (mut labels, mut roles) = (of(Vocabulary::Label), of(Vocabulary::Role));
    let (mut told, mut comparisons) = (0, 0);
    for entity in &collected.entities {
        let uid = entity.uid();
        for (name, value) in entity.attrs() {
            let PartialValue::Value(value) = value else {
                continue;
            };
            each_word(name, value, &mut |path, word| {
                let vocabulary = of_attribute(uid.entity_type(), path);
                let ((known, patterns), seen) = match vocabulary {
                    Some(Vocabulary::Label) => &mut labels,
                    Some(Vocabulary::Role) => &mut roles,
                    _ => return,
                };
                let Some(vocabulary) = vocabulary.filter(|_| told < MAX_TOLD) else {
                    return;
                };
                if known.contains(word)
                    || patterns.iter().any(|it| it.wildcard_match(word))
                    || words.is_configured(vocabulary, word)
                {
                    return;
                }
                if !seen.contains_key(word) {
                    comparisons += known.len();
                    let meant = nearest(word, known.iter().copied());
                    let meant = meant.filter(|_| comparisons <= MAX_COMPARISONS);
                    seen.insert(word.to_owned(), meant);
                }
                let Some(Some(meant)) = seen.get(word) else {
                    return;
                };
                told += 1;
                let fault =
                    collected.diagnostic_at_text(uid, path, word, message(vocabulary, word));
                let setting = vocabulary.setting().unwrap_or_default();
                let help = format!("did you mean `{meant}`? If not, name it in `{setting}`");
                warnings.extend(fault.map(|it| it.with_help(help)));
            });
        }
    }
}

fn message(vocabulary: Vocabulary, word: &str) -> String {
    match vocabulary {
        Vocabulary::Role => format!("no policy reads the role `{word}`"),
        _ => format!("no policy reads the label `{word}`"),
    }
}
