//! A snapshot in which one entity is another: what a proposed change would make of it.
//!
//! Start at [`with_entity`]. Nothing is tried that no file and no control call could say.

use std::collections::{BTreeMap, HashSet};

use callgate_engine::cedar::{Entity, EntityUID, PartialValue, Value};
use callgate_engine::{AssertedEntity, Snapshot};
use smol_str::SmolStr;

use crate::domain::request::target::stored;
use crate::domain::unconfirmed_tool;

/// The parts of an entity that can be changed.
pub(super) struct EntityParts {
    /// Its attributes.
    pub(super) attributes: BTreeMap<SmolStr, PartialValue>,
    /// Its direct parents.
    pub(super) parents: HashSet<EntityUID>,
}

/// A snapshot in which one entity is changed; `None` if nothing changes, or nobody can change it so.
pub(super) fn with_entity(
    snapshot: &Snapshot,
    uid: &EntityUID,
    change: impl FnOnce(&mut EntityParts) -> bool,
) -> Option<Snapshot> {
    let (attributes, indirect, parents, tags) = match snapshot.cedar_entity(uid) {
        Some(stored) => {
            let (_, attributes, indirect, parents, tags) = stored.into_inner();
            (attributes, indirect, parents, tags)
        }
        None => Default::default(),
    };
    let mut parts = EntityParts {
        attributes: attributes.into_iter().collect(),
        parents,
    };
    if !change(&mut parts) {
        return None;
    }
    let entity = Entity::new_with_attr_partial_value(
        uid.clone(),
        parts.attributes,
        indirect,
        parts.parents,
        tags,
    );
    // What follows from the name of a resource nobody states.
    if stored::derived_attribute(&entity).is_some() {
        return None;
    }
    snapshot.upsert([unconfirmed_tool::in_force(entity)]).ok()
}

/// A snapshot in which attributes of an entity are others; `None` if they cannot have these values, or have them already.
pub(super) fn with_attributes(
    snapshot: &Snapshot,
    uid: &EntityUID,
    attributes: Vec<(SmolStr, Value)>,
) -> Option<Snapshot> {
    let has_all = |snapshot: &Snapshot| {
        let entity = snapshot.entity(uid)?;
        let has = |(name, value): &(SmolStr, Value)| entity.attribute(name).as_ref() == Some(value);
        Some(attributes.iter().all(has))
    };
    if has_all(snapshot)? {
        return None;
    }
    let stated = AssertedEntity {
        uid: uid.clone(),
        attributes: attributes.clone(),
    };
    // The schema has another type, or no such attribute.
    let fitting = snapshot.overlay(&stated).ok()?;
    if fitting.attributes.len() != attributes.len() {
        return None;
    }
    let next = with_entity(snapshot, uid, |parts| {
        let stated = attributes.iter().cloned();
        parts
            .attributes
            .extend(stated.map(|(name, value)| (name, value.into())));
        true
    })?;
    // What is proposed of a tool does not count until somebody confirms it.
    has_all(&next)?.then_some(next)
}

#[cfg(test)]
#[path = "changed_entity_tests.rs"]
mod tests;
