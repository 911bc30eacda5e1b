//! Records as rows of a table: one row a record, the same columns for every kind. Lists are joined with spaces; an item that
//! is empty, has a blank or begins with a quote is a string of JSON, in quotes.

use crate::audit::archive::REMOVED_RECORDS;
use crate::audit::filter;
use crate::audit::json;
use crate::audit::record::Record;
use crate::audit::record::schema::{
    ControlWrite, Decision, Notice, Outcome, Policy, Reason, notice, record,
};
use crate::domain::request::canonical::hex;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Nanoseconds since 1970, in UTC.
    Time,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// Text.
    Text(String),
    /// A number or a time.
    Number(u64),
}

use Type::{Number, Text, Time};

/// The columns, in their order.
pub const COLUMNS: [(&str, Type); 67] = [
    ("index", Number),
    ("at", Time),
    ("kind", Text),
    ("decision_id", Text),
    ("decision", Text),
    ("operation", Text),
    ("server", Text),
    ("tool", Text),
    ("prompt", Text),
    ("subject", Text),
    ("root", Text),
    ("actors", Text),
    ("delegation_ids", Text),
    ("parent_decision_id", Text),
    ("session_id", Text),
    ("task_id", Text),
    ("step", Text),
    ("initiator", Text),
    ("adapter", Text),
    ("caller", Text),
    ("request_id", Text),
    ("is_dry_run", Text),
    ("is_observed", Text),
    ("revision", Number),
    ("policy_set_digest", Text),
    ("codes", Text),
    ("policies", Text),
    ("owners", Text),
    ("controls", Text),
    ("shadow_policies", Text),
    ("obligations", Text),
    ("approval_id", Text),
    ("labels", Text),
    ("took_nanos", Number),
    ("trace_id", Text),
    ("span_id", Text),
    ("capsule_digest", Text),
    ("capsule_frame_digest", Text),
    ("verb", Text),
    ("id", Text),
    ("outcome", Text),
    ("size", Number),
    ("notice", Text),
    ("text", Text),
    ("count", Number),
    ("first", Number),
    ("last", Number),
    ("since", Time),
    ("is_cut", Text),
    ("cedar_action", Text),
    ("cedar_resource", Text),
    ("sought", Text),
    ("kept", Number),
    ("hidden", Number),
    ("shown", Number),
    ("approval_ids", Text),
    ("scopes", Text),
    ("is_verified", Text),
    ("jsonrpc_id", Text),
    ("budget_task_id", Text),
    ("tool_budget_id", Text),
    ("reads", Text),
    ("target_labels", Text),
    ("would_use", Text),
    ("reason_policies", Text),
    ("stop_reason", Text),
    ("log", Text),
];

/// A row, whose cells are set by the names of their columns.
struct ExportRow(Vec<Cell>);

impl ExportRow {
    fn set(&mut self, name: &str, cell: Cell) {
        let at = COLUMNS.iter().position(|(column, _)| *column == name);
        debug_assert!(at.is_some(), "{name} is no column");
        if let Some(place) = at.and_then(|at| self.0.get_mut(at)) {
            *place = cell;
        }
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.set(name, Cell::Text(text));
        }
    }

    /// `true`, or nothing.
    fn flag(&mut self, name: &str, is_set: bool) {
        self.text(name, if is_set { "true" } else { "" });
    }

    fn number(&mut self, name: &str, number: u64) {
        self.set(name, Cell::Number(number));
    }
}

/// The cells of a record of a log with this origin, one for each of [`COLUMNS`].
pub fn row(record: &Record, log: &str) -> Vec<Cell> {
    let mut row = ExportRow(vec![Cell::Empty; COLUMNS.len()]);
    if let Some(index) = record.index {
        row.number("index", index);
    }
    row.number("at", record.at);
    row.text("log", log);
    row.flag("is_cut", record.is_cut);
    row.text("capsule_frame_digest", hex(&record.capsule_frame_digest));
    match &record.kind {
        Some(record::Kind::Decision(it)) => decision(&mut row, it),
        Some(record::Kind::Write(it)) => write(&mut row, it),
        Some(record::Kind::Outcome(it)) => outcome(&mut row, it),
        Some(record::Kind::Notice(it)) => notice(&mut row, it),
        None => row.text("kind", "unknown"),
    }
    row.0
}

