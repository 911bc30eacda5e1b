//! What a JSON Schema says of one argument: whether it exists, whether it is required, and which types it
//! has.
//!
//! Follows local `$ref`, `allOf`, `anyOf` and `oneOf`. Other keywords are taken to allow anything.

use std::cell::Cell;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

/// The maximum depth of references and combinators followed.
const MAX_DEPTH: usize = 16;
/// The maximum number of subschemas examined.
const MAX_SCHEMAS: usize = 4_096;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonTypes(u8);

impl JsonTypes {
    /// Null.
    pub const NULL: Self = Self(1);
    /// A boolean.
    pub const BOOLEAN: Self = Self(2);
    /// An object.
    pub const OBJECT: Self = Self(4);
    /// An array.
    pub const ARRAY: Self = Self(8);
    /// A string.
    pub const STRING: Self = Self(16);
    /// A number, integer or not.
    pub const NUMBER: Self = Self(32);
    /// Any type.
    pub const ANY: Self = Self(63);
    /// No type.
    pub const NONE: Self = Self(0);

    /// Whether the sets intersect.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The difference of two sets.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The union of two sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The intersection of two sets.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What `type`, `enum` and `const` of a schema allow.
    pub fn of_words(words: &Map<String, Json>) -> Self {
        let mut types = match words.get("type") {
            Some(Json::String(name)) => Self::named(name),
            Some(Json::Array(names)) => names
                .iter()
                .filter_map(Json::as_str)
                .map(Self::named)
                .fold(Self::NONE, Self::or),
            _ => Self::ANY,
        };
        if let Some(Json::Array(values)) = words.get("enum") {
            let values = values.iter().map(Self::of_value);
            types = types.both(values.fold(Self::NONE, Self::or));
        }
        if let Some(value) = words.get("const") {
            types = types.both(Self::of_value(value));
        }
        types
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "object" => Self::OBJECT,
            "array" => Self::ARRAY,
            "string" => Self::STRING,
            "integer" | "number" => Self::NUMBER,
            _ => Self::ANY,
        }
    }

    fn of_value(value: &Json) -> Self {
        match value {
            Json::Null => Self::NULL,
            Json::Bool(_) => Self::BOOLEAN,
            Json::Number(_) => Self::NUMBER,
            Json::String(_) => Self::STRING,
            Json::Array(_) => Self::ARRAY,
            Json::Object(_) => Self::OBJECT,
        }
    }
}

/// The current depth and the number of subschemas that may still be examined; bounds recursive schemas.
#[derive(Clone, Copy)]
struct VisitBudget<'l> {
    level: usize,
    left: &'l Cell<usize>,
}

impl<'l> VisitBudget<'l> {
    fn top(left: &'l Cell<usize>) -> Self {
        Self { level: 0, left }
    }

    fn deeper(self) -> Self {
        Self {
            level: self.level + 1,
            ..self
        }
    }

    fn may_go_on(self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        self.level <= MAX_DEPTH && left > 0
    }
}

/// A location in the arguments with all subschemas that describe it; none if nothing does.
#[derive(Debug, Clone)]
pub struct SchemaLocation<'s> {
    root: &'s Json,
    schemas: Vec<&'s Json>,
}

impl<'s> SchemaLocation<'s> {
    /// All arguments of a tool.
    pub fn top(root: &'s Json) -> Self {
        Self {
            root,
            schemas: vec![root],
        }
    }

    /// A location that these schemas describe, each of them a part of `root`.
    pub fn from_schemas(root: &'s Json, schemas: Vec<&'s Json>) -> Self {
        Self { root, schemas }
    }

    /// The types a value here may have.
    pub fn types(&self) -> JsonTypes {
        match self.schemas.is_empty() {
            true => JsonTypes::ANY,
            false => {
                let left = Cell::new(MAX_SCHEMAS);
                let each = self.schemas.iter();
                each.map(|schema| self.types_of(schema, VisitBudget::top(&left)))
                    .fold(JsonTypes::NONE, JsonTypes::or)
            }
        }
    }

