//! The known words of each vocabulary: built in, defined by the bundle, or configured.
//!
//! Start at [`KnownWords::has`].

use std::collections::BTreeSet;

use callgate_engine::cedar::{Literal, PartialValue, Pattern, Value, ValueKind};

use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::validate::references::known_entities::{id_of, nearest, pattern};
use crate::bundle::validate::references::vocabulary::{Vocabulary, of_attribute};
use crate::config::Config;
use crate::domain::request::target::url::split_scheme;
use crate::domain::schema::TYPES;

/// The known words of every vocabulary.
#[derive(Debug)]
pub(super) struct KnownWords {
    labels: VocabularyWords,
    roles: VocabularyWords,
    methods: VocabularyWords,
    tags: VocabularyWords,
    schemes: VocabularyWords,
    environments: VocabularyWords,
}

/// Words of one vocabulary besides the built-in ones.
#[derive(Debug, Default)]
struct VocabularyWords {
    found: BTreeSet<String>,
    configured: Vec<Pattern>,
}

impl VocabularyWords {
    fn add(&mut self, word: &str) {
        if !self.found.contains(word) {
            self.found.insert(word.to_owned());
        }
    }
}

impl KnownWords {
    pub(super) fn new(collected: &CollectedEntities, config: &Config) -> Self {
        let known = &config.bundle.known;
        let of = |names: &[String]| VocabularyWords {
            found: BTreeSet::new(),
            configured: names.iter().map(|name| pattern(name)).collect(),
        };
        let mut words = Self {
            labels: of(&known.labels),
            roles: of(&known.roles),
            methods: of(&known.methods),
            tags: of(&known.tags),
            schemes: of(&known.schemes),
            environments: of(&known.environments),
        };
        let claims = config.claims.attributes.iter();
        words
            .tags
            .found
            .extend(claims.map(|claim| claim.tag.clone()));
        for entity in &collected.entities {
            let ty = entity.uid().entity_type();
            for (tag, _) in entity.tags() {
                words.tags.add(tag);
            }
            if *ty == TYPES.resource
                && let Some((scheme, _)) = split_scheme(id_of(entity.uid()))
            {
                words.schemes.add(&scheme);
            }
            for (name, value) in entity.attrs() {
                let PartialValue::Value(value) = value else {
                    continue;
                };
                each_word(
                    name,
                    value,
                    &mut |path, word| match of_attribute(ty, path) {
                        Some(Vocabulary::Label) => words.labels.add(word),
                        Some(Vocabulary::Role) => words.roles.add(word),
                        Some(Vocabulary::Environment) => words.environments.add(word),
                        _ => {}
                    },
                );
            }
        }
        words
    }

    fn brought(&self, vocabulary: Vocabulary) -> Option<&VocabularyWords> {
        match vocabulary {
            Vocabulary::Label => Some(&self.labels),
            Vocabulary::Role => Some(&self.roles),
            Vocabulary::Method => Some(&self.methods),
            Vocabulary::Tag => Some(&self.tags),
            Vocabulary::Scheme => Some(&self.schemes),
            Vocabulary::Environment => Some(&self.environments),
            _ => None,
        }
    }

    /// The words of a vocabulary that entities give.
    pub(super) fn found(&self, vocabulary: Vocabulary) -> impl Iterator<Item = &str> {
        let brought = self.brought(vocabulary).into_iter();
        brought.flat_map(|it| it.found.iter().map(String::as_str))
    }

    /// Every known word of a vocabulary, patterns excluded.
    fn all(&self, vocabulary: Vocabulary) -> Vec<&str> {
        let built_in = vocabulary.built_in().into_iter();
        built_in.chain(self.found(vocabulary)).collect()
    }

    /// Whether a vocabulary contains a word.
    pub(super) fn has(&self, vocabulary: Vocabulary, word: &str) -> bool {
        let all = self.all(vocabulary);
        let is_known = all.contains(&word) || self.is_configured(vocabulary, word);
        is_known || vocabulary.is_free() && nearest(word, all.into_iter()).is_none()
    }

    /// Whether the configuration names a word.
    pub(super) fn is_configured(&self, vocabulary: Vocabulary, word: &str) -> bool {
        let brought = self.brought(vocabulary);
        brought.is_some_and(|it| it.configured.iter().any(|it| it.wildcard_match(word)))
    }

    /// Whether a word of a vocabulary can match a pattern.
    pub(super) fn has_like(&self, vocabulary: Vocabulary, pattern: &Pattern) -> bool {
        let is_configured = |it: &VocabularyWords| !it.configured.is_empty();
        let mut all = self.all(vocabulary).into_iter();
        all.any(|word| pattern.wildcard_match(word))
            || self.brought(vocabulary).is_some_and(is_configured)
    }

    /// The help for an unknown word.
    pub(super) fn help(&self, vocabulary: Vocabulary, word: &str) -> String {
        let all = self.all(vocabulary);
        let meant = nearest(word, all.iter().copied());
        let meant = meant.map(|it| format!("did you mean `{it}`?"));
        let list = || all.join("`, `");
        let rest = match (vocabulary.setting(), &meant) {
            (Some(_), Some(_)) => None,
            (Some(setting), None) => Some(format!(
                "if it comes from elsewhere, name it in `{setting}`"
            )),
            (None, Some(_)) => Some(format!("There are `{}`", list())),
            (None, None) => Some(format!("there are `{}`", list())),
        };
        let parts: Vec<String> = meant.into_iter().chain(rest).collect();
        parts.join(" ")
    }
}

/// Calls `tell` with each text in an attribute's value and its path.
pub(super) fn each_word(path: &str, value: &Value, tell: &mut impl FnMut(&str, &str)) {
    match value.value_kind() {
        ValueKind::Lit(Literal::String(word)) => tell(path, word),
        ValueKind::Set(set) => {
            for element in set.iter() {
                each_word(path, element, tell);
            }
        }
        ValueKind::Record(record) => {
            for (name, value) in record.iter() {
                each_word(&format!("{path}.{name}"), value, tell);
            }
        }
        _ => {}
    }
}
