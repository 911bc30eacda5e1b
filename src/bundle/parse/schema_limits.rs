//! How much work the types and actions of a schema make, found before Cedar does it: it works out all ancestors of each,
//! and writes every common type out in full wherever it is used.
//!
//! Start at [`too_much`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json};

/// Pairs of an entity type or action and an ancestor of it.
pub const MAX_ANCESTORS: usize = 100_000;
/// Entity types or actions one above the other.
pub const MAX_GENERATIONS: usize = 64;
/// Types within types, once names are written out.
pub const MAX_TYPE_DEPTH: usize = 64;
/// Types that all uses of names come to, once they are written out.
pub const MAX_TYPE_PARTS: u64 = 1_000_000;

/// What is too much in fragments of a schema, in Cedar's JSON form; what to say, and the fragment it is said of.
pub fn too_much(fragments: &[Json]) -> Option<(usize, String)> {
    let mut types = Types::default();
    let mut parents = Parents::default();
    for (index, fragment) in fragments.iter().enumerate() {
        for (namespace, definition) in fragment.as_object().into_iter().flatten() {
            types.collect(index, namespace, definition);
            parents.collect(index, namespace, definition);
        }
    }
    types.too_much().or_else(|| parents.too_much())
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

/// What entity types and actions are in.
#[derive(Default)]
struct Parents {
    of: BTreeMap<String, (usize, BTreeSet<String>)>,
}

impl Parents {
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

    /// How many generations are above this one; `None` if too many. What is its own ancestor is left to Cedar.
    fn generations<'s>(
        &'s self,
        name: &'s str,
        known: &mut HashMap<&'s str, usize>,
        open: &mut Vec<&'s str>,
    ) -> Option<usize> {
        if let Some(generations) = known.get(name) {
            return Some(*generations);
        }
        let Some((_, parents)) = self.of.get(name).filter(|_| !open.contains(&name)) else {
            return Some(0);
        };
        if open.len() > MAX_GENERATIONS {
            return None;
        }
        open.push(name);
        let mut most = 0;
        for parent in parents {
            most = most.max(1 + self.generations(parent, known, open)?);
        }
        open.pop();
        known.insert(name, most);
        (most <= MAX_GENERATIONS).then_some(most)
    }

    fn too_much(&self) -> Option<(usize, String)> {
        let mut known = HashMap::new();
        for (name, (index, _)) in &self.of {
            if self
                .generations(name, &mut known, &mut Vec::new())
                .is_none()
            {
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

/// Common types by their names, and what uses them.
#[derive(Default)]
struct Types<'j> {
    common: HashMap<String, (usize, &'j str, &'j Json)>,
    uses: Vec<(usize, &'j str, &'j Json)>,
}

/// What is known of names so far, and which are being written out.
#[derive(Default)]
struct Progress<'s> {
    known: HashMap<&'s str, Size>,
    open: Vec<&'s str>,
}

/// What a type comes to once the names in it are written out.
#[derive(Debug, Clone, Copy)]
struct Size {
    parts: u64,
    depth: usize,
}

impl<'j> Types<'j> {
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

    fn too_much(&self) -> Option<(usize, String)> {
        let mut progress = Progress::default();
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

    /// `None` if it nests too deep.
    fn size<'s>(
        &'s self,
        namespace: &str,
        used: &'s Json,
        depth: usize,
        progress: &mut Progress<'s>,
    ) -> Option<Size> {
        if depth > MAX_TYPE_DEPTH {
            return None;
        }
        let mut size = Size { parts: 1, depth: 1 };
        let mut add = |inner: Size| {
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
            // Cedar says it better if a type holds itself.
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
