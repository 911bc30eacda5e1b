//! Several calls in one request: each is decided on what those before it leave behind, whatever memory holds of their
//! sessions; and what was read stays known to whoever takes a task for open.

use std::time::{Duration, SystemTime};

use callgate::control::tasks::NewTask;
use callgate::domain::authority::labels::LabelCarrierRef;
use callgate::domain::decide::verdict::{Decision, ReasonCode, Verdict};
use callgate::domain::ids::{SessionId, TaskId};
use callgate::domain::request::call_context::CallContext;
use callgate::service::batch::BatchItem;
use callgate::service::request::{RequestMeta, Response};
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::{Store, StoreWrite};
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;

use crate::live::office::{self, agent, call, for_person, person};
use crate::support::direct::Direct;

/// Sessions in the store, and how many of them memory has room for.
const SESSIONS: u64 = 16;
const ROOM: usize = 4;

/// An office whose sessions `s0`, which has been silent for the longest, to `s15` are in the store alone.
fn office_with_old_sessions() -> Direct {
    let mut store = SqliteStore::in_memory().unwrap();
    for number in 0..SESSIONS {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + number);
        let session = StoreWrite::Session {
            id: SessionId::new(format!("s{number}")),
            calls: 1,
            tools: Vec::new(),
            last: Vec::new(),
            at,
        };
        store.commit(&[session]).unwrap();
    }
    let settings = ServiceSettings {
        sessions: ROOM,
        ..ServiceSettings::default()
    };
    Direct::with(
        office::strict(),
        Box::new(store),
        settings,
        Recorder::default(),
    )
}

/// A call of one agent for one user, in a session.
fn in_session(tool: &str, session: &str) -> CallContext {
    let mut made = for_person(call(&agent("one"), tool), &person("ana"));
    made.workflow.session_id = Some(SessionId::new(session));
    made
}

fn why(verdict: &Verdict) -> Option<ReasonCode> {
    verdict.reasons.first().map(|reason| reason.code)
}

fn verdicts(answers: Vec<Response<Box<Verdict>>>) -> Vec<Verdict> {
    answers.into_iter().map(|answer| *answer.value).collect()
}

/// What is private is read in an old session; then more old sessions come into memory than it has room for, with calls
/// that are denied; then something is sent in a new one.
fn read_and_send() -> Vec<CallContext> {
    let denied = (1..SESSIONS).map(|number| in_session("files/format", &format!("s{number}")));
    std::iter::once(in_session("files/read", "s0"))
        .chain(denied)
        .chain([in_session("mail/send", "new")])
        .collect()
}

#[tokio::test]
async fn a_batch_is_decided_in_order_however_few_sessions_memory_holds() {
    let office = office_with_old_sessions();
    let asks: Vec<_> = read_and_send()
        .into_iter()
        .map(|call| (office.ask(), call))
        .collect();
    let answers = verdicts(office.service.authorize_batch(&asks).await.unwrap());
    assert!(answers[0].is_allow(), "{:?}", answers[0]);
    let last = answers.last().unwrap();
    assert_eq!(why(last), Some(ReasonCode::Forbidden), "{last:?}");
}

#[tokio::test]
async fn requests_of_either_kind_are_decided_in_order_however_few_sessions_memory_holds() {
    let office = office_with_old_sessions();
    let items = read_and_send().into_iter();
    let items = items.map(|call| Ok::<_, ()>(BatchItem::Call(Box::new(call))));
    let answers = office.service.decide_batch(office.ask(), items, None).await;
    let answers: Vec<_> = answers.unwrap().into_iter().map(Result::unwrap).collect();
    let answers = verdicts(answers);
    assert!(answers[0].is_allow(), "{:?}", answers[0]);
    let last = answers.last().unwrap();
    assert_eq!(why(last), Some(ReasonCode::Forbidden), "{last:?}");
}

