//! Every place in a tool's arguments that its schema describes, wherever it does.
//!
//! Start at [`SchemaWalk::new`]. It goes into members (`properties`, `patternProperties`, `additionalProperties`,
//! `unevaluatedProperties`, and names that are only required), items (`items`, `prefixItems`, `additionalItems`,
//! `unevaluatedItems`, `contains`), texts with a schema (`contentSchema`), combinators, conditions, dependents and local `$ref`.
//! `not` describes nothing that a call may have. What it could not look into is in [`SchemaWalk::unseen`].

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value as Json};

use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};
use crate::domain::request::visible::shown;

/// Nesting depth of objects and lists.
const MAX_DEPTH: usize = 24;
/// Nesting depth of references and combinators of one value.
const MAX_COMBINED: usize = 64;
/// Values of one tool.
const MAX_VALUES: usize = 4_096;
/// Subschemas of one tool, each counted wherever it is used.
const MAX_SCHEMAS: usize = 65_536;

type Words = Map<String, Json>;

/// A value in the arguments that the schema describes.
#[derive(Debug)]
pub(super) struct DescribedValue {
    /// The name of the argument; an item of a list has the name of the list.
    pub(super) name: String,
    /// The names of the arguments around it, outermost first.
    pub(super) around: Vec<String>,
    /// Its path as a registration says it; `None` if it has none.
    pub(super) path: Option<String>,
    pub(super) types: JsonTypes,
    /// The values of an `enum` of texts.
    pub(super) choices: Option<Vec<String>>,
    /// All that it is given as `format`, in lower case.
    pub(super) formats: Vec<String>,
    /// Whether it may be an object without declared members.
    pub(super) is_free_form: bool,
}

/// What a schema describes.
#[derive(Debug, Default)]
pub(super) struct SchemaWalk {
    pub(super) values: Vec<DescribedValue>,
    /// What could not be looked into, and why.
    pub(super) unseen: Option<String>,
    /// Paths of objects and lists that contain themselves.
    pub(super) endless: Vec<String>,
    /// Whether arguments with any name are allowed at the outermost level, in so many words.
    pub(super) is_open: bool,
}

impl SchemaWalk {
    /// Walks through the schema of a tool's arguments.
    pub(super) fn new(root: &Json) -> Self {
        let mut walker = Walker {
            root,
            left: MAX_SCHEMAS,
            way: Vec::new(),
            found: Self::default(),
        };
        let top = Place {
            declared: vec![root],
            conditional: Vec::new(),
            name: String::new(),
            around: Vec::new(),
            path: Some(String::new()),
        };
        walker.visit(&top);
        walker.found
    }

    /// Whether the same object has another argument.
    pub(super) fn has_sibling(&self, value: &DescribedValue, name: &str) -> bool {
        let mut values = self.values.iter();
        values.any(|it| it.name == name && it.around == value.around)
    }
}

/// A value that is to be looked at, with the schemas that describe it.
#[derive(Clone)]
struct Place<'s> {
    /// Those that always apply, or are one of several to choose from.
    declared: Vec<&'s Json>,
    /// Those that apply under a condition.
    conditional: Vec<&'s Json>,
    name: String,
    around: Vec<String>,
    path: Option<String>,
}

impl<'s> Place<'s> {
    fn is_top(&self) -> bool {
        self.path.as_deref() == Some("")
    }

    /// The place as a message says it.
    fn said(&self) -> String {
        match &self.path {
            Some(path) if path.is_empty() => "the schema".to_owned(),
            Some(path) => format!("`{}`", shown(path)),
            None => format!("`{}`", shown(&self.name)),
        }
    }

    fn member(&self, name: &str, described: Described<'s>) -> Self {
        // Paths cannot express empty names and names with these characters.
        let is_sayable = !name.is_empty() && !name.contains(['.', '[', ']']);
        let path = self.path.as_deref().filter(|_| is_sayable);
        let path = path.map(|outer| match outer {
            "" => name.to_owned(),
            _ => format!("{outer}.{name}"),
        });
        let mut around = self.around.clone();
        if !self.is_top() {
            around.push(self.name.clone());
        }
        Self {
            declared: described.declared,
            conditional: described.conditional,
            name: name.to_owned(),
            around,
            path,
        }
    }

    /// A value within this one that no path names. It has the name of this one.
    fn unnamed(&self, schema: &'s Json) -> Self {
        Self {
            declared: vec![schema],
            conditional: Vec::new(),
            path: None,
            ..self.clone()
        }
    }

    fn items(&self, declared: Vec<&'s Json>, is_uniform: bool) -> Self {
        let path = self.path.as_deref().filter(|_| is_uniform);
        Self {
            declared,
            conditional: Vec::new(),
            path: path.map(|path| format!("{path}[]")),
            ..self.clone()
        }
    }
}

/// The schemas of one member.
#[derive(Default)]
struct Described<'s> {
    declared: Vec<&'s Json>,
    conditional: Vec<&'s Json>,
}

