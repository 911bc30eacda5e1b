//! Parses a server's `tools/list` result.
//!
//! Start at [`parse`]. Unknown members are ignored.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::registration::{MAX_DESCRIPTION_BYTES, MAX_TOOLS};
use crate::domain::names::check_tool_name;
use crate::domain::request::argument_order;
use crate::domain::request::definition::{HINTS, MEMBERS, ToolDefinition};
use crate::domain::request::json_text::tolerant;
use crate::domain::request::target::json_schema::SchemaLocation;
use crate::domain::request::target::schema_form;
use crate::domain::request::visible::{escaped_lines, shown};

/// Nesting depth of the reduced schema.
const MAX_SHAPE_DEPTH: usize = 8;
/// Subschemas of one tool's schema.
const MAX_SHAPES: usize = 2_048;
/// Properties of one object in the reduced schema.
const MAX_SHAPE_PROPERTIES: usize = 256;

/// A tool's definition in `tools/list`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTool {
    /// Its name.
    pub name: String,
    /// Its description, truncated to [`MAX_DESCRIPTION_BYTES`], invisible characters escaped.
    pub description: String,
    /// Its `title` and `annotations.title`, those that it has.
    pub titles: Vec<String>,
    /// Digest of the definition as pinned, `sha256:<hex>`.
    pub digest: String,
    /// Digests of its parts ([`ToolDefinition::parts`]).
    pub digest_parts: String,
    /// `sha256:<hex>` over the canonical JSON of the whole definition, the earlier form of pins.
    pub whole_digest: String,
    /// `annotations.readOnlyHint`.
    pub read_only_hint: Option<bool>,
    /// `annotations.destructiveHint`.
    pub destructive_hint: Option<bool>,
    /// `annotations.openWorldHint`.
    pub open_world_hint: Option<bool>,
    /// The reduced schema of its arguments: names, types and which are required.
    pub shape: Json,
    /// Its arguments in the order of the definition; empty if that is alphabetical.
    pub argument_order: Vec<SmolStr>,
    /// The full schema of its arguments.
    pub schema: Json,
}

impl ListedTool {
    /// The description to store in a registration; `None` if empty.
    pub(crate) fn stored_description(&self) -> Option<String> {
        (!self.description.is_empty()).then(|| self.description.clone())
    }
}

/// Reads `{"tools": […]}`, with or without `serverInfo`, or the JSON-RPC response around it.
///
/// # Errors
///
/// All faults of the list.
pub fn parse(origin: SourceText<'_>) -> Result<Vec<ListedTool>, Vec<BundleDiagnostic>> {
    // Compute digests as for lists that servers send later.
    let held = tolerant(origin.text.as_bytes());
    let held = SourceText {
        text: std::str::from_utf8(&held).unwrap_or(origin.text),
        ..origin
    };
    let document = json::parse(held).map_err(|fault| vec![fault])?;
    let (path, list) = find_list(&document).ok_or_else(|| {
        let message =
            "there is no list of tools: expected an object with `tools`, or with `result.tools`";
        vec![json::diagnostic_at(origin, &[], message).narrow()]
    })?;
    if list.len() > MAX_TOOLS {
        return Err(vec![
            json::diagnostic_at(origin, path, format!("more than {MAX_TOOLS} tools")).narrow(),
        ]);
    }
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let mut tools = Vec::with_capacity(list.len());
    for (index, definition) in list.iter().enumerate() {
        let mut steps = path.to_vec();
        steps.push(Step::Index(index));
        let read = read_tool(definition).and_then(|tool| {
            if seen.insert(tool.name.clone()) {
                return Ok(tool);
            }
            Err(format!("the tool `{}` is listed twice", tool.name))
        });
        match read {
            Ok(tool) => tools.push(tool),
            Err(message) => faults.push(json::diagnostic_at(origin, &steps, message).narrow()),
        }
    }
    if let Some(cursor) = next_cursor(&document) {
        let cursor = shown(&cursor);
        let message = format!("the list is not complete: it goes on at cursor `{cursor}`");
        let fault = json::diagnostic_at(origin, path, message).narrow();
        faults.push(fault.with_help("fetch all pages of `tools/list` and join their `tools`"));
    }
    if faults.is_empty() {
        for (tool, mut order) in tools
            .iter_mut()
            .zip(argument_order::tool_list_orders(origin.text))
        {
            // The reduced schema may have fewer.
            let members = SchemaLocation::top(&tool.shape).members();
            order.retain(|name| members.contains(&name.as_str()));
            // Sorted by name unless ordered.
            if !order.is_sorted() {
                tool.argument_order = order;
            }
        }
        Ok(tools)
    } else {
        Err(faults)
    }
}

