//! The words of a tool's name, and the prefixes that do not describe the operation.
//!
//! Start at [`ParsedToolName`].

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::propose::lexicon::MODIFIERS;
use crate::analysis::propose::verbs::{self, is_verb};
use crate::analysis::tool_list::ListedTool;

/// Distinct verbs that must follow a common prefix.
const VERBS_OF_A_PREFIX: usize = 3;
/// Words of a common prefix.
const MAX_PREFIX: usize = 2;

/// Splits a name into lower-case words: `getUserProfile`, `get-user_profile` and `GETUserProfile` give the same.
pub(in crate::analysis) fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        let is_last_of_capitals = previous.is_uppercase()
            && c.is_uppercase()
            && rest.peek().is_some_and(|next| next.is_lowercase());
        let starts_word = !c.is_alphanumeric()
            || (c.is_uppercase() && !previous.is_uppercase())
            || is_last_of_capitals;
        if starts_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Prefixes of tool names that name the server or a group, not the operation.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    server: Vec<String>,
    shared: BTreeSet<Vec<String>>,
}

impl Prefixes {
    /// The prefixes of one server: the words of its name, and prefixes of at least three distinct verbs.
    pub(in crate::analysis) fn from_tools(server: &str, tools: &[ListedTool]) -> Self {
        let mut verbs: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for tool in tools {
            let words = split(&tool.name);
            for length in 1..=MAX_PREFIX {
                let (Some(prefix), Some(next)) = (words.get(..length), words.get(length)) else {
                    break;
                };
                if is_verb(next) && !prefix.iter().any(|word| is_verb(word)) {
                    let verbs = verbs.entry(prefix.to_vec()).or_default();
                    verbs.insert(next.clone());
                }
            }
        }
        verbs.retain(|_, verbs| verbs.len() >= VERBS_OF_A_PREFIX);
        Self {
            server: split(server),
            shared: verbs.into_keys().collect(),
        }
    }

    /// Length of the prefix of a name, in words. It contains no verb, and at least one word remains.
    fn length(&self, words: &[String]) -> usize {
        let mut length = 0;
        for end in 1..words.len() {
            let (Some(prefix), Some(word)) = (words.get(..end), words.get(end - 1)) else {
                break;
            };
            if is_verb(word) {
                break;
            }
            let is_whose = matches!(word.as_str(), "api" | "mcp") || self.server.contains(word);
            if self.shared.contains(prefix) || (is_whose && length + 1 == end) {
                length = end;
            }
        }
        length
    }
}

/// The words of a tool's name.
#[derive(Debug)]
pub(super) struct ParsedToolName {
    /// All words.
    pub(super) all: Vec<String>,
    /// All words, and those of the server's name.
    pub(super) with_server: Vec<String>,
    /// The words without prefixes and modifiers; verbs of two words are one.
    pub(super) own: Vec<String>,
}

impl ParsedToolName {
    /// Parses a name without prefixes.
    pub(super) fn unprefixed(name: &str) -> Self {
        Self::parse(name, &Prefixes::default())
    }

    /// Parses a name. What precedes the last `/` or `__` is a gateway's prefix.
    pub(super) fn parse(name: &str, prefixes: &Prefixes) -> Self {
        let all = split(name);
        let last = name.rsplit('/').next().unwrap_or(name);
        let last = last.rsplit("__").next().unwrap_or(last);
        let mut own = split(last);
        if own.is_empty() {
            own.clone_from(&all);
        }
        own.drain(..prefixes.length(&own));
        let modifiers = own.iter().take_while(|word| MODIFIERS.has(word)).count();
        if modifiers < own.len() {
            own.drain(..modifiers);
        }
        let own = verbs::join(own);
        let with_server = all.iter().chain(&prefixes.server).cloned().collect();
        Self {
            all,
            with_server,
            own,
        }
    }
}
