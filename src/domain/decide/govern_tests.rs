use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::approval::{Approval, ApprovalDecision};
use crate::domain::authority::call_facts::CallFacts;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::decide::call::decide;
use crate::domain::decide::inputs::History;
use crate::domain::decide::verdict::Challenge;
use crate::domain::fixtures::{agent, person, tool_call, world};
use crate::domain::request::call_context::ActorChain;

const POLICIES: &str = r#"
    permit (principal, action in Mcp::Action::"call_write", resource)
    when { principal is Mcp::User || context has approval };
    permit (principal in Mcp::Group::"staff", action == Mcp::Action::"approve_call", resource)
    when { context.delegation.root == principal };
"#;

/// A caller at which people decide on approvals, and that states nothing about calls.
fn desk() -> Caller {
    let mut caller = Caller::local();
    caller.rights.assert_delegation = false;
    caller
}

fn asks<'a>(caller: &'a Caller, claims: &'a ClaimMapping) -> Requester<'a> {
    Requester { caller, claims }
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000)
}

fn challenge() -> Challenge {
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    let snapshot = world(POLICIES);
    let call = tool_call(
        "github",
        "create_issue",
        json!({ "title": "a", "number": 1 }),
    );
    let denied = decide(&snapshot, &call, asks(&caller, &claims), noon());
    *denied.challenge.expect("a challenge")
}

#[test]
fn a_desk_needs_no_right_to_state_for_whom_a_call_is_made() {
    let challenge = challenge();
    let snapshot = world(POLICIES);
    let inputs = DecisionInputs::from(&snapshot);
    let (caller, claims) = (desk(), ClaimMapping::default());
    let given_by = |approver: &Subject, caller: &Caller| {
        approve(
            &inputs,
            (&challenge.call, &challenge.circumstances),
            (approver, ApproverWish::Approve),
            asks(caller, &claims),
            noon(),
        )
    };
    let alice = Subject::verified(person("alice"), "jwt");
    let verdict = given_by(&alice, &caller);
    assert!(verdict.is_allow(), "{verdict:?}");
    // What it does state, it has to be trusted with.
    let mut claiming = alice.clone();
    claiming.claims.insert("groups".into(), json!(["staff"]));
    let mut untrusted = desk();
    untrusted.rights.assert_claims = false;
    let mut unknown = desk();
    unknown.rights.assert_identity = false;
    for verdict in [given_by(&claiming, &untrusted), given_by(&alice, &unknown)] {
        assert_eq!(verdict.reasons[0].code, ReasonCode::CallerNotTrusted);
    }
    let other = given_by(&Subject::verified(person("mallory"), "jwt"), &caller);
    assert_eq!(other.reasons[0].code, ReasonCode::NoPermit);
}

/// A call under a stored delegation, in a session that has read what is private, with a purpose.
fn delegated() -> (CallContext, Authority, Session) {
    let delegation: Delegation = serde_json::from_value(json!({
        "id": "d",
        "from": {"type": "Mcp::User", "id": "alice"},
        "to": {"type": "Mcp::Agent", "id": "helper"},
        "scope": {"servers": [{"type": "Mcp::Server", "id": "github"}], "access": "write"},
        "not_before": 1_700_000_000_000_u64,
        "created_at": 1_700_000_000_000_u64,
        "expires_at": 1_900_000_000_000_u64,
    }))
    .expect("a delegation");
    let mut authority = Authority::default();
    authority.delegations.insert_mut(Arc::new(delegation));
    let mut call = tool_call(
        "github",
        "create_issue",
        json!({ "title": "a", "number": 1 }),
    );
    call.actor_chain = Some(ActorChain::from_delegation_ids(vec!["d".into()]));
    call.workflow.purpose = Some("triage".into());
    call.environment.source_address = Some([10, 0, 0, 1].into());
    let read = schema::tool_uid("files", "read");
    let session = Session::new().after(Some(&read), &["private".into()]);
    (call, authority, session)
}

/// What policies about the approver may ask of the call: all of it is so.
const FACTS: [&str; 15] = [
    r#"context.labels.contains("private")"#,
    r#"!context.labels.contains("untrusted")"#,
    r#"context has session && context.session.calls == 1 && context.session.labels.contains("private")"#,
    r#"context has session && context.session has previous && context.session.previous == Mcp::Tool::"files/read""#,
    r#"context has delegation && context.delegation.source == "stored""#,
    r#"context has delegation && context.delegation has access && context.delegation.access == "write""#,
    r#"context has delegation && context.delegation.verified && context.delegation.depth == 1"#,
    r#"context has purpose && context.purpose == "triage""#,
    r#"context has usage && context.usage.last_hour == 3 && !context.usage.first_use"#,
    r#"context has recent && context.recent.labels.contains("private")"#,
    r#"context has server && context.server == Mcp::Server::"github""#,
    r#"context.initiator == "client""#,
    r#"!(context has approval)"#,
    r#"context.delegation.root == principal"#,
    r#"resource.owner == principal"#,
];

