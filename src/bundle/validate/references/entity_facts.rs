//! What the checks of names read of the entities of a bundle.
//!
//! Start at [`EntityFacts::new`]. It is far smaller than the entities, so it can be kept beside a snapshot that holds them
//! in packed form: a bundle that differs only in its policies is checked without parsing the entities again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use callgate_engine::cedar::{Entity, EntityType, EntityUID, Literal, PartialValue, ValueKind};
use smol_str::SmolStr;

use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::validate::references::known_entities::{EntityNames, id_of};
use crate::bundle::validate::references::known_words::KnownWords;
use crate::config::Config;
use crate::domain::schema::TYPES;

/// The types of the entities within others, at any depth.
pub(super) type TypesWithin = HashMap<EntityUID, BTreeSet<EntityType>>;

/// Names, hierarchy and words of all entities.
#[derive(Debug)]
pub(crate) struct EntityFacts {
    /// The ids of the entities that files define, in their order.
    pub(in crate::bundle) names: EntityNames,
    /// The types of what is in an entity.
    pub(super) within: TypesWithin,
    /// The pinned schemas of tools, by the tool.
    pub(super) schemas: BTreeMap<SmolStr, SmolStr>,
    /// The words of every vocabulary.
    pub(super) words: KnownWords,
}

impl EntityFacts {
    /// The facts of these entities.
    pub(in crate::bundle) fn new(collected: &CollectedEntities, config: &Config) -> Self {
        let mut names = EntityNames::new();
        let is_defined = |it: &&Entity| collected.has(it.uid());
        for entity in collected.entities.iter().filter(is_defined) {
            let ty = entity.uid().entity_type();
            let id = SmolStr::new(id_of(entity.uid()));
            match names.get_mut(ty) {
                Some(ids) => ids.push(id),
                None => drop(names.insert(ty.with_loc(None), vec![id])),
            }
        }
        let tools = collected.entities.iter();
        let tools = tools.filter(|it| *it.uid().entity_type() == TYPES.tool);
        let schema = |tool: &Entity| {
            let PartialValue::Value(value) = tool.get("input_schema")? else {
                return None;
            };
            let ValueKind::Lit(Literal::String(text)) = value.value_kind() else {
                return None;
            };
            Some((SmolStr::new(id_of(tool.uid())), text.clone()))
        };
        Self {
            names,
            within: types_within(collected),
            schemas: tools.filter_map(schema).collect(),
            words: KnownWords::new(collected, config),
        }
    }
}

fn types_within(collected: &CollectedEntities) -> TypesWithin {
    let mut types = TypesWithin::new();
    for entity in &collected.entities {
        for parent in entity.parents() {
            let ty = entity.uid().entity_type();
            if !types.contains_key(parent) {
                types.insert(parent.clone(), BTreeSet::new());
            }
            if let Some(within) = types.get_mut(parent)
                && !within.contains(ty)
            {
                within.insert(ty.with_loc(None));
            }
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
            if let Some(outer) = types.get_mut(parent) {
                let before = outer.len();
                outer.extend(inner);
                has_changed |= outer.len() > before;
            }
        }
    }
    types
}
