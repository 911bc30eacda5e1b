//! The arguments of a call, held against the names in the tool's pinned schema.
//!
//! Start at [`Shape::check`]. What values may be is the server's business; names are this one's, because a name decides
//! who reads a value: an argument that the schema requires is there, one that it does not know is told, and none is
//! spelled so that another reader takes it for one that it is not.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::visible::folded;

/// Levels of a schema that are looked at; what lies deeper may have any names.
const MAX_DEPTH: usize = 16;

/// Schemas within a schema that are looked at; what comes after them may have any names.
const MAX_SCHEMAS: usize = 4_096;

/// The names that a JSON Schema knows, at every depth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArgumentSchema {
    properties: BTreeMap<SmolStr, ArgumentSchema>,
    /// The properties by their names as a reader takes them that does not mind the case of letters.
    folded: BTreeMap<String, SmolStr>,
    /// Names that have to be there.
    required: Vec<SmolStr>,
    /// What the items of a list look like.
    items: Option<Box<ArgumentSchema>>,
    /// Whether the schema allows members beside `properties` in so many words.
    names_more: bool,
    /// Whether it says that there are no others. One that says nothing and has no properties is a free-form object.
    is_closed: bool,
    /// Whether null is a value of it.
    takes_null: bool,
}

/// What the names of a call's arguments come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArgumentReport {
    /// Required and not there, e.g. `arguments.files[0].path`.
    pub missing: Vec<String>,
    /// There and not known, e.g. `files[].mode`, each once.
    pub undeclared: Vec<SmolStr>,
}

/// An argument that readers take for different ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{path}` is spelled like `{other}`: readers that do not mind the case of letters take one for the other"
)]
pub struct LookAlikeError {
    /// Where, e.g. `arguments.Path`.
    pub path: String,
    /// What it is like.
    pub other: SmolStr,
}

impl ArgumentSchema {
    /// Knows no name: nobody has pinned a schema.
    pub const UNKNOWN: Self = Self::bare(false);

    /// The names in a schema. What it says in other words than `properties`, `required`, `items`, `$ref` within itself,
    /// `allOf`, `anyOf` and `oneOf` is taken to allow any names.
    pub fn of(schema: &Json) -> Self {
        let compiler = Compiler {
            root: schema,
            left: Cell::new(MAX_SCHEMAS),
        };
        // At the top a schema without properties is that of a tool without arguments.
        Self {
            is_closed: true,
            ..compiler.shape(schema, 0)
        }
    }

    /// Whether an object of this shape could have any member.
    pub fn may_have_names(&self) -> bool {
        !self.properties.is_empty() || self.names_more || !self.is_closed
    }

    const fn bare(names_more: bool) -> Self {
        Self {
            properties: BTreeMap::new(),
            folded: BTreeMap::new(),
            required: Vec::new(),
            items: None,
            names_more,
            is_closed: !names_more,
            takes_null: true,
        }
    }

    /// Holds arguments against the schema.
    pub fn check(&self, arguments: &Map<String, Json>) -> Result<ArgumentReport, LookAlikeError> {
        let mut checked = ArgumentReport::default();
        self.object(arguments, &Place::Top, &mut checked)?;
        Ok(checked)
    }

    fn object(
        &self,
        members: &Map<String, Json>,
        at: &Place<'_>,
        checked: &mut ArgumentReport,
    ) -> Result<(), LookAlikeError> {
        self.no_look_alikes(members, at)?;
        for name in &self.required {
            let is_there = match members.get(name.as_str()) {
                None => false,
                Some(Json::Null) => self.properties.get(name).is_none_or(|it| it.takes_null),
                Some(_) => true,
            };
            if !is_there {
                checked.missing.push(Place::Member(at, name).exact());
            }
        }
        for (name, value) in members {
            let within = Place::Member(at, name);
            match self.properties.get(name.as_str()) {
                Some(shape) => shape.value(value, &within, checked)?,
                None => {
                    if !self.is_open() {
                        checked.note_undeclared(&within);
                    }
                    FREE.value(value, &within, checked)?;
                }
            }
        }
        Ok(())
    }

    /// Whether members that are not among the properties are known all the same.
    fn is_open(&self) -> bool {
        self.names_more || self.properties.is_empty() && !self.is_closed
    }

