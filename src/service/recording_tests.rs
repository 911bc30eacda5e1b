use std::pin::pin;
use std::task::{Context, Waker};
use std::time::SystemTime;

use serde_json::Map;

use super::*;
use crate::audit::envelope;
use crate::audit::log::AuditLog;
use crate::audit::record::schema::Notice;
use crate::authn::caller::Caller;
use crate::config::audit::{AuditConfig, LogMode};
use crate::domain::request::call_context::{Operation, Subject};
use crate::domain::schema::{self, TYPES};
use crate::service::deadline::Deadline;
use crate::service::fixtures::service;
use crate::service::off_thread;
use crate::service::request::RequestMeta;
use crate::telemetry::span_fixtures::KeptSpans;

fn call() -> CallContext {
    let agent = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "test");
    CallContext::new(agent, Operation::call_tool("s", "t", Map::new()))
}

/// A decision on its way into a log that says this of its record.
fn untold<'a>(
    service: &'a Service,
    caller: &'a Caller,
    verdict: Verdict,
    receipt: Option<LogReceipt>,
) -> UntoldDecision<'a, CallContext> {
    let ask = RequestMeta {
        caller,
        adapter: "test",
        at_least_revision: 0,
        is_dry_run: false,
        deadline: Deadline::NONE,
        request_id: None,
    };
    let pending = service.start_request(ask, service.pin().expect("loaded"));
    let mut untold = service.begin_record(pending, call(), Decided::enforced(verdict));
    untold.awaited.receipt = receipt;
    untold
}

/// Decision and reason of every span.
fn told(spans: &KeptSpans) -> Vec<[String; 2]> {
    let spans = spans.all();
    let names = ["callgate.decision", "callgate.reason"];
    let of = |span: &opentelemetry_sdk::trace::SpanData| {
        names.map(|name| {
            let found = span.attributes.iter().find(|one| one.key.as_str() == name);
            found.map_or(String::new(), |one| one.value.to_string())
        })
    };
    spans.iter().map(of).collect()
}

const ALLOW: [&str; 2] = ["allow", ""];
const UNRECORDED: [&str; 2] = ["deny", "AUDIT_UNAVAILABLE"];

#[test]
fn what_nobody_waits_for_is_told_once_as_it_was_handed_to_the_log() {
    let caller = Caller::local();
    for (receipt, expected) in [
        (Some(LogReceipt::Done), ALLOW),
        (None, ALLOW),
        (Some(LogReceipt::Failed), UNRECORDED),
    ] {
        let spans = KeptSpans::default();
        let service = service(&spans);
        let allow = Verdict::allow_unconditionally();
        let said = format!("{receipt:?}");
        drop(untold(&service, &caller, allow, receipt));
        assert_eq!(told(&spans), [expected], "{said}");
    }
}

#[tokio::test]
async fn what_is_answered_is_told_once_as_it_leaves() {
    let caller = Caller::local();
    for (receipt, expected) in [
        (Some(LogReceipt::Done), ALLOW),
        (None, UNRECORDED),
        (Some(LogReceipt::Failed), UNRECORDED),
    ] {
        let spans = KeptSpans::default();
        let service = service(&spans);
        let allow = Verdict::allow_unconditionally();
        let untold = untold(&service, &caller, allow, receipt);
        let answer = service.finish_record(untold).await;
        assert_eq!(answer.value.outcome.as_str(), expected[0]);
        assert_eq!(told(&spans), [expected]);
    }
}

#[test]
fn a_deny_is_told_as_it_is_whatever_becomes_of_its_record() {
    let (spans, caller) = (KeptSpans::default(), Caller::local());
    let service = service(&spans);
    for receipt in [None, Some(LogReceipt::Done), Some(LogReceipt::Failed)] {
        let deny = Verdict::deny(Reason::new(ReasonCode::Forbidden, "no"));
        drop(untold(&service, &caller, deny, receipt));
    }
    assert_eq!(told(&spans), [["deny", "FORBIDDEN"]; 3]);
}

#[tokio::test]
async fn what_observe_mode_lets_pass_is_counted_whoever_has_gone() {
    let (spans, caller) = (KeptSpans::default(), Caller::local());
    let service = service(&spans);
    let waived = |receipt| {
        let deny = Verdict::deny(Reason::new(ReasonCode::Forbidden, "no"));
        let mut untold = untold(&service, &caller, deny, receipt);
        untold.awaited.is_enforced = false;
        untold
    };
    let counted = || service.observe_status().waived.denies;
    drop(waived(Some(LogReceipt::Done)));
    drop(waived(None));
    assert_eq!(counted(), 2, "nobody waits for these");
    let answer = service.finish_record(waived(Some(LogReceipt::Done))).await;
    assert!(answer.value.is_allow());
    assert_eq!(counted(), 3);
    // What cannot be put on record is denied.
    let answer = service
        .finish_record(waived(Some(LogReceipt::Failed)))
        .await;
    assert!(!answer.value.is_allow());
    drop(waived(Some(LogReceipt::Failed)));
    assert_eq!(counted(), 3);
}

#[test]
fn record_and_span_have_one_duration() {
    let (spans, caller) = (KeptSpans::default(), Caller::local());
    let service = service(&spans);
    let allow = Verdict::allow_unconditionally();
    let untold = untold(&service, &caller, allow, Some(LogReceipt::Done));
    let recorded = untold.awaited.record(untold.question.recorded()).took;
    std::thread::sleep(Duration::from_millis(5));
    drop(untold);
    let span = spans.all().remove(0);
    let shown = span.end_time.duration_since(span.start_time);
    assert_eq!(shown.ok(), Some(recorded));
}

#[test]
fn who_waits_for_the_disk_of_the_log_waits_for_no_thread_that_decides() {
    let caller = Caller::local();
    for mode in [LogMode::Synced, LogMode::Written] {
        let place = tempfile::tempdir().expect("a directory");
        let config = AuditConfig {
            mode,
            capsules: false,
            ..AuditConfig::default()
        };
        let key = place.path().join("key");
        let prepared = AuditLog::prepare(&place.path().join("log"), &key, &config);
        let prepared = prepared.expect("a log").expect("one that is kept");
        let mut bytes = Vec::new();
        envelope::notice(&mut bytes, SystemTime::now(), &Notice::default());
        // As with a disk that does not answer: nothing is written before the log is started.
        let receipt = prepared.log().append(&bytes, None);
        let spans = KeptSpans::default();
        let service = service(&spans);
        let allow = Verdict::allow_unconditionally();
        let untold = untold(&service, &caller, allow, Some(receipt));
        let mut answer = pin!(service.finish_record(untold));
        let mut context = Context::from_waker(Waker::noop());
        // In mode `written` others have their turn first.
        for _ in 0..3 {
            off_thread::begin_poll();
            assert!(answer.as_mut().poll(&mut context).is_pending(), "{mode:?}");
            assert!(off_thread::waits_off_thread(), "{mode:?}");
        }
        let log = prepared.start().expect("started");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let answer = runtime.expect("a runtime").block_on(answer);
        assert!(answer.value.is_allow(), "{mode:?}");
        log.close();
    }
}
