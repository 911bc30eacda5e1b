//! Merges a server's `tools/list` result into its registration.
//!
//! Start at [`import`]. A changed definition loses its confirmation: `import_changed` says what becomes of the entry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::analysis::catalogue;
use crate::analysis::import_changed::{self, stricter, words};
use crate::analysis::propose::{self, Prefixes};
use crate::analysis::tool_list::{self, ListedTool};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::parse::registration::{
    AccessLevel, ConfirmationStatus, EntryError, Registration, ServerEntry, ToolEntry,
};
use crate::bundle::parse::typed_input::UntypedArgument;
use crate::domain::names::{NameError, check_server_name};

pub use crate::domain::registration::UNASSIGNED;

/// What is noted of a tool without `inputSchema`.
const NO_SCHEMA: &str = "the definition has no `inputSchema`: nothing is known of its arguments";

/// Options of an import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to register the server under; the name that a server reports is not trusted.
    pub server: String,
    /// The accountable owner; `None` keeps the registered one.
    pub owner: Option<String>,
    /// Tools to confirm: names or patterns ([`ToolPattern`]).
    pub confirm: BTreeSet<String>,
    /// Tools whose arguments policies can read: names or patterns.
    pub typed: BTreeSet<String>,
    /// Access levels to set, by name or pattern; the last match counts.
    pub set: Vec<(String, AccessLevel)>,
    /// Groups that the server is put into, besides those that it is in.
    pub groups: Vec<String>,
    /// The server of the catalogue whose reviewed entries count for tools with the same definition.
    pub catalogue: Option<String>,
}

/// A pattern of tool names: `*` matches any text, `?` any character. A literal name always matches itself.
#[derive(Debug, Clone, Copy)]
pub struct ToolPattern<'p>(pub &'p str);

impl ToolPattern<'_> {
    /// Whether the pattern matches a name.
    pub fn means(self, name: &str) -> bool {
        if self.0 == name {
            return true;
        }
        let (pattern, name): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut place) = (0, 0);
        // Position of the last star, and how many characters it matches.
        let mut star: Option<(usize, usize)> = None;
        while let Some(c) = name.get(place) {
            match (pattern.get(at), star) {
                (Some('*'), _) => {
                    star = Some((at, place));
                    at += 1;
                }
                (Some(own), _) if *own == '?' || own == c => {
                    at += 1;
                    place += 1;
                }
                (_, Some((before, taken))) => {
                    star = Some((before, taken + 1));
                    at = before + 1;
                    place = taken + 1;
                }
                _ => return false,
            }
        }
        pattern.iter().skip(at).all(|c| *c == '*')
    }
}

/// How an import changed one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChange {
    /// It was not registered before.
    Added,
    /// Its definition differs from the pinned one.
    Changed,
    /// Neither.
    Unchanged,
    /// The server no longer offers it.
    Removed,
}

/// The result of an import for one tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolReport {
    /// The tool.
    pub name: String,
    /// How it changed.
    pub change: ToolChange,
    /// Its registered access level.
    pub access: AccessLevel,
    /// Whether a person has confirmed it.
    pub status: ConfirmationStatus,
    /// The reason for the proposed access level, or what changed.
    pub why: Option<String>,
    /// What to know before confirming it: where it is stricter than before, or milder than a first proposal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// If the tool is typed: the arguments that policies cannot read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<UntypedArgument>,
}

/// The result of an import.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolImport {
    /// The registration.
    pub registration: Registration,
    /// Every tool, by name.
    pub tools: Vec<ToolReport>,
    /// The definitions in the server's list, by name.
    pub listed: BTreeMap<String, ListedTool>,
}

/// Failure of an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The server's name cannot be used.
    #[error("{0}")]
    ServerName(NameError),
    /// The existing registration is another server's.
    #[error("the registration is for server `{found}`, not `{wanted}`")]
    OtherServer {
        /// The name in the registration.
        found: String,
        /// The name given.
        wanted: String,
    },
    /// A name or pattern matches no listed tool.
    #[error("the server lists no tool `{0}`")]
    NoSuchTool(String),
    /// The catalogue has no such server.
    #[error("the catalogue has no server `{0}`; it has {known}", known = known_servers())]
    NotInCatalogue(String),
    /// None of the registered tools is in the list.
    #[error(
        "none of the {count} registered tools of `{server}` is in the list, and all would be removed: if it is the list of this \
         server, take their entries out of the registration first"
    )]
    NothingInCommon {
        /// The server.
        server: String,
        /// Number of registered tools.
        count: usize,
    },
    /// The registration would have a fault.
    #[error("{of}: {error}")]
    Faulty {
        /// `server`, or the tool.
        of: String,
        /// The fault.
        error: EntryError,
    },
    /// The list cannot be parsed.
    #[error(transparent)]
    List(#[from] BundleError),
}

fn known_servers() -> String {
    catalogue::servers().collect::<Vec<_>>().join(", ")
}