fn find_list(document: &Json) -> Option<(&'static [Step<'static>], &Vec<Json>)> {
    const HERE: &[Step<'static>] = &[Step::Key("tools")];
    const WITHIN: &[Step<'static>] = &[Step::Key("result"), Step::Key("tools")];
    let here = document
        .get("tools")
        .and_then(Json::as_array)
        .map(|list| (HERE, list));
    here.or_else(|| {
        document
            .get("result")?
            .get("tools")?
            .as_array()
            .map(|list| (WITHIN, list))
    })
}

/// Where the list goes on, whatever the spelling.
fn next_cursor(document: &Json) -> Option<String> {
    let documents = [Some(document), document.get("result")];
    let members = documents.into_iter().flatten().filter_map(Json::as_object);
    let mut cursors = members.flatten();
    let (_, cursor) = cursors.find(|(name, it)| bare(name) == "nextcursor" && !it.is_null())?;
    Some(
        cursor
            .as_str()
            .map_or_else(|| cursor.to_string(), str::to_owned),
    )
}

/// A name without case and separators: `input_schema` and `inputSchema` are one.
fn bare(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// A member in another spelling than that of the protocol, or of another type: what it says would not count.
fn misspelt(tool: &Map<String, Json>) -> Option<String> {
    let other_spelling = |object: &Map<String, Json>, known: &[&str]| {
        object.iter().find_map(|(name, value)| {
            if value.is_null() {
                return None;
            }
            let is_alike = |it: &&&str| bare(it) == bare(name) && **it != name;
            let alike = known.iter().find(is_alike)?;
            Some(format!("`{}` is no way to spell `{alike}`", shown(name)))
        })
    };
    let is_said = |value: &&Json| !value.is_null();
    if let Some(fault) = other_spelling(tool, &MEMBERS) {
        return Some(fault);
    }
    for text in ["title", "description"] {
        if tool
            .get(text)
            .filter(is_said)
            .is_some_and(|it| !it.is_string())
        {
            return Some(format!("`{text}` is not text"));
        }
    }
    if let Some(annotations) = tool.get("annotations").filter(is_said) {
        let Some(annotations) = annotations.as_object() else {
            return Some("`annotations` is not an object".to_owned());
        };
        if let Some(fault) = other_spelling(annotations, &HINTS) {
            return Some(format!("`annotations`: {fault}"));
        }
    }
    if tool.contains_key("inputSchema") {
        return None;
    }
    let is_schema = |value: &Json| {
        value.get("properties").is_some_and(Json::is_object)
            || value.get("type").is_some_and(|it| it == "object")
    };
    let mut others = tool
        .iter()
        .filter(|(name, _)| !MEMBERS.contains(&name.as_str()));
    let (name, _) = others.find(|(_, value)| is_schema(value))?;
    Some(format!(
        "there is no `inputSchema`, and `{}` looks like one: the protocol calls the schema of the arguments `inputSchema`",
        shown(name)
    ))
}

fn read_tool(definition: &Json) -> Result<ListedTool, String> {
    let object = definition.as_object().ok_or("a tool is an object")?;
    let name = object.get("name").ok_or("a tool without `name`")?;
    let name = name.as_str().ok_or("a tool's `name` is text")?.to_owned();
    check_tool_name(&name).map_err(|error| error.to_string())?;
    if let Some(fault) = misspelt(object) {
        return Err(format!("the tool `{}`: {fault}", shown(&name)));
    }
    let shape = {
        let root = object.get("inputSchema").unwrap_or(&Json::Null);
        let left = Cell::new(MAX_SHAPES);
        SchemaReducer { root, left }.shape(root, 0)
    };
    // What it refers to is looked at in its place.
    let faulty = |schema: &Json| schema_form::fault(schema).or_else(|| schema_form::fault(&shape));
    if let Some(fault) = object.get("inputSchema").and_then(faulty) {
        let name = shown(&name);
        return Err(match fault.starts_with('`') {
            true => format!("the tool `{name}`: `inputSchema`: {fault}"),
            false => format!("the tool `{name}`: `inputSchema` {fault}"),
        });
    }
    // What is neither true nor false counts as the worse of the two.
    let hint = |name: &str| match object.get("annotations")?.get(name)? {
        Json::Null => None,
        Json::Bool(hint) => Some(*hint),
        _ => Some(name != "readOnlyHint"),
    };
    let titles = [
        object.get("title"),
        object.get("annotations").and_then(|it| it.get("title")),
    ];
    let titles = titles.into_iter().flatten().filter_map(Json::as_str);
    let pin = ToolDefinition::from_json(object, &name)?;
    Ok(ListedTool {
        titles: titles.map(kept).collect(),
        digest: pin.digests().pinned().to_string(),
        digest_parts: pin.parts(),
        whole_digest: pin.digests().whole().to_string(),
        read_only_hint: hint("readOnlyHint"),
        destructive_hint: hint("destructiveHint"),
        open_world_hint: hint("openWorldHint"),
        shape,
        argument_order: Vec::new(),
        description: object
            .get("description")
            .and_then(Json::as_str)
            .map_or_else(String::new, kept),
        schema: object.get("inputSchema").cloned().unwrap_or_default(),
        name,
    })
}

/// A description with invisible characters escaped, truncated to [`MAX_DESCRIPTION_BYTES`].
fn kept(text: &str) -> String {
    // Escaping only lengthens a text, so a longer prefix is never needed.
    let beginning = cut(text, MAX_DESCRIPTION_BYTES);
    cut(&escaped_lines(beginning), MAX_DESCRIPTION_BYTES).to_owned()
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Reduces a JSON Schema to what decisions need: names, types, what is required, and combinations. Descriptions and
/// defaults are dropped to keep registrations readable.
struct SchemaReducer<'s> {
    root: &'s Json,
    /// Subschemas left of [`MAX_SHAPES`]: a schema that refers to itself has no end.
    left: Cell<usize>,
}

impl SchemaReducer<'_> {
    fn shape(&self, schema: &Json, depth: usize) -> Json {
        let is_within = depth <= MAX_SHAPE_DEPTH && self.left.get() > 0;
        let Some(object) = schema.as_object().filter(|_| is_within) else {
            return json!({});
        };
        self.left.set(self.left.get() - 1);
        if let Some(target) = object.get("$ref") {
            let found = target.as_str().and_then(|it| it.strip_prefix('#'));
            let found = found.and_then(|it| self.root.pointer(it));
            return found.map_or_else(|| json!({}), |it| self.shape(it, depth + 1));
        }
        let mut kept = Map::new();
        if let Some(name) = type_of(object, depth) {
            kept.insert("type".to_owned(), name);
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            if let Some(parts) = object.get(word).and_then(Json::as_array) {
                let parts = parts.iter().map(|part| self.shape(part, depth + 1));
                kept.insert(word.to_owned(), parts.collect());
            }
        }
        self.members(object, depth, &mut kept);
        if let Some(items) = object.get("items") {
            kept.insert("items".to_owned(), self.shape(items, depth + 1));
        }
        Json::Object(kept)
    }

    /// The members of an object: declared, required, and whether others are allowed.
    fn members(&self, object: &Map<String, Json>, depth: usize, kept: &mut Map<String, Json>) {
        let required = object.get("required").and_then(Json::as_array);
        let required = required
            .into_iter()
            .flatten()
            .filter(|name| name.is_string());
        let required: Vec<&Json> = required.take(MAX_SHAPE_PROPERTIES).collect();
        if !required.is_empty() {
            kept.insert("required".to_owned(), json!(required));
        }
        if let Some(properties) = object.get("properties").and_then(Json::as_object) {
            let shapes = properties.iter().take(MAX_SHAPE_PROPERTIES);
            let shapes: Map<String, Json> = shapes
                .map(|(name, property)| (name.clone(), self.shape(property, depth + 1)))
                .collect();
            kept.insert("properties".to_owned(), Json::Object(shapes));
        }
        let more = ["additionalProperties", "patternProperties"];
        let is_open = |word: &&str| object.get(*word).is_some_and(|it| *it != Json::Bool(false));
        if more.iter().any(is_open) {
            kept.insert("additionalProperties".to_owned(), json!(true));
        } else if object.contains_key("additionalProperties") {
            kept.insert("additionalProperties".to_owned(), json!(false));
        }
    }
}

/// The `type` of a schema.
fn type_of(object: &Map<String, Json>, depth: usize) -> Option<Json> {
    let of_strings = |list: &Json| {
        let list = list.as_array();
        list.is_some_and(|it| !it.is_empty() && it.iter().all(Json::is_string))
    };
    match object.get("type") {
        Some(Json::String(name)) => Some(json!(name)),
        Some(names) if of_strings(names) => Some(names.clone()),
        None if object.get("enum").is_some_and(of_strings) => Some(json!("string")),
        None if object.get("const").is_some_and(Json::is_string) => Some(json!("string")),
        None if depth == 0 => Some(json!("object")),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tool_list_tests.rs"]
mod tests;
