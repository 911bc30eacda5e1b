use uuid::Uuid;

use super::*;
use crate::adapters::told::{DECISION_ID, OBLIGATION_DETAILS, OBLIGATIONS};
use crate::call::decision::Reason;

fn deny(code: ReasonCode, message: &str) -> Answer<Decision> {
    Answer {
        value: Decision::deny(Reason::new(code, message)),
        decision_id: Uuid::nil(),
        revision: 3,
        policies_total: 1,
    }
}

fn turned(turned: TurnedAway) -> (u16, Option<String>) {
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
        let answer = deny(code, "ask \"ravi\" \r\nfirst");
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
    answer.value = Decision::allow_unconditionally();
    let passes = told::passes(&[answer]);
    assert_eq!(passes.without, [OBLIGATIONS, OBLIGATION_DETAILS]);
    assert_eq!(passes.headers[0].0, DECISION_ID);
}
