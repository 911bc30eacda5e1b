//! Parses `tools/<server>.json`: the registration of a server and its tools.
//!
//! Start at [`parse`]. An import writes the file, a person edits and confirms it, and it becomes the entities `Mcp::Server`
//! and `Mcp::Tool` (see `docs/registrations.md`).

mod check;

pub use check::label_error;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::typed_input::{TypedInput, UntypedArgument};
use crate::domain::request::argument_order;
use crate::domain::request::target::argument::TargetArgumentForm;

/// The longest name of a server or tool, in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// The most tools of one server.
pub const MAX_TOOLS: usize = 10_000;
/// The longest description of a tool, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;
/// The most labels, groups or tags of one entry.
pub const MAX_LIST: usize = 256;

/// One server's registration: the content of `tools/<server>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The server.
    pub server: ServerEntry,
    /// The tools, by the name the server gives them.
    pub tools: BTreeMap<String, ToolEntry>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerEntry {
    /// Its name; the file is called `<name>.json`.
    pub name: String,
    /// The accountable owner, `Mcp::User::"<owner>"`.
    pub owner: String,
    /// Whether the server is in use; `false` is the kill switch.
    #[serde(default = "yes")]
    pub active: bool,
    /// Where it runs, e.g. `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Labels that reading its resources and prompts adds to a session; `untrusted` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<Vec<String>>,
    /// Groups it belongs to: `Mcp::Group::"<group>"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Tags, each a set of strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolEntry {
    /// The access level of a call.
    pub access: AccessLevel,
    /// Whether a person has confirmed this entry.
    pub status: ConfirmationStatus,
    /// Labels that its results add to a session.
    pub yields: Vec<String>,
    /// Whether a call can send data out.
    pub egress: bool,
    /// Sensitivity of the data it reads or writes.
    pub sensitivity: Sensitivity,
    /// The accountable owner; the server's owner if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Digest of the pinned definition, `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of each part of the definition, `description:<hex> title:<hex> …`, to report which part a server has
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_parts: Option<String>,
    /// Digest of the definition that was pinned before the server changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_digest: Option<String>,
    /// The pinned definition's description, truncated to [`MAX_DESCRIPTION_BYTES`], invisible characters escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is kept of the definition of `previous_digest`, for comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_definition: Option<Box<PreviousDefinition>>,
    /// The arguments that name the resources a call acts upon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_arguments: Vec<TargetArgumentForm>,
    /// Whether policies can read its arguments as `context.input`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typed: bool,
    /// Groups it belongs to, besides its server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Tags, each a set of strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
    /// The reasons for an import's proposal, by field, for the person who confirms it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why: BTreeMap<String, String>,
    /// JSON Schema of its arguments, reduced to names, types and what is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Json>,
    /// The order in which arguments are displayed; that of `input_schema` if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argument_order: Vec<SmolStr>,
}

/// The last confirmed definition of a tool that its server has changed since.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousDefinition {
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments, reduced to names, types and what is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Json>,
    /// Digest of each of its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_parts: Option<String>,
}

/// What a call of a tool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLevel {
    /// Reads only.
    Read,
    /// Changes something reversibly.
    Write,
    /// Changes something irreversibly, changes permissions, or is unclassified.
    Admin,
}

/// Whether a person has confirmed an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmationStatus {
    /// Proposed by an import; the tool counts as admin.
    Proposed,
    /// A person has read and confirmed it.
    Confirmed,
}

/// Sensitivity of the data a tool reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Anyone.
    Public,
    /// Everyone in the organization.
    Internal,
    /// A restricted group.
    Confidential,
    /// Named people only.
    Restricted,
}

fn yes() -> bool {
    true
}

impl AccessLevel {
    /// The word in files, attributes and action names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl ConfirmationStatus {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Confirmed => "confirmed",
        }
    }
}

impl Sensitivity {
    /// All levels, in ascending order.
    pub const ALL: [Self; 4] = [
        Self::Public,
        Self::Internal,
        Self::Confidential,
        Self::Restricted,
    ];

    /// The word in files and attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

impl fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ConfirmationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ToolEntry {
    /// If the tool is typed: the arguments that have no Cedar type, and why.
    pub fn left_out(&self) -> Vec<UntypedArgument> {
        let schema = self.input_schema.as_ref().filter(|_| self.typed);
        schema.map_or_else(Vec::new, |it| TypedInput::from_schema(it).left_out)
    }

