use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::approval::{Approval, ApprovalDecision};
use crate::domain::authority::state::Authority;
use crate::domain::decide::call::decide;
use crate::domain::decide::inputs::{DEFAULT_VALIDITY, DecisionInputs, History, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::fixtures::{agent, person, tool_call, trusted, world};
use crate::domain::reason::ReasonCode;
use crate::domain::request::call_context::Initiator;
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{Listing, OperationKind};

/// Writes need an approval by Alice or by somebody of the staff; only staff may approve.
const POLICIES: &str = r#"
    @id("write") permit (principal, action in Mcp::Action::"call_write", resource)
    when { principal is Mcp::User || (context has approval && context.approval.approver in Mcp::Group::"staff") };
    @id("approve") permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource);
"#;

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_400)
}

fn create() -> CallContext {
    tool_call(
        "github",
        "create_issue",
        json!({ "title": "a", "number": 1 }),
    )
}

fn decide_in(policies: &str, call: &CallContext, authority: &Authority, uses: &[u32]) -> Verdict {
    let snapshot = world(policies);
    let named = snapshot.entities_named_where("approval", &schema::action_uid("approve_call"));
    let world = DecisionInputs {
        authority,
        history: History {
            approval_uses: uses,
            ..History::default()
        },
        named_approvers: &named,
        ..DecisionInputs::from(&snapshot)
    };
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    };
    let asker = Requester {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    decide(world, call, asker, noon())
}

fn denied(policies: &str, call: &CallContext) -> Verdict {
    let decision = decide_in(policies, call, &Authority::default(), &[]);
    assert!(!decision.is_allow(), "{decision:?}");
    decision
}

#[test]
fn a_deny_that_an_approval_would_turn_says_so() {
    let decision = denied(POLICIES, &create());
    let codes: Vec<ReasonCode> = decision.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, [ReasonCode::ApprovalRequired, ReasonCode::NoPermit]);
    let challenge = decision.challenge.expect("a challenge");
    assert_eq!(challenge.call.subject, agent("helper"));
    assert_eq!(challenge.call.root, Some(person("alice")));
    // RFC 8785 orders the names.
    assert_eq!(challenge.call.arguments, r#"{"number":1,"title":"a"}"#);
    let until = challenge.expires_at.duration_since(noon()).expect("later");
    assert!(until <= DEFAULT_VALIDITY && until > DEFAULT_VALIDITY - Duration::from_secs(1));
}

#[test]
fn no_approval_is_asked_for_that_would_not_help() {
    let code = |policies: &str| denied(policies, &create()).reasons[0].code;
    // A forbid that no approval lifts.
    let forbidden = format!("{POLICIES} forbid (principal, action, resource);");
    assert_eq!(code(&forbidden), ReasonCode::Forbidden);
    // Nobody may approve.
    let nobody = POLICIES.replace("permit (principal in", "forbid (principal in");
    assert_eq!(code(&nobody), ReasonCode::NoPermit);
    // A policy looks at the approval, but wants something else as well.
    let elsewhere = POLICIES.replace(
        "context has approval &&",
        "context has approval && context.initiator == \"ui\" &&",
    );
    assert_eq!(code(&elsewhere), ReasonCode::NoPermit);
    // Whoever may approve is nobody that the call's policies accept.
    let others = POLICIES.replace(
        "context.approval.approver in Mcp::Group::\"staff\"",
        "context.approval.approver == Mcp::User::\"mallory\"",
    );
    assert_eq!(code(&others), ReasonCode::NoPermit);
    // Nothing about approvals anywhere.
    assert_eq!(
        code("permit (principal is Mcp::User, action, resource);"),
        ReasonCode::NoPermit
    );
}

#[test]
fn the_group_of_an_unknown_approver_is_enough() {
    // Mallory, for whom the call is made, is not in the group, and nobody else is near.
    let mut call = create();
    call.actor_chain.as_mut().expect("delegated").root = Some(person("mallory"));
    let others = r#"
        permit (principal is Mcp::User, action in Mcp::Action::"call_write", resource);
        permit (principal is Mcp::Agent, action in Mcp::Action::"call_write", resource)
        when { context has approval && context.approval.approver in Mcp::Group::"on-call" };
        permit (principal in Mcp::Group::"on-call", action == Mcp::Action::"approve_call", resource);
    "#;
    assert_eq!(
        denied(others, &call).reasons[0].code,
        ReasonCode::ApprovalRequired
    );
}