/// All that describes one value: subschemas with references and combinators resolved.
#[derive(Default)]
struct Parts<'s> {
    list: Vec<&'s Words>,
    /// How many of them always apply, or are to be chosen from; the others apply under a condition.
    declared: usize,
    known: HashSet<*const Words>,
    /// Conditional subschemas that are still to be looked at.
    waiting: VecDeque<&'s Json>,
}

struct Walker<'s> {
    root: &'s Json,
    left: usize,
    /// The schemas of the values around this one, and their paths.
    way: Vec<(Vec<*const Json>, Option<String>)>,
    found: SchemaWalk,
}

impl<'s> Walker<'s> {
    fn note(&mut self, place: &Place<'_>, why: &str) {
        if self.found.unseen.is_none() {
            self.found.unseen = Some(format!("{} {why}", place.said()));
        }
    }

    fn visit(&mut self, place: &Place<'s>) {
        if self.found.values.len() >= MAX_VALUES {
            let why = format!("is one of more than {MAX_VALUES} arguments, and not all are seen");
            self.note(place, &why);
            return;
        }
        let parts = self.parts(place);
        let (members, has_members) = members(&parts);
        match place.is_top() {
            true => self.found.is_open = !has_members && allows_any_member(&parts),
            false => self.keep(place, &parts, !has_members),
        }
        let all = place.declared.iter().chain(&place.conditional);
        let schemas: Vec<*const Json> = all.map(|it| std::ptr::from_ref(*it)).collect();
        let is_same = |(known, _): &&(Vec<*const Json>, _)| !known.is_empty() && *known == schemas;
        if let Some((_, path)) = self.way.iter().find(is_same) {
            self.found.endless.extend(path.clone());
            return;
        }
        if self.way.len() > MAX_DEPTH {
            let why =
                format!("lies more than {MAX_DEPTH} levels deep, and what is in it is not seen");
            self.note(place, &why);
            return;
        }
        self.way.push((schemas, place.path.clone()));
        for (name, described) in members {
            self.visit(&place.member(name, described));
        }
        self.visit_other_members(place, &parts);
        self.visit_items(place, &parts);
        for schema in parts.words("contentSchema") {
            self.visit(&place.unnamed(schema));
        }
        self.way.pop();
    }