    /// The member with this name; `None` if the schema excludes it.
    pub fn member(&self, name: &str, is_top: bool) -> Option<Self> {
        let parts = self.parts();
        let mut schemas = Vec::new();
        let (mut is_declared, mut has_properties, mut is_open, mut is_closed) =
            (false, false, false, false);
        for words in &parts {
            let properties = words.get("properties").and_then(Json::as_object);
            has_properties |= properties.is_some_and(|it| !it.is_empty());
            if let Some(schema) = properties.and_then(|it| it.get(name)) {
                is_declared = true;
                schemas.push(schema);
            }
            match words.get("additionalProperties") {
                Some(Json::Bool(false)) => is_closed = true,
                Some(_) => is_open = true,
                None => is_open |= words.contains_key("patternProperties"),
            }
        }
        // Without `properties`, a nested object may have any members; a tool has no arguments.
        let is_free = !has_properties && !is_closed && !is_top;
        (is_declared || is_open || is_free).then_some(Self {
            root: self.root,
            schemas,
        })
    }

    /// The names of all declared members.
    pub fn members(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        for words in self.parts() {
            let properties = words.get("properties").and_then(Json::as_object);
            for name in properties.into_iter().flat_map(Map::keys) {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The items of the list.
    pub fn items(&self) -> Self {
        let parts = self.parts();
        Self {
            root: self.root,
            schemas: parts
                .iter()
                .map(|words| schemas_of_items(words))
                .flat_map(|(places, items)| places.iter().chain(items))
                .collect(),
        }
    }

    /// Whether the member is required.
    pub fn requires(&self, name: &str) -> bool {
        let left = Cell::new(MAX_SCHEMAS);
        let mut schemas = self.schemas.iter();
        !self.schemas.is_empty()
            && schemas.all(|schema| self.does_require(schema, name, VisitBudget::top(&left)))
    }

    /// Whether a subschema gives this `format`.
    pub fn has_format(&self, format: &str) -> bool {
        let is_format =
            |words: &&Map<String, Json>| words.get("format").is_some_and(|it| it == format);
        self.parts().iter().any(is_format)
    }

    /// Whether every number here is an integer; `None` if no schema says.
    pub fn is_whole(&self) -> Option<bool> {
        let mut is_whole = None;
        for words in self.parts() {
            let says = |name: &str| match words.get("type") {
                Some(Json::String(own)) => own == name,
                Some(Json::Array(own)) => own.iter().any(|own| own == name),
                _ => false,
            };
            if says("number") {
                return Some(false);
            }
            if says("integer") {
                is_whole = Some(true);
            }
        }
        is_whole
    }

    /// The strings a value may be, if they are enumerated.
    pub fn choices(&self) -> Option<Vec<String>> {
        let types = self.types();
        if types == JsonTypes::ANY
            || types.has(JsonTypes::NUMBER.or(JsonTypes::OBJECT).or(JsonTypes::ARRAY))
        {
            return None;
        }
        let left = Cell::new(MAX_SCHEMAS);
        let mut choices: Vec<String> = Vec::new();
        for schema in &self.schemas {
            add_new(
                &mut choices,
                self.choices_of(schema, VisitBudget::top(&left))?,
            );
        }
        (!choices.is_empty()).then_some(choices)
    }

    /// The strings that a schema lists; `None` if it allows others.
    fn choices_of(&self, schema: &Json, depth: VisitBudget<'_>) -> Option<Vec<String>> {
        let words = match schema {
            Json::Object(words) if depth.may_go_on() => words,
            Json::Bool(false) => return Some(Vec::new()),
            _ => return None,
        };
        if !self.types_of(schema, depth.deeper()).has(JsonTypes::STRING) {
            return Some(Vec::new());
        }
        let of = |schema: &Json| self.choices_of(schema, depth.deeper());
        let mut found: Vec<Vec<String>> = Vec::new();
        if let Some(Json::Array(values)) = words.get("enum") {
            let texts = values.iter().filter_map(Json::as_str);
            found.push(texts.map(str::to_owned).collect());
        }
        if let Some(Json::String(text)) = words.get("const") {
            found.push(vec![text.clone()]);
        }
        found.extend(referred(self.root, words).and_then(of));
        found.extend(list(words, "allOf").filter_map(of));
        for word in ["anyOf", "oneOf"] {
            let parts: Option<Vec<Vec<String>>> = list(words, word).map(of).collect();
            // A part that allows any string makes the enumeration open.
            found.extend(parts.filter(|it| !it.is_empty()).map(|it| it.concat()));
        }
        let mut choices = Vec::new();
        let is_bounded = !found.is_empty();
        found.into_iter().for_each(|it| add_new(&mut choices, it));
        is_bounded.then_some(choices)
    }

    /// The subschemas here, with references and combinators resolved.
    fn parts(&self) -> Vec<&'s Map<String, Json>> {
        let mut parts = Vec::new();
        for schema in &self.schemas {
            self.add_parts(schema, 0, &mut parts);
        }
        parts
    }

    fn add_parts(&self, schema: &'s Json, depth: usize, parts: &mut Vec<&'s Map<String, Json>>) {
        let Json::Object(words) = schema else {
            return;
        };
        if depth > MAX_DEPTH || parts.iter().any(|known| std::ptr::eq(*known, words)) {
            return;
        }
        parts.push(words);
        if let Some(schema) = referred(self.root, words) {
            self.add_parts(schema, depth + 1, parts);
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            for schema in list(words, word) {
                self.add_parts(schema, depth + 1, parts);
            }
        }
    }

    fn types_of(&self, schema: &Json, depth: VisitBudget<'_>) -> JsonTypes {
        let words = match schema {
            Json::Object(words) if depth.may_go_on() => words,
            Json::Bool(false) => return JsonTypes::NONE,
            _ => return JsonTypes::ANY,
        };
        let mut types = JsonTypes::of_words(words);
        if let Some(schema) = referred(self.root, words) {
            types = types.both(self.types_of(schema, depth.deeper()));
        }
        for schema in list(words, "allOf") {
            types = types.both(self.types_of(schema, depth.deeper()));
        }
        for word in ["anyOf", "oneOf"] {
            let choices = list(words, word).map(|schema| self.types_of(schema, depth.deeper()));
            if let Some(choices) = choices.reduce(JsonTypes::or) {
                types = types.both(choices);
            }
        }
        types
    }

    fn does_require(&self, schema: &Json, name: &str, depth: VisitBudget<'_>) -> bool {
        let Json::Object(words) = schema else {
            return false;
        };
        if !depth.may_go_on() {
            return false;
        }
        let requires = |schema: &Json| self.does_require(schema, name, depth.deeper());
        let is_only_null =
            |schema: &&Json| self.types_of(schema, depth.deeper()) == JsonTypes::NULL;
        let of_choices = |word: &str| {
            let mut choices = list(words, word).filter(|it| !is_only_null(it)).peekable();
            choices.peek().is_some() && choices.all(requires)
        };
        list(words, "required").any(|it| it == name)
            || referred(self.root, words).is_some_and(requires)
            || list(words, "allOf").any(requires)
            || of_choices("anyOf")
            || of_choices("oneOf")
    }
}

/// The schema that a local `$ref` names: `#`, or `#/` with a JSON pointer, which may be percent-encoded.
pub fn referred<'s>(root: &'s Json, words: &Map<String, Json>) -> Option<&'s Json> {
    let pointer = words.get("$ref")?.as_str()?.strip_prefix('#')?;
    let pointer = percent_decode_str(pointer).decode_utf8().ok()?;
    root.pointer(&pointer)
}

/// What a schema says of the items of a list: of the first ones, each of its own, and of those that follow. Older drafts have a list
/// in `items` for the former, and `additionalItems` for the latter.
pub fn schemas_of_items(words: &Map<String, Json>) -> (&[Json], Option<&Json>) {
    let items = words.get("items");
    match (words.get("prefixItems"), items) {
        (Some(Json::Array(places)), _) => (places, items),
        (_, Some(Json::Array(places))) => (places, words.get("additionalItems")),
        _ => (&[], items),
    }
}

fn add_new(list: &mut Vec<String>, more: Vec<String>) {
    for text in more {
        if !list.contains(&text) {
            list.push(text);
        }
    }
}

fn list<'s>(words: &'s Map<String, Json>, word: &str) -> impl Iterator<Item = &'s Json> {
    let found = words.get(word).and_then(Json::as_array);
    found.into_iter().flatten()
}
