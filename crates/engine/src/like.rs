//! The patterns of `like`, compiled so that matching copies nothing.

use smol_str::SmolStr;

use crate::cedar::{Pattern, PatternElem};

/// What stands before, between and after the wildcards of a pattern: one part more than it has wildcards, and so at least one.
/// A wildcard matches any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LikePattern(Box<[SmolStr]>);

impl LikePattern {
    pub(crate) fn compile(pattern: &Pattern) -> Self {
        let mut parts = vec![String::new()];
        for element in pattern.iter() {
            match (element, parts.last_mut()) {
                (PatternElem::Char(character), Some(part)) => part.push(*character),
                _ => parts.push(String::new()),
            }
        }
        Self(parts.into_iter().map(SmolStr::from).collect())
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, others @ ..] = &*self.0 else {
            return false;
        };
        let Some((last, between)) = others.split_last() else {
            return text == first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        // Where a part is found first, most is left for those after it.
        for part in between {
            let Some((_, after)) = rest.split_once(part.as_str()) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
#[path = "like_tests.rs"]
mod tests;
