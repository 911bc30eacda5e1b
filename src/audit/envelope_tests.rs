use callgate_engine::PolicyList;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use smallvec::smallvec;
use uuid::Uuid;

use super::{control_write, decision, notice, outcome, set_index};
use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::decision_record::RecordedRequest;
use crate::audit::frame::MAX_RECORD;
use crate::audit::json;
use crate::audit::keyed_digest::{Hmac, KeyedDigest};
use crate::audit::outcome_record::{OutcomeOf, OutcomeRecord, Status};
use crate::audit::record::schema as schema_v1;
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Notice, Record, Verdict as WireVerdict, notice};
use crate::audit::record::{StoredRecord, index_of};
use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::stop::Stop;
use crate::domain::decide::verdict::{
    Challenge, Decision, LeftBehind, PrincipalVerdict, Reason, ReasonCode, TargetSummary, Verdict,
};
use crate::domain::request::call_context::{ActorChain, CallContext};
use crate::domain::request::operation::{OperationKind, ToolCall};
use crate::domain::schema::{self, TYPES};
use crate::telemetry::fixtures::{self, RecordFixture, uid};

/// Digests that can be told by their input.
struct Shown;

impl KeyedDigest for Shown {
    fn digest(&self, text: &str) -> Option<Hmac> {
        Some(Hmac([text.len() as u8; 32]))
    }

    fn address_digest(&self, address: IpAddr) -> Option<Hmac> {
        self.digest(&address.to_string())
    }
}

struct NoKey;

impl KeyedDigest for NoKey {
    fn digest(&self, _: &str) -> Option<Hmac> {
        None
    }

