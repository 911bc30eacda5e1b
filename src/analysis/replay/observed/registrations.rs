//! The registrations that are proposed: of tools that were called, and of servers that were asked.
//!
//! Start at [`register`]. Registrations are proposals for a person: nothing is pinned, and a tool counts as `admin` until
//! somebody confirms it.
//!
//! Invariant: what a file says already is not touched. A tool is put in after the others, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use crate::analysis::import;
use crate::analysis::propose::{self, Prefixes};
use crate::analysis::replay::observed::proposal::{ByHand, Proposal, ProposeError};
use crate::analysis::tool_list;
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::bundle::diagnostic::{BundleError, SourceText};
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::registration::{self, Registration, ToolEntry};
use crate::domain::names::{check_server_name, check_tool_name};

/// The most tools, and the most servers, that are proposed.
const MAX_TOOLS: usize = 1_000;

/// What is not registered, and was called.
#[derive(Debug, Default)]
pub(super) struct Unregistered {
    /// By server and tool, the arguments that were sent.
    tools: BTreeMap<(SmolStr, SmolStr), Map<String, Json>>,
    /// Servers, of whatever operation.
    servers: BTreeSet<SmolStr>,
    /// Calls for which there was no room.
    pub left_out: u64,
}

impl Unregistered {
    /// Adds what a call names.
    pub(super) fn add(&mut self, capsule: &Capsule) {
        let CapsuleRequest::Call(call, _) = &capsule.request else {
            return;
        };
        let server = &call.operation.server;
        let tool = call.operation.kind.tool_call();
        let none = Map::new();
        let arguments = tool.map_or(&none, |it| &it.arguments);
        self.add_call(server, tool.map(|it| &it.tool), arguments, shape);
    }

    fn add_call(
        &mut self,
        server: &SmolStr,
        tool: Option<&SmolStr>,
        arguments: &Map<String, Json>,
        shape: impl Fn(&Json) -> Json,
    ) {
        let is_room = self.tools.len().max(self.servers.len()) < MAX_TOOLS;
        let Some(tool) = tool else {
            match is_room || self.servers.contains(server) {
                true => drop(self.servers.insert(server.clone())),
                false => self.left_out += 1,
            }
            return;
        };
        let key = (server.clone(), tool.clone());
        if !is_room && !self.tools.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let known = self.tools.entry(key).or_default();
        for (name, value) in arguments {
            known.entry(name.clone()).or_insert_with(|| shape(value));
        }
    }

    /// Adds what another worker found.
    pub(super) fn merge(&mut self, other: Self) {
        self.left_out += other.left_out;
        for ((server, tool), arguments) in &other.tools {
            self.add_call(server, Some(tool), arguments, Json::clone);
        }
        for server in &other.servers {
            self.add_call(server, None, &Map::new(), Json::clone);
        }
    }

    /// The tools of each server.
    fn by_server(&self) -> BTreeMap<&SmolStr, Vec<ObservedTool<'_>>> {
        let mut servers: BTreeMap<&SmolStr, Vec<ObservedTool<'_>>> = BTreeMap::new();
        for server in &self.servers {
            servers.entry(server).or_default();
        }
        for ((server, tool), arguments) in &self.tools {
            servers.entry(server).or_default().push((tool, arguments));
        }
        servers
    }
}

/// The JSON Schema of a value, as far as its type goes.
fn shape(value: &Json) -> Json {
    json!({ "type": match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    } })
}

/// A tool by name, with the arguments that calls gave it.
type ObservedTool<'a> = (&'a SmolStr, &'a Map<String, Json>);

/// Where the registration of a server is, in a directory that has none of it.
fn registration_name(server: &str) -> String {
    format!("tools/{server}.json")
}