    fn value(
        &self,
        value: &Json,
        at: &Place<'_>,
        checked: &mut ArgumentReport,
    ) -> Result<(), LookAlikeError> {
        match value {
            Json::Object(members) => self.object(members, at, checked),
            Json::Array(items) => {
                let shape = self.items.as_deref().unwrap_or(&FREE);
                for (index, item) in items.iter().enumerate() {
                    shape.value(item, &Place::Item(at, index), checked)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses two members of one name to somebody, and one that somebody takes for a property that it is not. A schema
    /// that declares both has told its readers apart.
    fn no_look_alikes(
        &self,
        members: &Map<String, Json>,
        at: &Place<'_>,
    ) -> Result<(), LookAlikeError> {
        let mut others: HashMap<Cow<'_, str>, &str> = HashMap::new();
        for name in members
            .keys()
            .filter(|name| !self.properties.contains_key(name.as_str()))
        {
            let folded = folded(name);
            let declared = self.folded.get(&*folded).map(SmolStr::as_str);
            if let Some(other) = declared.or_else(|| others.insert(folded, name)) {
                return Err(LookAlikeError {
                    path: Place::Member(at, name).exact(),
                    other: SmolStr::new(other),
                });
            }
        }
        Ok(())
    }
}

impl ArgumentReport {
    fn note_undeclared(&mut self, at: &Place<'_>) {
        let general = at.general();
        if !self.undeclared.contains(&general) {
            self.undeclared.push(general);
        }
    }
}

/// Says nothing of names, and so allows them all.
static FREE: ArgumentSchema = ArgumentSchema::bare(true);

/// Where in the arguments something is.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    /// `arguments.files[0].path`.
    fn exact(&self) -> String {
        match self {
            Self::Top => "arguments".to_owned(),
            Self::Member(outer, name) => format!("{}.{name}", outer.exact()),
            Self::Item(outer, index) => format!("{}[{index}]", outer.exact()),
        }
    }

    /// `files[].path`, whatever the item.
    fn general(&self) -> SmolStr {
        match self {
            Self::Top => SmolStr::default(),
            Self::Member(Self::Top, name) => SmolStr::new(name),
            Self::Member(outer, name) => format_smolstr!("{}.{name}", outer.general()),
            Self::Item(outer, _) => format_smolstr!("{}[]", outer.general()),
        }
    }
}

/// Reads one schema.
struct Compiler<'s> {
    root: &'s Json,
    /// How many schemas may still be looked at: what refers to itself would go on for ever.
    left: Cell<usize>,
}

impl Compiler<'_> {
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
            shape.takes_null &= part.takes_null;
            shape.add_names(part);
        }
        for word in ["anyOf", "oneOf"] {
            let choices: Vec<ArgumentSchema> = parts(word)
                .map(|part| self.shape(part, depth + 1))
                .collect();
            if choices.is_empty() {
                continue;
            }
            // What every choice but null requires is required.
            let mut objects = choices.iter().filter(|it| !it.is_only_null());
            if let Some(first) = objects.next() {
                let rest: Vec<_> = objects.collect();
                let everywhere = |name: &&SmolStr| rest.iter().all(|it| it.required.contains(name));
                shape
                    .required
                    .extend(first.required.iter().filter(everywhere).cloned());
            }
            shape.takes_null &= choices.iter().any(|it| it.takes_null);
            choices
                .into_iter()
                .filter(|it| !it.is_only_null())
                .for_each(|it| shape.add_names(it));
        }
        shape
    }
}

impl ArgumentSchema {
    fn is_only_null(&self) -> bool {
        self.takes_null && self.is_closed && !self.names_more && self.properties.is_empty()
    }

    fn add_names(&mut self, other: Self) {
        self.names_more |= other.names_more;
        self.is_closed &= other.is_closed;
        self.folded.extend(other.folded);
        for (name, shape) in other.properties {
            match self.properties.get_mut(&name) {
                Some(known) => known.add_names(shape),
                None => {
                    self.properties.insert(name, shape);
                }
            }
        }
        match (&mut self.items, other.items) {
            (Some(known), Some(items)) => known.add_names(*items),
            (items @ None, Some(other)) => *items = Some(other),
            (_, None) => {}
        }
    }
}

/// What a schema says by itself, its combinations left aside.
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
    let takes_null = match words.get("type") {
        None => words
            .get("enum")
            .is_none_or(|it| it.as_array().is_some_and(|all| all.contains(&Json::Null))),
        Some(Json::String(name)) => name == "null",
        Some(Json::Array(names)) => names.iter().any(|name| name == "null"),
        Some(_) => true,
    };
    let is_null = words.get("type").is_some_and(|it| it == "null");
    ArgumentSchema {
        names_more,
        folded: properties
            .keys()
            .map(|name| (folded(name).into_owned(), name.clone()))
            .collect(),
        // Null has no members.
        is_closed: more == Some(&Json::Bool(false)) || is_null,
        properties,
        required: required.map(SmolStr::new).collect(),
        items: words.get("items").map(|items| Box::new(shape_of(items))),
        takes_null,
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
