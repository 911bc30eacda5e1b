//! Records as JSON, for programs: ids as UUIDs, digests in hexadecimal, times as RFC 3339. What is empty is left out.
//!
//! The names of members are those of `callgate.audit.v1`, but `decision_id` for the id of a decision. One shape a kind:
//! `kind` says which.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::record::Record;
use crate::audit::record::schema::{
    AccessLevel, ControlWrite, Decision, Notice, Outcome, Policy, PrincipalVerdict, Reason,
    SideEffects, Stop, Verdict, notice, outcome, record,
};
use crate::domain::reason::ReasonCode;
use crate::domain::request::canonical::hex;

/// An object whose empty members are left out.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let is_empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// A number; 0 is left out.
    fn count(self, name: &str, count: u64) -> Self {
        match count {
            0 => self,
            count => self.put(name, count),
        }
    }

    fn texts(self, name: &str, texts: &[String]) -> Self {
        self.put(name, texts.to_vec())
    }

    fn hex(self, name: &str, bytes: &[u8]) -> Self {
        self.put(name, hex(bytes))
    }

    fn id(self, name: &str, bytes: &[u8]) -> Self {
        self.put(name, uuid(bytes))
    }

    fn end(self) -> Value {
        Value::Object(self.0)
    }
}

/// A UUID in its usual form; other bytes in hexadecimal.
pub fn uuid(bytes: &[u8]) -> String {
    match Uuid::from_slice(bytes) {
        _ if bytes.is_empty() => String::new(),
        Ok(id) => id.hyphenated().to_string(),
        Err(_) => hex(bytes),
    }
}

/// A time in RFC 3339, with nanoseconds.
pub fn time(nanos: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    humantime::format_rfc3339_nanos(at).to_string()
}

/// `allow` or `deny`; empty if there is none.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Unspecified => "",
    }
}

/// `result`, `tool_error` …: the word for the status of an outcome.
pub fn status(status: outcome::Status) -> String {
    word(status.as_str_name(), "STATUS_")
}

/// `start`, `repaired_tail` …: the word for the kind of a notice.
pub fn notice_kind(kind: notice::Kind) -> String {
    word(kind.as_str_name(), "KIND_")
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_ascii_lowercase()
}

/// A record.
pub fn record(record: &Record) -> Value {
    let head = Object::default()
        .put("index", record.index)
        .put("at", time(record.at))
        .put("is_cut", record.is_cut);
    let (kind, body) = match &record.kind {
        Some(record::Kind::Decision(it)) => ("decision", decision(it)),
        Some(record::Kind::Write(it)) => ("write", write(it)),
        Some(record::Kind::Outcome(it)) => ("outcome", outcome_body(it)),
        Some(record::Kind::Notice(it)) => ("notice", notice_body(it)),
        None => ("unknown", json!({})),
    };
    let mut head = head.put("kind", kind);
    if let Value::Object(body) = body {
        head.0.extend(body);
    }
    head.hex("capsule_frame_digest", &record.capsule_frame_digest)
        .end()
}

/// The chain of a decision, if it has one.
pub(super) fn chain(it: &Decision) -> Option<Value> {
    it.chain.as_ref().map(|chain| {
        Object::default()
            .put("root", chain.root.as_str())
            .texts("actors", &chain.actors)
            .texts("delegation_ids", &chain.delegation_ids)
            .texts("scopes", &chain.scopes)
            .put("is_verified", chain.is_verified)
            .end()
    })
}

fn targets(it: &Decision) -> Vec<Value> {
    let targets = it.targets.iter().map(|target| {
        Object::default()
            .put("kind", target.kind.as_str())
            .put("role", target.role.as_str())
            .put("name_hmac", target.name_hmac.as_str())
            .end()
    });
    targets.collect()
}

/// How many entries of a list were kept and how many hidden, or how many candidates of a search were found and how many not; `None`
/// of anything else.
pub fn counts(it: &Decision) -> Option<(u64, u64)> {
    let is_counted = !it.sought.is_empty() || it.operation.ends_with("/filter");
    is_counted.then_some((it.kept, it.hidden))
}

/// Whether a deny said that an approval would turn it. Without a key its challenge has no digest.
pub fn is_challenged(it: &Decision) -> bool {
    let asks = |reason: &Reason| reason.code == ReasonCode::ApprovalRequired.as_str();
    !it.challenge_digest.is_empty() || it.reasons.iter().any(asks)
}

/// What a call used up and left behind.
pub(super) fn side_effects(effects: Option<&SideEffects>) -> Option<Value> {
    effects.map(|effects| {
        Object::default()
            .put("approval_id", effects.approval_id.as_str())
            .put("budget_task_id", effects.budget_task_id.as_str())
            .put("tool_budget_id", effects.tool_budget_id.as_str())
            .texts("added_labels", &effects.added_labels)
            .put("reads", effects.reads)
            .texts("target_labels", &effects.target_labels)
            .end()
    })
}

