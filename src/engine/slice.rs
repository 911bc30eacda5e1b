//! The entities one request can see: those within reach of its principal, action, resource and
//! context, and no others.
//!
//! Policies validated at level *n* (Cedar RFC 76) make at most *n* dereferences, each starting at the
//! request, so a walk of *n* steps finds all they can touch. Without that proof the walk goes on until
//! nothing new turns up, and starts at the entities the policies name as well.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy_core::ast::{Context, Entity, EntityUID, Literal, PartialValue, Value, ValueKind};
use foldhash::fast::RandomState;

use crate::engine::evaluate::Overlay;
use crate::engine::policy::Compiled;
use crate::engine::snapshot::{Reach, Snapshot};

/// Unpacks an entity as this request sees it: stored, overlaid, or both. An action comes as it is kept.
pub(super) fn view(
    snapshot: &Snapshot,
    overlays: &[Overlay],
    uid: &EntityUID,
) -> Option<Arc<Entity>> {
    if let Some(action) = snapshot.action(uid) {
        return Some(Arc::clone(&action.entity));
    }
    let overlay = overlays.iter().find(|overlay| overlay.uid == *uid);
    let entities = snapshot.entities();
    let Some(overlay) = overlay else {
        return entities.unpack(uid, &[]).map(Arc::new);
    };
    let entity = match entities.unpack(uid, &overlay.parents) {
        Some(stored) => with_additions(stored, overlay),
        None => {
            let mut indirect = HashSet::new();
            entities.add_lineage_of(&overlay.parents, &mut indirect);
            let parents: HashSet<EntityUID> = overlay.parents.iter().cloned().collect();
            indirect.retain(|ancestor| !parents.contains(ancestor));
            let attributes = overlay.attributes.iter().cloned();
            let tags = overlay.tags.iter().cloned();
            Entity::new_with_attr_partial_value(
                uid.clone(),
                attributes.map(|(name, value)| (name, value.into())),
                indirect,
                parents,
                tags.map(|(name, value)| (name, value.into())),
            )
        }
    };
    Some(Arc::new(entity))
}

/// What is stored wins over what the request adds.
fn with_additions(stored: Entity, overlay: &Overlay) -> Entity {
    let (uid, mut attributes, indirect, parents, mut tags) = stored.into_inner();
    for (name, value) in &overlay.attributes {
        attributes
            .entry(name.clone())
            .or_insert_with(|| value.clone().into());
    }
    for (name, value) in &overlay.tags {
        tags.entry(name.clone())
            .or_insert_with(|| value.clone().into());
    }
    Entity::new_with_attr_partial_value(uid, attributes, indirect, parents, tags)
}

/// Everything these policies can see of the world in this request, beginning with what is known.
pub(super) fn slice<'s>(
    snapshot: &'s Snapshot,
    overlays: &[Overlay],
    context: &Context,
    policies: impl Iterator<Item = &'s Compiled> + Clone,
    known: impl Iterator<Item = Arc<Entity>>,
) -> Vec<Arc<Entity>> {
    let mut walk = Walk {
        snapshot,
        overlays,
        seen: HashSet::default(),
        found: Vec::new(),
        frontier: Vec::new(),
    };
    for entity in known {
        // The same entity may stand in two places.
        if walk.seen.insert(entity.uid().clone()) {
            walk.found.push(entity);
        }
    }
    if policies.clone().all(|policy| policy.condition.is_none()) {
        return walk.found;
    }
    let steps = match snapshot.reach() {
        Reach::Level(0) => return walk.found,
        Reach::Level(level) => level - 1,
        Reach::Unbounded => u32::MAX,
    };
    walk.start_from_context(context, policies.clone());
    if snapshot.reach() == Reach::Unbounded {
        walk.start_from_literals(policies);
    }
    // The known entities count as the first step as well.
    let mut expanded = 0;
    walk.take_frontier();
    for _ in 0..steps {
        let reached = walk.found.len();
        if expanded == reached {
            break;
        }
        walk.expand(expanded..reached);
        expanded = reached;
        walk.take_frontier();
    }
    walk.found
}

struct Walk<'a> {
    snapshot: &'a Snapshot,
    overlays: &'a [Overlay],
    seen: HashSet<EntityUID, RandomState>,
    found: Vec<Arc<Entity>>,
    frontier: Vec<EntityUID>,
}

impl Walk<'_> {
    fn start_from_context<'s>(
        &mut self,
        context: &Context,
        policies: impl Iterator<Item = &'s Compiled> + Clone,
    ) {
        let Context::Value(attributes) = context else {
            return;
        };
        for (name, value) in attributes.iter() {
            if holds_entity(value) && policies.clone().any(|policy| policy.context.reads(name)) {
                self.note(value);
            }
        }
    }

    fn start_from_literals<'s>(&mut self, policies: impl Iterator<Item = &'s Compiled>) {
        for uid in policies.flat_map(|policy| policy.literals.iter()) {
            self.note_uid(uid);
        }
    }

    fn expand(&mut self, places: std::ops::Range<usize>) {
        for place in places {
            let entity = Arc::clone(&self.found[place]);
            let values = entity.attrs().chain(entity.tags()).map(|(_, value)| value);
            for value in values {
                if let PartialValue::Value(value) = value {
                    self.note(value);
                }
            }
        }
    }

    fn note(&mut self, value: &Value) {
        match &value.value {
            ValueKind::Lit(Literal::EntityUID(uid)) => self.note_uid(uid),
            ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => {}
            ValueKind::Set(set) => set.iter().for_each(|value| self.note(value)),
            ValueKind::Record(record) => record.values().for_each(|value| self.note(value)),
        }
    }

    fn note_uid(&mut self, uid: &EntityUID) {
        if !self.seen.contains(uid) {
            self.seen.insert(uid.clone());
            self.frontier.push(uid.clone());
        }
    }

    fn take_frontier(&mut self) {
        for uid in std::mem::take(&mut self.frontier) {
            self.found.extend(view(self.snapshot, self.overlays, &uid));
        }
    }
}

fn holds_entity(value: &Value) -> bool {
    match &value.value {
        ValueKind::Lit(literal) => matches!(literal, Literal::EntityUID(_)),
        ValueKind::ExtensionValue(_) => false,
        // The elements of a set have one type in any schema, but a set without a schema may mix them.
        ValueKind::Set(set) => set.iter().any(holds_entity),
        ValueKind::Record(record) => record.values().any(holds_entity),
    }
}