/// Parses a `tools/list` result and merges it into an existing registration.
///
/// # Errors
///
/// If the list cannot be parsed, the registration is another server's, or a name or pattern matches no tool.
pub fn import(
    list: SourceText<'_>,
    existing: Option<Registration>,
    choices: &ImportOptions,
) -> Result<ToolImport, ImportError> {
    check_server(existing.as_ref(), choices)?;
    let listed = tool_list::parse(list).map_err(|faults| {
        let nothing = || {
            BundleError::single(BundleDiagnostic::for_file(
                list.file,
                "the list could not be read",
            ))
        };
        BundleError::from_diagnostics(faults).unwrap_or_else(nothing)
    })?;
    let prefixes = Prefixes::from_tools(&choices.server, &listed);
    choices.check_patterns(&listed)?;
    let reviewed = match &choices.catalogue {
        Some(name) => match catalogue::tools(name) {
            Some(tools) => tools,
            None => return Err(ImportError::NotInCatalogue(name.clone())),
        },
        None => BTreeMap::new(),
    };
    let (server, mut known) = match existing {
        Some(registration) => (registration.server, registration.tools),
        None => (new_server(&choices.server), BTreeMap::new()),
    };
    if !known.is_empty() && !listed.iter().any(|tool| known.contains_key(&tool.name)) {
        return Err(ImportError::NothingInCommon {
            server: choices.server.clone(),
            count: known.len(),
        });
    }
    let server = choices.server_entry(server);
    let mut tools = BTreeMap::new();
    let mut report = Vec::new();
    let mut definitions = BTreeMap::new();
    for tool in listed {
        let mut merged = merge(&tool, &prefixes, known.remove(&tool.name));
        if let Some(reviewed) = reviewed.get(&tool.name) {
            take_review(&tool, &mut merged, reviewed);
        }
        if tool.schema.is_null() && merged.change != ToolChange::Unchanged {
            merged.notes.push(NO_SCHEMA.to_owned());
        }
        let Merged {
            change,
            mut entry,
            notes,
        } = merged;
        choices.apply(&tool.name, &mut entry);
        report.push(ToolReport {
            notes,
            ..line(&tool.name, change, &entry)
        });
        tools.insert(tool.name.clone(), entry);
        definitions.insert(tool.name.clone(), tool);
    }
    report.extend(
        known
            .iter()
            .map(|(name, entry)| line(name, ToolChange::Removed, entry)),
    );
    report.sort_by(|a, b| a.name.cmp(&b.name));
    let registration = Registration { server, tools };
    check_registration(&registration)?;
    Ok(ToolImport {
        registration,
        tools: report,
        listed: definitions,
    })
}

/// What is written has to be read again.
fn check_registration(registration: &Registration) -> Result<(), ImportError> {
    let of_server = registration.server.errors().into_iter();
    let of_server = of_server.map(|error| ("server", error));
    let of_tools = registration.tools.iter().flat_map(|(name, entry)| {
        let errors = entry.errors().into_iter();
        errors.map(move |error| (name.as_str(), error))
    });
    match of_server.chain(of_tools).next() {
        None => Ok(()),
        Some((of, error)) => Err(ImportError::Faulty {
            of: of.to_owned(),
            error,
        }),
    }
}

/// Checks that the server has a good name, and that the registration is its.
fn check_server(
    existing: Option<&Registration>,
    choices: &ImportOptions,
) -> Result<(), ImportError> {
    if let Err(error) = check_server_name(&choices.server) {
        return Err(ImportError::ServerName(error));
    }
    if let Some(other) = existing
        .map(|known| &known.server.name)
        .filter(|name| **name != choices.server)
    {
        return Err(ImportError::OtherServer {
            found: other.clone(),
            wanted: choices.server.clone(),
        });
    }
    Ok(())
}

impl ImportOptions {
    /// The entry of the server with what the options say of it.
    fn server_entry(&self, mut server: ServerEntry) -> ServerEntry {
        if let Some(owner) = &self.owner {
            server.owner.clone_from(owner);
        }
        for group in &self.groups {
            if !server.groups.contains(group) {
                server.groups.push(group.clone());
            }
        }
        server
    }

    /// Every name or pattern has to match a listed tool.
    fn check_patterns(&self, listed: &[ListedTool]) -> Result<(), ImportError> {
        let set = self.set.iter().map(|(pattern, _)| pattern);
        for pattern in self.confirm.iter().chain(&self.typed).chain(set) {
            let mut names = listed.iter().map(|tool| tool.name.as_str());
            if !names.any(|name| ToolPattern(pattern).means(name)) {
                return Err(ImportError::NoSuchTool(pattern.clone()));
            }
        }
        Ok(())
    }

