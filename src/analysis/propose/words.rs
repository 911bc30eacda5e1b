//! The words of a tool's name, and which of them only say whose tool it is.
//!
//! Start at [`Named::of`].

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::propose::lexicon::{ADMIN, MODIFIERS, READ, WRITE};
use crate::analysis::tool_list::ListedTool;

/// How many different verbs follow a prefix that names a group of tools.
const VERBS_OF_A_PREFIX: usize = 3;
/// The words of such a prefix.
const MAX_PREFIX: usize = 2;

/// `getUserProfile`, `get-user_profile`, `get.user/profile` and `GETUserProfile` have the same words.
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

/// Whether a word is a verb of any kind.
pub(super) fn is_verb(word: &str) -> bool {
    READ.has(word) || WRITE.has(word) || ADMIN.has(word)
}

/// What names begin with that says nothing of what a tool does.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    server: Vec<String>,
    shared: BTreeSet<Vec<String>>,
}

impl Prefixes {
    /// Those of one server: the words of its name, and what comes before at least three different verbs.
    pub(in crate::analysis) fn of(server: &str, tools: &[ListedTool]) -> Self {
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

    /// How many words at the beginning only say whose tool it is. One word is always left, and none of them is a verb.
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

/// A tool's name.
#[derive(Debug)]
pub(super) struct ParsedToolName {
    /// All of its words.
    pub(super) all: Vec<String>,
    /// Those of its server's name as well.
    pub(super) with_server: Vec<String>,
    /// Those that say what it does.
    pub(super) own: Vec<String>,
}

impl ParsedToolName {
    /// Reads a name that nothing comes before.
    pub(super) fn alone(name: &str) -> Self {
        Self::of(name, &Prefixes::default())
    }

    /// Reads a name. What a gateway put in front of it, up to the last `/` or `__`, is not its own.
    pub(super) fn of(name: &str, prefixes: &Prefixes) -> Self {
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
        let with_server = all.iter().chain(&prefixes.server).cloned().collect();
        Self {
            all,
            with_server,
            own,
        }
    }
}
