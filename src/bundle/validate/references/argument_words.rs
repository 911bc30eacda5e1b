//! What pinned schemas say of a tool's arguments: their names, and the values of those that are one of a list.
//!
//! Start at [`ArgumentWords::meant_name`] and [`ArgumentWords::meant_value`]. A call may have arguments that the schema does
//! not declare, and policies may look for them, so only what resembles a declared word is told.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callgate_engine::cedar::{EntityUID, Pattern};
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::bundle::validate::references::known_entities::{id_of, nearest, pattern};
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};

/// The most names that one is compared with.
const MAX_COMPARED: usize = 20_000;

/// The arguments of the registered tools. A schema is parsed when it is asked for.
pub(super) struct ArgumentWords<'a> {
    schemas: &'a BTreeMap<SmolStr, SmolStr>,
    configured: Vec<Pattern>,
    parsed: RefCell<BTreeMap<&'a str, Option<Rc<Json>>>>,
    all: OnceCell<BTreeSet<String>>,
}

impl<'a> ArgumentWords<'a> {
    /// `schemas` by the tool, as texts.
    pub(super) fn new(schemas: &'a BTreeMap<SmolStr, SmolStr>, configured: &[String]) -> Self {
        Self {
            schemas,
            configured: configured.iter().map(|name| pattern(name)).collect(),
            parsed: RefCell::default(),
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
                own = names_of(&*self.schema(id_of(tool))?);
                &own
            }
            None => self.all.get_or_init(|| self.all_names()),
        };
        meant(name, names)
    }

    /// The listed value that another one resembles, for the argument at a dotted path of a tool.
    pub(super) fn meant_value(&self, tool: &str, path: &str, value: &str) -> Option<String> {
        let schema = self.schema(tool)?;
        let mut place = SchemaLocation::top(&schema);
        for (depth, step) in path.split('.').enumerate() {
            place = elements(place).member(step, depth == 0)?;
        }
        let choices = elements(place).choices()?;
        meant(value, &choices.into_iter().collect())
    }

    fn is_configured(&self, name: &str) -> bool {
        self.configured.iter().any(|it| it.wildcard_match(name))
    }

    /// The pinned schema of a tool, if it is JSON.
    fn schema(&self, tool: &str) -> Option<Rc<Json>> {
        let (tool, text) = self.schemas.get_key_value(tool)?;
        let mut parsed = self.parsed.borrow_mut();
        let parse = || serde_json::from_str(text).ok().map(Rc::new);
        parsed.entry(tool).or_insert_with(parse).clone()
    }

    /// The names that any schema declares.
    fn all_names(&self) -> BTreeSet<String> {
        let schemas = self.schemas.keys().filter_map(|tool| self.schema(tool));
        schemas.flat_map(|schema| names_of(&schema)).collect()
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