/// Whether a path leads to a file of this name in the directory or in one below.
pub(super) fn is_at(path: &str, name: &str) -> bool {
    let before = path.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// The path of a file in its directory.
fn name_in(files: &BundleFiles, source: &SourceFile) -> Option<String> {
    let names = files
        .digests
        .keys()
        .filter(|name| is_at(&source.file, name));
    names.max_by_key(|name| name.len()).map(ToString::to_string)
}

/// The file that registers a server, if there is one.
pub(super) fn registration_of<'f>(files: &'f BundleFiles, server: &str) -> Option<&'f SourceFile> {
    let mut sources = files.of_kind(FileKind::Registration);
    sources.find(|it| *it.stem == *server)
}

/// Adds what is not registered to the registrations of the servers. `is_registered` says of a server whether the directory has it in
/// whatever way.
///
/// # Errors
///
/// [`ProposeError`] if an entry cannot be written.
pub(super) fn register(
    unregistered: &Unregistered,
    is_registered: impl Fn(&SmolStr) -> bool,
    files: &mut BundleFiles,
    proposal: &mut Proposal,
) -> Result<(), ProposeError> {
    for (server, tools) in unregistered.by_server() {
        if let Err(why) = can_be_registered(server) {
            by_hand(proposal, format!("server `{server}`"), why);
            continue;
        }
        let mut entries = Vec::new();
        for (tool, arguments) in tools {
            match check_tool_name(tool) {
                Ok(()) => entries.push((tool.as_str(), entry(server, tool, arguments)?)),
                Err(error) => {
                    let what = format!("tool `{tool}` of server `{server}`");
                    by_hand(proposal, what, error.to_string());
                }
            }
        }
        let own = |it: &SourceFile| it.kind == FileKind::Registration && *it.stem == **server;
        let at = files.sources.iter().position(own);
        match at {
            Some(at) => extend(at, &entries, files, proposal)?,
            // A second registration would be a fault.
            None if is_registered(server) => by_hand(
                proposal,
                format!("server `{server}`"),
                format!(
                    "is among the entities and has no `{}`: add its tools where it is, or move it there",
                    registration_name(server)
                ),
            ),
            None => add(server, entries, files, proposal)?,
        }
    }
    Ok(())
}

fn by_hand(proposal: &mut Proposal, what: String, why: String) {
    proposal.by_hand.push(ByHand {
        what,
        why,
        count: 0,
    });
}

fn can_be_registered(server: &str) -> Result<(), String> {
    check_server_name(server).map_err(|error| error.to_string())?;
    let name = registration_name(server);
    match FileKind::from_path(Path::new(&name)) {
        Some(FileKind::Registration) => Ok(()),
        _ => Err(format!("`{name}` would not be read as a registration")),
    }
}

/// Puts tools into the registration that is there.
fn extend(
    at: usize,
    entries: &[(&str, ToolEntry)],
    files: &mut BundleFiles,
    proposal: &mut Proposal,
) -> Result<(), ProposeError> {
    let Some(source) = files.sources.get(at) else {
        return Ok(());
    };
    let Some(known) = registration::parse(source, &mut Vec::new()) else {
        return Ok(());
    };
    let is_new = |it: &&(&str, ToolEntry)| !known.tools.contains_key(it.0);
    let new: Vec<_> = entries.iter().filter(is_new).collect();
    let Some(name) = name_in(files, source) else {
        return Ok(());
    };
    if new.is_empty() {
        return Ok(());
    }
    let Some(text) = with_tools(&source.text, &new)? else {
        return Ok(());
    };
    proposal.tools += new.len();
    if let Some(source) = files.sources.get_mut(at) {
        source.text = text.as_str().into();
        source.digest = None;
    }
    proposal.registrations.insert(name, text);
    Ok(())
}

