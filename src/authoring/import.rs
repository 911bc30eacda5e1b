//! From a server's `tools/list` to its registration, again and again as the server changes.
//!
//! Start at [`import`]. A definition that changed loses its confirmation; what people wrote stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::authoring::propose::{self, Prefixes};
use crate::authoring::tool_list::{self, ListedTool};
use crate::bundle::fault::{Fault, Faults, Origin};
use crate::bundle::registration::{
    Effect, Registration, ServerEntry, Status, ToolEntry, server_name_fault,
};

/// The owner of a server that nobody has claimed yet.
pub const UNASSIGNED: &str = "unassigned";

/// What the person who imports has decided.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The server's name here. Names that servers give themselves are not evidence.
    pub server: String,
    /// Who answers for it; `None` keeps what the registration says.
    pub owner: Option<String>,
    /// Tools whose entries the person has read and stands behind.
    pub confirm: BTreeSet<String>,
    /// Tools whose arguments policies may look at.
    pub typed: BTreeSet<String>,
}

/// What became of one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not registered.
    Added,
    /// Its definition is another than the pinned one.
    Changed,
    /// Nothing.
    Unchanged,
    /// The server no longer offers it.
    Removed,
}

/// One line of an import's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolReport {
    /// The tool.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Its effect, as registered now.
    pub effect: Effect,
    /// Whether a person stands behind that.
    pub status: Status,
    /// Why the effect was proposed, or what changed.
    pub why: Option<String>,
}

/// The new registration and what is different about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The registration.
    pub registration: Registration,
    /// Every tool, by name.
    pub tools: Vec<ToolReport>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The server's name cannot be used.
    #[error("{0}")]
    ServerName(String),
    /// The existing registration is another server's.
    #[error("the registration is for server `{found}`, not `{wanted}`")]
    OtherServer {
        /// What it says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A tool that was named is not in the list.
    #[error("the server lists no tool `{0}`")]
    NoSuchTool(String),
    /// The list itself.
    #[error(transparent)]
    List(#[from] Faults),
}

/// Reads a list and merges it into what is registered.
pub fn import(
    list: Origin<'_>,
    existing: Option<Registration>,
    choices: &Choices,
) -> Result<Imported, ImportError> {
    if let Some(message) = server_name_fault(&choices.server) {
        return Err(ImportError::ServerName(message));
    }
    if let Some(other) = existing
        .as_ref()
        .map(|known| &known.server.name)
        .filter(|name| **name != choices.server)
    {
        return Err(ImportError::OtherServer {
            found: other.clone(),
            wanted: choices.server.clone(),
        });
    }
    let listed = tool_list::parse(list).map_err(|faults| {
        let nothing = || Faults::one(Fault::of_file(list.file, "the list could not be read"));
        Faults::from_list(faults).unwrap_or_else(nothing)
    })?;
    let prefixes = Prefixes::of(&choices.server, &listed);
    let names: BTreeSet<&str> = listed.iter().map(|tool| tool.name.as_str()).collect();
    let mut asked = choices.confirm.iter().chain(&choices.typed);
    if let Some(stranger) = asked.find(|name| !names.contains(name.as_str())) {
        return Err(ImportError::NoSuchTool(stranger.clone()));
    }
    let (server, mut known) = match existing {
        Some(registration) => (registration.server, registration.tools),
        None => (new_server(&choices.server), BTreeMap::new()),
    };
    let server = match &choices.owner {
        Some(owner) => ServerEntry {
            owner: owner.clone(),
            ..server
        },
        None => server,
    };
    let mut tools = BTreeMap::new();
    let mut report = Vec::new();
    for tool in listed {
        let (change, mut entry) = merge(&tool, &prefixes, known.remove(&tool.name));
        entry.typed |= choices.typed.contains(&tool.name);
        if choices.confirm.contains(&tool.name) {
            confirm(&mut entry);
        }
        report.push(line(&tool.name, change, &entry));
        tools.insert(tool.name, entry);
    }
    report.extend(
        known
            .iter()
            .map(|(name, entry)| line(name, Change::Removed, entry)),
    );
    report.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Imported {
        registration: Registration { server, tools },
        tools: report,
    })
}

fn new_server(name: &str) -> ServerEntry {
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

fn merge(tool: &ListedTool, prefixes: &Prefixes, known: Option<ToolEntry>) -> (Change, ToolEntry) {
    let Some(mut entry) = known else {
        return (Change::Added, propose::propose(tool, prefixes));
    };
    let is_pinned = |digest: &str| entry.digest.as_deref() == Some(digest);
    if is_pinned(&tool.digest) || is_pinned(&tool.whole_digest) {
        // It is what somebody stood behind; only how that is written down may be new.
        entry.digest = Some(tool.digest.clone());
        entry.digest_parts = Some(tool.digest_parts.clone());
        return (Change::Unchanged, entry);
    }
    let fresh = propose::propose(tool, prefixes);
    let mut note = match &entry.digest {
        Some(_) => "the server changed the definition since it was pinned".to_owned(),
        None => "no definition was pinned".to_owned(),
    };
    if fresh.effect > entry.effect {
        note = format!("{note}; it now looks like {}", fresh.effect);
    }
    entry.why.insert("status".to_owned(), note);
    entry.status = Status::Proposed;
    // The last definition somebody stood behind is the one to compare with.
    let pinned = entry.previous_digest.take().or(entry.digest.take());
    entry.previous_digest = pinned;
    entry.digest = fresh.digest;
    entry.digest_parts = fresh.digest_parts;
    entry.input_schema = fresh.input_schema;
    entry.argument_order = fresh.argument_order;
    (Change::Changed, entry)
}

fn confirm(entry: &mut ToolEntry) {
    entry.status = Status::Confirmed;
    entry.previous_digest = None;
    // The reasons for a guess that somebody has answered for.
    entry.why.clear();
}

fn line(name: &str, change: Change, entry: &ToolEntry) -> ToolReport {
    let why = entry
        .why
        .get("status")
        .or_else(|| entry.why.get("effect"))
        .cloned();
    ToolReport {
        name: name.to_owned(),
        change,
        effect: entry.effect,
        status: entry.status,
        why: why.filter(|_| entry.status == Status::Proposed),
    }
}

impl Imported {
    /// The registration as its file holds it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.registration).map(|text| text + "\n")
    }

    /// How many tools underwent a change.
    pub fn count(&self, change: Change) -> usize {
        self.tools
            .iter()
            .filter(|tool| tool.change == change)
            .count()
    }

    /// How many tools await a person.
    pub fn awaiting(&self) -> usize {
        let awaits =
            |tool: &&ToolReport| tool.change != Change::Removed && tool.status == Status::Proposed;
        self.tools.iter().filter(awaits).count()
    }
}

#[cfg(test)]
mod tests;