    fn address_digest(&self, _: IpAddr) -> Option<Hmac> {
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
    verdict.targets = smallvec![TargetSummary {
        id: "https://github.com/callgate/callgate".into(),
        kind: "url",
        role: Some("destination".into()),
        query: None,
    }];
    verdict
}

fn left() -> LeftBehind {
    LeftBehind {
        approval: Some("approval-1".into()),
        budget: Some("task-1".into()),
        added_labels: ["untrusted".into()].into(),
        reads: true,
        ..LeftBehind::default()
    }
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
        left: left(),
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
            shown: 0,
        },
        RecordedRequest::Filter {
            call: &call,
            kept: 3,
            hidden: 5,
            shown: 4,
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
        stop_reason: None,
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
        (
            Some(0),
            &*format!("Mcp::Resource::hmac:{}", "0e".repeat(32))
        )
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

/// The deny of a call that an approval would turn.
fn challenged() -> crate::domain::decide::verdict::Verdict {
    let call = ApprovedCall {
        subject: uid(r#"Mcp::Agent::"release""#),
        root: None,
        actors: Vec::new(),
        initiator: Default::default(),
        server: "github".into(),
        tool: "create_issue".into(),
        definition: None,
        arguments: r#"{"pin":"1234"}"#.to_owned(),
        responses: None,
        request_state: None,
        target: None,
        task: None,
    };
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_900);
    let mut verdict = fixtures::deny(ReasonCode::ApprovalRequired);
    verdict.challenge = Some(Box::new(Challenge {
        digest: call.digest(expires_at),
        expires_at,
        valid_for: Duration::from_secs(900),
        call,
        circumstances: ApprovalContext::default(),
    }));
    verdict
}

#[test]
fn guesses_at_arguments_cannot_be_held_against_a_record() {
    let verdict = challenged();
    let digest = verdict.challenge.as_ref().unwrap().digest.to_string();
    let bytes = hex::bytes(digest.strip_prefix("sha256:").unwrap());
    let fixture = RecordFixture::with(verdict);
    let call = fixtures::tool_call();
    for digests in [&Shown as &dyn KeyedDigest, &NoKey] {
        let record = encoded(&fixture, RecordedRequest::Call(&call), digests);
        let text = String::from_utf8_lossy(&record);
        assert!(!text.contains(&digest["sha256:".len()..]), "{text}");
        assert!(!record.windows(32).any(|window| window == bytes));
    }
    let record = decoded(&encoded(&fixture, RecordedRequest::Call(&call), &Shown));
    assert_eq!(
        &*decided(&record).challenge_digest,
        [digest.len() as u8; 32]
    );
    let record = decoded(&encoded(&fixture, RecordedRequest::Call(&call), &NoKey));
    assert!(decided(&record).challenge_digest.is_empty());
    assert!(json::is_challenged(decided(&record)));
}

mod hex {
    pub fn bytes(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.map(byte).collect()
    }
}

#[test]
fn a_resource_stands_in_a_record_with_its_digest_whatever_its_part() {
    let resource = uid(r#"Mcp::Resource::"https://x.example/SUBJ47?token=1""#);
    let mut call = fixtures::tool_call();
    call.subject.entity = resource.clone();
    call.actor_chain = Some(ActorChain {
        root: Some(resource.clone()),
        actors: vec![resource.clone()],
        ..fixtures::tool_call().actor_chain.unwrap()
    });
    let mut verdict = verdict();
    let first = verdict.principals[0].clone();
    // As the subject, as the root, and as neither.
    verdict.principals = [&resource, &resource, &uid(SAM)]
        .into_iter()
        .chain([&resource])
        .map(|principal| PrincipalVerdict {
            principal: principal.clone(),
            action: resource.clone(),
            resource: resource.clone(),
            ..first.clone()
        })
        .collect();
    let reason = Reason {
        principal: Some(resource.clone()),
        ..Reason::new(ReasonCode::SubjectUnknown, "")
    };
    verdict.reasons = vec![reason.clone()];
    let fixture = RecordFixture::with(verdict);
    let trace = &call.trace;
    let questions = [
        RecordedRequest::Call(&call),
        RecordedRequest::Filter {
            call: &call,
            kept: 1,
            hidden: 1,
            shown: 1,
        },
        RecordedRequest::Cedar {
            principal: &resource,
            action: &resource,
            resource: &resource,
            trace,
        },
        RecordedRequest::Search {
            sought: "resource",
            principal: Some(&resource),
            action: Some(&resource),
            resource: Some(&resource),
            kept: 1,
            hidden: 1,
            trace,
        },
    ];
    let caller: Arc<str> = "desk".into();
    let denied = crate::domain::decide::verdict::Verdict::deny(reason);
    let write = ControlRecord {
        approval_digest: None,
        stop_reason: None,
        verb: "StopEntity",
        caller: &caller,
        adapter: "grpc",
        actor: &resource,
        outcome: ControlOutcome::Denied,
        revision: None,
        id: Some(r#"Mcp::Resource::"https://x.example/SUBJ47?token=1""#),
        decision: Some(&denied),
        trace,
        started_at: SystemTime::UNIX_EPOCH,
        took: Duration::from_secs(1),
    };
    for digests in [&Shown as &dyn KeyedDigest, &NoKey] {
        let mut written = Vec::new();
        control_write(&mut written, &write, digests);
        let asked = questions.map(|question| encoded(&fixture, question, digests));
        for bytes in asked.iter().chain([&written]) {
            let text = String::from_utf8_lossy(bytes);
            assert!(
                !text.contains("SUBJ47") && !text.contains("https:"),
                "{text}"
            );
            assert!(text.contains("Mcp::Resource::"), "{text}");
        }
    }
    // A reader finds the same name in each part.
    let bytes = encoded(&fixture, questions[0], &Shown);
    let read = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    let it = decided(&read);
    let chain = it.chain.as_ref().unwrap();
    let digest = "20".repeat(32);
    assert_eq!(it.subject, format!("Mcp::Resource::hmac:{digest}"));
    assert_eq!([&chain.root, &chain.actors[0]], [&it.subject, &it.subject]);
    assert_eq!(it.principals[1].principal, it.subject);
}

#[test]
fn a_record_says_what_was_left_behind_and_of_a_dry_run_what_would_be() {
    let call = fixtures::tool_call();
    let denied = fixtures::deny(ReasonCode::Forbidden);
    for verdict in [verdict(), denied] {
        let fixture = RecordFixture {
            left: left(),
            ..RecordFixture::with(verdict)
        };
        let record = |is_dry_run| {
            let record = crate::audit::decision_record::DecisionRecord {
                is_dry_run,
                ..fixture.record(RecordedRequest::Call(&call))
            };
            let mut out = Vec::new();
            decision(&mut out, &record, &NoKey);
            decided(&decoded(&out)).clone()
        };
        let (made, tried) = (record(false), record(true));
        let left = made.side_effects.clone().unwrap();
        assert_eq!(left.approval_id, "approval-1");
        assert_eq!(left.added_labels, ["untrusted"]);
        assert!(made.would_use.is_none() && tried.side_effects.is_none());
        assert_eq!(tried.would_use, made.side_effects);
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

/// What a reader finds in a record with these principals, and what is stored of it.
fn principals(
    call: &CallContext,
    said: &[(&str, &str, &str)],
) -> (Vec<[String; 3]>, Vec<[String; 3]>) {
    let mut verdict = verdict();
    let first = verdict.principals[0].clone();
    let said = said
        .iter()
        .map(|(principal, action, resource)| PrincipalVerdict {
            principal: uid(principal),
            action: uid(action),
            resource: uid(resource),
            ..first.clone()
        });
    verdict.principals = said.collect();
    let fixture = RecordFixture::with(verdict);
    let mut bytes = encoded(&fixture, RecordedRequest::Call(call), &Shown);
    let names = |record: &Record| {
        let all = decided(record).principals.iter();
        let names = all.map(|it| [&it.principal, &it.action, &it.resource].map(String::clone));
        names.collect::<Vec<_>>()
    };
    let stored = names(&decoded(&bytes));
    set_index(&mut bytes, 7);
    let read = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    (names(&read), stored)
}

const READ: &str = r#"Mcp::Action::"call_read""#;
const WRITE: &str = r#"Mcp::Action::"call_write""#;
const RELEASE: &str = r#"Mcp::Agent::"release""#;
const PLANNER: &str = r#"Mcp::Agent::"planner""#;
const ALICE: &str = r#"Mcp::User::"alice@example.com""#;
const SAM: &str = r#"Mcp::User::"sam""#;
const TOOL: &str = r#"Mcp::Tool::"github/create_issue""#;
const OTHER: &str = r#"Mcp::Tool::"git/push""#;

#[test]
fn what_a_record_has_said_its_verdicts_leave_out() {
    // The call is by `release` for `alice@example.com`, of the tool `create_issue`.
    let said = [
        (RELEASE, WRITE, TOOL),
        (PLANNER, WRITE, TOOL),
        (ALICE, READ, TOOL),
        (SAM, READ, OTHER),
    ];
    let (read, stored) = principals(&fixtures::tool_call(), &said);
    assert_eq!(read, said.map(|(a, b, c)| [a, b, c].map(String::from)));
    let expected = [
        ["", WRITE, ""],
        [PLANNER, "", ""],
        ["", READ, ""],
        [SAM, "", OTHER],
    ];
    assert_eq!(stored, expected.map(|it| it.map(String::from)));
    // Others than those that are named before are written.
    let said = [(ALICE, WRITE, OTHER), (RELEASE, WRITE, TOOL)];
    let (read, stored) = principals(&fixtures::tool_call(), &said);
    assert_eq!(read, said.map(|(a, b, c)| [a, b, c].map(String::from)));
    let expected = [[ALICE, WRITE, OTHER], [RELEASE, "", TOOL]];
    assert_eq!(stored, expected.map(|it| it.map(String::from)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever server, tool and subject are called, a reader finds the names that would be written in full.
    #[test]
    fn names_that_are_left_out_are_found(server in name(), tool in name(), agent in name()) {
        let mut call = fixtures::call(OperationKind::CallTool(ToolCall {
            tool: tool.clone().into(),
            arguments: fixtures::arguments(json!({})),
            definition_digest: None,
            target: None,
        }));
        call.operation.server = server.clone().into();
        call.subject.entity = schema::entity_uid(&TYPES.agent, agent);
        let resource = schema::tool_uid(&server, &tool);
        let names = [
            (call.subject.entity.to_string(), resource.to_string()),
            (resource.to_string(), call.subject.entity.to_string()),
        ];
        for (principal, resource) in names {
            let said = [(&*principal, READ, &*resource)];
            let (read, _) = principals(&call, &said);
            let whole = |text: &String| text.len() <= 512;
            if whole(&principal) && whole(&resource) {
                prop_assert_eq!(&read, &[[principal, READ.to_owned(), resource]]);
            }
        }
    }
}

/// A name with what Cedar escapes, what separates server and tool, and what is cut.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c/\"\\\\é ]{1,6}",
        (240_usize..520).prop_map(|count| "x".repeat(count)),
    ]
}

#[test]
fn digests_are_bytes_and_read_in_hexadecimal() {
    let mut call = fixtures::tool_call();
    let OperationKind::CallTool(called) = &mut call.operation.kind else {
        panic!("no tool is called");
    };
    called.target = Some("file:///notes".into());
    let fixture = RecordFixture::with(verdict());
    let bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
    let read = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    let decision = decided(&read);
    let hex = |length: usize| format!("{length:02x}").repeat(32);
    assert_eq!(decision.purpose_hmac, hex(17));
    assert_eq!(decision.address_hmac, hex("192.0.2.7".len()));
    assert_eq!(decision.uri_hmac, hex("file:///notes".len()));
    assert_eq!(
        decision.targets[0].name_hmac,
        hex("https://github.com/callgate/callgate".len())
    );
    assert!(decision.purpose_digest.is_empty() && decision.targets[0].name_digest.is_empty());
    // Without a key there is none.
    let bytes = encoded(&fixture, RecordedRequest::Call(&call), &NoKey);
    let read = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    assert_eq!(decided(&read).purpose_hmac, "");
}

/// As records of before are: digests in hexadecimal, and everything said.
#[test]
fn records_of_before_are_read() {
    let principal = |principal: &str, action: &str| schema_v1::PrincipalVerdict {
        principal: principal.to_owned(),
        action: action.to_owned(),
        resource: OTHER.to_owned(),
        ..Default::default()
    };
    let decision = schema_v1::Decision {
        server: "github".to_owned(),
        tool: "create_issue".to_owned(),
        subject: RELEASE.to_owned(),
        purpose_hmac: "0a".repeat(32),
        targets: vec![schema_v1::Target {
            name_hmac: "0b".repeat(32),
            ..Default::default()
        }],
        principals: vec![principal(PLANNER, READ), principal(SAM, WRITE)],
        ..Default::default()
    };
    let record = Record {
        index: Some(3),
        kind: Some(Kind::Decision(decision)),
        ..Record::default()
    };
    let stored = StoredRecord::from_message(&record).unwrap();
    assert_eq!(stored.decode().unwrap(), record);
}

#[test]
fn a_dry_run_of_before_is_read_as_one_that_used_nothing() {
    let would_use = schema_v1::SideEffects {
        budget_task_id: "task-1".to_owned(),
        ..Default::default()
    };
    let decision = schema_v1::Decision {
        is_dry_run: true,
        side_effects: Some(would_use.clone()),
        ..Default::default()
    };
    let record = Record {
        index: Some(3),
        kind: Some(Kind::Decision(decision)),
        ..Record::default()
    };
    let read = StoredRecord::from_message(&record)
        .unwrap()
        .decode()
        .unwrap();
    assert_eq!(decided(&read).side_effects, None);
    assert_eq!(decided(&read).would_use, Some(would_use));
}

#[test]
fn the_challenge_in_a_record_of_before_is_not_shown() {
    let decision = schema_v1::Decision {
        reasons: vec![schema_v1::Reason {
            code: "APPROVAL_REQUIRED".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut inner = decision.encode_to_vec();
    // Field 32, a text.
    inner.extend([0x82, 0x02, 11]);
    inner.extend(b"sha256:00ff");
    let mut bytes = vec![0x09];
    bytes.extend(3_u64.to_le_bytes());
    bytes.extend([0x22, inner.len() as u8]);
    bytes.extend(inner);
    let read = StoredRecord::from_bytes(bytes).unwrap().decode().unwrap();
    let shown = json::record(&read).to_string();
    assert!(!shown.contains("00ff"), "{shown}");
    assert!(json::is_challenged(decided(&read)));
}

#[test]
fn a_stop_is_on_record_with_the_deny() {
    let stop = Arc::new(Stop {
        uid: uid(RELEASE),
        reason: "INC-4711".into(),
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001),
        by: uid(SAM),
    });
    let fixture = RecordFixture::with(Verdict::deny(Reason::stopped(&stop)));
    let call = fixtures::tool_call();
    let record = decoded(&encoded(&fixture, RecordedRequest::Call(&call), &Shown));
    let expected = schema_v1::Stop {
        entity: RELEASE.to_owned(),
        actor: SAM.to_owned(),
        reason: "INC-4711".to_owned(),
        at: 1_700_000_000_000_000_001,
    };
    assert_eq!(decided(&record).reasons[0].stop.as_ref(), Some(&expected));
    let shown = json::record(&record);
    assert_eq!(
        shown["reasons"][0]["stop"],
        serde_json::json!({
            "entity": RELEASE, "actor": SAM, "reason": "INC-4711", "at": "2023-11-14T22:13:20.000000001Z",
        })
    );
}

#[test]
fn what_a_tool_does_is_on_record_where_its_action_does_not_say_it() {
    use crate::audit::record::schema::AccessLevel as Wire;
    use crate::domain::schema::AccessLevel;
    let call = fixtures::tool_call();
    for (access, wanted) in [
        (None, Wire::Unspecified),
        (Some(AccessLevel::Read), Wire::Read),
        (Some(AccessLevel::Write), Wire::Write),
        (Some(AccessLevel::Admin), Wire::Admin),
    ] {
        let mut verdict = verdict();
        verdict.access = access;
        verdict.principals.push(verdict.principals[0].clone());
        let fixture = RecordFixture::with(verdict);
        let bytes = encoded(&fixture, RecordedRequest::Call(&call), &Shown);
        let record = decoded(&bytes);
        let levels = decided(&record).principals.iter().map(|it| it.access());
        assert_eq!(levels.collect::<Vec<_>>(), [wanted, Wire::Unspecified]);
    }
}