/// Makes a registration.
fn add(
    server: &str,
    entries: Vec<(&str, ToolEntry)>,
    files: &mut BundleFiles,
    proposal: &mut Proposal,
) -> Result<(), ProposeError> {
    proposal.tools += entries.len();
    let tools = entries.into_iter();
    let registration = Registration {
        server: import::new_server(server),
        tools: tools.map(|(name, it)| (name.to_owned(), it)).collect(),
    };
    let text = serde_json::to_string_pretty(&registration)? + "\n";
    let name = registration_name(server);
    files.sources.push(SourceFile {
        kind: FileKind::Registration,
        file: name.as_str().into(),
        stem: Arc::from(server),
        text: text.as_str().into(),
        digest: None,
    });
    proposal.registrations.insert(name, text);
    Ok(())
}

/// The text of a registration with more tools. Every byte that is there stays. `None` if the tools are not found.
fn with_tools(text: &str, new: &[&(&str, ToolEntry)]) -> Result<Option<String>, serde_json::Error> {
    let span = json::span_of(text, &[Step::Key("tools")]);
    let (start, end) = (span.start + 1, span.end.saturating_sub(1));
    let parts = (text.get(..start), text.get(start..end), text.get(end..));
    let (Some(before), Some(members), Some(after)) = parts else {
        return Ok(None);
    };
    let kept = members.trim_end();
    let space_after = members.strip_prefix(kept).unwrap_or_default();
    let space_before = members.strip_suffix(members.trim_start());
    let space_before = space_before.unwrap_or_default();
    // Members that follow one another on a line go on there.
    let indent = match (kept.is_empty(), space_before.rsplit_once('\n')) {
        (true, _) => Some(indent_of_line(before).to_owned() + "  "),
        (false, Some((_, indent))) => Some(indent.to_owned()),
        (false, None) => None,
    };
    let mut added = Vec::new();
    for (name, entry) in new {
        let name = serde_json::to_string(name)?;
        added.push(match &indent {
            Some(indent) => {
                let entry = serde_json::to_string_pretty(entry)?;
                let entry = entry.replace('\n', &format!("\n{indent}"));
                format!("\n{indent}{name}: {entry}")
            }
            None => format!(" {name}: {}", serde_json::to_string(entry)?),
        });
    }
    let added = added.join(",");
    Ok(Some(match kept.is_empty() {
        true => format!("{before}{added}\n{}{after}", indent_of_line(before)),
        false => format!("{before}{kept},{added}{space_after}{after}"),
    }))
}

/// The white space that the last line begins with.
fn indent_of_line(text: &str) -> &str {
    let line = text.rsplit('\n').next().unwrap_or_default();
    line.strip_suffix(line.trim_start()).unwrap_or_default()
}

/// The entry of a tool of which only calls are known. Nothing is pinned: its server's list says what there is to pin.
fn entry(
    server: &str,
    tool: &str,
    arguments: &Map<String, Json>,
) -> Result<ToolEntry, ProposeError> {
    let list = json!({ "tools": [{
        "name": tool,
        "inputSchema": { "type": "object", "properties": arguments },
    }] });
    let text = list.to_string();
    let file: Arc<str> = "<observed calls>".into();
    let origin = SourceText {
        file: &file,
        text: &text,
    };
    let listed = tool_list::parse(origin).map_err(|faults| {
        let faults = BundleError::from_diagnostics(faults);
        faults.map_or_else(
            || ProposeError::Records("a tool cannot be read".into()),
            Into::into,
        )
    })?;
    let prefixes = Prefixes::from_tools(server, &listed);
    let Some(listed) = listed.first() else {
        return Err(ProposeError::Records("a tool cannot be read".into()));
    };
    let mut entry = propose::propose(listed, &prefixes);
    entry.why.remove("target_arguments");
    entry.why.remove("file_contents");
    let why = "proposed from observed calls, without its definition: import its server's list, then confirm it";
    entry.why.insert("status".to_owned(), why.to_owned());
    Ok(ToolEntry {
        digest: None,
        digest_parts: None,
        description: None,
        input_schema: None,
        argument_order: Vec::new(),
        target_arguments: Vec::new(),
        file_contents: Vec::new(),
        ..entry
    })
}

#[cfg(test)]
#[path = "registrations_tests.rs"]
mod tests;
