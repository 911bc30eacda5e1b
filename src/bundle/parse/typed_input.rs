//! The Cedar type of `context.input` for a tool's JSON Schema.
//!
//! Start at [`TypedInput::from_schema`]. Schemas are read by [`SchemaLocation`], which follows local `$ref`s and
//! combinations: a union of objects becomes one object with all members, and what can be null is optional. What Cedar
//! cannot express has no attribute, is listed in [`TypedInput::left_out`] with the reason, and shows up in `context.arguments.untyped`. A number is
//! a `decimal`; a call with more than four decimal places is rejected, never rounded.

use std::cell::{Cell, RefCell};

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::domain::registration_entry::ToolEntry;
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};

/// Nesting depth of objects and lists.
const MAX_DEPTH: usize = 4;
/// Properties of one object.
const MAX_PROPERTIES: usize = 128;
/// Properties of all objects of one tool.
const MAX_ATTRIBUTES: usize = 2_048;
/// Untyped arguments reported for one tool.
const MAX_LEFT_OUT: usize = 256;

/// The Cedar type of a tool's arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct TypedInput {
    /// The Cedar record, in the JSON form of Cedar's schemas.
    pub record: Json,
    /// The arguments without a Cedar type.
    pub left_out: Vec<UntypedArgument>,
}

/// An argument that has no Cedar type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UntypedArgument {
    /// Path of the argument, e.g. `files[].meta`.
    pub argument: String,
    /// The reason, in words.
    pub reason: &'static str,
}

impl UntypedArgument {
    /// If the tool is typed: its arguments that have no Cedar type, and why.
    pub fn of_tool(tool: &ToolEntry) -> Vec<Self> {
        let schema = tool.input_schema.as_ref().filter(|_| tool.typed);
        schema.map_or_else(Vec::new, |it| TypedInput::from_schema(it).left_out)
    }
}

impl TypedInput {
    /// Reads a schema.
    pub fn from_schema(input_schema: &Json) -> Self {
        let typer = InputTyper {
            left: Cell::new(MAX_ATTRIBUTES),
            left_out: RefCell::new(Vec::new()),
        };
        let place = SchemaLocation::top(input_schema);
        let record = typer.record(&place, "", 0).unwrap_or_else(|reason| {
            typer.leave_out("", reason);
            json!({"type": "Record", "attributes": {}})
        });
        Self {
            record,
            left_out: typer.left_out.into_inner(),
        }
    }
}

struct InputTyper {
    /// Properties left of [`MAX_ATTRIBUTES`]: a schema that refers to itself has no end.
    left: Cell<usize>,
    left_out: RefCell<Vec<UntypedArgument>>,
}

impl InputTyper {
    fn leave_out(&self, argument: &str, reason: &'static str) {
        let mut list = self.left_out.borrow_mut();
        if list.len() < MAX_LEFT_OUT {
            list.push(UntypedArgument {
                argument: argument.to_owned(),
                reason,
            });
        }
    }

    fn record(
        &self,
        place: &SchemaLocation<'_>,
        at: &str,
        depth: usize,
    ) -> Result<Json, &'static str> {
        if depth > MAX_DEPTH {
            return Err("it lies too deep");
        }
        let names = place.members();
        if names.len() > MAX_PROPERTIES {
            return Err("it has too many members");
        }
        let mut attributes = Map::new();
        for name in names {
            let Some(member) = place.member(name, depth == 0) else {
                continue;
            };
            let at = match at {
                "" => name.to_owned(),
                _ => format!("{at}.{name}"),
            };
            if self.left.get() == 0 {
                self.leave_out(&at, "the tool has too many members");
                continue;
            }
            self.left.set(self.left.get() - 1);
            match self.value(&member, &at, depth) {
                Ok(mut cedar) => {
                    let is_always = place.requires(name) && !member.types().has(JsonTypes::NULL);
                    cedar["required"] = json!(is_always);
                    attributes.insert(name.to_owned(), cedar);
                }
                Err(reason) => self.leave_out(&at, reason),
            }
        }
        Ok(json!({"type": "Record", "attributes": attributes}))
    }

    fn value(
        &self,
        place: &SchemaLocation<'_>,
        at: &str,
        depth: usize,
    ) -> Result<Json, &'static str> {
        let types = place.types();
        if types == JsonTypes::ANY {
            return Err("the schema does not say what it is");
        }
        match types.without(JsonTypes::NULL) {
            JsonTypes::STRING => Ok(json!({"type": "String"})),
            JsonTypes::BOOLEAN => Ok(json!({"type": "Bool"})),
            JsonTypes::NUMBER => match place.is_whole() {
                Some(true) => Ok(json!({"type": "Long"})),
                Some(false) => Ok(json!({"type": "Extension", "name": "decimal"})),
                None => Err("the schema does not say whether it is whole"),
            },
            JsonTypes::OBJECT if place.members().is_empty() => Err("it can have any members"),
            JsonTypes::OBJECT => self.record(place, at, depth + 1),
            JsonTypes::ARRAY if depth >= MAX_DEPTH => Err("it lies too deep"),
            JsonTypes::ARRAY => {
                let items = place.items();
                let types = items.types();
                if types != JsonTypes::ANY && types.has(JsonTypes::NULL) {
                    return Err("an item of it can be null");
                }
                let element = self.value(&items, &format!("{at}[]"), depth + 1);
                let element = element.map_err(|reason| match reason {
                    "the schema does not say what it is" => {
                        "the schema does not say what its items are"
                    }
                    other => other,
                })?;
                Ok(json!({"type": "Set", "element": element}))
            }
            none if none.is_none() => Err("it can only be null"),
            _ => Err("it can be of several types"),
        }
    }
}

#[cfg(test)]
#[path = "typed_input_tests.rs"]
mod tests;
