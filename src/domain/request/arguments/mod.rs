//! The arguments of a call, checked against the names in the tool's pinned schema.
//!
//! Start at [`ArgumentSchema::check`]. Values are validated by the server; names are checked here, because a
//! name decides who reads a value: required arguments are present, undeclared ones are reported, and names
//! that differ from a declared one only for some parsers are rejected. So is a text of which some servers make another value
//! that the schema allows: that has other names, targets and links.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::json_text::JsonReading;
use crate::domain::request::target::json_schema::JsonTypes;
use crate::domain::request::unannotated::unannotated;
use crate::domain::request::visible::folded;

/// The maximum depth examined in a schema; deeper levels may have any names.
const MAX_DEPTH: usize = 16;

/// The maximum number of subschemas examined; further ones may have any names.
const MAX_SCHEMAS: usize = 4_096;

/// The maximum number of different undeclared arguments. A call with more is rejected: policies forbid names, so none may
/// be left out.
pub const MAX_UNDECLARED: usize = 1_024;

/// The maximum number of missing arguments that are reported.
const MAX_MISSING: usize = 64;

/// The names that a JSON Schema declares, at every depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentSchema {
    properties: BTreeMap<SmolStr, ArgumentSchema>,
    /// The declared names by their form in [`joined`].
    joined: BTreeMap<String, SmolStr>,
    /// The names of required members.
    required: Vec<SmolStr>,
    /// The schema of list items.
    items: Option<Box<ArgumentSchema>>,
    /// Whether the schema allows further members explicitly (`additionalProperties`, `patternProperties`).
    names_more: bool,
    /// Whether the schema excludes further members. A schema without `properties` that does not is a
    /// free-form object.
    is_closed: bool,
    /// The types of valid values.
    types: JsonTypes,
}

/// The result of checking the names of a call's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArgumentReport {
    /// The paths of missing required arguments, e.g. `arguments.files[0].path`; the first [`MAX_MISSING`].
    pub missing: Vec<String>,
    /// The paths of undeclared arguments, e.g. `files[].mode`.
    pub undeclared: BTreeSet<SmolStr>,
}

/// Why the names of arguments are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A name that some parsers read as another one.
    #[error(
        "`{path}` is spelled like `{other}`: readers that do not mind the case of letters, `_` and `-` take one for the other"
    )]
    LookAlike {
        /// The path of the argument, e.g. `arguments.Path`.
        path: String,
        /// The name it is read as.
        other: SmolStr,
    },
    /// A text of which some servers make another value.
    #[error(
        "`{path}` can be read in two ways: it is a text, and some servers make {reading} of it: send that itself"
    )]
    TwoReadings {
        /// The path of the argument, e.g. `arguments.files`.
        path: String,
        /// What they make of it.
        reading: JsonReading,
    },
    /// More than [`MAX_UNDECLARED`].
    #[error(
        "`arguments` has more than {MAX_UNDECLARED} names that the tool's pinned schema does not declare: send fewer, or pin a schema that declares them"
    )]
    TooManyUndeclared,
}

impl ArgumentSchema {
    /// Declares no names: the schema of a tool without a pinned schema.
    pub const UNKNOWN: Self = Self::bare(false);

    /// The names of a schema. Keywords other than `properties`, `required`, `items`, local `$ref`, `allOf`,
    /// `anyOf` and `oneOf` are taken to allow any names.
    pub fn from_schema(schema: &Json) -> Self {
        let compiler = SchemaCompiler {
            root: schema,
            left: Cell::new(MAX_SCHEMAS),
        };
        let mut shape = compiler.shape(schema, 0);
        for name in unannotated(schema) {
            if let Some(parameter) = shape.properties.get_mut(name) {
                parameter.types = JsonTypes::ANY;
            }
        }
        // At the top level, a schema without properties is that of a tool without arguments.
        Self {
            is_closed: true,
            ..shape
        }
    }

    /// The declared names of members; `None` if the schema allows further ones explicitly.
    pub fn only_names(&self) -> Option<impl Iterator<Item = &SmolStr>> {
        (!self.is_open()).then(|| self.properties.keys())
    }

    const fn bare(names_more: bool) -> Self {
        Self {
            properties: BTreeMap::new(),
            joined: BTreeMap::new(),
            required: Vec::new(),
            items: None,
            names_more,
            is_closed: !names_more,
            types: JsonTypes::ANY,
        }
    }

    /// Checks arguments against the schema.
    ///
    /// # Errors
    ///
    /// [`ArgumentError::LookAlike`] for the first ambiguous name, [`ArgumentError::TwoReadings`] for the first ambiguous text, or
    /// [`ArgumentError::TooManyUndeclared`].
    pub fn check(&self, arguments: &Map<String, Json>) -> Result<ArgumentReport, ArgumentError> {
        let mut checked = ArgumentReport::default();
        self.object(arguments, &ArgumentLocation::Top, &mut checked)?;
        Ok(checked)
    }

