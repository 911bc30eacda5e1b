//! Records for the tests of this room: one for each kind of request, with every field set.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::PolicyInfo;
use callgate_engine::cedar::EntityUID;
use callgate_engine::obligation::Obligation;
use serde_json::{Map, Value as Json, json};
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::config::telemetry::TelemetryConfig;
use crate::domain::decide::verdict::{
    Decision, LeftBehind, Reason, ReasonCode, SideEffects, Verdict,
};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, Workflow,
};
use crate::domain::request::operation::{OperationKind, Sampling, ToolCall};
use crate::domain::request::trace_context::TraceContext;
use crate::telemetry::redact::redaction::Redaction;

pub const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
pub const PARENT_ID: &str = "b7ad6b7169203331";

/// The owned parts that a record borrows.
pub struct RecordFixture {
    pub caller: Arc<str>,
    pub digest: Arc<str>,
    pub decision: Verdict,
    pub left: LeftBehind,
}

impl RecordFixture {
    pub fn with(decision: Verdict) -> Self {
        Self {
            caller: "edge".into(),
            digest: "sha256:5eed".into(),
            decision,
            left: LeftBehind::default(),
        }
    }

    pub fn record<'a>(&'a self, question: RecordedRequest<'a>) -> DecisionRecord<'a> {
        DecisionRecord {
            decision_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
            caller: &self.caller,
            adapter: "grpc",
            request_id: None,
            question,
            decision: &self.decision,
            left: Some(&self.left),
            is_enforced: true,
            revision: 7,
            policy_set_digest: &self.digest,
            snapshot: None,
            authority: None,
            is_dry_run: false,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            took: Duration::from_micros(42),
        }
    }
}

pub fn redaction(config: &TelemetryConfig) -> Redaction {
    Redaction::new(&[7; 32], config).unwrap()
}

pub fn uid(name: &str) -> EntityUID {
    name.parse().unwrap()
}

pub fn policy(id: &str) -> Arc<PolicyInfo> {
    Arc::new(PolicyInfo {
        id: id.into(),
        owner: Some("platform-security".into()),
        controls: vec!["OWASP:ASI02".into(), "NIST-CSF:PR.AA-05".into()],
        reason: Some("ask the release team".into()),
        obligations: vec![Arc::new(Obligation::custom("log:full"))],
        is_shadow: false,
        is_always_enforced: false,
        is_forbid: false,
    })
}

pub fn allow() -> Verdict {
    Verdict {
        outcome: Decision::Allow,
        reasons: Vec::new(),
        determining_policies: [policy("read.broad"), policy("read.engineering")].into(),
        shadow: [policy("shadow.no-night-work")].into_iter().collect(),
        principals: Vec::new(),
        access: None,
        targets: SmallVec::new(),
        challenge: None,
        effects: SideEffects::default(),
    }
}

pub fn deny(code: ReasonCode) -> Verdict {
    let mut reason = Reason::new(code, "message-that-stays-here");
    reason.missing = vec!["context.purpose".to_owned()];
    reason.detail = Some("detail-that-stays-here".to_owned());
    Verdict {
        determining_policies: [policy("write.needs-person")].into_iter().collect(),
        ..Verdict::deny(reason)
    }
}

pub fn arguments(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// A tool call by an agent for a user, with every field set.
pub fn tool_call() -> CallContext {
    CallContext {
        actor_chain: Some(ActorChain {
            root: Some(uid(r#"Mcp::User::"alice@example.com""#)),
            actors: vec![uid(r#"Mcp::Agent::"planner""#)],
            scopes: smallvec!["repo".into()],
            verified: true,
            delegation_ids: Vec::new(),
            not_before: None,
            expires_at: None,
            claims: Vec::new(),
        }),
        ..call(OperationKind::CallTool(ToolCall {
            tool: "create_issue".into(),
            arguments: arguments(json!({"repo": "callgate", "title": "title-that-stays-here"})),
            definition_digest: None,
            target: Some("https://github.com/callgate/callgate".into()),
        }))
    }
}

/// A sampling request of a server.
pub fn sampling() -> CallContext {
    let kind = OperationKind::Sample(Sampling {
        max_tokens: 512,
        include_context: "none".into(),
        tools: vec!["search".into()],
        messages: 2,
        has_system_prompt: true,
    });
    let mut call = call(kind);
    call.subject.entity = uid(r#"Mcp::Server::"github""#);
    call.operation.initiator = Initiator::Server;
    call
}

pub fn call(kind: OperationKind) -> CallContext {
    CallContext {
        subject: Subject {
            entity: uid(r#"Mcp::Agent::"release""#),
            identity: Identity {
                method: Some("jwt".into()),
                verified: true,
                ..Identity::default()
            },
            claims: arguments(json!({"email": "claim-that-stays-here"})),
        },
        actor_chain: None,
        operation: Operation::new(Initiator::Client, "github", kind),
        workflow: Workflow {
            is_session_vouched: false,
            session_id: Some("session-1".into()),
            task_id: Some("task-1".into()),
            step: Some("draft".into()),
            purpose: Some("close the quarter".into()),
            request_id: Some("17".into()),
            parent_decision_id: None,
        },
        approval_ids: vec!["approval-1".into()],
        environment: Environment {
            source_address: Some([192, 0, 2, 7].into()),
        },
        trace: TraceContext::read(Some(&traceparent("01")), ["vendor=value"]),
        denied: None,
    }
}

/// The `traceparent` of calls, with these flags.
pub fn traceparent(flags: &str) -> String {
    format!("00-{TRACE_ID}-{PARENT_ID}-{flags}")
}

pub fn cedar_names() -> [EntityUID; 3] {
    [
        r#"App::Person::"alice""#,
        r#"App::Action::"view""#,
        r#"App::Photo::"p1""#,
    ]
    .map(uid)
}

/// Looks up variables among these.
pub fn lookup(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
    let known: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    move |name| {
        let found = known.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }
}
