//! Policies and entities of a snapshot in Cedar's form, for tools that analyse them.
//!
//! Nothing here is on the path of a decision: it allocates, and its cost may grow with the number of
//! entities.

use std::sync::Arc;

use crate::cedar::{Entity, EntityUID};
use crate::materialize::Candidate;
use crate::overlay::{Overlay, UnitedOverlays};
use crate::slice;
use crate::snapshot::Snapshot;

impl Snapshot {
    /// The policies whose scope matches principal, action and resource, as a request with these overlays
    /// sees them, in the order of their ids. They are the ones that [`Snapshot::evaluate`] evaluates.
    pub fn applicable(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
        overlays: &[&Overlay],
    ) -> Vec<Candidate<'_>> {
        let united = UnitedOverlays::new(overlays);
        let overlays = united.or_given(overlays);
        let view = self.view(&overlays);
        let found = self.applicable_in(view, [principal, action, resource]);
        found.into_iter().map(Candidate::new).collect()
    }

    /// All stored entities, the actions among them, each with all its ancestors.
    pub fn cedar_entities(&self) -> Vec<Entity> {
        let store = self.entities();
        let stored = store.uids().filter_map(|uid| store.unpack(&uid, &[]));
        stored.collect()
    }

    /// An entity as a request with these overlays sees it, with all its ancestors. `None` also if they contradict each other.
    pub fn cedar_entity_with(&self, uid: &EntityUID, overlays: &[&Overlay]) -> Option<Entity> {
        let united = UnitedOverlays::new(overlays);
        if united.contradiction.is_some() {
            return None;
        }
        slice::unpack(self.view(&united.or_given(overlays)), uid).map(Arc::unwrap_or_clone)
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
