use callgate_engine::PolicyList;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use uuid::Uuid;

use super::{KeyedDigest, control_write, decision, notice, outcome, set_index};
use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::decision_record::RecordedRequest;
use crate::audit::frame::MAX_RECORD;
use crate::audit::outcome_record::{OutcomeOf, OutcomeRecord, Status};
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Notice, Record, Verdict as WireVerdict, notice};
use crate::audit::record::{StoredRecord, index_of};
use crate::domain::decide::verdict::{
    Decision, PrincipalVerdict, ReasonCode, SideEffects, TargetSummary,
};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::{OperationKind, ToolCall};
use crate::telemetry::fixtures::{self, RecordFixture, uid};

/// Digests that can be told by their input.
struct Shown;

impl KeyedDigest for Shown {
    fn digest(&self, text: &str) -> Option<Arc<str>> {
        Some(format!("hmac{}", text.len()).into())
    }
}

struct NoKey;

impl KeyedDigest for NoKey {
    fn digest(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

fn verdict() -> crate::domain::decide::verdict::Verdict {
    let mut verdict = fixtures::allow();
    verdict.principals = vec![PrincipalVerdict {
        principal: uid(r#"Mcp::Agent::"release""#),
        action: uid(r#"Mcp::Action::"call_write""#),
        resource: uid(r#"Mcp::Resource::"https://github.com/callgate""#),
        outcome: Decision::Allow,
        permits: [fixtures::policy("read.broad")].into_iter().collect(),
        forbids: PolicyList::new(),
        errors: vec![(fixtures::policy("broken"), "no attribute".to_owned())],
        policies_evaluated: 12,
    }];
    verdict.targets = vec![TargetSummary {
        id: "https://github.com/callgate/callgate".into(),
        kind: "url",
        role: Some("destination".into()),
        query: None,
    }];
    verdict.effects = SideEffects {
        approval: Some(("approval-1".into(), 1)),
        budget: Some(("task-1".into(), 300)),
        yields: ["untrusted".into()].into(),
        reads: true,
        ..SideEffects::default()
    };
    verdict
}

fn encoded(
    fixture: &RecordFixture,
    question: RecordedRequest<'_>,
    digests: &dyn KeyedDigest,
) -> Vec<u8> {
    let mut out = b"before".to_vec();
    decision(&mut out, &fixture.record(question), digests);
    out.split_off(6)
}

/// The message, which encodes to the same bytes.
fn decoded(bytes: &[u8]) -> Record {
    let record = Record::decode(bytes).unwrap();
    assert_eq!(record.encode_to_vec(), bytes, "{record:?}");
    record
}

fn decided(record: &Record) -> &crate::audit::record::schema::Decision {
    match &record.kind {
        Some(Kind::Decision(decision)) => decision,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decision_is_what_its_message_encodes_to() {
    let mut call = fixtures::tool_call();
    call.workflow.parent_decision_id = Some(Uuid::from_u128(5));
    let fixture = RecordFixture {
        digest: format!("sha256:{}", "ab".repeat(32)).into(),
        ..RecordFixture::with(verdict())
    };
    let bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
    let record = decoded(&bytes);
    insta::assert_debug_snapshot!(record);
    // About what a delegated call of a tool takes on disk.
    assert!(bytes.len() < 1_200, "{}", bytes.len());
}

#[test]
fn every_kind_of_record_is_what_its_message_encodes_to() {
    let denied = RecordFixture::with(fixtures::deny(ReasonCode::Forbidden));
    let [principal, action, resource] = fixtures::cedar_names();
    let call = fixtures::sampling();
    let trace = &call.trace;
    let questions = [
        RecordedRequest::Call(&call),
        RecordedRequest::Filter {
            call: &call,
            kept: 300,
            hidden: 0,
        },
        RecordedRequest::Cedar {
            principal: &principal,
            action: &action,
            resource: &resource,
            trace,
        },
        RecordedRequest::Search {
            sought: "resource",
            principal: Some(&principal),
            action: Some(&action),
            resource: None,
            kept: 3,
            hidden: 4,
            trace,
        },
    ];
    for question in questions {
        let record = decoded(&encoded(&denied, question, &NoKey));
        let decision = decided(&record);
        assert_eq!(decision.verdict(), WireVerdict::Deny);
        assert_eq!(decision.reasons[0].code, "FORBIDDEN");
        assert_eq!(decision.operation, question.operation());
        assert_eq!(decision.span_id.len(), 8);
        assert!(!record.is_cut);
    }
    let mut out = Vec::new();
    let caller: Arc<str> = "desk".into();
    let actor = uid(r#"Mcp::User::"alice""#);
    let write = ControlRecord {
        approval_digest: None,
        verb: "PutEntity",
        caller: &caller,
        adapter: "grpc",
        actor: &actor,
        outcome: ControlOutcome::Denied,
        revision: Some(0),
        id: Some(r#"Mcp::Resource::"file:///secret""#),
        decision: Some(&denied.decision),
        trace,
        started_at: SystemTime::UNIX_EPOCH,
        took: Duration::from_secs(1),
    };
    control_write(&mut out, &write, &Shown);
    let Some(Kind::Write(write)) = decoded(&out).kind else {
        panic!("no write");
    };
    assert_eq!(
        (write.revision, write.id.as_str()),
        (Some(0), "Mcp::Resource::hmac:hmac14")
    );
    assert_eq!(write.reasons[0].code, "FORBIDDEN");
    out.clear();
    let servers = ["github".into()];
    let record = OutcomeRecord {
        decision_id: Some(Uuid::from_u128(1)),
        status: Status::ToolError,
        size: 70_000,
        labels: &["secret".into()],
        caller: "edge",
        adapter: "ext_mcp",
        about: Some(OutcomeOf {
            operation: "tools/call",
            servers: &servers,
            session_id: Some(&"s".into()),
        }),
        at: SystemTime::now(),
    };
    outcome(&mut out, &record);
    assert!(
        matches!(decoded(&out).kind, Some(Kind::Outcome(it)) if it.status() == Status::ToolError)
    );
    out.clear();
    let told = Notice {
        kind: notice::Kind::Dropped.into(),
        count: 3,
        since: 5,
        ..Notice::default()
    };
    notice(&mut out, SystemTime::now(), &told);
    assert_eq!(decoded(&out).kind, Some(Kind::Notice(told)));
}

#[test]
fn the_index_is_put_in_afterwards() {
    let fixture = RecordFixture::with(verdict());
    let call = fixtures::tool_call();
    let mut bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
    assert_eq!(index_of(&bytes), Some(0));
    set_index(&mut bytes, u64::MAX - 1);
    assert_eq!(decoded(&bytes).index, Some(u64::MAX - 1));
    assert_eq!(index_of(&bytes), Some(u64::MAX - 1));
}

#[test]
fn no_uri_purpose_address_argument_or_message_is_in_a_record() {
    let fixture = RecordFixture::with(verdict());
    let denied = RecordFixture::with(fixtures::deny(ReasonCode::Forbidden));
    let call = fixtures::tool_call();
    for fixture in [fixture, denied] {
        for digests in [&Shown as &dyn KeyedDigest, &NoKey] {
            let bytes = encoded(&fixture, RecordedRequest::Call(&call), digests);
            let text = String::from_utf8_lossy(&bytes);
            for secret in [
                "stays-here",
                "https://",
                "quarter",
                "192.0.2.7",
                "callgate/callgate",
            ] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
    }
}

fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z\u{0}é]{0,40}",
        (0_usize..2_000, "[a-zé\u{0}]").prop_map(|(count, text)| text.repeat(count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever a client calls things, a record is bounded, decodes, says what was cut, and holds no NUL in a text.
    #[test]
    fn a_record_is_bounded(
        texts in proptest::collection::vec(hostile_text(), 12),
        count in 0_usize..200,
        nesting in 1_usize..60,
    ) {
        let text = |at: usize| texts[at % texts.len()].clone();
        let mut call: CallContext = fixtures::call(OperationKind::CallTool(ToolCall {
            tool: text(0).into(),
            arguments: fixtures::arguments(json!({})),
            definition_digest: None,
            target: None,
        }));
        call.operation.server = text(1).into();
        call.workflow.session_id = Some(text(2).into());
        call.workflow.step = Some(text(3).into());
        call.approval_ids = (0..count).map(|at| text(at).into()).collect();
        let mut verdict = verdict();
        let policies: PolicyList = (0..count).map(|at| fixtures::policy(&text(at))).collect();
        verdict.determining_policies.clone_from(&policies);
        verdict.principals = vec![PrincipalVerdict { permits: policies.clone(), forbids: policies, ..verdict.principals[0].clone() }; nesting];
        let fixture = RecordFixture::with(verdict);
        let bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
        prop_assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        let record = Record::decode(&*bytes).unwrap();
        prop_assert_eq!(record.encode_to_vec(), &*bytes);
        let decision = decided(&record);
        let is_plain = |text: &str| text.len() <= 512 && !text.contains('\0');
        prop_assert!(is_plain(&decision.tool) && is_plain(&decision.session_id));
        let whole = text(0).replace('\0', "\u{fffd}");
        if whole.len() > 512 {
            prop_assert!(record.is_cut && decision.tool.contains("…sha256:"));
        } else {
            prop_assert_eq!(&decision.tool, &whole);
        }
        prop_assert_eq!(decision.approval_ids.len(), count.min(64));
        prop_assert!(count <= 64 || record.is_cut);
    }
}

#[test]
fn along_a_chain_action_and_resource_are_said_once() {
    let mut verdict = verdict();
    let first = verdict.principals[0].clone();
    let with = |principal: &str, action: &str, resource: &str| PrincipalVerdict {
        principal: uid(principal),
        action: uid(action),
        resource: uid(resource),
        ..first.clone()
    };
    let (read, write) = (
        r#"Mcp::Action::"call_read""#,
        r#"Mcp::Action::"call_write""#,
    );
    let (one, other) = (r#"Mcp::Tool::"git/log""#, r#"Mcp::Tool::"git/push""#);
    let said = [
        (r#"Mcp::Agent::"release""#, write, one),
        (r#"Mcp::Agent::"planner""#, write, one),
        (r#"Mcp::User::"sam""#, read, one),
        (r#"Mcp::User::"eve""#, read, other),
    ];
    verdict.principals = said.map(|(who, action, on)| with(who, action, on)).into();
    let fixture = RecordFixture::with(verdict);
    let call = fixtures::tool_call();
    let mut bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
    let stored = decided(&decoded(&bytes)).principals.clone();
    let stored = stored.iter().map(|it| (&*it.action, &*it.resource));
    let expected = [(write, one), ("", ""), (read, ""), ("", other)];
    assert!(stored.eq(expected));

    set_index(&mut bytes, 7);
    let record = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    let read = decided(&record).principals.iter();
    let read = read.map(|it| (&*it.principal, &*it.action, &*it.resource));
    assert!(read.eq(said));
}