#[test]
fn who_may_approve_is_asked_on_the_same_facts_each_time() {
    let (call, authority, session) = delegated();
    let private = Some(Arc::new(Labels::new(vec!["private".into()])));
    let carried = CarriedLabels {
        recent: private,
        ..CarriedLabels::default()
    };
    let usage = Usage {
        tool: WindowCounts {
            minute: 0,
            hour: 3,
            day: 3,
        },
        ..Usage::default()
    };
    let (gateway, claims) = (Caller::local(), ClaimMapping::default());
    let history = History {
        session: Some(&session),
        carried: Some(&carried),
        usage: Some(usage),
        approval_uses: &[0],
        ..History::default()
    };
    for fact in FACTS {
        for (word, is_offered) in [("unless", true), ("when", false)] {
            let policies = format!(
                r#"{POLICIES} forbid (principal, action == Mcp::Action::"approve_call", resource) {word} {{ {fact} }};"#
            );
            let snapshot = world(&policies);
            let inputs = DecisionInputs {
                authority: &authority,
                history,
                ..DecisionInputs::from(&snapshot)
            };
            let denied = decide(inputs, &call, asks(&gateway, &claims), noon());
            let offered = denied.challenge.map(|it| *it);
            assert_eq!(offered.is_some(), is_offered, "{word} {fact}");
            // The call is on record, and nothing of its history is at hand.
            let on_record = match &offered {
                Some(challenge) => challenge.clone(),
                None => {
                    let open = world(POLICIES);
                    let inputs = DecisionInputs {
                        snapshot: &open,
                        ..inputs
                    };
                    let denied = decide(inputs, &call, asks(&gateway, &claims), noon());
                    *denied.challenge.expect("a challenge")
                }
            };
            let circumstances = serde_json::to_string(&on_record.circumstances).expect("JSON");
            let circumstances = serde_json::from_str(&circumstances).expect("circumstances");
            assert_eq!(on_record.circumstances, circumstances);
            let later = DecisionInputs {
                history: History::default(),
                ..inputs
            };
            let alice = Subject::verified(person("alice"), "jwt");
            let desk = desk();
            let about = (&on_record.call, &circumstances);
            let given = approve(
                &later,
                about,
                (&alice, ApproverWish::Approve),
                asks(&desk, &claims),
                noon(),
            );
            assert_eq!(given.is_allow(), is_offered, "{word} {fact}: {given:?}");
            let approval = Approval {
                id: "a".into(),
                digest: on_record.digest.clone(),
                call: on_record.call.clone(),
                circumstances,
                requested_at: noon(),
                expires_at: on_record.expires_at,
                word: Some(ApprovalDecision {
                    by: alice.entity.clone(),
                    at: noon(),
                    uses: 1,
                    comment: None,
                    claims: Default::default(),
                    identity: Some(StatedIdentity::new(&alice.identity, &desk)),
                }),
            };
            let mut authority = authority.clone();
            authority.approvals.insert_mut(Arc::new(approval));
            let inputs = DecisionInputs {
                authority: &authority,
                ..inputs
            };
            let mut made = call.clone();
            made.approval_ids = vec!["a".into()];
            let used = decide(inputs, &made, asks(&gateway, &claims), noon());
            assert_eq!(used.is_allow(), is_offered, "{word} {fact}: {used:?}");
        }
    }
}

#[test]
fn the_gateway_is_the_one_through_which_it_is_approved() {
    let policies = format!(
        r#"{POLICIES} forbid (principal, action == Mcp::Action::"approve_call", resource)
        unless {{ context.environment.gateway == Mcp::Gateway::"desk" }};"#
    );
    let snapshot = world(&policies);
    let inputs = DecisionInputs::from(&snapshot);
    let (gateway, claims) = (Caller::local(), ClaimMapping::default());
    let call = tool_call(
        "github",
        "create_issue",
        json!({ "title": "a", "number": 1 }),
    );
    // Who has not approved yet may do so anywhere.
    let denied = decide(inputs, &call, asks(&gateway, &claims), noon());
    let challenge = denied.challenge.expect("a challenge");
    let alice = Subject::verified(person("alice"), "jwt");
    let desk = Caller {
        id: "desk".into(),
        ..desk()
    };
    let about = (&challenge.call, &challenge.circumstances);
    let given = |through: &Caller| {
        approve(
            &inputs,
            about,
            (&alice, ApproverWish::Approve),
            asks(through, &claims),
            noon(),
        )
    };
    assert!(given(&desk).is_allow());
    assert!(!given(&gateway).is_allow());
}

