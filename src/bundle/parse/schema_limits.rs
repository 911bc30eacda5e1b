//! Limits on the work that a schema makes: Cedar computes all ancestors of every type and action, and inlines common types
//! wherever they are used.
//!
//! Start at [`find_excess`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json};

use crate::domain::hierarchy::{Chains, MAX_GENERATIONS};

/// Pairs of an entity type or action and one of its ancestors, in the whole schema.
pub const MAX_ANCESTORS: usize = 100_000;
/// Nesting depth of a type with all common types inlined.
pub const MAX_TYPE_DEPTH: usize = 64;
/// Types in the whole schema with all common types inlined.
pub const MAX_TYPE_PARTS: u64 = 1_000_000;

/// The first limit that schema fragments (in Cedar's JSON form) exceed: the index of the fragment, and a message.
pub fn find_excess(fragments: &[Json]) -> Option<(usize, String)> {
    let mut types = CommonTypes::default();
    let mut parents = TypeHierarchy::default();
    for (index, fragment) in fragments.iter().enumerate() {
        for (namespace, definition) in fragment.as_object().into_iter().flatten() {
            types.collect(index, namespace, definition);
            parents.collect(index, namespace, definition);
        }
    }
    types.find_excess().or_else(|| parents.find_excess())
}

fn members<'j>(definition: &'j Json, name: &str) -> impl Iterator<Item = (&'j String, &'j Json)> {
    let map: Option<&Map<String, Json>> = definition.get(name).and_then(Json::as_object);
    map.into_iter().flatten()
}

fn qualified(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        _ if name.contains("::") => name.to_owned(),
        _ => format!("{namespace}::{name}"),
    }
}

/// Direct parents of entity types and actions, with the fragment that declares them.
#[derive(Default)]
struct TypeHierarchy {
    of: BTreeMap<String, (usize, BTreeSet<String>)>,
}

impl TypeHierarchy {
    fn collect(&mut self, index: usize, namespace: &str, definition: &Json) {
        for (name, entity) in members(definition, "entityTypes") {
            let listed = entity.get("memberOfTypes").and_then(Json::as_array);
            let names = listed.into_iter().flatten().filter_map(Json::as_str);
            let parents = names.map(|parent| qualified(namespace, parent)).collect();
            let child = qualified(namespace, name);
            self.of.insert(child, (index, parents));
        }
        for (name, action) in members(definition, "actions") {
            let listed = action.get("memberOf").and_then(Json::as_array);
            let parents = listed.into_iter().flatten().filter_map(|parent| {
                let id = parent.get("id")?.as_str()?;
                let kind = parent.get("type").and_then(Json::as_str);
                let kind = kind.map_or_else(|| qualified(namespace, "Action"), str::to_owned);
                Some(format!("{kind}::{id:?}"))
            });
            let child = format!("{}::{name:?}", qualified(namespace, "Action"));
            self.of.insert(child, (index, parents.collect()));
        }
    }

    fn find_excess(&self) -> Option<(usize, String)> {
        let mut above = Chains::new(|name: &&str| {
            let parents = self.of.get(*name).map(|(_, parents)| parents);
            parents.into_iter().flatten().map(String::as_str).collect()
        });
        for (name, (index, _)) in &self.of {
            if above.length(&name.as_str()).is_none() {
                let message =
                    format!("more than {MAX_GENERATIONS} generations stand above `{name}`");
                return Some((*index, message));
            }
        }
        let mut budget = MAX_ANCESTORS;
        for (index, parents) in self.of.values() {
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            let mut open: Vec<&str> = parents.iter().map(String::as_str).collect();
            while let Some(next) = open.pop() {
                if !seen.insert(next) {
                    continue;
                }
                let Some(rest) = budget.checked_sub(1) else {
                    let message = format!(
                        "entity types and actions have more than {MAX_ANCESTORS} ancestors together"
                    );
                    return Some((*index, message));
                };
                budget = rest;
                let above = self.of.get(next);
                open.extend(
                    above
                        .into_iter()
                        .flat_map(|(_, all)| all)
                        .map(String::as_str),
                );
            }
        }
        None
    }
}

