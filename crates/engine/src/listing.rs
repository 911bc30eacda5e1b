//! Pages through the stored entities of one type, and through the actions.
//!
//! Entities come in an order that follows no property of theirs and does not change while entities come
//! and go. A [`Cursor`] is a position in that order. It names no entity, so it may be shown to anybody. A
//! snapshot that was built anew has another order, and refuses cursors from the earlier one.

use crate::cedar::{EntityType, EntityUID};
use crate::error::StaleCursorError;
use crate::snapshot::Snapshot;

/// For each entity of the page, this many of other types may be visited. Beyond that the page ends early,
/// so that a rare type among millions of entities does not occupy a thread for long.
const VISITS_PER_ENTITY: usize = 64;

/// A position in the order of entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Identifies the order.
    pub order: u64,
    /// The shard of the store, or the number of an action.
    pub shard: u32,
    /// The entities of the shard up to and including this hash are done.
    pub done: u64,
}

/// A page of entities.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entities, each with the cursor right after it.
    pub entities: Vec<(EntityUID, Cursor)>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

impl Snapshot {
    /// The next `limit` stored entities of a type after a cursor, or from the start. A page can be short
    /// or empty and still have a next one, as the number of visited entities is bounded. It exceeds the
    /// limit only by entities with the same hash.
    ///
    /// Entities that are stored from the first page to the last appear exactly once. Those added or
    /// removed meanwhile may or may not appear.
    ///
    /// # Errors
    ///
    /// [`StaleCursorError`] for a cursor from a snapshot that this one was not derived from.
    pub fn list_entities(
        &self,
        ty: &EntityType,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, StaleCursorError> {
        let store = self.entities();
        let order = store.order();
        if after.is_some_and(|cursor| cursor.order != order) {
            return Err(StaleCursorError);
        }
        let mut page = Page::default();
        let (mut shard, mut done) =
            after.map_or((0, None), |cursor| (cursor.shard, Some(cursor.done)));
        let mut visited = 0;
        while (shard as usize) < store.shard_count() {
            let (found, count) = store.entities_of_type(ty, shard as usize, done);
            visited += count;
            for (hash, uid) in found {
                // Entities with the same hash share a cursor, so they stay together.
                let is_new_cursor = page.entities.last().is_none_or(|(_, at)| at.done != hash);
                if page.entities.len() >= limit && is_new_cursor {
                    page.next = page.entities.last().map(|(_, at)| *at);
                    return Ok(page);
                }
                let done = hash;
                let at = Cursor { order, shard, done };
                page.entities.push((uid, at));
            }
            if visited > limit.saturating_mul(VISITS_PER_ENTITY) {
                let done = u64::MAX;
                page.next = Some(Cursor { order, shard, done });
                return Ok(page);
            }
            (shard, done) = (shard + 1, None);
        }
        Ok(page)
    }

    /// All actions that the schema applies to some resource, or all known actions without a schema, sorted
    /// by name.
    pub fn actions(&self) -> Vec<EntityUID> {
        let applies = |uid: &EntityUID| match self.schema() {
            None => true,
            Some(schema) => schema
                .resources_for_action(uid)
                .is_some_and(|mut types| types.next().is_some()),
        };
        let mut actions: Vec<EntityUID> = self
            .action_uids()
            .filter(|uid| applies(uid))
            .cloned()
            .collect();
        actions.sort();
        actions
    }

    /// The cursor after the action of this number in [`Snapshot::actions`].
    pub fn action_cursor(&self, number: u32) -> Cursor {
        Cursor {
            order: self.entities().order(),
            shard: number,
            done: 0,
        }
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