    /// Rejects texts that some servers parse, whatever a schema says, among arguments with these names.
    ///
    /// # Errors
    ///
    /// [`ArgumentError::TwoReadings`] for the first of them.
    pub fn check_texts<'n>(
        names: impl Iterator<Item = &'n SmolStr>,
        arguments: &Map<String, Json>,
    ) -> Result<(), ArgumentError> {
        for name in names {
            if let Some(Json::String(text)) = arguments.get(name.as_str()) {
                FREE.text(
                    text,
                    &ArgumentLocation::Member(&ArgumentLocation::Top, name),
                )?;
            }
        }
        Ok(())
    }

    fn object(
        &self,
        members: &Map<String, Json>,
        at: &ArgumentLocation<'_>,
        checked: &mut ArgumentReport,
    ) -> Result<(), ArgumentError> {
        self.no_look_alikes(members, at)?;
        for name in &self.required {
            let is_there = match members.get(name.as_str()) {
                None => false,
                Some(Json::Null) => self
                    .properties
                    .get(name)
                    .is_none_or(|it| it.types.has(JsonTypes::NULL)),
                Some(_) => true,
            };
            if !is_there && checked.missing.len() < MAX_MISSING {
                checked
                    .missing
                    .push(ArgumentLocation::Member(at, name).exact());
            }
        }
        for (name, value) in members {
            let within = ArgumentLocation::Member(at, name);
            match self.properties.get(name.as_str()) {
                Some(shape) => shape.value(value, &within, checked)?,
                None => {
                    if !self.is_open() {
                        checked.note_undeclared(&within)?;
                    }
                    // Nobody parses a text that no parameter takes.
                    if !value.is_string() {
                        FREE.value(value, &within, checked)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether members that are not among the properties are allowed.
    fn is_open(&self) -> bool {
        self.names_more || self.properties.is_empty() && !self.is_closed
    }

    fn value(
        &self,
        value: &Json,
        at: &ArgumentLocation<'_>,
        checked: &mut ArgumentReport,
    ) -> Result<(), ArgumentError> {
        match value {
            Json::Object(members) => self.object(members, at, checked),
            Json::Array(items) => {
                // Whoever expects no list takes one of a single item for the item, if it takes any.
                let is_list = self.types.has(JsonTypes::ARRAY);
                let otherwise = if is_list { &FREE } else { self };
                let shape = self.items.as_deref().unwrap_or(otherwise);
                for (index, item) in items.iter().enumerate() {
                    shape.value(item, &ArgumentLocation::Item(at, index), checked)?;
                }
                Ok(())
            }
            Json::String(text) => self.text(text, at),
            Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        }
    }

    /// Rejects a text that may be taken for another valid value. Servers parse the texts of arguments that may be no text; of
    /// what lies in an argument, and as a number, only a text that the schema does not allow.
    fn text(&self, text: &str, at: &ArgumentLocation<'_>) -> Result<(), ArgumentError> {
        const JSON: JsonTypes = JsonTypes::ARRAY.or(JsonTypes::OBJECT).or(JsonTypes::NULL);
        let is_argument = matches!(at, ArgumentLocation::Member(ArgumentLocation::Top, _));
        let expected = match self.types.has(JsonTypes::STRING) {
            true if is_argument => self.types.both(JSON),
            true => JsonTypes::NONE,
            false => self.types.both(JSON.or(JsonTypes::NUMBER)),
        };
        let json = || expected.has(JSON).then(|| JsonReading::of(text)).flatten();
        let is_number = expected.has(JsonTypes::NUMBER);
        let number = || is_number.then(|| JsonReading::of_number(text)).flatten();
        let is_expected = |reading: &JsonReading| expected.has(types_of(*reading));
        match json().filter(is_expected).or_else(number) {
            Some(reading) => Err(ArgumentError::TwoReadings {
                path: at.exact(),
                reading,
            }),
            None => Ok(()),
        }
    }

    /// Rejects two members that fold to one name, and a member that joins to a declared name. Names that the
    /// schema declares are exempt.
    fn no_look_alikes(
        &self,
        members: &Map<String, Json>,
        at: &ArgumentLocation<'_>,
    ) -> Result<(), ArgumentError> {
        let mut others: HashMap<Cow<'_, str>, &str> = HashMap::new();
        for name in members
            .keys()
            .filter(|name| !self.properties.contains_key(name.as_str()))
        {
            let folded = folded(name);
            let declared = self.joined.get(&joined(&folded)).map(SmolStr::as_str);
            if let Some(other) = declared.or_else(|| others.insert(folded, name)) {
                return Err(ArgumentError::LookAlike {
                    path: ArgumentLocation::Member(at, name).exact(),
                    other: SmolStr::new(other),
                });
            }
        }
        Ok(())
    }
}

impl ArgumentReport {
    fn note_undeclared(&mut self, at: &ArgumentLocation<'_>) -> Result<(), ArgumentError> {
        self.undeclared.insert(at.general());
        match self.undeclared.len() > MAX_UNDECLARED {
            true => Err(ArgumentError::TooManyUndeclared),
            false => Ok(()),
        }
    }
}

/// The types that a server expects which reads a text so.
const fn types_of(reading: JsonReading) -> JsonTypes {
    match reading {
        JsonReading::List | JsonReading::Object => JsonTypes::ARRAY.or(JsonTypes::OBJECT),
        JsonReading::Null => JsonTypes::NULL,
        JsonReading::Number => JsonTypes::NUMBER,
    }
}

/// Allows any names.
static FREE: ArgumentSchema = ArgumentSchema::bare(true);

/// A location in the arguments.
#[derive(Clone, Copy)]
enum ArgumentLocation<'a> {
    Top,
    Member(&'a ArgumentLocation<'a>, &'a str),
    Item(&'a ArgumentLocation<'a>, usize),
}

impl ArgumentLocation<'_> {
    /// `arguments.files[0].path`.
    fn exact(&self) -> String {
        match self {
            Self::Top => "arguments".to_owned(),
            Self::Member(outer, name) => format!("{}.{name}", outer.exact()),
            Self::Item(outer, index) => format!("{}[{index}]", outer.exact()),
        }
    }

    /// The path without indexes, e.g. `files[].path`.
    fn general(&self) -> SmolStr {
        match self {
            Self::Top => SmolStr::default(),
            Self::Member(Self::Top, name) => SmolStr::new(name),
            Self::Member(outer, name) => format_smolstr!("{}.{name}", outer.general()),
            Self::Item(outer, _) => format_smolstr!("{}[]", outer.general()),
        }
    }
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
        if let Some(target) = words.get("$ref") {
            let found = target.as_str().and_then(|it| it.strip_prefix('#'));
            let found = found.and_then(|it| self.root.pointer(it));
            return found.map_or_else(|| FREE.clone(), |found| self.shape(found, depth + 1));
        }
        let mut shape = own_words(words, |inner| self.shape(inner, depth + 1));
        let parts = |word: &str| {
            words
                .get(word)
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
        };
        for part in parts("allOf") {
            let part = self.shape(part, depth + 1);
            shape.required.extend(part.required.iter().cloned());
            shape.types = shape.types.both(part.types);
            shape.add_names(part, JsonTypes::both);
        }
        for word in ["anyOf", "oneOf"] {
            let choices: Vec<ArgumentSchema> = parts(word)
                .map(|part| self.shape(part, depth + 1))
                .collect();
            if choices.is_empty() {
                continue;
            }
            // Required by every alternative other than null is required.
            let mut objects = choices.iter().filter(|it| !it.is_only_null());
            if let Some(first) = objects.next() {
                let rest: Vec<_> = objects.collect();
                let everywhere = |name: &&SmolStr| rest.iter().all(|it| it.required.contains(name));
                shape
                    .required
                    .extend(first.required.iter().filter(everywhere).cloned());
            }
            let types = choices.iter().map(|it| it.types);
            shape.types = shape.types.both(types.fold(JsonTypes::NONE, JsonTypes::or));
            choices
                .into_iter()
                .filter(|it| !it.is_only_null())
                .for_each(|it| shape.add_names(it, JsonTypes::or));
        }
        shape
    }
}

impl ArgumentSchema {
    fn is_only_null(&self) -> bool {
        self.types == JsonTypes::NULL
    }

    /// Adds the names of another schema. Where both say something of one member, `join` says which types it has.
    fn add_names(&mut self, other: Self, join: fn(JsonTypes, JsonTypes) -> JsonTypes) {
        self.names_more |= other.names_more;
        self.is_closed &= other.is_closed;
        self.joined.extend(other.joined);
        for (name, shape) in other.properties {
            match self.properties.get_mut(&name) {
                Some(known) => {
                    known.types = join(known.types, shape.types);
                    known.add_names(shape, join);
                }
                None => {
                    self.properties.insert(name, shape);
                }
            }
        }
        match (&mut self.items, other.items) {
            (Some(known), Some(items)) => {
                known.types = join(known.types, items.types);
                known.add_names(*items, join);
            }
            (items @ None, Some(other)) => *items = Some(other),
            (_, None) => {}
        }
    }
}

/// A folded name in the form that readers compare to which `repo_path`, `repoPath` and `repo-path` are one.
fn joined(folded: &str) -> String {
    folded.replace(['_', '-'], "")
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
    ArgumentSchema {
        names_more,
        joined: properties
            .keys()
            .map(|name| (joined(&folded(name)), name.clone()))
            .collect(),
        // Null has no members.
        is_closed: more == Some(&Json::Bool(false)) || is_null,
        properties,
        required: required.map(SmolStr::new).collect(),
        items: words.get("items").map(|items| Box::new(shape_of(items))),
        types: JsonTypes::of_words(words),
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
