//! What a server and a tool are registered with, whether by a file or by the control API.
//!
//! Start at [`ToolEntry`]: its fields, their validation ([`ToolEntry::errors`]), and the entity that it becomes
//! ([`ToolEntry::to_entity`]). The form is that of `tools/<server>.json` (see `docs/registrations.md`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use crate::domain::names::{NameError, check_label, check_server_name, is_digest};
use crate::domain::request::argument_order;
use crate::domain::request::definition::parts_fault;
use crate::domain::request::target;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::schema_form;
use crate::domain::request::visible::shown;
use crate::domain::schema::AccessLevel;

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
    /// The arguments that hold the contents of files: `content`, `files[].content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_contents: Vec<String>,
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

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }

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

impl fmt::Display for ConfirmationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Registration {
    /// The server and its tools as entities in Cedar's JSON format, each with the path of its entry in the file.
    pub fn entities(&self) -> Vec<(Vec<&str>, Json)> {
        let server = &self.server;
        let mut list = vec![(vec!["server"], server.to_entity())];
        list.extend(self.tools.iter().map(|(name, tool)| {
            let entity = tool.to_entity(&server.name, name, &server.owner);
            (vec!["tools", name.as_str()], entity)
        }));
        list
    }
}

impl ServerEntry {
    /// The checks beyond the types of fields.
    pub fn errors(&self) -> Vec<EntryError> {
        let mut errors = Vec::new();
        if let Err(error) = check_server_name(&self.name) {
            errors.push(EntryError::new("name", error.to_string()));
        }
        if self.owner.is_empty() {
            let message = "an empty `owner`; name the person who answers for the server";
            errors.push(EntryError::new("owner", message));
        }
        let yields = self.yields.as_deref().unwrap_or_default();
        errors.extend(label_error(yields));
        errors.extend(length_errors([
            ("yields", yields.len()),
            ("groups", self.groups.len()),
            ("tags", self.tags.len()),
        ]));
        errors
    }

    /// The entity `Mcp::Server` in Cedar's JSON format.
    pub fn to_entity(&self) -> Json {
        let mut attrs = json!({"owner": user(&self.owner), "active": self.active});
        set(&mut attrs, "environment", self.environment.as_ref());
        set(&mut attrs, "yields", self.yields.as_ref());
        json!({
            "uid": uid("Mcp::Server", &self.name),
            "attrs": attrs,
            "parents": groups(&self.groups),
            "tags": self.tags,
        })
    }
}

impl ToolEntry {
    /// The access level in force: an unconfirmed tool counts as admin.
    pub fn effective_access(&self) -> AccessLevel {
        match self.status {
            ConfirmationStatus::Confirmed => self.access,
            ConfirmationStatus::Proposed => AccessLevel::Admin,
        }
    }

    /// The checks beyond the types of fields. Those of labels come first.
    pub fn errors(&self) -> Vec<EntryError> {
        let mut errors = Vec::from_iter(label_error(&self.yields));
        errors.extend(length_errors([
            ("yields", self.yields.len()),
            ("target_arguments", self.target_arguments.len()),
            ("file_contents", self.file_contents.len()),
            ("groups", self.groups.len()),
            ("tags", self.tags.len()),
        ]));
        if self.owner.as_deref() == Some("") {
            let message = "an empty `owner`; leave it out to mean the server's owner";
            errors.push(EntryError::new("owner", message));
        }
        if self.typed && self.input_schema.is_none() {
            let message = "a typed tool needs its `input_schema`";
            errors.push(EntryError::new("typed", message));
        }
        self.definition_errors(&mut errors);
        match self.input_schema.as_ref().and_then(schema_form::fault) {
            Some(fault) => {
                let message = match fault.starts_with('`') {
                    true => format!("`input_schema`: {fault}"),
                    false => format!("`input_schema` {fault}"),
                };
                errors.push(EntryError::new("input_schema", message));
            }
            None => {
                self.target_errors(&mut errors);
                self.content_errors(&mut errors);
            }
        }
        errors
    }