#[tokio::test]
async fn calls_of_one_message_are_decided_in_order_however_few_sessions_memory_holds() {
    let office = office_with_old_sessions();
    let tried = RequestMeta {
        is_dry_run: true,
        ..office.ask()
    };
    let mut asks = vec![
        (office.ask(), in_session("files/read", "new")),
        (office.ask(), in_session("mail/send", "s0")),
    ];
    // Each would pass by itself.
    let others = (1..SESSIONS).map(|number| in_session("mail/list", &format!("s{number}")));
    asks.extend(others.map(|call| (tried, call)));
    let answers = verdicts(office.service.authorize_message(&asks).await.unwrap());
    assert!(answers[0].is_allow(), "{:?}", answers[0]);
    assert_eq!(why(&answers[1]), Some(ReasonCode::Forbidden));
}

#[tokio::test]
async fn of_a_message_that_is_denied_nothing_else_is_told_or_left_behind() {
    let office = office_with_old_sessions();
    let asks = [
        (office.ask(), in_session("files/read", "s1")),
        (office.ask(), in_session("files/format", "s0")),
    ];
    let answers = verdicts(office.service.authorize_message(&asks).await.unwrap());
    assert_eq!(answers.len(), 1);
    assert_eq!(why(&answers[0]), Some(ReasonCode::ApprovalRequired));
    let sent = office.decide(&in_session("mail/send", "s1")).await;
    assert!(sent.is_allow(), "nothing was read: {sent:?}");
}

#[tokio::test]
async fn a_closed_task_keeps_its_labels_as_long_as_somebody_takes_it_for_open() {
    let office = Direct::in_memory(office::strict());
    let author = office.author(&person("ana"));
    let task = NewTask {
        agent: agent("one"),
        person: person("ana"),
        purpose: "to read".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        deadline: office.now() + Duration::from_secs(3_600),
    };
    let opened = office.control.open_task(&author, task).await.unwrap();
    let id: TaskId = opened.value.task.id.clone();
    drop(opened);
    let mut read = in_session("files/read", "s");
    read.workflow.task_id = Some(id.clone());
    assert!(office.decide(&read).await.is_allow());
    let labels = || {
        office.service.flush();
        let facts = office.service.facts();
        let labels = facts.carrier_labels.get(LabelCarrierRef::Task(&id));
        labels.map_or(0, |labels| labels.items().len())
    };
    assert_eq!(labels(), 1);
    // A request that was begun before the task is closed.
    let pinned = office.service.live().unwrap();
    let closed = office.control.close_task(&author, id.clone()).await;
    drop(closed.unwrap());
    let after = office.decide(&read).await;
    assert_eq!(why(&after), Some(ReasonCode::TaskClosed));
    for _ in 0..20 {
        assert_eq!(labels(), 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(pinned);
    for _ in 0..1_000 {
        if labels() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody takes it for open any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_decision_before_it_is_decided_from_what_is_in_service_then() {
    let office = Direct::in_memory(office::strict());
    let author = office.author(&person("ana"));
    let stop = |name: &str| {
        let stopped = office
            .control
            .stop_entity(&author, agent(name), "leaks".into());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(stopped))
            .map(drop)
            .unwrap();
    };
    // The agent is stopped before its second call is taken up.
    for (name, until, expected) in [
        ("two", None, [None, None]),
        (
            "one",
            Some(Decision::Deny),
            [None, Some(ReasonCode::Stopped)],
        ),
    ] {
        let items = (0..2).map(|number| {
            if number == 1 {
                stop(name);
            }
            let call = for_person(call(&agent(name), "mail/list"), &person("ana"));
            Ok::<_, ()>(BatchItem::Call(Box::new(call)))
        });
        let asked = office.service.decide_batch(office.ask(), items, until);
        let answers = asked.await.unwrap().into_iter().map(Result::unwrap);
        let answers = verdicts(answers.collect());
        let why: Vec<_> = answers.iter().map(why).collect();
        assert_eq!(why, expected, "{answers:?}");
    }
}