/// The approval of a call by Alice, once.
fn approve(call: &ApprovedCall, uses: u32) -> Authority {
    let expires_at = whole_seconds(noon() + DEFAULT_VALIDITY);
    let approval = Approval {
        id: "a".into(),
        digest: call.digest(expires_at),
        call: call.clone(),
        circumstances: ApprovalContext::default(),
        requested_at: noon(),
        expires_at,
        word: Some(ApprovalDecision {
            by: person("alice"),
            at: noon(),
            uses,
            comment: None,
            claims: Default::default(),
            identity: None,
        }),
    };
    let mut authority = Authority::default();
    authority.approvals.insert_mut(Arc::new(approval));
    authority
}

#[test]
fn an_approved_call_is_allowed_and_uses_the_approval_up() {
    let challenge = denied(POLICIES, &create()).challenge.expect("a challenge");
    let authority = approve(&challenge.call, 1);
    let mut call = create();
    call.approval_ids = vec!["a".into()];
    let decision = decide_in(POLICIES, &call, &authority, &[0]);
    assert!(decision.is_allow(), "{decision:?}");
    assert_eq!(decision.effects.approval, Some(("a".into(), 1)));
    let used = decide_in(POLICIES, &call, &authority, &[1]);
    assert_eq!(used.reasons[0].code, ReasonCode::ApprovalInvalid);
    let refused = decide_in(POLICIES, &call, &approve(&challenge.call, 0), &[0]);
    assert_eq!(refused.reasons[0].code, ReasonCode::ApprovalInvalid);
}

#[test]
fn an_approval_is_for_one_call_and_no_other() {
    let challenge = denied(POLICIES, &create()).challenge.expect("a challenge");
    let authority = approve(&challenge.call, 9);
    let with = |change: &dyn Fn(&mut CallContext)| {
        let mut call = create();
        call.approval_ids = vec!["a".into()];
        change(&mut call);
        decide_in(POLICIES, &call, &authority, &[0])
    };
    assert!(with(&|_| {}).is_allow());
    // The session, the purpose and who relays the call are not part of what was approved.
    assert!(with(&|call| call.workflow.purpose = Some("other".into())).is_allow());
    let other = |change: &dyn Fn(&mut CallContext)| {
        let code = with(change).reasons[0].code;
        assert_eq!(code, ReasonCode::ApprovalInvalid);
    };
    let tool = |call: &mut CallContext,
                change: &dyn Fn(&mut crate::domain::request::operation::ToolCall)| {
        if let OperationKind::CallTool(tool) = &mut call.operation.kind {
            change(tool);
        }
    };
    other(&|call| call.subject.entity = agent("planner"));
    other(&|call| call.actor_chain = None);
    other(&|call| call.actor_chain.as_mut().expect("delegated").root = Some(person("mallory")));
    other(&|call| call.actor_chain.as_mut().expect("delegated").actors = vec![agent("planner")]);
    other(&|call| tool(call, &|tool| tool.tool = "merge".into()));
    other(&|call| {
        tool(call, &|tool| {
            drop(tool.arguments.insert("number".into(), json!(2)))
        })
    });
    other(&|call| tool(call, &|tool| drop(tool.arguments.remove("number"))));
    other(&|call| tool(call, &|tool| tool.target = Some("/elsewhere".into())));
    other(&|call| call.operation.kind = OperationKind::List(Listing::Tools));
}

