//! How deep hierarchies may be: entities, entity types and actions. A decision may visit all ancestors.

use std::collections::HashMap;
use std::hash::Hash;

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;

/// The maximum number of parents of one entity.
pub const MAX_PARENTS: usize = 1_024;
/// The maximum number of generations above one another.
pub const MAX_GENERATIONS: usize = 64;

/// The lengths of the longest chains along a relation such as "is a child of". Each thing is visited once, however many
/// chains lead to it. Cycles end a chain: they are reported elsewhere.
pub struct Chains<T, F> {
    next: F,
    known: HashMap<T, usize>,
    /// The chain being followed, at most [`MAX_GENERATIONS`] long.
    open: Vec<T>,
}

/// The length of the longest chain from a thing: see [`Chains::length`].
pub fn longest_chain<T: Clone + Eq + Hash>(from: &T, next: impl Fn(&T) -> Vec<T>) -> Option<usize> {
    Chains::new(next).length(from)
}

impl<T: Clone + Eq + Hash, F: Fn(&T) -> Vec<T>> Chains<T, F> {
    /// The chains along `next`.
    pub fn new(next: F) -> Self {
        Self {
            next,
            known: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// The number of steps of the longest chain from a thing; `None` beyond [`MAX_GENERATIONS`].
    pub fn length(&mut self, from: &T) -> Option<usize> {
        self.open.clear();
        self.follow(from)
    }

    fn follow(&mut self, thing: &T) -> Option<usize> {
        if let Some(steps) = self.known.get(thing) {
            return Some(*steps);
        }
        if self.open.contains(thing) {
            return Some(0);
        }
        if self.open.len() > MAX_GENERATIONS {
            return None;
        }
        self.open.push(thing.clone());
        let mut most = 0;
        for next in (self.next)(thing) {
            most = most.max(1 + self.follow(&next)?);
        }
        self.open.pop();
        self.known.insert(thing.clone(), most);
        (most <= MAX_GENERATIONS).then_some(most)
    }
}
