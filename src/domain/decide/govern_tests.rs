use serde_json::json;

use super::*;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::decide::call::decide;
use crate::domain::decide::verdict::Challenge;
use crate::domain::fixtures::{person, tool_call, world};

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
            &challenge.call,
            approver,
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
