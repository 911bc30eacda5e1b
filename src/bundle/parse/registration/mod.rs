//! Parses `tools/<server>.json`: the registration of a server and its tools.
//!
//! Start at [`parse`]. An import writes the file, a person edits and confirms it, and it becomes the entities `Mcp::Server`
//! and `Mcp::Tool` (see `docs/registrations.md`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::domain::names::check_tool_name;
use crate::domain::request::argument_order;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::json_schema::SchemaLocation;
use crate::domain::request::visible::shown;

pub use crate::domain::registration_entry::{
    ConfirmationStatus, EntryError, MAX_DESCRIPTION_BYTES, MAX_LIST, PreviousDefinition,
    Registration, Sensitivity, ServerEntry, ToolEntry,
};
pub use crate::domain::schema::AccessLevel;

/// Tools of one server.
pub const MAX_TOOLS: usize = 10_000;

/// Parses a registration file. Entries are parsed independently, so that an invalid one does not hide faults in
/// others.
pub fn parse(source: &SourceFile, faults: &mut Vec<BundleDiagnostic>) -> Option<Registration> {
    let before = faults.len();
    let registration = parse_text(source.origin(), faults)?;
    if *source.stem != *registration.server.name {
        let path = [Step::Key("server"), Step::Key("name")];
        let message = format!(
            "the file of the server `{name}` is called `{name}.json`, not `{stem}.json`",
            name = registration.server.name,
            stem = source.stem
        );
        faults.push(json::diagnostic_at(source.origin(), &path, message));
    }
    (faults.len() == before).then_some(registration)
}

