use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::authn::caller::Caller;
use crate::domain::request::call_context::{Operation, Subject};
use crate::domain::schema::{self, TYPES};
use crate::service::deadline::Deadline;
use crate::service::fixtures;
use crate::service::settings::ServiceSettings;
use crate::telemetry::record::recorder::Recorder;

fn service() -> Arc<Service> {
    let service = Service::in_memory(ServiceSettings::default(), Recorder::default());
    let service = service.expect("a service");
    service.publish(fixtures::policies("")).expect("published");
    Arc::new(service)
}

fn ask(caller: &Caller, deadline: Deadline) -> RequestMeta<'_> {
    RequestMeta {
        caller,
        adapter: "test",
        at_least_revision: 0,
        is_dry_run: false,
        deadline,
        request_id: None,
    }
}

fn denied_call() -> CallContext {
    let agent = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "test");
    CallContext::new(agent, Operation::call_tool("s", "t", Map::new()))
}

/// The explanation that a response has in the end.
fn added(explained: CallExplanation, decision: v1::Decision) -> v1::Explanation {
    let mut response = v1::AuthorizeResponse {
        decision: decision.into(),
        revision: 1,
        explanation: Some(v1::Explanation {
            shadow_policy_ids: vec!["shadow".to_owned()],
            ..v1::Explanation::default()
        }),
        ..v1::AuthorizeResponse::default()
    };
    explained.add_to(&mut response);
    let explanation = response.explanation.expect("still there");
    assert_eq!(explanation.shadow_policy_ids, ["shadow"], "it only adds");
    explanation
}

#[tokio::test]
async fn an_explanation_is_made_apart_from_the_threads_that_decide() {
    let (service, caller, call) = (service(), Caller::local(), denied_call());
    let explainer = CallExplainer::default();
    let mut explaining = pin!(explainer.explain(&service, ask(&caller, Deadline::NONE), &call));
    // Nothing of it is made here: this would be ready at once.
    let is_waiting =
        std::future::poll_fn(|context| Poll::Ready(explaining.as_mut().poll(context).is_pending()));
    assert!(is_waiting.await);
    let made = added(explaining.await, v1::Decision::Deny);
    assert_eq!(made.chain.len(), 1);
    assert!(!made.proposals_out_of_time);
}

#[tokio::test]
async fn one_call_at_a_time_is_searched_and_others_say_that_they_were_not() {
    let (service, caller, call) = (service(), Caller::local(), denied_call());
    let explainer = CallExplainer::default();
    let search = explainer.searches.try_acquire().expect("nobody searches");
    let asked = ask(&caller, Deadline::NONE);
    let made = added(
        explainer.explain(&service, asked, &call).await,
        v1::Decision::Deny,
    );
    assert_eq!(made.chain.len(), 1, "it is explained");
    assert!(made.proposals_out_of_time && !made.proposals_exhaustive);
    drop(search);
    let made = added(
        explainer.explain(&service, asked, &call).await,
        v1::Decision::Deny,
    );
    assert!(!made.proposals_out_of_time);
}

#[tokio::test]
async fn what_finds_no_place_in_time_is_answered_without_an_explanation() {
    let (service, caller, call) = (service(), Caller::local(), denied_call());
    let explainer = CallExplainer::default();
    let places = explainer.places.try_acquire_many(PLACES as u32);
    let places = places.expect("nobody explains");
    let begun = Instant::now();
    for (decision, says_so) in [(v1::Decision::Deny, true), (v1::Decision::Allow, false)] {
        let asked = ask(&caller, Deadline::in_millis(400));
        let explained = explainer.explain(&service, asked, &call).await;
        let expected = v1::Explanation {
            shadow_policy_ids: vec!["shadow".to_owned()],
            proposals_out_of_time: says_so,
            ..v1::Explanation::default()
        };
        assert_eq!(added(explained, decision), expected);
    }
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(180), "{waited:?}");
    drop(places);
    let asked = ask(&caller, Deadline::in_millis(60_000));
    let explained = explainer.explain(&service, asked, &call).await;
    assert_eq!(added(explained, v1::Decision::Deny).chain.len(), 1);
}

#[tokio::test]
async fn an_explanation_of_another_state_or_decision_is_not_added() {
    let (service, caller, call) = (service(), Caller::local(), denied_call());
    let explainer = CallExplainer::default();
    let asked = ask(&caller, Deadline::NONE);
    let explained = explainer.explain(&service, asked, &call).await;
    assert_eq!(added(explained, v1::Decision::Allow).chain, []);
    let mut explained = explainer.explain(&service, asked, &call).await;
    if let CallExplanation::Made(made) = &mut explained {
        made.revision += 1;
    }
    assert_eq!(added(explained, v1::Decision::Deny).chain, []);
}
