//! The entities that one request's policies can see, in Cedar's form, for Cedar's own evaluator.
//!
//! Policies validated at level *n* (Cedar RFC 76) make at most *n* dereferences, each starting at the
//! request's principal, action, resource or context, so a walk of *n* steps finds all entities they can
//! touch. Without that proof the walk ends when it finds nothing new, and starts at the entities the
//! policies name as well.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cedar::{Context, Entity, EntityUID, Literal, PartialValue, Value, ValueKind};
use crate::overlay::Overlay;
use crate::policy::CompiledPolicy;
use crate::reach::Reach;
use crate::view::RequestView;

/// Unpacks an entity as this request sees it: stored, from an overlay, or both.
pub(crate) fn unpack(view: RequestView<'_>, uid: &EntityUID) -> Option<Arc<Entity>> {
    if let Some(action) = view.actions.get(uid) {
        return Some(Arc::clone(&action.entity));
    }
    let overlay = view.overlays.iter().find(|overlay| overlay.uid == *uid);
    let Some(overlay) = overlay else {
        return view.store.unpack(uid, &[]).map(Arc::new);
    };
    let entity = match view.store.unpack(uid, &overlay.parents) {
        Some(stored) => with_additions(stored, overlay),
        None => {
            let mut indirect = HashSet::new();
            view.store.add_lineage_of(&overlay.parents, &mut indirect);
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

/// A stored attribute or tag wins over one of the overlay.
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

/// All entities that these policies can see in this request, starting with the `known` ones.
pub(crate) fn slice<'s>(
    view: RequestView<'_>,
    reach: Reach,
    context: &Context,
    policies: impl Iterator<Item = &'s CompiledPolicy> + Clone,
    known: impl Iterator<Item = Arc<Entity>>,
) -> Vec<Arc<Entity>> {
    let mut walk = Walk {
        view,
        seen: HashSet::default(),
        found: Vec::new(),
        frontier: Vec::new(),
    };
    for entity in known {
        // Principal and resource may be the same entity.
        if walk.seen.insert(entity.uid().clone()) {
            walk.found.push(entity);
        }
    }
    if policies.clone().all(|policy| policy.condition.is_none()) {
        return walk.found;
    }
    let steps = match reach {
        Reach::Level(0) => return walk.found,
        Reach::Level(level) => level - 1,
        Reach::Unbounded => u32::MAX,
    };
    walk.start_from_context(context, policies.clone());
    if reach == Reach::Unbounded {
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
    view: RequestView<'a>,
    seen: HashSet<EntityUID, RandomState>,
    found: Vec<Arc<Entity>>,
    frontier: Vec<EntityUID>,
}

impl Walk<'_> {
    fn start_from_context<'s>(
        &mut self,
        context: &Context,
        policies: impl Iterator<Item = &'s CompiledPolicy> + Clone,
    ) {
        let Context::Value(attributes) = context else {
            return;
        };
        for (name, value) in attributes.iter() {
            if holds_entity(value) && policies.clone().any(|policy| policy.context.reads(name)) {
                self.visit(value);
            }
        }
    }

    fn start_from_literals<'s>(&mut self, policies: impl Iterator<Item = &'s CompiledPolicy>) {
        for uid in policies.flat_map(|policy| policy.literals.iter()) {
            self.visit_uid(uid);
        }
    }

    fn expand(&mut self, positions: std::ops::Range<usize>) {
        for position in positions {
            let entity = Arc::clone(&self.found[position]);
            let values = entity.attrs().chain(entity.tags()).map(|(_, value)| value);
            for value in values {
                if let PartialValue::Value(value) = value {
                    self.visit(value);
                }
            }
        }
    }

    fn visit(&mut self, value: &Value) {
        match &value.value {
            ValueKind::Lit(Literal::EntityUID(uid)) => self.visit_uid(uid),
            ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => {}
            ValueKind::Set(set) => set.iter().for_each(|value| self.visit(value)),
            ValueKind::Record(record) => record.values().for_each(|value| self.visit(value)),
        }
    }

    fn visit_uid(&mut self, uid: &EntityUID) {
        if !self.seen.contains(uid) {
            self.seen.insert(uid.clone());
            self.frontier.push(uid.clone());
        }
    }

    fn take_frontier(&mut self) {
        for uid in std::mem::take(&mut self.frontier) {
            self.found.extend(unpack(self.view, &uid));
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
