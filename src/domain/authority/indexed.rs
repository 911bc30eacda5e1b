//! Things by their ids, and by who and what has part in them: a list of what one agent has is not a look through
//! everything.
//!
//! Start at [`Indexed::with`].
//!
//! Invariant: the index gives what a look through everything gives, in the same order: that of the ids.

use std::borrow::Borrow;
use std::fmt::Display;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::domain::ids::TaskId;

#[cfg(test)]
#[path = "indexed_tests.rs"]
mod tests;

/// Who or what has part in a thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The task that it belongs to.
    Task(TaskId),
    /// Who acts.
    Acts(EntityUID),
    /// For whom, or by whose leave.
    Behind(EntityUID),
}

/// What can be found by its parts.
pub trait HasParts {
    /// The type of its id. Ids sort by the time they were made.
    type Id: Clone + Ord + Display + Borrow<str> + for<'t> From<&'t str>;

    /// Its id.
    fn id(&self) -> &Self::Id;
    /// Who and what has part in it.
    fn parts(&self) -> impl Iterator<Item = Part>;
}

/// Things by id and by part. Cloning is cheap, and a changed copy shares what did not change.
#[derive(Debug, Clone)]
pub struct Indexed<T: HasParts> {
    all: RedBlackTreeMapSync<T::Id, Arc<T>>,
    by_part: RedBlackTreeSetSync<(Part, T::Id)>,
}

impl<T: HasParts> Default for Indexed<T> {
    fn default() -> Self {
        Self {
            all: RedBlackTreeMapSync::default(),
            by_part: RedBlackTreeSetSync::default(),
        }
    }
}

impl<T: HasParts> Deref for Indexed<T> {
    type Target = RedBlackTreeMapSync<T::Id, Arc<T>>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<T: HasParts> Indexed<T> {
    /// Adds one, or puts it in the place of what it was.
    pub fn insert_mut(&mut self, thing: Arc<T>) {
        let id = thing.id().clone();
        self.remove_mut(&id);
        for part in thing.parts() {
            self.by_part.insert_mut((part, id.clone()));
        }
        self.all.insert_mut(id, thing);
    }

    /// Takes one away.
    pub fn remove_mut(&mut self, id: &T::Id) {
        let Some(known) = self.all.get::<T::Id>(id).cloned() else {
            return;
        };
        self.all.remove_mut::<T::Id>(id);
        for part in known.parts() {
            self.by_part.remove_mut(&(part, known.id().clone()));
        }
    }

    /// Those behind the text of an id that this has part in, or all behind it, in the order of their ids.
    pub fn with<'a>(
        &'a self,
        part: Option<&'a Part>,
        after: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = &'a Arc<T>> + 'a> {
        let Some(part) = part else {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let all = self.all.range::<str, _>((from, Bound::Unbounded));
            return Box::new(all.map(|(_, thing)| thing));
        };
        let from = (part.clone(), T::Id::from(after.unwrap_or_default()));
        let found = self
            .by_part
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(of, _)| of == part)
            .filter(move |(_, id)| after.is_none_or(|after| id.borrow() > after));
        Box::new(found.filter_map(|(_, id)| self.all.get::<T::Id>(id)))
    }
}
