//! What to register and permit, so that calls that observe mode let through are allowed.
//!
//! Start at `propose`. Three passes over the observed calls that would have been denied: which tools are not
//! registered; with those registered, which permits are missing; with both, what is allowed. Registrations are proposals
//! for a person, so their tools count as `admin` until confirmed, and permits name the group `call_tool` and the tools
//! one by one. A call that a forbid, an error or its evidence denies is left to a person, and so is one that an approval
//! would allow.
//!
//! Invariant: what is proposed compiles with the directory, and its effect is measured by replay before it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use crate::analysis::import;
use crate::analysis::propose::{self, Prefixes};
use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::report::operation;
use crate::analysis::replay::{RecordedDecision, Replayed, for_each};
use crate::analysis::tool_list;
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::bundle::diagnostic::{BundleError, SourceText};
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::registration::{self, Registration, ToolEntry};
use crate::bundle::{self, Bundle};
use crate::domain::decide::verdict::Verdict;
use crate::domain::names::{check_server_name, check_tool_name};
use crate::domain::reason::ReasonCode;
use crate::domain::schema::{self, TYPES};

/// What the names of proposed files of policies and the ids of proposed policies begin with.
const OBSERVED: &str = "observed";
/// The most pairs of a principal and a resource that are proposed.
const MAX_PAIRS: usize = 10_000;
/// The most tools that are proposed.
const MAX_TOOLS: usize = 1_000;
/// Operations listed for each reason of what is left.
const LISTED: usize = 10;

/// A proposal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Proposal {
    /// Observed calls that would have been denied when they were made.
    pub would_be_denied: u64,
    /// Those that the directory as it is would allow.
    pub allowed_already: u64,
    /// Those that the directory with the proposal allows.
    pub allowed: u64,
    /// Those that could not be replayed.
    pub not_replayed: u64,
    /// The files to register tools with, by their name in the directory.
    pub registrations: BTreeMap<String, String>,
    /// How many tools they add.
    pub tools: usize,
    /// The permits, as Cedar text; empty if none is needed.
    pub policies: String,
    /// The name of their file: one that the directory does not have.
    pub policy_file: String,
    /// How many permits.
    pub permits: usize,
    /// What is left to a person, by the code of the reason.
    pub left: BTreeMap<String, Left>,
}

/// Calls that the proposal does not allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// How many.
    pub count: u64,
    /// What was called, with counts, the first by name.
    pub operations: BTreeMap<String, u64>,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The records cannot be read.
    #[error("{0}")]
    Records(String),
    /// The proposal does not compile with the directory.
    #[error("the proposal does not fit the directory")]
    Bundle(BundleError),
    /// A registration does not serialize.
    #[error("a registration cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<BundleError> for ProposeError {
    fn from(faults: BundleError) -> Self {
        Self::Bundle(faults)
    }
}

/// Tools that are not registered: by server and name, the arguments that were sent.
type UnknownTools = BTreeMap<(SmolStr, SmolStr), Map<String, Json>>;

/// Permits that are missing: by principal and action, the resources.
type MissingPermits = BTreeMap<(EntityUID, PermittedAction), BTreeSet<EntityUID>>;

/// The action of a permit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PermittedAction {
    /// `action in Mcp::Action::"call_tool"`, so that the permit stays when somebody confirms another access level.
    CallTool,
    /// `action == …`.
    Is(EntityUID),
}

/// Proposes for the observed calls among the records; `records` is called for each pass.
///
/// # Errors
///
/// [`ProposeError`].
pub fn propose<I: Iterator<Item = RecordedDecision>>(
    files: &BundleFiles,
    records: impl Fn() -> Result<I, String>,
    workers: usize,
) -> Result<Proposal, ProposeError> {
    let pass = |candidate: &Candidate| {
        let records = records().map_err(ProposeError::Records)?;
        let observed = records.filter(|record| !record.is_enforced && !record.is_allow);
        let mut found = Findings::default();
        let add = |_: &RecordedDecision, result, own: &mut Findings| own.add(result);
        for_each(
            candidate,
            observed,
            workers,
            add,
            &mut |_| {},
            &mut found,
            Findings::merge,
        );
        Ok::<_, ProposeError>(found)
    };
    let bundle = bundle::compile(files)?;
    let first = pass(&Candidate::from_bundle(&bundle))?;
    let mut proposal = Proposal {
        would_be_denied: first.seen,
        allowed_already: first.allowed,
        ..Proposal::default()
    };
    let mut proposed = files.clone();
    let is_registered = |server: &SmolStr| bundle.snapshot.contains(&schema::server_uid(server));
    register(
        &first.unknown_tools,
        is_registered,
        &mut proposed,
        &mut proposal,
    )?;
    let second = pass(&Candidate::from_bundle(&bundle::compile(&proposed)?))?;
    proposal.permits = second.missing.len();
    proposal.policies = policy_text(&second.missing, last_number(&bundle) as usize + 1);
    if proposal.permits > 0 {
        proposal.policy_file = policy_file(files);
        let text = proposal.policies.as_str().into();
        proposed.sources.push(SourceFile {
            kind: FileKind::Policies,
            file: proposal.policy_file.as_str().into(),
            stem: OBSERVED.into(),
            text,
            digest: None,
        });
    }
    let last = pass(&Candidate::from_bundle(&bundle::compile(&proposed)?))?;
    proposal.allowed = last.allowed;
    proposal.not_replayed = last.not_replayed;
    proposal.left = last.left;
    Ok(proposal)
}

