//! Checks names in entities: parents, references in attributes and tags, words of closed vocabularies, and resources.
//!
//! Start at [`check`].

use std::collections::HashMap;

use callgate_engine::cedar::{EntityUID, Literal, PartialValue, Value, ValueKind};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::entities::{CollectedEntities, PARENT};
use crate::bundle::validate::references::MAX_TOLD;
use crate::bundle::validate::references::known_entities::{KnownEntities, id_of};
use crate::bundle::validate::references::known_words::{KnownWords, each_word};
use crate::bundle::validate::references::vocabulary::of_attribute;
use crate::domain::request::target::stored;

/// A reference to an undefined entity, and the number of further entities of the same file that have it.
struct UnknownReference<'a> {
    entity: &'a EntityUID,
    word: &'a str,
    uid: &'a EntityUID,
    more: usize,
}

/// Reports undefined parents and references (warnings), words outside a closed vocabulary (faults), and what is wrong with
/// resources.
pub(super) fn check(
    collected: &CollectedEntities,
    known: &KnownEntities<'_>,
    words: &KnownWords,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let mut slips = UnknownReferences::default();
    for entity in &collected.entities {
        let Some(file) = collected.file_of(entity.uid()) else {
            continue;
        };
        let mut tell = |word, uid| {
            if !known.has(uid) {
                slips.add(file, entity.uid(), word, uid);
            }
        };
        for parent in entity.parents() {
            tell(PARENT, parent);
        }
        let attributes = entity.attrs().chain(entity.tags());
        for (name, value) in attributes {
            if let PartialValue::Value(value) = value {
                each_reference(value, &mut |uid| tell(name, uid));
            }
        }
    }
    for UnknownReference {
        entity,
        word,
        uid,
        more,
    } in slips.list
    {
        let more = match more {
            0 => String::new(),
            1 => " (likewise for 1 other entity)".to_owned(),
            _ => format!(" (likewise for {more} other entities)"),
        };
        let message = format!("the {word} `{uid}` of `{entity}` is not defined{more}");
        let fault = collected.diagnostic_at_text(entity, word, id_of(uid), message);
        warnings.extend(fault.map(|it| it.with_help(known.help(uid))));
    }
    closed_words(collected, words, faults);
    resources(collected, known, faults, warnings);
}

/// Undefined references, each reported once per file: files tend to repeat them.
#[derive(Default)]
struct UnknownReferences<'a> {
    list: Vec<UnknownReference<'a>>,
    seen: HashMap<(&'a str, &'a str, &'a EntityUID), usize>,
}

impl<'a> UnknownReferences<'a> {
    fn add(&mut self, file: &'a str, entity: &'a EntityUID, word: &'a str, uid: &'a EntityUID) {
        match self.seen.get(&(file, word, uid)) {
            Some(&index) => self.list[index].more += 1,
            None if self.list.len() < MAX_TOLD => {
                self.seen.insert((file, word, uid), self.list.len());
                self.list.push(UnknownReference {
                    entity,
                    word,
                    uid,
                    more: 0,
                });
            }
            None => {}
        }
    }
}

fn closed_words(
    collected: &CollectedEntities,
    words: &KnownWords,
    faults: &mut Vec<BundleDiagnostic>,
) {
    let mut told = 0;
    for entity in &collected.entities {
        let uid = entity.uid();
        for (name, value) in entity.attrs() {
            let PartialValue::Value(value) = value else {
                continue;
            };
            each_word(name, value, &mut |path, word| {
                let Some(vocabulary) = of_attribute(uid.entity_type(), path) else {
                    return;
                };
                if vocabulary.is_open() || words.has(vocabulary, word) || told >= MAX_TOLD {
                    return;
                }
                told += 1;
                let message = format!(
                    "the `{name}` of `{uid}`: {}",
                    vocabulary.unknown_word_message(word)
                );
                let fault = collected.diagnostic_at_attribute(uid, name, message);
                faults.extend(fault.map(|it| it.with_help(words.help(vocabulary, word))));
            });
        }
    }
}

/// Reports what resources state although their names determine it (faults), and names under which no call acts upon them
/// (warnings).
fn resources(
    collected: &CollectedEntities,
    known: &KnownEntities<'_>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let (mut stated, mut misnamed) = (0, 0);
    for entity in &collected.entities {
        let uid = entity.uid();
        if let Some(name) = stored::derived_attribute(entity).filter(|_| stated < MAX_TOLD) {
            stated += 1;
            let message = format!("the `{name}` of `{uid}` is not for a file to say");
            let fault = collected.diagnostic_at_attribute(uid, name, message);
            let help = "it follows from the name of what a call acts upon: leave it out";
            faults.extend(fault.map(|it| it.with_help(help)));
        }
        let other = stored::other_name(uid, |server| known.has_server(server));
        if other.is_some() && misnamed < MAX_TOLD {
            misnamed += 1;
            let message = format!("no call acts upon `{uid}` under this name");
            let warning = collected.diagnostic_at_entity(uid, message);
            warnings.extend(warning.map(|it| it.with_help(known.help(uid))));
        }
    }
}

fn each_reference<'v>(value: &'v Value, tell: &mut impl FnMut(&'v EntityUID)) {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => tell(uid),
        ValueKind::Set(set) => {
            for element in set.iter() {
                each_reference(element, tell);
            }
        }
        ValueKind::Record(record) => {
            for value in record.values() {
                each_reference(value, tell);
            }
        }
        _ => {}
    }
}
