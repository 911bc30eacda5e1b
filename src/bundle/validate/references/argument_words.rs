//! What pinned schemas say of a tool's arguments: their names, and the values of those that are one of a list.
//!
//! Start at [`ArgumentWords::meant_name`] and [`ArgumentWords::meant_value`]. A call may have arguments that the schema does
//! not declare, and policies may look for them, so only what resembles a declared word is told.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::cedar::{EntityUID, Literal, PartialValue, Pattern, ValueKind};
use serde_json::Value as Json;

use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::validate::references::known_entities::{id_of, nearest, pattern};
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};
use crate::domain::schema::TYPES;

/// The most names that one is compared with.
const MAX_COMPARED: usize = 20_000;

/// The arguments of the registered tools. Computed on first use.
pub(super) struct ArgumentWords<'a> {
    collected: &'a CollectedEntities,
    configured: Vec<Pattern>,
    schemas: OnceCell<BTreeMap<&'a str, Json>>,
    all: OnceCell<BTreeSet<String>>,
}

impl<'a> ArgumentWords<'a> {
    pub(super) fn new(collected: &'a CollectedEntities, configured: &[String]) -> Self {
        Self {
            collected,
            configured: configured.iter().map(|name| pattern(name)).collect(),
            schemas: OnceCell::new(),
            all: OnceCell::new(),
        }
    }

    /// The declared name that an undeclared one resembles: of this tool, or of any.
    pub(super) fn meant_name(&self, tool: Option<&EntityUID>, name: &str) -> Option<String> {
        if self.is_configured(name) {
            return None;
        }
        let own;
        let names = match tool {
            Some(tool) => {
                own = names_of(self.schemas().get(id_of(tool))?);
                &own
            }
            None => self
                .all
                .get_or_init(|| self.schemas().values().flat_map(names_of).collect()),
        };
        meant(name, names)
    }

    /// The listed value that another one resembles, for the argument at a dotted path of a tool.
    pub(super) fn meant_value(&self, tool: &str, path: &str, value: &str) -> Option<String> {
        let schema = self.schemas().get(tool)?;
        let mut place = SchemaLocation::top(schema);
        for (depth, step) in path.split('.').enumerate() {
            place = elements(place).member(step, depth == 0)?;
        }
        let choices = elements(place).choices()?;
        meant(value, &choices.into_iter().collect())
    }

    fn is_configured(&self, name: &str) -> bool {
        self.configured.iter().any(|it| it.wildcard_match(name))
    }

    fn schemas(&self) -> &BTreeMap<&'a str, Json> {
        self.schemas.get_or_init(|| {
            let entities = self.collected.entities.iter();
            let tools = entities.filter(|it| *it.uid().entity_type() == TYPES.tool);
            let schema = |tool: &'a callgate_engine::cedar::Entity| {
                let PartialValue::Value(value) = tool.get("input_schema")? else {
                    return None;
                };
                let ValueKind::Lit(Literal::String(text)) = value.value_kind() else {
                    return None;
                };
                Some((id_of(tool.uid()), serde_json::from_str(text).ok()?))
            };
            tools.filter_map(schema).collect()
        })
    }
}

/// What a policy compares: an element, where there is a list.
fn elements(place: SchemaLocation<'_>) -> SchemaLocation<'_> {
    match place.types() != JsonTypes::ANY && place.types().has(JsonTypes::ARRAY) {
        true => place.items(),
        false => place,
    }
}

fn names_of(schema: &Json) -> BTreeSet<String> {
    let names = SchemaLocation::top(schema).members();
    names.into_iter().map(str::to_owned).collect()
}

fn meant(word: &str, words: &BTreeSet<String>) -> Option<String> {
    if words.contains(word) {
        return None;
    }
    let words = words.iter().map(String::as_str).take(MAX_COMPARED);
    nearest(word, words).map(str::to_owned)
}
