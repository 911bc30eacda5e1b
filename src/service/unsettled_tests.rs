use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::authn::caller::Caller;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::{Operation, Subject};
use crate::domain::schema::{self, TYPES};
use crate::service::Service;
use crate::service::deadline::Deadline;
use crate::service::fixtures::service;
use crate::service::request::RequestMeta;
use crate::telemetry::span_fixtures::KeptSpans;

/// A call that is allowed if its write succeeds, and whoever tells what becomes of that.
fn allowed<'a>(
    service: &Service,
    caller: &'a Caller,
) -> (UnsettledCall<'a>, oneshot::Sender<Result<(), StoreError>>) {
    let ask = RequestMeta {
        caller,
        adapter: "test",
        at_least_revision: 0,
        is_dry_run: false,
        deadline: Deadline::NONE,
        request_id: Some("request"),
    };
    let agent = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "test");
    let (done, writing) = oneshot::channel();
    let unsettled = Unsettled {
        pending: service.start_request(ask, service.pin().expect("loaded")),
        call: CallContext::new(agent, Operation::call_tool("s", "t", Map::new())),
        decided: Decided::enforced(Verdict::allow_unconditionally()),
        refused: LeftBehind::default(),
        writing: Some(writing),
        recorder: service.recorder().clone(),
        facts: Arc::clone(service.facts()),
        tasks: service.tasks().clone(),
    };
    (unsettled.guarded(), done)
}

/// The decision and the reason of every call that was recorded, once nothing is under way.
async fn recorded(service: &Service, spans: &KeptSpans) -> Vec<[String; 2]> {
    service.tasks().close();
    let ended = tokio::time::timeout(Duration::from_secs(10), service.tasks().wait());
    ended.await.expect("it has an end");
    let attribute = |span: &opentelemetry_sdk::trace::SpanData, name: &str| {
        let found = span.attributes.iter().find(|one| one.key.as_str() == name);
        found.map_or(String::new(), |one| one.value.to_string())
    };
    let spans = spans.all();
    let names = ["callgate.decision", "callgate.reason"];
    spans
        .iter()
        .map(|span| names.map(|name| attribute(span, name)))
        .collect()
}

#[tokio::test]
async fn who_waits_takes_the_call_and_records_it() {
    let (spans, caller) = (KeptSpans::default(), Caller::local());
    let service = service(&spans);
    let (mut unsettled, done) = allowed(&service, &caller);
    done.send(Ok(())).expect("somebody waits");
    unsettled.settle().await.expect("written");
    let settled = ScopeGuard::into_inner(unsettled);
    assert!(settled.decided.verdict.is_allow());
    drop(settled);
    assert_eq!(recorded(&service, &spans).await, Vec::<[String; 2]>::new());
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_recorded_as_its_write_ends() {
    let conflict = StoreError::OutOfOrder { last: 2, found: 1 };
    let broken = StoreError::Write("told to fail".to_owned());
    for (told, decision, reason) in [
        (Some(Ok(())), "allow", ""),
        (Some(Err(broken)), "deny", "STORE_UNAVAILABLE"),
        (Some(Err(conflict)), "deny", "STALE"),
        (None, "deny", "STORE_UNAVAILABLE"),
    ] {
        let (spans, caller) = (KeptSpans::default(), Caller::local());
        let service = service(&spans);
        let (unsettled, done) = allowed(&service, &caller);
        drop(unsettled);
        assert_eq!(service.tasks().len(), 1, "it goes on");
        match told {
            Some(told) => done.send(told).expect("somebody waits"),
            None => drop(done),
        }
        let row = [decision, reason].map(str::to_owned);
        assert_eq!(recorded(&service, &spans).await, [row]);
    }
}

#[tokio::test]
async fn a_call_that_is_to_be_decided_again_is_denied_if_that_is_not_waited_for() {
    let (spans, caller) = (KeptSpans::default(), Caller::local());
    let service = Arc::new(service(&spans));
    let (mut unsettled, done) = allowed(&service, &caller);
    let conflict = StoreError::OutOfOrder { last: 2, found: 1 };
    done.send(Err(conflict)).expect("somebody waits");
    assert!(unsettled.settle().await.is_err());
    drop(unsettled);
    let row = ["deny", "STALE"].map(str::to_owned);
    assert_eq!(recorded(&service, &spans).await, [row]);
}