#[test]
fn what_was_recorded_without_facts_is_of_unknown_origin() {
    let challenge = challenge();
    let (caller, claims) = (desk(), ClaimMapping::default());
    let alice = Subject::verified(person("alice"), "jwt");
    let allows = |fact: &str, context: &ApprovalContext| {
        let policies = format!(
            r#"{POLICIES} forbid (principal, action == Mcp::Action::"approve_call", resource) when {{ {fact} }};"#
        );
        let snapshot = world(&policies);
        let inputs = DecisionInputs::from(&snapshot);
        let about = (&challenge.call, context);
        let by = (&alice, ApproverWish::Approve);
        approve(&inputs, about, by, asks(&caller, &claims), noon()).is_allow()
    };
    let without = ApprovalContext {
        facts: None,
        ..challenge.circumstances.clone()
    };
    assert!(!allows(r#"context.labels.contains("untrusted")"#, &without));
    assert!(!allows("!context.delegation.verified", &without));
    assert!(allows(
        "!context.delegation.verified",
        &challenge.circumstances
    ));
    // A stored delegation that is gone is no proof of anything either.
    let gone = ApprovalContext {
        facts: Some(Arc::new(CallFacts {
            delegations: vec!["gone".into()],
            is_chain_verified: true,
            ..CallFacts::default()
        })),
        ..without
    };
    assert!(!allows("!context.delegation.verified", &gone));
}

/// What the policies say of an actor who does this to an agent.
fn governed(policies: &str, authority: &Authority, request: &GovernRequest<'_>) -> Verdict {
    let snapshot = world(policies);
    let inputs = DecisionInputs {
        authority,
        ..DecisionInputs::from(&snapshot)
    };
    let (caller, claims) = (Caller::local(), ClaimMapping::default());
    govern(&inputs, request, asks(&caller, &claims), noon())
}

#[test]
fn a_failing_permit_stands_in_the_way_of_nothing_that_is_taken_away() {
    let failing = r#"permit (principal, action in Mcp::Action::"govern", resource) when { resource.owner == principal };"#;
    let permit = r#"permit (principal, action in Mcp::Action::"govern", resource);"#;
    let forbid = failing.replace("permit", "forbid");
    let (alice, gone) = (Subject::verified(person("alice"), "jwt"), agent("gone"));
    let code = |policies: &str, action, remembered: &[Overlay]| {
        let request = GovernRequest {
            actor: &alice,
            action,
            resource: &gone,
            chain: None,
            task: None,
            remembered,
        };
        let verdict = governed(policies, &Authority::default(), &request);
        verdict.reasons.first().map(|reason| reason.code)
    };
    let both = format!("{failing}{permit}");
    for action in ["revoke_delegation", "stop_entity"] {
        assert_eq!(code(&both, action, &[]), None, "{action}");
        // By itself it permits nothing, and a forbid that fails denies.
        assert_eq!(code(failing, action, &[]), Some(ReasonCode::NoPermit));
        let denied = code(&format!("{forbid}{permit}"), action, &[]);
        assert_eq!(denied, Some(ReasonCode::EvaluationError));
    }
    for action in ["grant_delegation", "resume_entity"] {
        let denied = code(&both, action, &[]);
        assert_eq!(denied, Some(ReasonCode::EvaluationError), "{action}");
    }
    // Of an agent that is gone policies find what is known.
    let known = |owner: &str| {
        let snapshot = world("");
        let agent =
            crate::domain::authority::ownership::remembered(&snapshot, &gone, Some(&person(owner)));
        [agent.expect("it is gone")]
    };
    assert_eq!(code(failing, "revoke_delegation", &known("alice")), None);
    let anothers = code(failing, "revoke_delegation", &known("mallory"));
    assert_eq!(anothers, Some(ReasonCode::NoPermit));
}

#[test]
fn whoever_takes_part_in_what_is_made_is_not_stopped() {
    let policies = r#"permit (principal, action in Mcp::Action::"govern", resource);"#;
    let alice = Subject::verified(person("alice"), "jwt");
    let (planner, helper) = (agent("planner"), agent("helper"));
    let parts: (_, Vec<EntityUID>) = (person("mallory"), vec![planner.clone()]);
    let chain = DelegationChain {
        root: std::borrow::Cow::Borrowed(&parts.0),
        actors: std::borrow::Cow::Borrowed(&parts.1),
        scopes: &[],
        is_verified: true,
        delegations: Vec::new(),
    };
    let task: Task = serde_json::from_value(json!({
        "id": "t",
        "agent": {"type": "Mcp::Agent", "id": "stray"},
        "person": {"type": "Mcp::User", "id": "zoe"},
        "purpose": "triage",
        "opened_at": 1_700_000_000_000_u64,
        "deadline": 1_900_000_000_000_u64,
    }))
    .expect("a task");
    let parties = [
        person("mallory"),
        planner,
        helper.clone(),
        agent("stray"),
        person("zoe"),
    ];
    for party in parties {
        let mut authority = Authority::default();
        let stop = crate::domain::authority::stop::Stop {
            uid: party.clone(),
            reason: "INC-4711".into(),
            at: noon(),
            by: person("ines"),
        };
        authority.stops.insert_mut(party.clone(), Arc::new(stop));
        let code = |action| {
            let request = GovernRequest {
                actor: &alice,
                action,
                resource: &helper,
                chain: Some(&chain),
                task: Some(&task),
                remembered: &[],
            };
            let verdict = governed(policies, &authority, &request);
            verdict.reasons.first().map(|reason| reason.code)
        };
        assert_eq!(
            code("grant_delegation"),
            Some(ReasonCode::Stopped),
            "{party}"
        );
        assert_eq!(code("revoke_delegation"), None, "{party}");
    }
}
