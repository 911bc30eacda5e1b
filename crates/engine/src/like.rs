//! The patterns of `like`, compiled so that matching copies nothing.

use memchr::memmem::Finder;
use smol_str::SmolStr;

use crate::cedar::{Pattern, PatternElem};

/// A pattern by its wildcards, each of which matches any characters, also none.
#[derive(Debug)]
pub(crate) struct LikePattern {
    /// What stands before the first wildcard.
    first: SmolStr,
    /// What stands between two wildcards.
    between: Box<[Finder<'static>]>,
    /// What stands behind the last one; `None` without a wildcard.
    last: Option<SmolStr>,
}

impl LikePattern {
    pub(crate) fn compile(pattern: &Pattern) -> Self {
        let mut parts = vec![String::new()];
        for element in pattern.iter() {
            match (element, parts.last_mut()) {
                (PatternElem::Char(character), Some(part)) => part.push(*character),
                _ => parts.push(String::new()),
            }
        }
        let mut parts = parts.into_iter();
        let first = SmolStr::from(parts.next().unwrap_or_default());
        let last = parts.next_back().map(SmolStr::from);
        let between = parts.map(|part| Finder::new(&part).into_owned());
        Self {
            first,
            between: between.collect(),
            last,
        }
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(last) = &self.last else {
            return text == self.first;
        };
        let text = text.as_bytes();
        let Some(mut rest) = text.strip_prefix(self.first.as_bytes()) else {
            return false;
        };
        // Where a part is found first, most is left for those after it.
        for part in &self.between {
            let found = part.find(rest).map(|at| at + part.needle().len());
            let Some(after) = found.and_then(|end| rest.get(end..)) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last.as_bytes())
    }
}

#[cfg(test)]
#[path = "like_tests.rs"]
mod tests;