/// Common types by name, and every type that uses them.
#[derive(Default)]
struct CommonTypes<'j> {
    common: HashMap<String, (usize, &'j str, &'j Json)>,
    uses: Vec<(usize, &'j str, &'j Json)>,
}

/// Sizes computed so far, and the common types being expanded.
#[derive(Default)]
struct TypeSizes<'s> {
    known: HashMap<&'s str, TypeSize>,
    open: Vec<&'s str>,
}

/// TypeSize of a type with all common types inlined.
#[derive(Debug, Clone, Copy)]
struct TypeSize {
    parts: u64,
    depth: usize,
}

impl<'j> CommonTypes<'j> {
    fn collect(&mut self, index: usize, namespace: &'j str, definition: &'j Json) {
        for (name, common) in members(definition, "commonTypes") {
            let name = qualified(namespace, name);
            self.common.insert(name, (index, namespace, common));
        }
        let shapes = members(definition, "entityTypes").flat_map(|(_, entity)| {
            let parts = ["shape", "tags"].into_iter();
            parts.filter_map(|part| entity.get(part))
        });
        let contexts = members(definition, "actions")
            .filter_map(|(_, action)| action.get("appliesTo")?.get("context"));
        let uses = shapes.chain(contexts);
        self.uses.extend(uses.map(|used| (index, namespace, used)));
    }

    fn find_excess(&self) -> Option<(usize, String)> {
        let mut progress = TypeSizes::default();
        let mut parts = 0u64;
        let common = self.common.values().copied();
        for (index, namespace, used) in common.chain(self.uses.iter().copied()) {
            let size = self.size(namespace, used, 0, &mut progress);
            let Some(size) = size.filter(|size| size.depth <= MAX_TYPE_DEPTH) else {
                let message =
                    format!("types nest deeper than {MAX_TYPE_DEPTH} once they are written out");
                return Some((index, message));
            };
            parts = parts.saturating_add(size.parts);
            if parts > MAX_TYPE_PARTS {
                let message = format!(
                    "types come to more than {MAX_TYPE_PARTS} parts once they are written out"
                );
                return Some((index, message));
            }
        }
        None
    }

    /// TypeSize of a type; `None` beyond [`MAX_TYPE_DEPTH`].
    fn size<'s>(
        &'s self,
        namespace: &str,
        used: &'s Json,
        depth: usize,
        progress: &mut TypeSizes<'s>,
    ) -> Option<TypeSize> {
        if depth > MAX_TYPE_DEPTH {
            return None;
        }
        let mut size = TypeSize { parts: 1, depth: 1 };
        let mut add = |inner: TypeSize| {
            size.parts = size.parts.saturating_add(inner.parts);
            size.depth = size.depth.max(inner.depth + 1);
        };
        if let Some(element) = used.get("element") {
            add(self.size(namespace, element, depth + 1, progress)?);
        }
        for (_, attribute) in members(used, "attributes") {
            add(self.size(namespace, attribute, depth + 1, progress)?);
        }
        let names = ["type", "name"].into_iter();
        for name in names.filter_map(|field| used.get(field)?.as_str()) {
            let Some((key, (_, home, inner))) = self.named(namespace, name) else {
                continue;
            };
            if let Some(inner) = progress.known.get(key) {
                add(*inner);
                continue;
            }
            // Cedar reports types that contain themselves.
            if progress.open.contains(&key) {
                continue;
            }
            progress.open.push(key);
            let inner = self.size(home, inner, depth + 1, progress)?;
            progress.open.pop();
            progress.known.insert(key, inner);
            add(inner);
        }
        Some(size)
    }

    fn named<'s>(
        &'s self,
        namespace: &str,
        name: &str,
    ) -> Option<(&'s str, &'s (usize, &'j str, &'j Json))> {
        let own = self.common.get_key_value(&qualified(namespace, name));
        let found = own.or_else(|| self.common.get_key_value(name))?;
        Some((found.0.as_str(), found.1))
    }
}

#[cfg(test)]
#[path = "schema_limits_tests.rs"]
mod tests;
