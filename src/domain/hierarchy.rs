//! How far the hierarchy of entities may go: every decision may walk all of it.

use std::collections::HashMap;
use std::hash::Hash;

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;

/// The most parents of one entity.
pub const MAX_PARENTS: usize = 1_024;
/// The most entities one above the other.
pub const MAX_GENERATIONS: usize = 64;

/// The most steps that lead on from here, one after the other; `None` if they are more than [`MAX_GENERATIONS`]. What leads
/// back to where it was is found elsewhere.
pub fn steps<T: Clone + Eq + Hash>(from: &T, on: &impl Fn(&T) -> Vec<T>) -> Option<usize> {
    Steps {
        on,
        known: HashMap::new(),
        open: Vec::new(),
    }
    .from(from)
}

struct Steps<'o, T, F> {
    on: &'o F,
    known: HashMap<T, usize>,
    /// Those from which it is looked on, never more than [`MAX_GENERATIONS`].
    open: Vec<T>,
}

impl<T: Clone + Eq + Hash, F: Fn(&T) -> Vec<T>> Steps<'_, T, F> {
    fn from(&mut self, thing: &T) -> Option<usize> {
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
        for next in (self.on)(thing) {
            most = most.max(1 + self.from(&next)?);
        }
        self.open.pop();
        self.known.insert(thing.clone(), most);
        (most <= MAX_GENERATIONS).then_some(most)
    }
}
