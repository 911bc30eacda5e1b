use arc_swap::ArcSwap;

use super::*;
use crate::authn::caller::Caller;
use crate::config::limits::Limits;
use crate::domain::request::call_context::Subject;
use crate::domain::schema;
use crate::service::fixtures;
use crate::telemetry::span_fixtures::KeptSpans;

#[tokio::test]
async fn a_call_that_cannot_be_decided_now_is_not_told_as_denied() {
    let service = Arc::new(fixtures::service(&KeptSpans::default()));
    let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
    let control = Control::new(service, limits);
    let author = WriteRequester {
        caller: Arc::new(Caller::local()),
        adapter: "test",
        actor: Subject::verified(schema::entity_uid(&TYPES.user, "u"), "test"),
        key: None,
        trace: Default::default(),
    };
    let refused = |code| {
        let decided = Verdict::deny(Reason::new(code, "the session cannot be read"));
        let refused = control.planning(&author, |context| challenge_of(context, decided));
        refused.expect("in service").expect_err("no challenge")
    };
    for code in ReasonCode::ALL {
        let refused = refused(code);
        match ReasonCode::NOT_EVALUATED.contains(&code) {
            true => assert_eq!(
                refused.to_string(),
                "the call could not be decided: the session cannot be read: ask again"
            ),
            false => assert!(matches!(refused, ControlError::Denied(_)), "{refused:?}"),
        }
    }
}
