//! The arguments of a call, checked against the names in the tool's pinned schema.
//!
//! Start at [`ArgumentSchema::check`]; [`compile`] reads the schema. Values are validated by the server; names are checked
//! here, because a name decides who reads a value: required arguments are present, undeclared ones are reported, and names
//! that differ from a declared one only for some parsers are rejected. So is a text of which some servers make another value
//! that the schema allows: that has other names, targets and links.

mod compile;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::json_text::JsonReading;
use crate::domain::request::target::json_schema::JsonTypes;
use crate::domain::request::unannotated::unannotated;
use crate::domain::request::visible::folded;

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
    /// The schemas of the first items of a list, each of its own.
    places: Vec<ArgumentSchema>,
    /// The schema of further list items.
    items: Option<Box<ArgumentSchema>>,
    /// What is said of members that are not among the properties, if anything is.
    more: Option<Box<ArgumentSchema>>,
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
    /// A text that names a target, and of which some servers make another value although the schema says that it is a text.
    #[error(
        "`{path}` names a target, and can be read in two ways: some servers make {reading} of such a text whatever their schema says. Name the target in other words: a file with `./` before its path, anything else by its id"
    )]
    TargetOfTwoReadings {
        /// The path of the argument, e.g. `arguments.channel`.
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

    /// The names of a schema. Keywords other than `properties`, `patternProperties`, `additionalProperties`, `required`,
    /// `items`, `prefixItems`, `additionalItems`, local `$ref`, `allOf`, `anyOf` and `oneOf` are taken to allow any names.
    pub fn from_schema(schema: &Json) -> Self {
        let mut shape = compile::shape(schema);
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
            places: Vec::new(),
            items: None,
            more: None,
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

    /// Rejects texts that name targets and that some servers parse, whatever a schema says, among arguments with these names.
    ///
    /// # Errors
    ///
    /// [`ArgumentError::TargetOfTwoReadings`] for the first of them.
    pub fn check_target_texts<'n>(
        names: impl Iterator<Item = &'n SmolStr>,
        arguments: &Map<String, Json>,
    ) -> Result<(), ArgumentError> {
        for name in names {
            let text = arguments.get(name.as_str()).and_then(Json::as_str);
            if let Some(reading) = text.and_then(JsonReading::of) {
                let path = ArgumentLocation::Member(&ArgumentLocation::Top, name).exact();
                return Err(ArgumentError::TargetOfTwoReadings { path, reading });
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
                    match &self.more {
                        Some(shape) => shape.value(value, &within, checked)?,
                        // Nobody parses a text that no parameter takes.
                        None if value.is_string() => {}
                        None => FREE.value(value, &within, checked)?,
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
                let further = self.items.as_deref().unwrap_or(otherwise);
                for (index, item) in items.iter().enumerate() {
                    let shape = self.places.get(index).unwrap_or(further);
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

/// A folded name in the form that readers compare to which `repo_path`, `repoPath` and `repo-path` are one.
fn joined(folded: &str) -> String {
    folded.replace(['_', '-'], "")
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

#[cfg(test)]
mod tests;
