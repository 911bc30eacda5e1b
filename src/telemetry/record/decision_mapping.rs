//! Maps a decision record to span attributes, metric labels and log fields: all names in one place.
//!
//! Names are `gen_ai.*` and `mcp.*` of the OpenTelemetry semantic conventions where they fit (both have status
//! Development), and `callgate.*` for the rest.
//!
//! Invariant: a span name holds no URI and no unregistered name; a metric label is one of a fixed set of values; sensitive
//! values go through [`Redaction`].

use std::sync::Arc;

use callgate_engine::PolicyInfo;
use callgate_engine::cedar::EntityUID;
use opentelemetry::KeyValue;
use smallvec::SmallVec;
use smol_str::format_smolstr;

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::domain::decide::verdict::ReasonCode;
use crate::domain::ids::ApprovalId;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::OperationKind;
use crate::telemetry::export::otlp_encoder::AttributeWriter;
use crate::telemetry::redact::redaction::Redaction;

/// The longest tool name that becomes part of a span name.
const MAX_TOOL_IN_SPAN_NAME: usize = 64;

/// The code of the first reason.
pub fn reason(record: &DecisionRecord<'_>) -> Option<ReasonCode> {
    record.decision.reasons.first().map(|reason| reason.code)
}

/// Whether Callgate failed while deciding. An ordinary deny is no failure.
pub fn is_failure(record: &DecisionRecord<'_>) -> bool {
    record
        .decision
        .reasons
        .iter()
        .any(|reason| reason.code == ReasonCode::Internal)
}

/// The labels of every metric of a decision.
pub fn labels(record: &DecisionRecord<'_>) -> [KeyValue; 4] {
    [
        KeyValue::new("callgate.decision", record.decision.outcome.as_str()),
        KeyValue::new(
            "callgate.reason",
            reason(record).map_or("NONE", ReasonCode::as_str),
        ),
        KeyValue::new("callgate.operation", record.question.operation()),
        KeyValue::new("callgate.adapter", record.adapter),
    ]
}

/// The span's name, in two parts: `authorize tools/call `, `create_issue`.
pub fn span_name<'a>(record: &DecisionRecord<'a>) -> [&'a str; 2] {
    match (nameable_tool(record), record.question) {
        (Some(tool), _) => ["authorize tools/call ", tool],
        // All of the upkeep has one name.
        (None, RecordedRequest::Call(call)) => {
            ["authorize ", call.operation.kind.description().method]
        }
        (None, question) => ["authorize ", question.operation()],
    }
}

/// The tool, if its name may be in a span name. An unregistered name may not, whatever the call was denied for: callers could
/// invent any number of them, with any content.
fn nameable_tool<'a>(record: &DecisionRecord<'a>) -> Option<&'a str> {
    let RecordedRequest::Call(call) = record.question else {
        return None;
    };
    let tool_call = call.operation.kind.tool_call()?;
    let is_unknown = matches!(
        reason(record),
        Some(ReasonCode::ToolUnknown | ReasonCode::ServerUnknown | ReasonCode::SubjectUnknown)
    );
    let tool = tool_call.tool.as_str();
    let is_plain = tool.len() <= MAX_TOOL_IN_SPAN_NAME
        && tool
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    (!is_unknown && is_plain && is_registered(record, call)).then_some(tool)
}

/// Whether the directory has the called tool. Cedar is asked about no other one, so it is looked up only where evidence failed.
fn is_registered(record: &DecisionRecord<'_>, call: &CallContext) -> bool {
    let is_evaluated = record.decision.is_allow() || !record.decision.principals.is_empty();
    is_evaluated
        || record.snapshot.is_none_or(|snapshot| {
            let tool = call.operation.tool_uid();
            tool.is_some_and(|tool| snapshot.contains(&tool))
        })
}

/// Writes the span's attributes.
pub fn attributes(
    record: &DecisionRecord<'_>,
    redaction: &Redaction,
    out: &mut AttributeWriter<'_>,
) {
    let mut out = DecisionAttributes { out, redaction };
    out.decision(record);
    match record.question {
        RecordedRequest::Call(call) => out.call(call, record),
        RecordedRequest::Filter {
            call, kept, hidden, ..
        } => {
            out.call(call, record);
            out.count("callgate.filter.kept", kept);
            out.count("callgate.filter.hidden", hidden);
        }
        RecordedRequest::Cedar {
            principal,
            action,
            resource,
            trace: _,
        } => out.cedar(record, Some(principal), Some(action), Some(resource)),
        RecordedRequest::Search {
            sought,
            principal,
            action,
            resource,
            kept,
            hidden,
            trace: _,
        } => {
            out.put("callgate.search.sought", sought);
            out.cedar(record, principal, action, resource);
            out.count("callgate.filter.kept", kept);
            out.count("callgate.filter.hidden", hidden);
        }
    }
}