/// Parses the text of a registration without checking the name of its file.
pub fn parse_text(
    origin: SourceText<'_>,
    faults: &mut Vec<BundleDiagnostic>,
) -> Option<Registration> {
    let before = faults.len();
    let parsed = match json::parse(origin) {
        Ok(Json::Object(object)) => object,
        Ok(_) => {
            faults.push(json::diagnostic_at(
                origin,
                &[],
                "a registration is an object with `server` and `tools`",
            ));
            return None;
        }
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    for key in parsed
        .keys()
        .filter(|key| !matches!(key.as_str(), "server" | "tools"))
    {
        let message = format!("unknown field `{key}`, expected `server` or `tools`");
        faults.push(json::diagnostic_at(origin, &[Step::Key(key)], message));
    }
    let server: Option<ServerEntry> = member(origin, &parsed, &["server"], faults);
    let tools = parse_tools(origin, &parsed, faults)?;
    let server = server?;
    check_server(origin, &server, faults);
    (faults.len() == before).then_some(Registration { server, tools })
}

/// Parses the entries of the tools; `None` if there are too many.
fn parse_tools(
    origin: SourceText<'_>,
    parsed: &Map<String, Json>,
    faults: &mut Vec<BundleDiagnostic>,
) -> Option<BTreeMap<String, ToolEntry>> {
    let mut tools = BTreeMap::new();
    match parsed.get("tools") {
        Some(Json::Object(entries)) => {
            if entries.len() > MAX_TOOLS {
                faults.push(json::diagnostic_at(
                    origin,
                    &[Step::Key("tools")],
                    format!("more than {MAX_TOOLS} tools"),
                ));
                return None;
            }
            let mut orders = argument_order::registration_orders(origin.text);
            for name in entries.keys() {
                let path = [Step::Key("tools"), Step::Key(name)];
                if let Err(error) = check_tool_name(name) {
                    faults.push(json::diagnostic_at(origin, &path, error.to_string()));
                }
                if entries[name].get("effect").is_some() {
                    let path = [path.as_slice(), &[Step::Key("effect")]].concat();
                    let message = "unknown field `effect`: it is called `access`";
                    faults.push(json::diagnostic_at(origin, &path, message));
                    continue;
                }
                let entry = member::<ToolEntry>(origin, entries, &["tools", name], faults);
                if let Some(mut entry) = entry {
                    check_argument_order(origin, name, &entry, faults);
                    if entry.argument_order.is_empty() {
                        entry.argument_order = orders.remove(name).unwrap_or_default();
                    }
                    check_tool(origin, name, &entry, faults);
                    tools.insert(name.clone(), entry);
                }
            }
        }
        Some(_) => {
            let message = "`tools` is an object of entries by tool name";
            faults.push(json::diagnostic_at(origin, &[Step::Key("tools")], message));
        }
        None => faults.push(json::diagnostic_at(origin, &[], "missing field `tools`")),
    }
    Some(tools)
}

/// Deserializes one member and locates serde's error at the field that caused it.
fn member<T: for<'de> Deserialize<'de>>(
    origin: SourceText<'_>,
    object: &Map<String, Json>,
    path: &[&str],
    faults: &mut Vec<BundleDiagnostic>,
) -> Option<T> {
    let name = path.last().copied().unwrap_or_default();
    let mut steps: Vec<Step<'_>> = path.iter().map(|key| Step::Key(key)).collect();
    let Some(value) = object.get(name) else {
        steps.pop();
        faults.push(json::diagnostic_at(
            origin,
            &steps,
            format!("missing field `{name}`"),
        ));
        return None;
    };
    match T::deserialize(value) {
        Ok(entry) => Some(entry),
        Err(error) => {
            let message = error.to_string();
            let field = offending_field::<T>(value);
            if let Some(field) = &field {
                steps.push(Step::Key(field));
            }
            let message = field
                .as_ref()
                .filter(|field| !message.contains(&format!("`{field}`")))
                .map_or_else(|| message.clone(), |field| format!("`{field}`: {message}"));
            faults.push(json::diagnostic_at(origin, &steps, message));
            None
        }
    }
}

/// The field that caused an error: the one without which the error is a different one.
fn offending_field<T: for<'de> Deserialize<'de>>(value: &Json) -> Option<String> {
    let object = value.as_object()?;
    let complaint = T::deserialize(value).err()?.to_string();
    if complaint.starts_with("missing field") {
        return None;
    }
    let mut keys = object.keys();
    keys.find(|key| {
        let mut rest = object.clone();
        rest.remove(key.as_str());
        T::deserialize(&Json::Object(rest))
            .err()
            .is_none_or(|error| error.to_string() != complaint)
    })
    .cloned()
}

fn check_server(origin: SourceText<'_>, server: &ServerEntry, faults: &mut Vec<BundleDiagnostic>) {
    faults.extend(server.errors().into_iter().map(|error| {
        let path = [Step::Key("server"), Step::Key(error.field)];
        json::diagnostic_at(origin, &path, error.message)
    }));
}

fn check_tool(
    origin: SourceText<'_>,
    name: &str,
    entry: &ToolEntry,
    faults: &mut Vec<BundleDiagnostic>,
) {
    faults.extend(entry.errors().into_iter().map(|error| {
        let mut path = vec![Step::Key("tools"), Step::Key(name), Step::Key(error.field)];
        let mut message = error.message;
        if let (Some(index), Some(member)) = (error.index, error.member) {
            path.push(Step::Index(index));
            // An entry that is a name alone has no members in the text.
            let is_bare = |it: &TargetArgumentForm| *it == TargetArgumentForm::named(&*it.argument);
            if !entry.target_arguments.get(index).is_some_and(is_bare) {
                path.push(Step::Key(member));
            }
            message = format!("`{member}`: {message}");
        }
        json::diagnostic_at(origin, &path, message)
    }));
}

/// A name in the order that is no argument puts none in its place.
fn check_argument_order(
    origin: SourceText<'_>,
    name: &str,
    entry: &ToolEntry,
    faults: &mut Vec<BundleDiagnostic>,
) {
    let Some(schema) = &entry.input_schema else {
        return;
    };
    let members = SchemaLocation::top(schema).members();
    let is_unknown = |it: &&SmolStr| !members.contains(&it.as_str());
    if let Some(unknown) = entry.argument_order.iter().find(is_unknown) {
        let path = ["tools", name, "argument_order"].map(Step::Key);
        let message = format!(
            "`argument_order`: `{}` is not among the arguments in the tool's `input_schema`",
            shown(unknown)
        );
        faults.push(json::diagnostic_at(origin, &path, message));
    }
}

#[cfg(test)]
mod tests;