    /// The access level in force: an unconfirmed tool counts as admin.
    pub fn effective_access(&self) -> AccessLevel {
        match self.status {
            ConfirmationStatus::Confirmed => self.access,
            ConfirmationStatus::Proposed => AccessLevel::Admin,
        }
    }
}

/// Checks the name of a server; the error message if it is invalid.
pub fn server_name_error(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_fine =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
    if is_fine && name.len() <= 64 {
        return None;
    }
    Some(format!(
        "`{name}` cannot name a server: use up to 64 letters, digits, `-`, `_` and `.`"
    ))
}

/// Checks the name of a tool; the error message if it is invalid.
pub fn tool_name_error(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a tool without a name".to_owned());
    }
    let too_long = name.len() > MAX_NAME_BYTES;
    too_long.then(|| format!("a tool's name is longer than {MAX_NAME_BYTES} bytes"))
}

/// Whether a text is `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.chars().all(is_hex))
}

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
                if let Some(message) = tool_name_error(name) {
                    faults.push(json::diagnostic_at(origin, &path, message));
                }
                let entry = member::<ToolEntry>(origin, entries, &["tools", name], faults);
                if let Some(mut entry) = entry {
                    if entry.argument_order.is_empty() {
                        entry.argument_order = orders.remove(name).unwrap_or_default();
                    }
                    check::tool(origin, name, &entry, faults);
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
    let server = server?;
    check::server(origin, &server, faults);
    (faults.len() == before).then_some(Registration { server, tools })
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

impl Registration {
    /// The server and its tools as entities in Cedar's JSON format, each with the path of its entry in the file.
    pub fn entities(&self) -> Vec<(Vec<&str>, Json)> {
        let server = &self.server;
        let mut attrs = json!({"owner": user(&server.owner), "active": server.active});
        set(&mut attrs, "environment", server.environment.as_ref());
        set(&mut attrs, "yields", server.yields.as_ref());
        let mut list = vec![(
            vec!["server"],
            json!({
                "uid": uid("Mcp::Server", &server.name),
                "attrs": attrs,
                "parents": groups(&server.groups),
                "tags": server.tags,
            }),
        )];
        for (name, tool) in &self.tools {
            let mut attrs = json!({
                "access": tool.access.as_str(),
                "confirmed": tool.status == ConfirmationStatus::Confirmed,
                "yields": tool.yields,
                "egress": tool.egress,
                "sensitivity": tool.sensitivity.as_str(),
                "owner": user(tool.owner.as_ref().unwrap_or(&server.owner)),
            });
            set(&mut attrs, "digest", tool.digest.as_ref());
            set(&mut attrs, "digest_parts", tool.digest_parts.as_ref());
            let schema = tool.input_schema.as_ref();
            let schema = schema.map(|it| argument_order::schema_text(it, &tool.argument_order));
            set(&mut attrs, "input_schema", schema);
            if !tool.target_arguments.is_empty() {
                let list = tool
                    .target_arguments
                    .iter()
                    .map(TargetArgumentForm::attribute);
                attrs["target_arguments"] = list.collect();
            }
            let mut parents = vec![uid("Mcp::Server", &server.name)];
            parents.extend(groups(&tool.groups));
            let id = format!("{}/{name}", server.name);
            let entity = json!({"uid": uid("Mcp::Tool", &id), "attrs": attrs, "parents": parents, "tags": tool.tags});
            list.push((vec!["tools", name], entity));
        }
        list
    }
}

fn set(attrs: &mut Json, name: &str, value: Option<impl Serialize>) {
    if let (Some(value), Some(attrs)) = (value, attrs.as_object_mut()) {
        attrs.insert(name.to_owned(), json!(value));
    }
}

fn uid(kind: &str, id: &str) -> Json {
    json!({"type": kind, "id": id})
}

fn user(id: &str) -> Json {
    uid("Mcp::User", id)
}

fn groups(names: &[String]) -> Vec<Json> {
    names.iter().map(|name| uid("Mcp::Group", name)).collect()
}

#[cfg(test)]
mod tests;