/// What one pass finds.
#[derive(Debug, Default)]
struct Findings {
    seen: u64,
    allowed: u64,
    not_replayed: u64,
    unknown_tools: UnknownTools,
    missing: MissingPermits,
    pairs: usize,
    left: BTreeMap<String, Left>,
}

impl Findings {
    fn add(&mut self, result: Replayed) {
        self.seen += 1;
        let Replayed::Verdict(capsule, verdict) = result else {
            self.not_replayed += 1;
            return;
        };
        if verdict.is_allow() {
            self.allowed += 1;
            return;
        }
        let code = verdict.reasons.first().map(|reason| reason.code);
        let name = code.map_or("NONE", ReasonCode::as_str).to_owned();
        let left = self.left.entry(name).or_default();
        left.count += 1;
        let operation = operation(&capsule);
        if left.operations.len() < LISTED || left.operations.contains_key(&operation) {
            *left.operations.entry(operation).or_default() += 1;
        }
        if matches!(
            code,
            Some(ReasonCode::ToolUnknown | ReasonCode::ServerUnknown)
        ) {
            self.add_tool(&capsule);
        } else if lacks_permits_alone(&verdict) {
            self.add_permits(&verdict);
        }
    }

    fn add_tool(&mut self, capsule: &Capsule) {
        let CapsuleRequest::Call(call, _) = &capsule.request else {
            return;
        };
        let Some(tool) = call.operation.kind.tool_call() else {
            return;
        };
        let key = (call.operation.server.clone(), tool.tool.clone());
        let is_room = self.unknown_tools.len() < MAX_TOOLS;
        if is_room || self.unknown_tools.contains_key(&key) {
            let arguments = self.unknown_tools.entry(key).or_default();
            for (name, value) in &tool.arguments {
                arguments
                    .entry(name.clone())
                    .or_insert_with(|| shape(value));
            }
        }
    }

    fn add_permits(&mut self, verdict: &Verdict) {
        for principal in verdict.principals.iter().filter(|it| it.permits.is_empty()) {
            if self.pairs >= MAX_PAIRS {
                return;
            }
            let is_call = *principal.resource.entity_type() == TYPES.tool
                && *principal.principal.entity_type() != TYPES.server
                && *principal.action.entity_type() == TYPES.action;
            let action = match is_call {
                true => PermittedAction::CallTool,
                false => PermittedAction::Is(principal.action.clone()),
            };
            let key = (principal.principal.clone(), action);
            let resources = self.missing.entry(key).or_default();
            self.pairs += usize::from(resources.insert(principal.resource.clone()));
        }
    }

    fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.allowed += other.allowed;
        self.not_replayed += other.not_replayed;
        for (key, arguments) in other.unknown_tools {
            if self.unknown_tools.len() < MAX_TOOLS || self.unknown_tools.contains_key(&key) {
                self.unknown_tools.entry(key).or_default().extend(arguments);
            }
        }
        for (key, resources) in other.missing {
            for resource in resources {
                if self.pairs < MAX_PAIRS {
                    let known = self.missing.entry(key.clone()).or_default();
                    self.pairs += usize::from(known.insert(resource));
                }
            }
        }
        for (code, left) in other.left {
            let own = self.left.entry(code).or_default();
            own.count += left.count;
            for (operation, count) in left.operations {
                if own.operations.len() < LISTED || own.operations.contains_key(&operation) {
                    *own.operations.entry(operation).or_default() += count;
                }
            }
        }
    }
}