fn decision(it: &Decision) -> Value {
    Object::default()
        .id("decision_id", &it.id)
        .put("decision", verdict(it.verdict()))
        .put("revision", it.revision)
        .hex("policy_set_digest", &it.policy_set_digest)
        .put("adapter", it.adapter.as_str())
        .put("caller", it.caller.as_str())
        .put("request_id", it.request_id.as_str())
        .put("is_dry_run", it.is_dry_run)
        .put("is_observed", it.is_observed)
        .put("operation", it.operation.as_str())
        .put("initiator", it.initiator.as_str())
        .put("server", it.server.as_str())
        .put("tool", it.tool.as_str())
        .put("prompt", it.prompt.as_str())
        .put("subject", it.subject.as_str())
        .put("chain", chain(it))
        .id("parent_decision_id", &it.parent_decision_id)
        .put("session_id", it.session_id.as_str())
        .put("task_id", it.task_id.as_str())
        .put("step", it.step.as_str())
        .put("jsonrpc_id", it.jsonrpc_id.as_str())
        .texts("approval_ids", &it.approval_ids)
        .put("purpose_hmac", it.purpose_hmac.as_str())
        .put("address_hmac", it.address_hmac.as_str())
        .put("uri_hmac", it.uri_hmac.as_str())
        .put("targets", targets(it))
        .put("reasons", reasons(&it.reasons))
        .put("determining_policies", policies(&it.determining_policies))
        .put("shadow_policies", policies(&it.shadow_policies))
        .put("principals", principals(&it.principals))
        .texts("obligations", &it.obligations)
        .put("side_effects", side_effects(it.side_effects.as_ref()))
        .put("would_use", side_effects(it.would_use.as_ref()))
        .hex("challenge_hmac", &it.challenge_digest)
        .put("cedar_action", it.cedar_action.as_str())
        .put("cedar_resource", it.cedar_resource.as_str())
        .count("kept", it.kept)
        .count("hidden", it.hidden)
        .count("shown", it.shown)
        .put("sought", it.sought.as_str())
        .put("took_nanos", it.took_nanos)
        .hex("trace_id", &it.trace_id)
        .hex("span_id", &it.span_id)
        .hex("capsule_digest", &it.capsule_digest)
        .end()
}

/// Reasons with what they are about.
pub(super) fn reasons(reasons: &[Reason]) -> Vec<Value> {
    let one = |it: &Reason| {
        Object::default()
            .put("code", it.code.as_str())
            .put("principal", it.principal.as_str())
            .texts("missing", &it.missing)
            .texts("policies", &it.policies)
            .put("stop", it.stop.as_ref().map_or(Value::Null, stop))
            .end()
    };
    reasons.iter().map(one).collect()
}

fn stop(it: &Stop) -> Value {
    Object::default()
        .put("entity", it.entity.as_str())
        .put("actor", it.actor.as_str())
        .put("reason", it.reason.as_str())
        .put("at", time(it.at))
        .end()
}

/// Policies with their owners and controls.
pub(super) fn policies(policies: &[Policy]) -> Vec<Value> {
    let one = |it: &Policy| {
        Object::default()
            .put("id", it.id.as_str())
            .put("owner", it.owner.as_str())
            .texts("controls", &it.controls)
            .end()
    };
    policies.iter().map(one).collect()
}

fn principals(verdicts: &[PrincipalVerdict]) -> Vec<Value> {
    let one = |it: &PrincipalVerdict| {
        Object::default()
            .put("principal", it.principal.as_str())
            .put("action", it.action.as_str())
            .put("resource", it.resource.as_str())
            .put("decision", verdict(it.verdict()))
            .texts("permits", &it.permits)
            .texts("forbids", &it.forbids)
            .texts("errors", &it.errors)
            .put("policies_evaluated", it.policies_evaluated)
            .put("access", access(it.access()))
            .end()
    };
    verdicts.iter().map(one).collect()
}

fn access(access: AccessLevel) -> &'static str {
    match access {
        AccessLevel::Unspecified => "",
        AccessLevel::Read => "read",
        AccessLevel::Write => "write",
        AccessLevel::Admin => "admin",
    }
}

fn write(it: &ControlWrite) -> Value {
    Object::default()
        .put("verb", it.verb.as_str())
        .put("outcome", it.outcome.as_str())
        .put("caller", it.caller.as_str())
        .put("adapter", it.adapter.as_str())
        .put("actor", it.actor.as_str())
        .put("revision", it.revision)
        .put("id", it.id.as_str())
        .put("stop_reason", it.stop_reason.as_str())
        .put("reasons", reasons(&it.reasons))
        .put("determining_policies", policies(&it.determining_policies))
        .put("took_nanos", it.took_nanos)
        .hex("trace_id", &it.trace_id)
        .hex("span_id", &it.span_id)
        .end()
}

fn outcome_body(it: &Outcome) -> Value {
    Object::default()
        .id("decision_id", &it.decision_id)
        .put("status", status(it.status()))
        .put("size", it.size)
        .texts("labels", &it.labels)
        .put("caller", it.caller.as_str())
        .put("adapter", it.adapter.as_str())
        .put("operation", it.operation.as_str())
        .texts("servers", &it.servers)
        .put("session_id", it.session_id.as_str())
        .end()
}

fn notice_body(it: &Notice) -> Value {
    let since = (it.since > 0).then(|| time(it.since));
    let is_range = matches!(
        it.kind(),
        notice::Kind::Lost
            | notice::Kind::Removed
            | notice::Kind::FoundUnsigned
            | notice::Kind::TurnedBack
    );
    Object::default()
        .put("notice", notice_kind(it.kind()))
        .put("text", it.text.as_str())
        .count("count", it.count)
        .put("first", is_range.then_some(it.first))
        .put("last", is_range.then_some(it.last))
        .put("since", since)
        .put("before", it.before.as_str())
        .put("source", it.source.as_str())
        .count("revision", it.revision)
        .end()
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
