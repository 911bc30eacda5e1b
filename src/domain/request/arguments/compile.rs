//! From a JSON Schema to the names and types that it declares.
//!
//! Start at [`shape`]. Whatever of a schema is not read allows anything.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::{ArgumentSchema, FREE, joined};
use crate::domain::request::target::json_schema::{JsonTypes, referred, schemas_of_items};
use crate::domain::request::visible::folded;

/// The maximum depth examined in a schema; deeper levels may have any names.
const MAX_DEPTH: usize = 16;

/// The maximum number of subschemas examined; further ones may have any names.
const MAX_SCHEMAS: usize = 4_096;

/// What a schema declares.
pub(super) fn shape(schema: &Json) -> ArgumentSchema {
    let compiler = SchemaCompiler {
        root: schema,
        left: Cell::new(MAX_SCHEMAS),
    };
    compiler.shape(schema, 0)
}

/// Compiles one schema.
struct SchemaCompiler<'s> {
    root: &'s Json,
    /// The number of subschemas that may still be examined; bounds recursive schemas.
    left: Cell<usize>,
}

impl SchemaCompiler<'_> {
    fn shape(&self, schema: &Json, depth: usize) -> ArgumentSchema {
        let Json::Object(words) = schema else {
            return FREE.clone();
        };
        if depth > MAX_DEPTH || self.left.get() == 0 {
            return FREE.clone();
        }
        self.left.set(self.left.get() - 1);
        let inner = |schema: &Json| self.shape(schema, depth + 1);
        let mut shape = own_words(words, inner);
        let all = words.get("allOf").and_then(Json::as_array);
        all.into_iter()
            .flatten()
            .for_each(|part| shape.add(inner(part), Joining::All));
        for word in ["anyOf", "oneOf"] {
            let choices = words.get(word).and_then(Json::as_array);
            let choices = choices.into_iter().flatten().map(inner).collect();
            if let Some(any) = ArgumentSchema::any_of(choices, Joining::Any) {
                shape.add(any, Joining::All);
            }
        }
        if words.contains_key("$ref") {
            let found = referred(self.root, words).map_or_else(|| FREE.clone(), inner);
            shape.add(found, Joining::All);
        }
        shape
    }
}

/// How several schemas say something of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// All of them hold.
    All,
    /// Any of them holds.
    Any,
    /// One of them holds, and it is not looked which.
    Unknown,
}

impl Joining {
    /// The types of the value.
    fn types(self, one: JsonTypes, other: JsonTypes) -> JsonTypes {
        let any = one.or(other);
        let both = one.both(other);
        match self {
            // Of what contradicts itself, readers leave out one or the other.
            Self::All if both == JsonTypes::NONE => any.without(JsonTypes::STRING),
            Self::All => both,
            Self::Any => any,
            // A text is one only if all of them say so.
            Self::Unknown => any
                .without(JsonTypes::STRING)
                .or(both.both(JsonTypes::STRING)),
        }
    }
}

impl ArgumentSchema {
    fn is_only_null(&self) -> bool {
        self.types == JsonTypes::NULL
    }

    /// What several schemas say together of which one holds; `None` if there are none.
    fn any_of(choices: Vec<Self>, joining: Joining) -> Option<Self> {
        let types = choices.iter().map(|it| it.types);
        let types = types.reduce(|one, other| joining.types(one, other))?;
        let mut objects = choices.into_iter().filter(|it| !it.is_only_null());
        let mut any = objects.next().unwrap_or(Self::bare(false));
        for other in objects {
            // Required by every alternative other than null is required.
            any.required.retain(|name| other.required.contains(name));
            any.add_names(other, joining);
        }
        any.types = types;
        Some(any)
    }

    /// Adds what another schema says of the same value.
    fn add(&mut self, other: Self, joining: Joining) {
        match joining {
            Joining::All => {
                let further = other.required.iter();
                let further = further.filter(|name| !self.required.contains(name));
                self.required.extend(further.cloned().collect::<Vec<_>>());
            }
            Joining::Any | Joining::Unknown => {
                self.required.retain(|name| other.required.contains(name));
            }
        }
        self.types = joining.types(self.types, other.types);
        self.add_names(other, joining);
    }

    /// Adds the names of another schema.
    fn add_names(&mut self, mut other: Self, joining: Joining) {
        let (own, others) = (self.places.len(), other.places.len());
        if own > others && other.items.is_some() {
            self.join_places(others);
        } else if others > own && self.items.is_some() {
            other.join_places(own);
        }
        self.names_more |= other.names_more;
        match joining {
            Joining::All => self.is_closed |= other.is_closed,
            Joining::Any | Joining::Unknown => self.is_closed &= other.is_closed,
        }
        self.joined.extend(other.joined);
        for (name, shape) in other.properties {
            match self.properties.get_mut(&name) {
                Some(known) => known.add(shape, joining),
                None => {
                    self.properties.insert(name, shape);
                }
            }
        }
        let mut further = other.places.into_iter();
        for (known, other) in self.places.iter_mut().zip(&mut further) {
            known.add(other, joining);
        }
        self.places.extend(further);
        for (own, other) in [(&mut self.items, other.items), (&mut self.more, other.more)] {
            match (own, other) {
                (Some(known), Some(other)) => known.add(*other, joining),
                (own @ None, Some(other)) => *own = Some(other),
                (_, None) => {}
            }
        }
    }

    /// Takes the places from this one on together with what is said of further items, as another schema says one thing of all of
    /// them. A copy of that for each place would grow with every level of a schema.
    fn join_places(&mut self, from: usize) {
        let places = self.places.drain(from..);
        let all = places.chain(self.items.take().map(|it| *it)).collect();
        self.items = Self::any_of(all, Joining::Unknown).map(Box::new);
    }
}

/// The names of a schema without its combinators.
fn own_words(
    words: &Map<String, Json>,
    shape_of: impl Fn(&Json) -> ArgumentSchema,
) -> ArgumentSchema {
    let properties: BTreeMap<SmolStr, ArgumentSchema> = words
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, inner)| (SmolStr::new(name), shape_of(inner)))
        .collect();
    let required = words.get("required").and_then(Json::as_array);
    let required = required.into_iter().flatten().filter_map(Json::as_str);
    let more = words.get("additionalProperties");
    let names_more =
        more.is_some_and(|it| *it != Json::Bool(false)) || words.contains_key("patternProperties");
    let is_null = words.get("type").is_some_and(|it| it == "null");
    // Patterns are not matched: a member may be one of any of them.
    let patterns = words.get("patternProperties").and_then(Json::as_object);
    let said = patterns.into_iter().flat_map(Map::values).chain(more);
    let said = said.filter(|it| it.as_object().is_some_and(|words| !words.is_empty()));
    let said = said.map(&shape_of).collect();
    let (places, items) = schemas_of_items(words);
    ArgumentSchema {
        names_more,
        more: ArgumentSchema::any_of(said, Joining::Unknown).map(Box::new),
        joined: properties
            .keys()
            .map(|name| (joined(&folded(name)), name.clone()))
            .collect(),
        // Null has no members.
        is_closed: more == Some(&Json::Bool(false)) || is_null,
        properties,
        required: required.map(SmolStr::new).collect(),
        places: places.iter().map(&shape_of).collect(),
        items: items.map(|items| Box::new(shape_of(items))),
        types: JsonTypes::of_words(words),
    }
}