    fn keep(&mut self, place: &Place<'s>, parts: &Parts<'s>, has_no_members: bool) {
        let location = SchemaLocation::from_schemas(self.root, place.declared.clone());
        let types = location.types();
        let mut formats: Vec<String> = Vec::new();
        for format in parts.words("format").filter_map(Json::as_str) {
            let format = format.to_lowercase();
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
        self.found.values.push(DescribedValue {
            name: place.name.clone(),
            around: place.around.clone(),
            path: place.path.clone(),
            types,
            choices: location.choices(),
            formats,
            is_free_form: types.has(JsonTypes::OBJECT) && has_no_members,
        });
    }

    /// Members whose names are not listed: by pattern, or any other.
    fn visit_other_members(&mut self, place: &Place<'s>, parts: &Parts<'s>) {
        for patterns in parts.words("patternProperties").filter_map(Json::as_object) {
            for (pattern, schema) in patterns {
                let words = pattern.split(|c: char| !c.is_alphanumeric() && c != '_');
                let mut names: Vec<&str> = words.filter(|it| !it.is_empty()).collect();
                names.dedup();
                if names.is_empty() {
                    self.visit(&place.unnamed(schema));
                }
                for name in names {
                    let described = Described {
                        declared: vec![schema],
                        conditional: Vec::new(),
                    };
                    let member = place.member(name, described);
                    self.visit(&Place {
                        path: None,
                        ..member
                    });
                }
            }
        }
        for word in ["additionalProperties", "unevaluatedProperties"] {
            for schema in parts.words(word).filter(|it| says_something(it)) {
                self.visit(&place.unnamed(schema));
            }
        }
    }

    fn visit_items(&mut self, place: &Place<'s>, parts: &Parts<'s>) {
        let mut uniform: Vec<&Json> = Vec::new();
        let mut single: Vec<&Json> = Vec::new();
        for items in parts.words("items") {
            match items {
                Json::Array(items) => single.extend(items),
                _ => uniform.push(items),
            }
        }
        let lists = parts.words("prefixItems").filter_map(Json::as_array);
        single.extend(lists.flatten());
        for word in ["additionalItems", "unevaluatedItems", "contains"] {
            single.extend(parts.words(word).filter(|it| says_something(it)));
        }
        if place.is_top() {
            return;
        }
        let types = SchemaLocation::from_schemas(self.root, place.declared.clone()).types();
        let is_list = types.has(JsonTypes::ARRAY) && types != JsonTypes::ANY;
        if !uniform.is_empty() || is_list && single.is_empty() {
            self.visit(&place.items(uniform, single.is_empty()));
        }
        for schema in single {
            self.visit(&place.items(vec![schema], false));
        }
    }

    /// The subschemas that describe a place.
    fn parts(&mut self, place: &Place<'s>) -> Parts<'s> {
        let mut parts = Parts::default();
        for schema in &place.declared {
            self.add_parts(place, schema, &mut Vec::new(), &mut parts);
        }
        parts.declared = parts.list.len();
        parts.waiting.extend(&place.conditional);
        while let Some(schema) = parts.waiting.pop_front() {
            self.add_parts(place, schema, &mut Vec::new(), &mut parts);
        }
        parts
    }

    fn add_parts(
        &mut self,
        place: &Place<'s>,
        schema: &'s Json,
        way: &mut Vec<*const Words>,
        parts: &mut Parts<'s>,
    ) {
        let Json::Object(words) = schema else {
            return;
        };
        let at = std::ptr::from_ref(words);
        if way.contains(&at) {
            self.note(place, "refers to itself, and describes nothing");
            return;
        }
        if !parts.known.insert(at) {
            return;
        }
        if way.len() >= MAX_COMBINED || self.left == 0 {
            self.note(place, "is put together of more schemas than are looked at");
            return;
        }
        self.left -= 1;
        parts.list.push(words);
        way.push(at);
        if let Some(target) = words.get("$ref") {
            let target = target.as_str().unwrap_or_default();
            match target
                .strip_prefix('#')
                .and_then(|it| self.root.pointer(it))
            {
                Some(schema) => self.add_parts(place, schema, way, parts),
                None => {
                    let why = format!(
                        "refers to `{}`, which is not found in the schema",
                        shown(target)
                    );
                    self.note(place, &why);
                }
            }
        }
        for word in ["$dynamicRef", "$recursiveRef"] {
            if words.contains_key(word) {
                self.note(place, &format!("has a `{word}`, which is not followed"));
            }
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            let list = words.get(word).and_then(Json::as_array);
            for schema in list.into_iter().flatten() {
                self.add_parts(place, schema, way, parts);
            }
        }
        way.pop();
        let conditions = ["if", "then", "else"];
        let conditions = conditions.iter().filter_map(|word| words.get(*word));
        parts.waiting.extend(conditions);
        for word in ["dependentSchemas", "dependencies"] {
            let schemas = words.get(word).and_then(Json::as_object);
            let schemas = schemas.into_iter().flat_map(Map::values);
            parts.waiting.extend(schemas);
        }
    }
}

impl<'s> Parts<'s> {
    /// What each of them says under a keyword.
    fn words<'p>(&'p self, word: &'p str) -> impl Iterator<Item = &'s Json> + 'p {
        self.list.iter().filter_map(move |words| words.get(word))
    }
}

/// The members that are named, in order, and whether any is declared.
fn members<'s>(parts: &Parts<'s>) -> (Vec<(&'s str, Described<'s>)>, bool) {
    let mut list: Vec<(&str, Described<'_>)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (at, words) in parts.list.iter().enumerate() {
        let properties = words.get("properties").and_then(Json::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let place = *index.entry(name).or_insert_with(|| {
                list.push((name, Described::default()));
                list.len() - 1
            });
            let Some((_, described)) = list.get_mut(place) else {
                continue;
            };
            match at < parts.declared {
                true => described.declared.push(schema),
                false => described.conditional.push(schema),
            }
        }
    }
    let has_members = !list.is_empty();
    for (_, described) in &mut list {
        // What only a condition describes is described by it alone.
        if described.declared.is_empty() {
            std::mem::swap(&mut described.declared, &mut described.conditional);
        }
    }
    for name in only_named(parts) {
        index.entry(name).or_insert_with(|| {
            list.push((name, Described::default()));
            list.len() - 1
        });
    }
    (list, has_members)
}

/// Names that the schema speaks of without describing them.
fn only_named<'s>(parts: &Parts<'s>) -> Vec<&'s str> {
    let mut names = Vec::new();
    let mut add = |list: &'s Json| {
        let list = list.as_array().into_iter().flatten();
        names.extend(list.filter_map(Json::as_str));
    };
    parts.words("required").for_each(&mut add);
    for word in ["dependentRequired", "dependencies"] {
        let dependents = parts.words(word).filter_map(Json::as_object);
        dependents.flat_map(Map::values).for_each(&mut add);
    }
    let listed = parts.words("propertyNames");
    listed.filter_map(|it| it.get("enum")).for_each(&mut add);
    names
}

/// Whether members with any name are allowed, in so many words.
fn allows_any_member(parts: &Parts<'_>) -> bool {
    let words = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
    ];
    let mut words = words.into_iter().flat_map(|word| parts.words(word));
    words.any(|it| *it != Json::Bool(false))
}

/// Whether a schema says more than `true` or `false`.
fn says_something(schema: &Json) -> bool {
    schema.as_object().is_some_and(|words| !words.is_empty())
}

#[cfg(test)]
#[path = "schema_walk_tests.rs"]
mod tests;
