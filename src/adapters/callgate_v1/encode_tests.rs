use uuid::Uuid;

use super::*;
use crate::domain::decide::verdict::SideEffects;
use callgate_engine::obligation::Obligation;

const EVERYTHING: Disclosure = Disclosure {
    is_entitled: true,
    is_wanted: true,
};

fn policy(id: &str) -> Arc<PolicyInfo> {
    Arc::new(PolicyInfo {
        id: id.into(),
        owner: Some(Arc::from("security")),
        controls: vec![Arc::from("OWASP:ASI02")],
        reason: None,
        obligations: ["log:full", "redact:content"]
            .map(|name| Arc::new(Obligation::custom(name)))
            .to_vec(),
        is_shadow: false,
        is_always_enforced: false,
        is_forbid: true,
    })
}

fn uid(text: &str) -> EntityUID {
    text.parse().expect("a uid")
}

fn denied() -> Response<Verdict> {
    let mut reason = Reason::new(
        ReasonCode::EvaluationError,
        "a policy could not be evaluated",
    );
    reason.principal = Some(uid("Mcp::Agent::\"a\""));
    reason.policies = vec!["broken".into()];
    reason.detail = Some("integer overflow".into());
    Response {
        value: Verdict {
            outcome: Decision::Deny,
            reasons: vec![reason],
            determining_policies: vec![policy("no")],
            shadow: vec![policy("soon")],
            targets: vec![TargetSummary {
                id: "https://example.com/a".into(),
                kind: "url",
                role: Some("source".into()),
                query: Some("x=1".into()),
            }],
            principals: vec![PrincipalVerdict {
                principal: uid("Mcp::Agent::\"a\""),
                action: uid("Mcp::Action::\"call_read\""),
                resource: uid("Mcp::Tool::\"git/log\""),
                outcome: Decision::Deny,
                permits: vec![],
                forbids: vec![policy("no")],
                errors: vec![(policy("broken"), "integer overflow".into())],
                policies_evaluated: 3,
            }],
            challenge: None,
            effects: SideEffects::default(),
        },
        decision_id: Uuid::from_u128(7),
        revision: 9,
        policies_total: 12,

        observed: None,
    }
}

#[test]
fn those_entitled_see_what_is_behind_an_answer() {
    let response = authorize(denied(), EVERYTHING);
    assert_eq!(
        (response.decision(), response.revision),
        (v1::Decision::Deny, 9)
    );
    assert_eq!(response.decision_id, "00000000-0000-0000-0000-000000000007");
    assert_eq!(response.reasons[0].code(), v1::ReasonCode::EvaluationError);
    assert_eq!(response.reasons[0].policy_ids, ["broken"]);
    assert_eq!(response.reasons[0].detail, "integer overflow");
    assert_eq!(response.determining_policies[0].controls, ["OWASP:ASI02"]);
    let obligations: Vec<_> = response
        .obligations
        .iter()
        .map(|it| (&*it.id, &*it.policy_id))
        .collect();
    assert_eq!(obligations, [("log:full", "no"), ("redact:content", "no")]);
    let explanation = response.explanation.expect("an explanation");
    assert_eq!(explanation.shadow_policy_ids, ["soon"]);
    let it = &explanation.principals[0];
    assert_eq!(
        it.resource.as_ref().map(|it| (&*it.r#type, &*it.id)),
        Some(("Mcp::Tool", "git/log"))
    );
    assert_eq!((it.policies_evaluated, it.policies_total), (3, 12));
    assert_eq!(it.errors[0].message, "integer overflow");
}

#[test]
fn an_explanation_comes_only_when_asked_for() {
    let detail = Disclosure {
        is_entitled: true,
        is_wanted: false,
    };
    let response = authorize(denied(), detail);
    assert!(response.explanation.is_none() && !response.determining_policies.is_empty());
}

#[test]
fn others_never_see_a_policy_or_its_error() {
    let detail = Disclosure {
        is_entitled: false,
        is_wanted: true,
    };
    let shown = format!("{:?}", authorize(denied(), detail));
    let cedar = format!("{:?}", is_authorized(denied(), detail));
    for secret in ["\"no\"", "broken", "soon", "overflow", "OWASP", "security"] {
        assert!(
            !shown.contains(secret) && !cedar.contains(secret),
            "{secret}: {shown} {cedar}"
        );
    }
    assert!(shown.contains("log:full") && shown.contains("a policy could not be evaluated"));
}

#[test]
fn every_code_keeps_its_name_on_the_wire() {
    for code in ReasonCode::ALL {
        assert_eq!(
            reason_code(code).as_str_name(),
            format!("REASON_CODE_{}", code.as_str())
        );
    }
    // Numbers have no gaps, and every one but that of nothing is the code of something.
    let on_the_wire = (1..).map_while(|number| v1::ReasonCode::try_from(number).ok());
    assert_eq!(on_the_wire.count(), ReasonCode::ALL.len());
}
