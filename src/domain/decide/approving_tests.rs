use std::sync::Arc;
use std::time::Duration;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{EntityJsonParser, Extensions, NoEntitiesSchema, TCComputation};
use serde_json::json;

use super::*;
use crate::authn::caller::Caller;
use crate::domain::authority::approval::Approval;
use crate::domain::authority::state::Authority;
use crate::domain::decide::call::decide;
use crate::domain::decide::inputs::{History, Requester};
use crate::domain::decide::verdict::{Challenge, Verdict};
use crate::domain::fixtures::{person, tool_call, world};
use crate::domain::reason::ReasonCode;
use crate::domain::request::call_context::Identity;

/// Agents write with an approval; `policies` say who may give it.
fn office(policies: &str) -> Snapshot {
    world(&format!(
        r#"
        permit (principal, action in Mcp::Action::"call_write", resource)
        when {{ principal is Mcp::User || context has approval }};
        {policies}
        "#
    ))
}

/// The office once Alice is in these groups alone.
fn with_alice_in(snapshot: &Snapshot, groups: &[&str]) -> Snapshot {
    let parents = groups
        .iter()
        .map(|id| json!({"type": "Mcp::Group", "id": id}));
    let alice = json!({
        "uid": {"type": "Mcp::User", "id": "alice"}, "attrs": {"active": true},
        "parents": parents.collect::<Vec<_>>()
    });
    let alice = EntityJsonParser::new(
        None::<&NoEntitiesSchema>,
        Extensions::all_available(),
        TCComputation::ComputeNow,
    )
    .single_from_json_str(alice.to_string())
    .expect("an entity");
    snapshot.upsert([alice]).expect("changed")
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn create() -> CallContext {
    let arguments = json!({ "title": "a", "number": 1 });
    tool_call("github", "create_issue", arguments)
}

fn decided(snapshot: &Snapshot, call: &CallContext, authority: &Authority) -> Verdict {
    let caller = Caller::local();
    let asker = Requester {
        caller: &caller,
        claims: &ClaimMapping::default(),
    };
    let inputs = DecisionInputs {
        authority,
        history: History {
            approval_uses: &[0],
            ..History::default()
        },
        ..DecisionInputs::from(snapshot)
    };
    decide(inputs, call, asker, noon())
}

fn challenge(snapshot: &Snapshot) -> Challenge {
    let denied = decided(snapshot, &create(), &Authority::default());
    *denied.challenge.expect("a challenge")
}

/// The decision on the call with the approval that Alice gave with this identity.
fn approved(
    snapshot: &Snapshot,
    challenge: &Challenge,
    identity: Option<StatedIdentity>,
) -> Result<(), String> {
    let approval = Approval {
        id: "a".into(),
        digest: challenge.digest.clone(),
        call: challenge.call.clone(),
        circumstances: challenge.circumstances.clone(),
        requested_at: noon(),
        expires_at: challenge.expires_at,
        word: Some(ApprovalDecision {
            by: person("alice"),
            at: noon(),
            uses: 1,
            comment: None,
            claims: Map::new(),
            identity,
        }),
    };
    let mut authority = Authority::default();
    authority.approvals.insert_mut(Arc::new(approval));
    let mut call = create();
    call.approval_ids = vec!["a".into()];
    let verdict = decided(snapshot, &call, &authority);
    if verdict.is_allow() {
        return Ok(());
    }
    assert_eq!(verdict.reasons[0].code, ReasonCode::ApprovalInvalid);
    Err(verdict.reasons[0].message.clone())
}

fn verified() -> StatedIdentity {
    let identity = Identity {
        method: Some("jwt".into()),
        verified: true,
        ..Identity::default()
    };
    StatedIdentity::new(&identity, &Caller::local())
}

const NO_MORE: &str = "approval `a` was given by somebody who may not give it any more";
const NOT_RECORDED: &str = "approval `a` was given when the approver's identity was not recorded: it has to be given again";

#[test]
fn an_approval_does_not_outlive_the_right_whatever_else_policies_read() {
    const ACTION: &str = r#"principal, action == Mcp::Action::"approve_call", resource"#;
    const STAFF: &str = r#"principal in Mcp::Group::"staff""#;
    const FORMER: &str = r#"principal in Mcp::Group::"former""#;
    let verified_fact = "context.identity.verified";
    let cases = [
        format!("permit ({ACTION}) when {{ {verified_fact} && {STAFF} }};"),
        format!("permit ({ACTION}) when {{ {STAFF} && {verified_fact} }};"),
        format!("permit ({ACTION}) when {{ {verified_fact} }} when {{ {STAFF} }};"),
        format!("permit ({ACTION}) when {{ context.environment has gateway && {STAFF} }};"),
        format!("permit ({ACTION}); forbid ({ACTION}) unless {{ {verified_fact} && {STAFF} }};"),
        format!("permit ({ACTION}); forbid ({ACTION}) unless {{ {STAFF} && {verified_fact} }};"),
        format!("permit ({ACTION}); forbid ({ACTION}) when {{ {verified_fact} && {FORMER} }};"),
        format!("permit ({ACTION}); forbid ({ACTION}) when {{ {FORMER} && {verified_fact} }};"),
    ];
    for policies in cases {
        let now = office(&policies);
        let challenge = challenge(&now);
        let later = with_alice_in(&now, &["former"]);
        let given = Some(verified());
        assert_eq!(
            approved(&now, &challenge, given.clone()),
            Ok(()),
            "{policies}"
        );
        assert_eq!(
            approved(&later, &challenge, given),
            Err(NO_MORE.into()),
            "{policies}"
        );
        // Recorded before identities were: nobody knows.
        let unknown = approved(&now, &challenge, None);
        assert_eq!(unknown, Err(NOT_RECORDED.into()), "{policies}");
        assert!(approved(&later, &challenge, None).is_err(), "{policies}");
    }
}

#[test]
fn an_approval_without_an_identity_counts_where_no_policy_reads_one() {
    let policies = r#"permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource);"#;
    let now = office(policies);
    let challenge = challenge(&now);
    assert_eq!(approved(&now, &challenge, None), Ok(()));
    let later = with_alice_in(&now, &[]);
    assert_eq!(approved(&later, &challenge, None), Err(NO_MORE.into()));
}

#[test]
fn the_identity_is_the_one_that_the_approval_was_given_with() {
    let policies = r#"
        permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource)
        when { context.identity.verified && context.identity.method == "jwt" && !context.identity.through_agent
            && context.environment.gateway == Mcp::Gateway::"local" };"#;
    let now = office(policies);
    let challenge = challenge(&now);
    assert_eq!(approved(&now, &challenge, Some(verified())), Ok(()));
    let others = [
        StatedIdentity {
            verified: false,
            ..verified()
        },
        StatedIdentity {
            method: None,
            ..verified()
        },
        StatedIdentity {
            through_agent: true,
            ..verified()
        },
        StatedIdentity {
            gateway: schema::entity_uid(&schema::TYPES.gateway, "desk"),
            ..verified()
        },
    ];
    for other in others {
        let counted = approved(&now, &challenge, Some(other.clone()));
        assert_eq!(counted, Err(NO_MORE.into()), "{other:?}");
    }
}

#[test]
fn a_decision_from_before_is_read_and_written_as_it_was() {
    let stored =
        json!({"by": {"type": "Mcp::User", "id": "alice"}, "at": 1_800_000_000_000_u64, "uses": 1});
    let word: ApprovalDecision = serde_json::from_value(stored.clone()).expect("a decision");
    assert_eq!(word.identity, None);
    assert_eq!(serde_json::to_value(&word).expect("JSON"), stored);
    let now = ApprovalDecision {
        identity: Some(verified()),
        ..word
    };
    let text = serde_json::to_string(&now).expect("JSON");
    assert_eq!(
        serde_json::from_str::<ApprovalDecision>(&text).expect("a decision"),
        now
    );
}