#[test]
fn every_part_of_a_call_is_in_its_digest() {
    let call = denied(POLICIES, &create())
        .challenge
        .expect("a challenge")
        .call;
    let until = whole_seconds(noon());
    let mut digests = vec![
        call.digest(until),
        call.digest(until + Duration::from_secs(1)),
    ];
    let changes: [&dyn Fn(&mut ApprovedCall); 14] = [
        &|call| call.subject = agent("x"),
        &|call| call.root = None,
        &|call| call.actors.push(agent("x")),
        &|call| call.server = "x".into(),
        &|call| call.tool = "x".into(),
        &|call| call.definition = Some("sha256:x".into()),
        &|call| call.arguments = "{}".into(),
        &|call| call.target = Some("x".into()),
        &|call| call.task = Some("x".into()),
        &|call| call.initiator = Initiator::Server,
        &|call| call.initiator = Initiator::Ui,
        &|call| call.responses = Some("{}".into()),
        &|call| call.responses = Some("x".into()),
        &|call| call.request_state = Some("x".into()),
    ];
    for change in changes {
        let mut other = call.clone();
        change(&mut other);
        digests.push(other.digest(until));
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
    assert!(
        digests
            .iter()
            .all(|digest| digest.as_str().len() == "sha256:".len() + 64)
    );
}

#[test]
fn an_approval_from_before_is_read_and_its_digest_stays() {
    // As it was stored when calls were a client's alone and nothing went back with them.
    let stored = json!({
        "id": "appr-1", "digest": "sha256:0",
        "call": {
            "subject": {"type": "Mcp::Agent", "id": "helper"}, "root": {"type": "Mcp::User", "id": "alice"},
            "server": "github", "tool": "create_issue", "arguments": "{\"number\":1}"
        },
        "requested_at": 1_800_000_000_000_u64, "expires_at": 1_800_000_900_000_u64
    });
    let approval: Approval = serde_json::from_value(stored.clone()).expect("an approval");
    assert_eq!(approval.call.initiator, Initiator::Client);
    assert_eq!(approval.circumstances, ApprovalContext::default());
    assert_eq!(serde_json::to_value(&approval).expect("JSON"), stored);
    // SHA-256 of {"call":{"arguments":"{\"number\":1}","root":{"id":"alice","type":"Mcp::User"},"server":"github",
    // "subject":{"id":"helper","type":"Mcp::Agent"},"tool":"create_issue"},"expires_at":1800000900}, without the break.
    assert_eq!(
        approval.call.digest(approval.expires_at),
        DIGEST_FROM_BEFORE
    );
}

const DIGEST_FROM_BEFORE: &str =
    "sha256:fa639593a5170d77f77e7e4050398cb3fb338379eeeb3ba8cf4f14a632351538";

/// Parts of a call, each as something else: what was approved for one fits none of the others.
fn variants() -> Vec<(&'static str, CallContext)> {
    let with = |change: &dyn Fn(&mut CallContext)| {
        // No action of its own, so that the facts may have everything.
        let mut call = tool_call("github", "merge", json!({ "title": "a" }));
        call.approval_ids = vec!["a".into()];
        change(&mut call);
        call
    };
    let argument = |value: Json| {
        with(&|call| {
            if let OperationKind::CallTool(tool) = &mut call.operation.kind {
                tool.arguments.insert("extra".into(), value.clone());
            }
        })
    };
    let answers = |responses: Json| {
        with(&|call| {
            let responses = responses.as_object().expect("an object");
            let answers = ClientResponses::from_json(responses).expect("answers");
            call.operation.answers = answers.map(Box::new);
        })
    };
    let accepted = |content: Json| answers(json!({"q": {"action": "accept", "content": content}}));
    let state = |state: &str| with(&|call| call.operation.request_state = Some(state.into()));
    vec![
        ("plain", with(&|_| {})),
        ("…990", argument(json!(1_122_334_455_667_788_990_u64))),
        ("…991", argument(json!(1_122_334_455_667_788_991_u64))),
        ("-…991", argument(json!(-1_122_334_455_667_788_991_i64))),
        ("2^53", argument(json!(9_007_199_254_740_992_u64))),
        ("2^53 + 1", argument(json!(9_007_199_254_740_993_u64))),
        ("u64::MAX", argument(json!(u64::MAX))),
        ("u64::MAX - 1", argument(json!(u64::MAX - 1))),
        ("i64::MIN", argument(json!(i64::MIN))),
        ("within lists", argument(json!([{"n": i64::MAX}]))),
        (
            "within lists, one less",
            argument(json!([{"n": i64::MAX - 1}])),
        ),
        ("a text", argument(json!("1"))),
        (
            "of a user interface",
            with(&|call| call.operation.initiator = Initiator::Ui),
        ),
        ("accepted", accepted(json!({"card": "1"}))),
        (
            "accepted with more",
            accepted(json!({"card": "1", "pin": "2"})),
        ),
        (
            "accepted …990",
            accepted(json!({"n": 1_122_334_455_667_788_990_u64})),
        ),
        (
            "accepted …991",
            accepted(json!({"n": 1_122_334_455_667_788_991_u64})),
        ),
        ("declined", answers(json!({"q": {"action": "decline"}}))),
        (
            "under another key",
            answers(json!({"r": {"action": "decline"}})),
        ),
        (
            "sampled",
            answers(json!({"q": {"model": "m", "content": {"text": "yes"}}})),
        ),
        (
            "sampled otherwise",
            answers(json!({"q": {"model": "m", "content": {"text": "no"}}})),
        ),
        (
            "roots",
            answers(json!({"q": {"roots": [{"uri": "file:///a"}]}})),
        ),
        (
            "other roots",
            answers(json!({"q": {"roots": [{"uri": "file:///b"}]}})),
        ),
        ("a state", state("s")),
        ("another state", state("S")),
    ]
}

#[test]
fn an_approval_for_one_variant_fits_no_other() {
    let policies = r#"
        permit (principal, action in [Mcp::Action::"call_admin", Mcp::Action::"reverse_admin"], resource)
        when { principal is Mcp::User || context has approval };
        permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource);
    "#;
    for (name, call) in variants() {
        let asked = CallContext {
            approval_ids: Vec::new(),
            ..call.clone()
        };
        let challenge = denied(policies, &asked).challenge;
        let challenge = challenge.unwrap_or_else(|| panic!("{name}: no challenge"));
        let authority = approve(&challenge.call, 1);
        for (other, made) in variants() {
            let decision = decide_in(policies, &made, &authority, &[0]);
            assert_eq!(
                decision.is_allow(),
                name == other,
                "{name} approved, {other} made"
            );
            if name != other {
                assert_eq!(decision.reasons[0].code, ReasonCode::ApprovalInvalid);
            }
        }
    }
}

