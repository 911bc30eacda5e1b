use callgate_engine::PolicyList;
use prost::Message;
use smallvec::smallvec;

use super::*;
use crate::domain::decide::verdict::SideEffects;
use callgate_engine::obligation::Obligation;

const EVERYTHING: Disclosure = Disclosure {
    is_entitled: true,
    is_wanted: true,
};

const OTHERS: Disclosure = Disclosure {
    is_entitled: false,
    is_wanted: false,
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

fn denied() -> Response<Box<Verdict>> {
    let mut reason = Reason::new(
        ReasonCode::EvaluationError,
        "a policy could not be evaluated",
    );
    reason.principal = Some(uid("Mcp::Agent::\"a\""));
    reason.policies = vec!["broken".into()];
    reason.detail = Some("integer overflow".into());
    Response {
        value: Box::new(Verdict {
            outcome: Decision::Deny,
            reasons: vec![reason],
            determining_policies: [policy("no")].into_iter().collect(),
            shadow: [policy("soon")].into_iter().collect(),
            targets: smallvec![TargetSummary {
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
                permits: PolicyList::new(),
                forbids: [policy("no")].into_iter().collect(),
                errors: vec![(policy("broken"), "integer overflow".into())],
                policies_evaluated: 3,
            }],
            access: None,
            challenge: None,
            effects: SideEffects::default(),
        }),
        decision_id: Uuid::from_u128(7),
        revision: 9,
        policies_total: 12,

        observed: None,
    }
}

/// The message that was written. Its own encoding is the same bytes: nothing is missing, doubled or out of order.
fn decoded<M: Message + Default>(encoded: &EncodedMessage<M>) -> M {
    let message = encoded.message().expect("a message");
    assert_eq!(encoded.as_bytes(), message.encode_to_vec());
    message
}

#[test]
fn those_entitled_see_what_is_behind_an_answer() {
    let response = decoded(&authorize(&denied(), EVERYTHING));
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
    let response = decoded(&authorize(&denied(), detail));
    assert!(response.explanation.is_none() && !response.determining_policies.is_empty());
}

#[test]
fn others_never_see_a_policy_or_its_error() {
    let detail = Disclosure {
        is_entitled: false,
        is_wanted: true,
    };
    let shown = format!("{:?}", decoded(&authorize(&denied(), detail)));
    let cedar = format!("{:?}", decoded(&is_authorized(&denied(), detail)));
    for secret in ["\"no\"", "broken", "soon", "overflow", "OWASP", "security"] {
        assert!(
            !shown.contains(secret) && !cedar.contains(secret),
            "{secret}: {shown} {cedar}"
        );
    }
    assert!(shown.contains("log:full") && shown.contains("a policy could not be evaluated"));
}

#[test]
fn a_batch_has_the_response_to_each_call() {
    let answers = [denied(), denied()];
    let details = [EVERYTHING, OTHERS];
    let batch = authorize_batch(answers.iter().zip(details));
    let each = answers.iter().zip(details);
    let each = each.map(|(answer, detail)| decoded(&authorize(answer, detail)));
    assert_eq!(decoded(&batch).responses, each.collect::<Vec<_>>());
}

#[test]
fn what_is_observed_says_so_and_what_is_not_says_nothing() {
    let mut answer = denied();
    let enforced = decoded(&authorize(&answer, OTHERS));
    assert!(!enforced.observed && enforced.observed_decision() == v1::Decision::Unspecified);
    answer.observed = Some(Decision::Deny);
    let observed = decoded(&authorize(&answer, OTHERS));
    assert!(observed.observed && observed.observed_decision() == v1::Decision::Deny);
    let cedar = decoded(&is_authorized(&answer, EVERYTHING));
    assert!(cedar.observed && cedar.observed_decision() == v1::Decision::Deny);
    assert_eq!(cedar.errors[0].policy_id, "broken");
    assert_eq!(cedar.obligations.len(), 2);
    assert!(cedar.explanation.is_some());
}

#[test]
fn a_list_says_of_each_tool_whether_it_is_there() {
    let tools = ["read", "", "drop"].map(SmolStr::new);
    let answer = Response {
        value: vec![None, None, Some(ReasonCode::NoPermit)],
        decision_id: Uuid::from_u128(7),
        revision: 9,
        policies_total: 12,
        observed: None,
    };
    let list = decoded(&filter_tools(&tools, &answer));
    assert_eq!(list.tools, ["read", ""]);
    assert_eq!(
        (&*list.hidden[0].tool, list.hidden[0].code()),
        ("drop", v1::ReasonCode::NoPermit)
    );
    assert_eq!(
        (list.revision, &*list.decision_id),
        (9, "00000000-0000-0000-0000-000000000007")
    );
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
