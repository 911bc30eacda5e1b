//! Going through stored entities of one type, and through actions, a bounded piece at a time.
//!
//! Entities come in the order in which the store keeps them, which is nobody's order in particular but
//! stays the same while entities come and go. A [`Place`] in it names no entity, so it may be shown to
//! anybody. Another load of the directory is another order: a place in the old one is refused.

use cedar_policy_core::ast::{EntityType, EntityUID};

use crate::engine::snapshot::Snapshot;

/// How many entities of other types are passed over for each one that is wanted. Beyond that a piece
/// ends early, so that a rare type among millions of entities does not hold up everybody else.
const PASSED_OVER: usize = 64;

/// Where a walk has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Tells this order from that of another load.
    pub order: u64,
    /// The part of the store.
    pub shard: u32,
    /// Within it, everything up to and including this is done.
    pub done: u64,
}

/// A piece of a walk.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// The entities, each with the place right after it.
    pub entities: Vec<(EntityUID, Place)>,
    /// Where the next piece starts; `None` at the end.
    pub next: Option<Place>,
}

/// A place that does not belong to what is in service now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the place belongs to an earlier load of the directory")]
pub struct PlaceGone;

impl Snapshot {
    /// The next `most` stored entities of a type after a place, or from the start. A piece can be short
    /// or empty and still have a next one: the work is bounded, not the distance.
    ///
    /// Entities that are there throughout a walk turn up exactly once. Those put or deleted meanwhile
    /// may or may not.
    pub fn walk(
        &self,
        ty: &EntityType,
        after: Option<Place>,
        most: usize,
    ) -> Result<Piece, PlaceGone> {
        let store = self.entities();
        let order = store.order();
        if after.is_some_and(|place| place.order != order) {
            return Err(PlaceGone);
        }
        let mut piece = Piece::default();
        let (mut shard, mut done) = after.map_or((0, None), |it| (it.shard, Some(it.done)));
        let mut passed_over = 0;
        while (shard as usize) < store.shard_count() {
            let (found, seen) = store.of_type(ty, shard as usize, done);
            passed_over += seen;
            for (hash, uid) in found {
                // Those with the same place stay together.
                let is_new_place = piece.entities.last().is_none_or(|(_, at)| at.done != hash);
                if piece.entities.len() >= most && is_new_place {
                    piece.next = piece.entities.last().map(|(_, at)| *at);
                    return Ok(piece);
                }
                let done = hash;
                let at = Place { order, shard, done };
                piece.entities.push((uid, at));
            }
            if passed_over > most.saturating_mul(PASSED_OVER) {
                let done = u64::MAX;
                piece.next = Some(Place { order, shard, done });
                return Ok(piece);
            }
            (shard, done) = (shard + 1, None);
        }
        Ok(piece)
    }

    /// Every action that the schema declares for something, or, without a schema, every action that is
    /// known. In the order of their names.
    pub fn actions(&self) -> Vec<EntityUID> {
        let is_for_something = |uid: &EntityUID| match self.schema() {
            None => true,
            Some(schema) => schema
                .resources_for_action(uid)
                .is_some_and(|mut types| types.next().is_some()),
        };
        let mut actions: Vec<EntityUID> = self
            .action_names()
            .filter(|uid| is_for_something(uid))
            .cloned()
            .collect();
        actions.sort();
        actions
    }

    /// The place after the action of this number, for walks through [`Snapshot::actions`].
    pub fn place_of_action(&self, number: u32) -> Place {
        Place {
            order: self.entities().order(),
            shard: number,
            done: 0,
        }
    }
}

#[cfg(test)]
mod tests;