    fn definition_errors(&self, errors: &mut Vec<EntryError>) {
        for (field, digest) in [
            ("digest", &self.digest),
            ("previous_digest", &self.previous_digest),
        ] {
            if digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
                let message =
                    format!("`{field}` is not `sha256:` and 64 lower-case hexadecimal digits");
                errors.push(EntryError::new(field, message));
            }
        }
        let previous = self.previous_definition.as_deref();
        let old = previous.and_then(|it| it.description.as_ref());
        for (field, text) in [
            ("description", self.description.as_ref()),
            ("previous_definition", old),
        ] {
            if text.is_some_and(|it| it.len() > MAX_DESCRIPTION_BYTES) {
                let message = format!(
                    "`{field}`: a description is longer than {MAX_DESCRIPTION_BYTES} bytes"
                );
                errors.push(EntryError::new(field, message));
            }
        }
        let old = previous.and_then(|it| it.digest_parts.as_deref());
        if let Some(fault) = old.and_then(parts_fault) {
            let message = format!("`previous_definition`: `digest_parts` {fault}");
            errors.push(EntryError::new("previous_definition", message));
        }
        if let Some(fault) = self.digest_parts.as_deref().and_then(parts_fault) {
            let message = format!("`digest_parts` {fault}");
            errors.push(EntryError::new("digest_parts", message));
        }
    }

    fn target_errors(&self, errors: &mut Vec<EntryError>) {
        if self.target_arguments.len() > MAX_LIST {
            return;
        }
        let found = target::check::check(&self.target_arguments, self.input_schema.as_ref());
        errors.extend(found.into_iter().map(|it| EntryError {
            field: "target_arguments",
            index: Some(it.index),
            member: Some(it.fault.field),
            message: it.fault.message,
        }));
    }

    fn content_errors(&self, errors: &mut Vec<EntryError>) {
        if self.file_contents.len() > MAX_LIST {
            return;
        }
        let schema = self.input_schema.as_ref();
        let each = self.file_contents.iter().enumerate();
        errors.extend(each.filter_map(|(index, argument)| {
            let message = target::check::check_text(argument, schema).err()?;
            Some(EntryError {
                index: Some(index),
                ..EntryError::new("file_contents", message)
            })
        }));
    }

    /// The entity `Mcp::Tool` in Cedar's JSON format. `owner` answers for it if the entry names nobody.
    pub fn to_entity(&self, server: &str, name: &str, owner: &str) -> Json {
        let mut attrs = json!({
            "access": self.access.as_str(),
            "confirmed": self.status == ConfirmationStatus::Confirmed,
            "yields": self.yields,
            "egress": self.egress,
            "sensitivity": self.sensitivity.as_str(),
            "owner": user(self.owner.as_deref().unwrap_or(owner)),
        });
        set(&mut attrs, "digest", self.digest.as_ref());
        set(&mut attrs, "digest_parts", self.digest_parts.as_ref());
        let schema = self.input_schema.as_ref();
        let schema = schema.map(|it| argument_order::schema_text(it, &self.argument_order));
        set(&mut attrs, "input_schema", schema);
        if !self.target_arguments.is_empty() {
            let list = self.target_arguments.iter();
            attrs["target_arguments"] = list.map(TargetArgumentForm::attribute).collect();
        }
        if !self.file_contents.is_empty() {
            attrs["file_contents"] = json!(self.file_contents);
        }
        let mut parents = vec![uid("Mcp::Server", server)];
        parents.extend(groups(&self.groups));
        let id = format!("{server}/{name}");
        json!({"uid": uid("Mcp::Tool", &id), "attrs": attrs, "parents": parents, "tags": self.tags})
    }
}

/// An invalid field of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EntryError {
    /// The field.
    pub field: &'static str,
    /// The element, if the field is a list and the element is known.
    pub index: Option<usize>,
    /// The member of a target argument; `message` then completes "`member` …".
    pub member: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

impl EntryError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            index: None,
            member: None,
            message: message.into(),
        }
    }

    /// Path of the invalid value within the entry, e.g. `target_arguments[0].role`.
    pub fn path(&self) -> String {
        let index = self.index.map(|index| format!("[{index}]"));
        let member = self.member.map(|member| format!(".{member}"));
        format!(
            "{}{}{}",
            self.field,
            index.unwrap_or_default(),
            member.unwrap_or_default()
        )
    }
}

fn length_errors<const N: usize>(
    lists: [(&'static str, usize); N],
) -> impl Iterator<Item = EntryError> {
    let too_long = lists.into_iter().filter(|(_, count)| *count > MAX_LIST);
    too_long.map(|(field, _)| EntryError::new(field, format!("more than {MAX_LIST} {field}")))
}

/// The first invalid label, as an error of `yields`.
fn label_error(labels: &[String]) -> Option<EntryError> {
    let index = labels
        .iter()
        .position(|label| check_label(label).is_err())?;
    let error = NameError::Label(shown(&labels[index]));
    Some(EntryError {
        index: Some(index),
        ..EntryError::new("yields", error.to_string())
    })
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