    fn apply(&self, name: &str, entry: &mut ToolEntry) {
        let is_meant = |patterns: &BTreeSet<String>| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| ToolPattern(pattern).means(name))
        };
        entry.typed |= is_meant(&self.typed);
        let mut set = self.set.iter().rev();
        if let Some((_, access)) = set.find(|(it, _)| ToolPattern(it).means(name)) {
            set_access(entry, *access);
        }
        if is_meant(&self.confirm) {
            confirm(entry);
        }
    }
}

pub(in crate::analysis) fn new_server(name: &str) -> ServerEntry {
    ServerEntry {
        name: name.to_owned(),
        owner: UNASSIGNED.to_owned(),
        active: true,
        environment: None,
        yields: None,
        groups: Vec::new(),
        tags: BTreeMap::new(),
    }
}

/// The entry of a listed tool.
struct Merged {
    change: ToolChange,
    entry: ToolEntry,
    notes: Vec<String>,
}

fn merge(tool: &ListedTool, prefixes: &Prefixes, known: Option<ToolEntry>) -> Merged {
    let Some(mut entry) = known else {
        return Merged {
            change: ToolChange::Added,
            entry: propose::propose(tool, prefixes),
            notes: Vec::new(),
        };
    };
    let is_pinned = |digest: &str| entry.digest.as_deref() == Some(digest);
    if is_pinned(&tool.digest) || is_pinned(&tool.whole_digest) {
        // The definition is the pinned one; only its stored form may be outdated.
        entry.digest = Some(tool.digest.clone());
        entry.digest_parts = Some(tool.digest_parts.clone());
        entry.description = tool.stored_description();
        return Merged {
            change: ToolChange::Unchanged,
            entry,
            notes: Vec::new(),
        };
    }
    let redefined = import_changed::redefine(tool, prefixes, entry);
    Merged {
        change: ToolChange::Changed,
        entry: redefined.entry,
        notes: redefined.notes,
    }
}

/// Takes what the catalogue says of a tool that awaits a review, if the definition is the one that was reviewed. What a
/// company says of it (owner, groups, tags, whether it is typed) stays.
fn take_review(tool: &ListedTool, merged: &mut Merged, reviewed: &ToolEntry) {
    let entry = &mut merged.entry;
    let is_pinned = |digest: &str| reviewed.digest.as_deref() == Some(digest);
    let is_same = is_pinned(&tool.digest) || is_pinned(&tool.whole_digest);
    if entry.status == ConfirmationStatus::Confirmed || !is_same {
        return;
    }
    let own = std::mem::replace(entry, reviewed.clone());
    entry.digest = Some(tool.digest.clone());
    entry.digest_parts = Some(tool.digest_parts.clone());
    entry.description = tool.stored_description();
    entry.input_schema = Some(tool.shape.clone());
    if entry.argument_order.is_empty() {
        entry.argument_order.clone_from(&tool.argument_order);
    }
    merged.notes.clear();
    let lost = stricter(&own, entry);
    if own.previous_definition.is_some() && !lost.is_empty() {
        let lost = words(&lost);
        merged.notes.push(format!(
            "the catalogue does not say {lost}, as the entry did"
        ));
    }
    entry.owner = own.owner;
    entry.groups = own.groups;
    entry.tags = own.tags;
    entry.typed |= own.typed;
}

/// Sets the access level on behalf of a person.
pub(in crate::analysis) fn set_access(entry: &mut ToolEntry, access: AccessLevel) {
    if entry.access != access {
        entry.access = access;
        let by_whom = "whoever imported it said so".to_owned();
        entry.why.insert("access".to_owned(), by_whom);
    }
}

pub(in crate::analysis) fn confirm(entry: &mut ToolEntry) {
    entry.status = ConfirmationStatus::Confirmed;
    entry.previous_digest = None;
    entry.previous_definition = None;
    // The reasons of the proposal are obsolete once confirmed.
    entry.why.clear();
}

pub(in crate::analysis) fn line(name: &str, change: ToolChange, entry: &ToolEntry) -> ToolReport {
    let why = entry
        .why
        .get("status")
        .or_else(|| entry.why.get("access"))
        .cloned();
    ToolReport {
        name: name.to_owned(),
        change,
        access: entry.access,
        status: entry.status,
        why: why.filter(|_| entry.status == ConfirmationStatus::Proposed),
        notes: Vec::new(),
        left_out: UntypedArgument::of_tool(entry),
    }
}

impl ToolImport {
    /// The content of the registration file.
    ///
    /// # Errors
    ///
    /// If serialization fails, which valid registrations do not.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.registration).map(|text| text + "\n")
    }

    /// Number of tools with this change.
    pub fn count(&self, change: ToolChange) -> usize {
        self.tools
            .iter()
            .filter(|tool| tool.change == change)
            .count()
    }

    /// Number of tools that await confirmation.
    pub fn awaiting(&self) -> usize {
        let awaits = |tool: &&ToolReport| {
            tool.change != ToolChange::Removed && tool.status == ConfirmationStatus::Proposed
        };
        self.tools.iter().filter(awaits).count()
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