struct DecisionAttributes<'a, 'b> {
    out: &'a mut AttributeWriter<'b>,
    redaction: &'a Redaction,
}

impl DecisionAttributes<'_, '_> {
    fn put(&mut self, key: &'static str, value: &str) {
        self.out.text(key, value);
    }

    fn entity(&mut self, key: &'static str, uid: &EntityUID) {
        self.out.joined(key, &self.redaction.entity(uid).pieces());
    }

    fn cedar(
        &mut self,
        record: &DecisionRecord<'_>,
        principal: Option<&EntityUID>,
        action: Option<&EntityUID>,
        resource: Option<&EntityUID>,
    ) {
        if let Some(principal) = principal {
            self.entity("callgate.subject", principal);
        }
        if let Some(action) = action {
            self.action(record, action);
        }
        if let Some(resource) = resource {
            self.entity("callgate.cedar.resource", resource);
        }
    }

    /// An action, in the clear if the schema has it: what a caller makes up may be anything.
    fn action(&mut self, record: &DecisionRecord<'_>, action: &EntityUID) {
        self.sensitive(
            record.snapshot.is_some_and(|it| it.has_action(action)),
            "callgate.cedar.action",
            "callgate.cedar.action.hmac",
            &action.to_string(),
        );
    }

    fn optional(&mut self, key: &'static str, value: Option<&impl AsRef<str>>) {
        if let Some(value) = value {
            self.put(key, value.as_ref());
        }
    }

