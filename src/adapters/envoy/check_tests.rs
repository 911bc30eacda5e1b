use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::adapters::decision_metadata::{DECISION_ID, ENFORCED, OBLIGATION_DETAILS, OBLIGATIONS};
use callgate_engine::{PolicyInfo, obligation};

fn deny(code: ReasonCode, message: &str) -> Response<Box<Verdict>> {
    Response {
        value: Box::new(Verdict::deny(Reason::new(code, message))),
        decision_id: Uuid::nil(),
        revision: 3,
        policies_total: 1,

        observed: None,
    }
}

fn turned(turned: LocalReply) -> (u16, Option<String>) {
    let mut headers = turned.headers.into_iter();
    let challenge = headers.find(|(name, _)| *name == "www-authenticate");
    (turned.status, challenge.map(|(_, value)| value))
}

#[test]
fn more_authority_is_asked_for_where_it_would_help() {
    for code in [
        ReasonCode::ApprovalRequired,
        ReasonCode::DelegationOutOfScope,
    ] {
        let mut answer = deny(code, "ask \"ravi\" \r\nfirst");
        answer.value.reasons[0].lacks_scope = code == ReasonCode::DelegationOutOfScope;
        let (status, challenge) = turned(denied(&answer, 200, Body::message(&Json::Null)));
        assert_eq!(status, 403);
        let expected =
            "Bearer error=\"insufficient_scope\", error_description=\"ask 'ravi' 'r'nfirst\"";
        assert_eq!(
            challenge.as_deref(),
            Some(expected),
            "nothing ends the header early"
        );
    }
    // More scope does not help where a token is not in force, at either end of its time.
    for code in [
        ReasonCode::DelegationOutOfScope,
        ReasonCode::DelegationExpired,
    ] {
        let answer = deny(code, "not now");
        let turned = turned(denied(&answer, 200, Body::message(&Json::Null)));
        assert_eq!(turned, (200, None), "{code:?}");
    }
    let answer = deny(ReasonCode::Forbidden, "never");
    assert_eq!(
        turned(denied(&answer, 200, Body::message(&Json::Null))),
        (200, None)
    );
    assert_eq!(
        turned(denied(&answer, 403, Body::message(&Json::Null))),
        (403, None)
    );
}

#[test]
fn an_allow_takes_away_what_a_client_sent_under_our_names() {
    let mut answer = deny(ReasonCode::Forbidden, "never");
    *answer.value = Verdict::allow_unconditionally();
    let passes = decision_metadata::allowed(&[answer]);
    assert_eq!(passes.without, [OBLIGATIONS, OBLIGATION_DETAILS, ENFORCED]);
    assert_eq!(passes.headers[0].0, DECISION_ID);
}

#[test]
fn an_obligation_with_more_to_say_than_its_name_is_told_in_full() {
    let text = r#"{"id": "told", "type": "notification", "properties": {"to": "a@example.com", "body": "é\nx"}}"#;
    let read = obligation::read(text).expect("an obligation");
    let mut answer = deny(ReasonCode::Forbidden, "never");
    *answer.value = Verdict::allow_unconditionally();
    answer.value.determining_policies = [Arc::new(PolicyInfo {
        id: "p".into(),
        owner: None,
        controls: Vec::new(),
        reason: None,
        obligations: read.into_iter().map(Arc::new).collect(),
        is_shadow: false,
        is_always_enforced: false,
        is_forbid: false,
    })]
    .into_iter()
    .collect();
    let passes = decision_metadata::allowed(&[answer]);
    let headers: Vec<&str> = passes.headers[1..].iter().map(|(_, it)| &**it).collect();
    let whole = r#"[{"id":"told","properties":{"body":"\u00e9\nx","to":"a@example.com"},"type":"notification"}]"#;
    let [names, details] = headers[..] else {
        panic!("{headers:?}");
    };
    assert_eq!(names, "told");
    assert!(details.is_ascii() && !details.contains('\n'), "{details}");
    let [details, whole] =
        [details, whole].map(|it| serde_json::from_str::<Json>(it).expect("JSON"));
    assert_eq!(details, whole);
    assert!(passes.metadata.fields.contains_key("obligation_details"));
    assert_eq!(passes.without, [ENFORCED]);
}

#[test]
fn a_method_that_is_not_allowed_is_answered_with_those_that_are() {
    let rejection = EnvoyRejection::method_not_allowed("never", "POST, GET, DELETE");
    for reply in [
        CheckResult::from(RejectedRequest::from(rejection.clone())),
        CheckResult::from(RejectedRequest::plainly(rejection)),
    ] {
        let CheckResult::Rejected(reply) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(reply.status, 405);
        let allow = ("allow", "POST, GET, DELETE".to_owned());
        assert!(reply.headers.contains(&allow), "{:?}", reply.headers);
    }
}
