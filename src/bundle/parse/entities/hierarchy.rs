//! How far up the hierarchy of entities goes: every decision may walk all of it.

use std::collections::HashMap;

use callgate_engine::cedar::{Entity, EntityUID};

use crate::domain::hierarchy::MAX_GENERATIONS;

/// The first entity with too many generations above it. One that is its own ancestor is found elsewhere.
pub(super) fn too_many(entities: &[Entity]) -> Option<&EntityUID> {
    let by_uid: HashMap<&EntityUID, &Entity> = entities
        .iter()
        .map(|entity| (entity.uid(), entity))
        .collect();
    let mut above = Above {
        by_uid,
        known: HashMap::new(),
        open: Vec::new(),
    };
    let mut uids = entities.iter().map(Entity::uid);
    uids.find(|uid| above.generations(uid).is_none())
}

struct Above<'e> {
    by_uid: HashMap<&'e EntityUID, &'e Entity>,
    known: HashMap<&'e EntityUID, usize>,
    /// Those whose parents are looked at, never more than [`MAX_GENERATIONS`].
    open: Vec<&'e EntityUID>,
}

impl<'e> Above<'e> {
    fn generations(&mut self, uid: &'e EntityUID) -> Option<usize> {
        if let Some(generations) = self.known.get(uid) {
            return Some(*generations);
        }
        let Some(entity) = self.by_uid.get(uid).copied() else {
            return Some(0);
        };
        if self.open.contains(&uid) {
            return Some(0);
        }
        if self.open.len() > MAX_GENERATIONS {
            return None;
        }
        self.open.push(uid);
        let mut most = 0;
        for parent in entity.parents() {
            most = most.max(1 + self.generations(parent)?);
        }
        self.open.pop();
        self.known.insert(uid, most);
        (most <= MAX_GENERATIONS).then_some(most)
    }
}