/// Whether permits are all that is missing.
fn lacks_permits_alone(verdict: &Verdict) -> bool {
    let mut reasons = verdict.reasons.iter();
    let mut principals = verdict.principals.iter();
    reasons.all(|it| matches!(it.code, ReasonCode::NoPermit | ReasonCode::DelegatorDenied))
        && principals.all(|it| it.forbids.is_empty() && it.errors.is_empty())
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

/// The highest number of a policy of the directory that was proposed before.
fn last_number(bundle: &Bundle) -> u32 {
    let ids = bundle.policies.iter().map(|policy| policy.id.as_str());
    let numbers = ids.filter_map(|id| id.strip_prefix(OBSERVED)?.strip_prefix('.')?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// A name for the file of permits that no file of the directory has.
fn policy_file(files: &BundleFiles) -> String {
    let is_free = |name: &String| files.sources.iter().all(|it| !is_at(&it.file, name));
    let others = (2..).map(|number| format!("{OBSERVED}-{number}.cedar"));
    let mut names = std::iter::once(format!("{OBSERVED}.cedar")).chain(others);
    names.find(is_free).unwrap_or_default()
}

/// Whether a path leads to a file of this name in the directory or in one below.
fn is_at(path: &str, name: &str) -> bool {
    let before = path.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// Where the registration of a server is, in a directory that has none of it.
fn registration_name(server: &str) -> String {
    format!("tools/{server}.json")
}

/// The path of a file in its directory.
fn name_in(files: &BundleFiles, source: &SourceFile) -> Option<String> {
    let names = files
        .digests
        .keys()
        .filter(|name| is_at(&source.file, name));
    names.max_by_key(|name| name.len()).map(ToString::to_string)
}

/// Adds the unknown tools to the registrations of their servers.
fn register(
    unknown: &UnknownTools,
    is_registered: impl Fn(&SmolStr) -> bool,
    files: &mut BundleFiles,
    proposal: &mut Proposal,
) -> Result<(), ProposeError> {
    let mut servers: BTreeMap<&SmolStr, Vec<ObservedTool<'_>>> = BTreeMap::new();
    let is_read = |server: &SmolStr| {
        let kind = FileKind::from_path(Path::new(&registration_name(server)));
        check_server_name(server).is_ok() && kind == Some(FileKind::Registration)
    };
    for ((server, tool), arguments) in unknown {
        if is_read(server) && check_tool_name(tool).is_ok() {
            servers.entry(server).or_default().push((tool, arguments));
        }
    }
    for (server, tools) in servers {
        let own = |it: &SourceFile| it.kind == FileKind::Registration && *it.stem == **server;
        let own = files.sources.iter().position(own);
        let name = own.and_then(|at| name_in(files, &files.sources[at]));
        let own = own.and_then(|at| files.sources.get_mut(at));
        let known = own
            .as_deref()
            .and_then(|it| registration::parse(it, &mut Vec::new()));
        if known.is_none() && is_registered(server) {
            // It is registered in another way; a second registration would be a fault.
            continue;
        }
        let mut registration = known.unwrap_or_else(|| Registration {
            server: import::new_server(server),
            tools: BTreeMap::new(),
        });
        for (tool, arguments) in tools {
            let entry = entry(server, tool, arguments)?;
            let place = registration.tools.entry(tool.to_string());
            if let std::collections::btree_map::Entry::Vacant(place) = place {
                place.insert(entry);
                proposal.tools += 1;
            }
        }
        let text = serde_json::to_string_pretty(&registration)? + "\n";
        let name = name.unwrap_or_else(|| registration_name(server));
        match own {
            Some(source) => source.text = text.as_str().into(),
            None => files.sources.push(SourceFile {
                kind: FileKind::Registration,
                file: name.as_str().into(),
                stem: Arc::from(server.as_str()),
                text: text.as_str().into(),
                digest: None,
            }),
        }
        proposal.registrations.insert(name, text);
    }
    Ok(())
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
    let why = "proposed from observed calls, without its definition: import its server's list, then confirm it";
    entry.why.insert("status".to_owned(), why.to_owned());
    Ok(ToolEntry {
        digest: None,
        digest_parts: None,
        description: None,
        input_schema: None,
        argument_order: Vec::new(),
        target_arguments: Vec::new(),
        ..entry
    })
}

/// One permit for each principal and action, numbered from `first` on.
fn policy_text(missing: &MissingPermits, first: usize) -> String {
    if missing.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "// Proposed from calls that were observed and would have been denied for lack of a permit.\n\
         // Whoever observed them did not judge them: read each one before it goes into service.\n",
    );
    for (number, ((principal, action), resources)) in missing.iter().enumerate() {
        let action = match action {
            PermittedAction::CallTool => format!("in {}", schema::action_uid("call_tool")),
            PermittedAction::Is(action) => format!("== {action}"),
        };
        let resources: Vec<String> = resources.iter().map(|it| format!("    {it}")).collect();
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n@id(\"{OBSERVED}.{:04}\")\npermit (\n  principal == {principal},\n  action {action},\n  resource\n)\nwhen {{\n  [\n{}\n  ].contains(resource)\n}};\n",
            first + number,
            resources.join(",\n"),
        );
    }
    text
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