    fn count(&mut self, key: &'static str, count: usize) {
        self.out
            .integer(key, i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn policies(&mut self, key: &'static str, policies: &[Arc<PolicyInfo>]) {
        self.out.texts(key, policies.iter().map(|it| &*it.id));
    }

    /// Puts the value under `clear_key` if the configuration allows it in the clear, else its digest under `key`.
    fn sensitive(
        &mut self,
        is_clear: bool,
        clear_key: &'static str,
        key: &'static str,
        text: &str,
    ) {
        if is_clear {
            self.put(clear_key, text);
        } else if let Some(digest) = self.redaction.digest(text) {
            self.put(key, &digest.hex());
        }
    }

    fn uri(&mut self, uri: &str) {
        let is_clear = self.redaction.clear().uris;
        self.sensitive(
            is_clear,
            "mcp.resource.uri",
            "callgate.resource.uri.hmac",
            uri,
        );
    }

    fn decision(&mut self, record: &DecisionRecord<'_>) {
        let decision = record.decision;
        self.put("callgate.decision", decision.outcome.as_str());
        let mut id = uuid::Uuid::encode_buffer();
        let id = record.decision_id.hyphenated().encode_lower(&mut id);
        self.put("callgate.decision.id", id);
        self.put("callgate.operation", record.question.operation());
        self.put("callgate.adapter", record.adapter);
        self.put("callgate.caller", record.caller);
        self.out.integer(
            "callgate.revision",
            i64::try_from(record.revision).unwrap_or(i64::MAX),
        );
        self.put("callgate.policy_set.digest", record.policy_set_digest);
        if record.is_dry_run {
            self.out.flag("callgate.dry_run", true);
        }
        // Only said where it is not: in observe mode.
        if !record.is_enforced {
            self.out.flag("callgate.enforced", false);
        }
        if let Some(first) = decision.reasons.first() {
            self.put("callgate.reason", first.code.as_str());
            let missing = first.missing.iter().map(String::as_str);
            self.out.texts("callgate.missing", missing);
        }
        if is_failure(record) {
            self.put("error.type", ReasonCode::Internal.as_str());
        }
        policies(self.out, &decision.determining_policies);
        let obligations = decision.obligations().map(|it| &*it.id);
        self.out.texts("callgate.obligations", obligations);
        self.policies("callgate.shadow", &decision.shadow);
    }

    fn call(&mut self, call: &CallContext, record: &DecisionRecord<'_>) {
        self.put("mcp.method.name", call.operation.kind.method());
        self.put("callgate.initiator", call.operation.initiator.as_str());
        if !call.operation.server.is_empty() {
            self.put("callgate.server", &call.operation.server);
        }
        self.people(call, record);
        self.operation(call);
        self.optional("mcp.session.id", call.workflow.session_id.as_ref());
        self.optional("jsonrpc.request.id", call.workflow.request_id.as_ref());
        self.optional("callgate.task.id", call.workflow.task_id.as_ref());
        self.optional("callgate.task.step", call.workflow.step.as_ref());
        let approvals = call.approval_ids.iter().map(ApprovalId::as_str);
        self.out.texts("callgate.approval.id", approvals);
        let clear = self.redaction.clear();
        if let Some(purpose) = &call.workflow.purpose {
            self.sensitive(
                clear.purposes,
                "callgate.purpose",
                "callgate.purpose.hmac",
                purpose,
            );
        }
        if let Some(address) = call.environment.source_address {
            if clear.addresses {
                self.put("client.address", &format_smolstr!("{address}"));
            } else if let Some(digest) = self.redaction.address_digest(address) {
                self.put("callgate.client.address.hmac", &digest.hex());
            }
        }
    }

    fn people(&mut self, call: &CallContext, record: &DecisionRecord<'_>) {
        self.entity("callgate.subject", &call.subject.entity);
        if is_agent(&call.subject.entity) {
            self.put("gen_ai.agent.id", call.subject.entity.eid().as_ref());
        }
        if let Some(delegated) = record.on_behalf_of() {
            self.entity("callgate.delegation.root", delegated.root);
            // The number of links from the root to the subject, as in policies.
            self.count("callgate.delegation.depth", delegated.depth);
        }
    }

    fn operation(&mut self, call: &CallContext) {
        match &call.operation.kind {
            OperationKind::CallTool(tool_call) => {
                self.put("gen_ai.tool.name", &tool_call.tool);
                if let Some(digest) = self.redaction.arguments_digest(&tool_call.arguments) {
                    self.put("callgate.arguments.hmac", &digest.hex());
                }
                self.redaction.clear_arguments(
                    &call.operation.server,
                    &tool_call.tool,
                    &tool_call.arguments,
                    |attribute| self.out.value(attribute.key.as_str(), &attribute.value),
                );
                if let Some(target) = &tool_call.target {
                    self.uri(target);
                }
            }
            OperationKind::OnResource { operation: _, uri } => self.uri(uri),
            OperationKind::ElicitUrl { url } => self.uri(url),
            OperationKind::GetPrompt { name, .. } | OperationKind::OnPrompt { name, .. } => {
                self.put("callgate.prompt.name", name);
            }
            OperationKind::Sample(sampling) => {
                let max_tokens = sampling.max_tokens;
                self.out.integer("gen_ai.request.max_tokens", max_tokens);
            }
            OperationKind::ElicitForm { .. }
            | OperationKind::Connect { .. }
            | OperationKind::List(_)
            | OperationKind::OnClient(_) => {}
        }
    }
}

/// The fields of the log line that are computed from the record.
pub struct LogFields<'a> {
    /// The MCP server.
    pub server: Option<&'a str>,
    /// The called tool.
    pub tool: Option<&'a str>,
    /// The subject, redacted.
    pub subject: Arc<str>,
    /// The root of the delegation, redacted.
    pub on_behalf_of: Option<Arc<str>>,
}

/// Computes the fields of the log line.
pub fn log_fields<'a>(record: &DecisionRecord<'a>, redaction: &Redaction) -> LogFields<'a> {
    let call = match record.question {
        RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => call,
        RecordedRequest::Cedar { principal, .. } => {
            return LogFields {
                server: None,
                tool: None,
                subject: redaction.entity(principal).to_text(),
                on_behalf_of: None,
            };
        }
        RecordedRequest::Search { principal, .. } => {
            return LogFields {
                server: None,
                tool: None,
                subject: principal
                    .map_or_else(|| Arc::from(""), |it| redaction.entity(it).to_text()),
                on_behalf_of: None,
            };
        }
    };
    LogFields {
        server: Some(call.operation.server.as_str()).filter(|server| !server.is_empty()),
        tool: call.operation.kind.tool_call().map(|it| it.tool.as_str()),
        subject: redaction.entity(&call.subject.entity).to_text(),
        on_behalf_of: record
            .on_behalf_of()
            .map(|delegated| redaction.entity(delegated.root).to_text()),
    }
}

fn is_agent(uid: &EntityUID) -> bool {
    uid.entity_type().name().basename_as_ref().as_ref() == "Agent"
}

/// Writes which policies decided, who owns them and which controls they implement.
pub(super) fn policies(out: &mut AttributeWriter<'_>, policies: &[Arc<PolicyInfo>]) {
    out.texts("callgate.policy.ids", policies.iter().map(|it| &*it.id));
    let owners = policies.iter().filter_map(|it| it.owner.as_deref());
    each_once(out, "callgate.policy.owners", owners);
    let controls = policies.iter().flat_map(|it| &it.controls);
    each_once(out, "callgate.controls", controls.map(|it| &**it));
}

/// Writes a list without repetitions. Most have one entry, of which there is no list.
fn each_once<'a>(
    out: &mut AttributeWriter<'_>,
    key: &'static str,
    texts: impl Iterator<Item = &'a str> + Clone,
) {
    let mut rest = texts.clone();
    match (rest.next(), rest.next()) {
        (_, None) => out.texts(key, texts),
        _ => {
            let mut seen: SmallVec<[&str; 8]> = SmallVec::new();
            for text in texts {
                if !seen.contains(&text) {
                    seen.push(text);
                }
            }
            out.texts(key, seen.iter().copied());
        }
    }
}

#[cfg(test)]
#[path = "decision_mapping_tests.rs"]
mod tests;
