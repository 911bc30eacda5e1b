//! Values of a metric label, bounded in number: what comes after the last of them counts as [`OTHER`].

use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use opentelemetry::StringValue;
use smol_str::SmolStr;

/// Stands for every name beyond the limit, and for those that the directory does not know.
pub(super) const OTHER: &str = "OTHER";

/// The names that have a value of their own. They keep it for as long as the process runs, so a series never changes its
/// meaning.
#[derive(Debug)]
pub(super) struct BoundedNames {
    limit: usize,
    names: RwLock<HashSet<SmolStr, RandomState>>,
}

impl BoundedNames {
    /// Names, of which the first `limit` have values of their own.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            names: RwLock::default(),
        }
    }

    /// The label's value for a name.
    pub(super) fn value(&self, name: &str) -> StringValue {
        // Names are only added, so a set whose lock is poisoned is whole.
        let is_known = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            names.contains(name)
        };
        if is_known || self.add(name) {
            return name.to_owned().into();
        }
        OTHER.into()
    }

    fn add(&self, name: &str) -> bool {
        {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            if names.len() >= self.limit {
                return false;
            }
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= self.limit && !names.contains(name) {
            return false;
        }
        names.insert(name.into());
        true
    }
}

#[cfg(test)]
#[path = "bounded_names_tests.rs"]
mod tests;
