use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::call::decide::{Asker, decide};
use crate::call::decision::{Decision, ReasonCode};
use crate::call::fixtures::{agent, person, tool_call, trusted, world};
use crate::call::live::approval::Word;
use crate::call::live::authority::Authority;
use crate::call::world::{Past, World};
use crate::config::claims::ClaimMapping;
use crate::identity::caller::Caller;

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

fn decide_in(policies: &str, call: &CallContext, authority: &Authority, uses: &[u32]) -> Decision {
    let snapshot = world(policies);
    let named = snapshot.named_where("approval", &model::action("approve_call"));
    let world = World {
        authority,
        past: Past {
            approval_uses: uses,
            ..Past::default()
        },
        named_approvers: &named,
        ..World::from(&snapshot)
    };
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
    };
    let asker = Asker {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    decide(world, call, asker, noon())
}

fn denied(policies: &str, call: &CallContext) -> Decision {
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
    assert!(until <= VALID_FOR && until > VALID_FOR - Duration::from_secs(1));
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
    call.delegation.as_mut().expect("delegated").root = Some(person("mallory"));
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
    let expires_at = whole_seconds(noon() + VALID_FOR);
    let approval = Approval {
        id: "a".into(),
        digest: digest(call, expires_at),
        call: call.clone(),
        requested_at: noon(),
        expires_at,
        word: Some(Word {
            by: person("alice"),
            at: noon(),
            uses,
            comment: None,
        }),
    };
    let mut authority = Authority::default();
    authority
        .approvals
        .insert_mut("a".into(), Arc::new(approval));
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
    let tool = |call: &mut CallContext, change: &dyn Fn(&mut crate::call::context::ToolCall)| {
        if let OperationKind::CallTool(tool) = &mut call.operation.kind {
            change(tool);
        }
    };
    other(&|call| call.subject.entity = agent("planner"));
    other(&|call| call.delegation = None);
    other(&|call| call.delegation.as_mut().expect("delegated").root = Some(person("mallory")));
    other(&|call| call.delegation.as_mut().expect("delegated").actors = vec![agent("planner")]);
    other(&|call| tool(call, &|tool| tool.tool = "merge".into()));
    other(&|call| {
        tool(call, &|tool| {
            drop(tool.arguments.insert("number".into(), json!(2)))
        })
    });
    other(&|call| tool(call, &|tool| drop(tool.arguments.remove("number"))));
    other(&|call| tool(call, &|tool| tool.target = Some("/elsewhere".into())));
    other(&|call| call.operation.kind = OperationKind::ListTools);
}

#[test]
fn every_part_of_a_call_is_in_its_digest() {
    let call = denied(POLICIES, &create())
        .challenge
        .expect("a challenge")
        .call;
    let until = whole_seconds(noon());
    let mut digests = vec![
        digest(&call, until),
        digest(&call, until + Duration::from_secs(1)),
    ];
    let changes: [&dyn Fn(&mut ApprovedCall); 9] = [
        &|call| call.subject = agent("x"),
        &|call| call.root = None,
        &|call| call.actors.push(agent("x")),
        &|call| call.server = "x".into(),
        &|call| call.tool = "x".into(),
        &|call| call.definition = Some("sha256:x".into()),
        &|call| call.arguments = "{}".into(),
        &|call| call.target = Some("x".into()),
        &|call| call.task = Some("x".into()),
    ];
    for change in changes {
        let mut other = call.clone();
        change(&mut other);
        digests.push(digest(&other, until));
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
    assert!(
        digests
            .iter()
            .all(|digest| digest.len() == "sha256:".len() + 64)
    );
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
    let gone = cedar_policy_core::entities::EntityJsonParser::new(
        None::<&cedar_policy_core::entities::NoEntitiesSchema>,
        cedar_policy_core::extensions::Extensions::all_available(),
        cedar_policy_core::entities::TCComputation::ComputeNow,
    )
    .single_from_json_str(gone)
    .expect("an entity");
    let snapshot = snapshot.upsert([gone]).expect("changed");
    let world = World {
        authority: &authority,
        past: Past {
            approval_uses: &[0],
            ..Past::default()
        },
        ..World::from(&snapshot)
    };
    let caller = Caller {
        id: "edge".into(),
        rights: trusted(),
    };
    let asker = Asker {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    let decision = decide(world, &call, asker, noon());
    assert_eq!(decision.reasons[0].code, ReasonCode::ApprovalInvalid);
}
