//! The types of the entities that are within others: a policy for the agents of a group that only has servers never applies.
//!
//! Start at [`MemberTypes::refusal`].

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use callgate_engine::cedar::{EntityType, EntityUID};

use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::validate::references::canonical_text::Refusal;
use crate::bundle::validate::references::known_entities::KnownEntities;

/// The types of the entities within each entity, by what the files say. Computed on first use.
pub(super) struct MemberTypes<'a> {
    known: &'a KnownEntities<'a>,
    collected: &'a CollectedEntities,
    types: OnceCell<HashMap<&'a EntityUID, BTreeSet<&'a EntityType>>>,
}

impl<'a> MemberTypes<'a> {
    pub(super) fn new(collected: &'a CollectedEntities, known: &'a KnownEntities<'a>) -> Self {
        Self {
            known,
            collected,
            types: OnceCell::new(),
        }
    }

    /// Why no entity of these types is in another one; `None` if one may be: the other is of one of them itself, has a member
    /// of one at any depth, or has no members that files tell of.
    pub(super) fn refusal(&self, types: &[&EntityType], uid: &EntityUID) -> Option<Refusal> {
        let all = self.types.get_or_init(|| types_within(self.collected));
        let within = all.get(uid)?;
        let fits = |ty: &EntityType| types.contains(&ty);
        if types.is_empty()
            || fits(uid.entity_type())
            || within.iter().copied().any(fits)
            || self.known.may_have_other_members(uid)
        {
            return None;
        }
        let wanted = listed(types.iter().copied());
        let there = listed(within.iter().copied());
        Some(Refusal {
            message: format!("no {wanted} is in `{uid}`"),
            help: format!(
                "what is in it is {there}; if others come from elsewhere, name it in `bundle.known.entities`"
            ),
        })
    }
}

fn listed<'t>(types: impl Iterator<Item = &'t EntityType>) -> String {
    let names: Vec<String> = types.map(|ty| format!("`{ty}`")).collect();
    names.join(" or ")
}

fn types_within(collected: &CollectedEntities) -> HashMap<&EntityUID, BTreeSet<&EntityType>> {
    let mut types: HashMap<&EntityUID, BTreeSet<&EntityType>> = HashMap::new();
    for entity in &collected.entities {
        for parent in entity.parents() {
            types
                .entry(parent)
                .or_default()
                .insert(entity.uid().entity_type());
        }
    }
    let is_inner = |(child, _): &(&EntityUID, &EntityUID)| types.contains_key(child);
    let links = collected.entities.iter();
    let links = links.flat_map(|entity| entity.parents().map(move |parent| (entity.uid(), parent)));
    let links: Vec<(&EntityUID, &EntityUID)> = links.filter(is_inner).collect();
    // Each round reaches one level further; files cannot be deeper than they have links.
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        for (child, parent) in &links {
            let inner = types.get(child).cloned().unwrap_or_default();
            let outer = types.entry(parent).or_default();
            let before = outer.len();
            outer.extend(inner);
            has_changed |= outer.len() > before;
        }
    }
    types
}