fn decision(row: &mut ExportRow, it: &Decision) {
    row.text("kind", "decision");
    row.text("decision_id", json::uuid(&it.id));
    row.text("decision", json::verdict(it.verdict()));
    row.text("operation", &it.operation);
    row.text("server", &it.server);
    row.text("tool", &it.tool);
    row.text("prompt", &it.prompt);
    row.text("subject", &it.subject);
    if let Some(chain) = &it.chain {
        row.text("root", &chain.root);
        row.text("actors", list(&chain.actors));
        row.text("delegation_ids", list(&chain.delegation_ids));
        row.text("scopes", list(&chain.scopes));
        row.flag("is_verified", chain.is_verified);
    }
    if !it.parent_decision_id.is_empty() {
        row.text("parent_decision_id", json::uuid(&it.parent_decision_id));
    }
    row.text("session_id", &it.session_id);
    row.text("task_id", &it.task_id);
    row.text("step", &it.step);
    row.text("initiator", &it.initiator);
    row.text("adapter", &it.adapter);
    row.text("caller", &it.caller);
    row.text("request_id", &it.request_id);
    row.flag("is_dry_run", it.is_dry_run);
    row.flag("is_observed", it.is_observed);
    row.number("revision", it.revision);
    row.text("policy_set_digest", hex(&it.policy_set_digest));
    reasons(row, &it.reasons);
    policies(row, &it.determining_policies);
    row.text("shadow_policies", ids(&it.shadow_policies));
    row.text("obligations", list(&it.obligations));
    if let Some(effects) = &it.side_effects {
        row.text("approval_id", &effects.approval_id);
        row.text("labels", list(&effects.added_labels));
        row.text("budget_task_id", &effects.budget_task_id);
        row.text("tool_budget_id", &effects.tool_budget_id);
        row.flag("reads", effects.reads);
        row.text("target_labels", list(&effects.target_labels));
    }
    row.number("took_nanos", it.took_nanos);
    row.text("trace_id", hex(&it.trace_id));
    row.text("span_id", hex(&it.span_id));
    row.text("capsule_digest", hex(&it.capsule_digest));
    row.text("cedar_action", &it.cedar_action);
    row.text("cedar_resource", &it.cedar_resource);
    row.text("sought", &it.sought);
    if let Some((kept, hidden)) = json::counts(it) {
        row.number("kept", kept);
        row.number("hidden", hidden);
    }
    if it.shown > 0 {
        row.number("shown", it.shown);
    }
    row.text("approval_ids", list(&it.approval_ids));
    row.text("jsonrpc_id", &it.jsonrpc_id);
    if let Some(would_use) = json::side_effects(it.would_use.as_ref()) {
        row.text("would_use", would_use.to_string());
    }
}

fn write(row: &mut ExportRow, it: &ControlWrite) {
    row.text("kind", "write");
    row.text("decision", json::verdict(filter::verdict_of(it)));
    row.text("subject", &it.actor);
    row.text("adapter", &it.adapter);
    row.text("caller", &it.caller);
    if let Some(revision) = it.revision {
        row.number("revision", revision);
    }
    reasons(row, &it.reasons);
    policies(row, &it.determining_policies);
    row.number("took_nanos", it.took_nanos);
    row.text("trace_id", hex(&it.trace_id));
    row.text("span_id", hex(&it.span_id));
    row.text("verb", &it.verb);
    row.text("id", &it.id);
    row.text("outcome", &it.outcome);
    row.text("stop_reason", &it.stop_reason);
}

fn outcome(row: &mut ExportRow, it: &Outcome) {
    row.text("kind", "outcome");
    row.text("decision_id", json::uuid(&it.decision_id));
    row.text("operation", &it.operation);
    row.text("server", list(&it.servers));
    row.text("session_id", &it.session_id);
    row.text("adapter", &it.adapter);
    row.text("caller", &it.caller);
    row.text("labels", list(&it.labels));
    row.text("outcome", json::status(it.status()));
    row.number("size", it.size);
}

fn notice(row: &mut ExportRow, it: &Notice) {
    row.text("kind", "notice");
    row.text("notice", json::notice_kind(it.kind()));
    let records = format!("records {} to {}", it.first, it.last);
    let (is_range, text) = match it.kind() {
        notice::Kind::Lost | notice::Kind::FoundUnsigned => (true, records),
        notice::Kind::Removed if it.text == REMOVED_RECORDS => (true, records),
        // Capsules: their records are there.
        notice::Kind::Removed => (true, format!("{} of {records}", it.text)),
        notice::Kind::TurnedBack => (
            true,
            format!("{}: revisions {} to {}", it.text, it.first, it.last),
        ),
        _ => (false, said(it)),
    };
    row.text("text", text);
    if it.kind() == notice::Kind::Policies {
        row.text("policy_set_digest", it.text.trim_start_matches("sha256:"));
        row.number("revision", it.revision);
    }
    if is_range {
        row.number("first", it.first);
        row.number("last", it.last);
    }
    if it.count > 0 {
        row.number("count", it.count);
    }
    if it.since > 0 {
        row.number("since", it.since);
    }
}

/// The text of a notice, with where that is from and what was before.
fn said(it: &Notice) -> String {
    let mut text = it.text.clone();
    for (word, what) in [(", ", &it.source), (", before: ", &it.before)] {
        if !what.is_empty() {
            text.push_str(&format!("{word}{what}"));
        }
    }
    text
}

fn reasons(row: &mut ExportRow, reasons: &[Reason]) {
    let codes = reasons.iter().map(|it| it.code.as_str());
    row.text("codes", list(codes));
    let policies = reasons.iter().flat_map(|it| &it.policies);
    row.text("reason_policies", each_once(policies));
}

fn policies(row: &mut ExportRow, policies: &[Policy]) {
    row.text("policies", ids(policies));
    row.text("owners", each_once(policies.iter().map(|it| &it.owner)));
    let controls = policies.iter().flat_map(|it| &it.controls);
    row.text("controls", each_once(controls));
}

fn ids(policies: &[Policy]) -> String {
    each_once(policies.iter().map(|it| &it.id))
}

fn each_once<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let mut once: Vec<&str> = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if !once.contains(&text.as_str()) {
            once.push(text);
        }
    }
    list(once)
}

/// The items of a list in one cell, so that they can be told apart again.
fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let is_plain = |item: &str| {
        !item.is_empty() && !item.starts_with('"') && !item.contains(char::is_whitespace)
    };
    let mut cell = String::new();
    for item in items {
        let item = item.as_ref();
        if !cell.is_empty() {
            cell.push(' ');
        }
        match is_plain(item) {
            true => cell.push_str(item),
            false => cell.push_str(&serde_json::Value::from(item).to_string()),
        }
    }
    cell
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