#[test]
fn the_same_call_written_otherwise_is_the_approved_one() {
    let with = |text: &str| {
        let mut call = create();
        if let OperationKind::CallTool(tool) = &mut call.operation.kind {
            tool.arguments = serde_json::from_str(text).expect("an object");
        }
        call
    };
    let digest_of = |text: &str| denied(POLICIES, &with(text)).challenge.expect("one").call;
    let written = digest_of(r#"{"title": "a", "number": 1, "x": [10, 2]}"#);
    for same in [
        r#"{"number": 1, "x": [10, 2], "title": "a"}"#,
        r#"{"number": 1, "x": [1e1, 2.0], "title": "\u0061"}"#,
        r#" {"x":[ 10.0,2 ],"number":1,"title":"a"} "#,
    ] {
        assert_eq!(digest_of(same), written, "{same}");
    }
}

#[test]
fn a_challenge_tells_what_a_person_decides_by() {
    let policies = r#"
        @id("by-default") permit (principal, action in Mcp::Action::"call_write", resource);
        @id("ask-a") @owner("security") @reason("A person reads this first.")
        forbid (principal is Mcp::Agent, action in Mcp::Action::"call_write", resource)
        unless { context has approval };
        @id("ask-b") forbid (principal, action in Mcp::Action::"call_write", resource)
        unless { context has approval && context.approval.approver in Mcp::Group::"staff" };
        @id("never-mind") forbid (principal, action in Mcp::Action::"call_write", resource)
        when { context.initiator == "ui" };
        @id("approve") permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource);
    "#;
    let mut call = create();
    call.workflow.purpose = Some("triage".into());
    let told = denied(policies, &call)
        .challenge
        .expect("one")
        .circumstances;
    let asking = |id: &str, owner: Option<&str>, reason: Option<&str>| ApprovalPolicy {
        id: id.into(),
        owner: owner.map(Into::into),
        reason: reason.map(Into::into),
    };
    assert_eq!(
        told.policies,
        [
            asking(
                "policy1",
                Some("security"),
                Some("A person reads this first.")
            ),
            asking("policy2", None, None),
        ]
    );
    assert_eq!(told.purpose.as_deref(), Some("triage"));
    assert_eq!(told.access, Some(crate::domain::schema::AccessLevel::Write));
    assert_eq!(told.argument_order.len(), 2);
    // A permit that waits for an approval asks as well.
    let told = denied(POLICIES, &create())
        .challenge
        .expect("one")
        .circumstances;
    assert_eq!(told.policies, [asking("policy0", None, None)]);
}

#[test]
fn the_word_of_somebody_who_has_left_counts_no_more() {
    let challenge = denied(POLICIES, &create()).challenge.expect("a challenge");
    let authority = approve(&challenge.call, 1);
    let mut call = create();
    call.approval_ids = vec!["a".into()];
    let snapshot = world(POLICIES);
    let gone = r#"{"uid": {"type": "Mcp::User", "id": "alice"}, "attrs": {"active": false},
        "parents": [{"type": "Mcp::Group", "id": "staff"}]}"#;
    let gone = callgate_engine::cedar::EntityJsonParser::new(
        None::<&callgate_engine::cedar::NoEntitiesSchema>,
        callgate_engine::cedar::Extensions::all_available(),
        callgate_engine::cedar::TCComputation::ComputeNow,
    )
    .single_from_json_str(gone)
    .expect("an entity");
    let snapshot = snapshot.upsert([gone]).expect("changed");
    let world = DecisionInputs {
        authority: &authority,
        history: History {
            approval_uses: &[0],
            ..History::default()
        },
        ..DecisionInputs::from(&snapshot)
    };
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    };
    let asker = Requester {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    let decision = decide(world, &call, asker, noon());
    assert_eq!(decision.reasons[0].code, ReasonCode::ApprovalInvalid);
}
