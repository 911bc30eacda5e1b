use std::sync::mpsc;

use smol_str::SmolStr;

use super::*;
use crate::audit::log::AuditLog;
use crate::audit::log_files::SEGMENTS;
use crate::audit::reader::LogReader;
use crate::audit::record::schema::record;
use crate::authn::caller::Caller;
use crate::config::audit::AuditConfig;
use crate::domain::authority::change::{Change, IdempotencyKey};
use crate::domain::request::call_context::Subject;
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::{self, TYPES};
use crate::service::clock::SystemClock;
use crate::service::fixtures;
use crate::service::settings::ServiceSettings;
use crate::store::backend::StoreError;
use crate::store::fixtures::AskingStore;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::export::log_queue::{LogQueue, QueueLimits};
use crate::telemetry::export::span_tracer::SpanSampler;
use crate::telemetry::record::recorder::{Recorder, RecorderParts};
use crate::telemetry::span_fixtures::KeptSpans;

struct Bench {
    control: Arc<Control>,
    /// The store answers a commit of a write only when it is told how.
    answers: mpsc::Sender<Result<(), StoreError>>,
    spans: KeptSpans,
}

const POLICIES: &str = r#"
permit (principal == Mcp::User::"sec", action == Mcp::Action::"end_session", resource);
permit (principal == Mcp::User::"sec", action == Mcp::Action::"stop_entity", resource);
permit (principal == Mcp::User::"sec", action == Mcp::Action::"resume_entity", resource);
"#;

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self::logging_to(limits, None)
    }

    fn logging_to(limits: Limits, sink: Option<LogQueue>) -> Self {
        Self::with_logs(limits, sink, None)
    }

    fn with_logs(limits: Limits, sink: Option<LogQueue>, audit: Option<AuditLog>) -> Self {
        let spans = KeptSpans::default();
        let recorder = Recorder::new(RecorderParts {
            tracer: Some(spans.tracer(SpanSampler::ALWAYS_ON)),
            sink,
            audit,
            ..RecorderParts::default()
        });
        let (answers, receiver) = mpsc::channel();
        let inner = SqliteStore::in_memory().unwrap();
        let store = AskingStore::changes(inner, move || {
            receiver.recv().unwrap_or(Err(StoreError::Closed))
        });
        let clock = Arc::new(SystemClock);
        let service = Service::open(ServiceSettings::default(), recorder, store, clock).unwrap();
        service.publish(fixtures::policies(POLICIES)).unwrap();
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        Self {
            control: Arc::new(Control::new(Arc::new(service), limits)),
            answers,
            spans,
        }
    }

    /// The outcome, the reason and the revision of every attempt on record.
    fn recorded(&self) -> Vec<[String; 3]> {
        let spans = self.spans.all();
        let attribute = |span: &opentelemetry_sdk::trace::SpanData, name: &str| {
            let found = span.attributes.iter().find(|one| one.key.as_str() == name);
            found.map_or(String::new(), |one| one.value.to_string())
        };
        let names = [
            "callgate.control.outcome",
            "callgate.reason",
            "callgate.revision",
        ];
        spans
            .iter()
            .filter(|span| span.name.starts_with("control "))
            .map(|span| names.map(|name| attribute(span, name)))
            .collect()
    }
}

fn author(user: &str, key: Option<&str>) -> WriteRequester {
    WriteRequester {
        caller: Arc::new(Caller::local()),
        adapter: "test",
        actor: Subject::verified(schema::entity_uid(&TYPES.user, user), "test"),
        key: key.map(|text| IdempotencyKey {
            text: text.into(),
            request: [7; 32],
        }),
        trace: TraceContext::default(),
    }
}

fn row(outcome: &str, reason: &str, revision: &str) -> [String; 3] {
    [outcome, reason, revision].map(str::to_owned)
}

#[tokio::test]
async fn every_attempt_is_on_record() {
    let bench = Bench::new();
    let (sec, eve) = (author("sec", Some("key")), author("eve", None));
    bench.answers.send(Ok(())).unwrap();
    let done = bench.control.end_session(&sec, "s".into()).await;
    assert_eq!(done.unwrap().revision, 2);
    let again = bench.control.end_session(&sec, "s".into()).await;
    assert_eq!(again.unwrap().revision, 2);
    let denied = bench.control.end_session(&eve, "s".into()).await;
    assert!(matches!(denied, Err(ControlError::Denied(_))), "{denied:?}");
    let mut other = sec.clone();
    other.key.as_mut().unwrap().request = [8; 32];
    let reused = bench.control.end_session(&other, "t".into()).await;
    assert!(matches!(reused, Err(ControlError::KeyReused)), "{reused:?}");
    let broken = StoreError::Write("the disk is full".to_owned());
    bench.answers.send(Err(broken)).unwrap();
    let failed = bench
        .control
        .end_session(&author("sec", None), "u".into())
        .await;
    let taken = failed.unwrap();
    assert!(!taken.is_durable, "it is over, and not written");
    let status = bench.control.status().await.unwrap();
    let said = "1 changes are in force and not written yet";
    assert_eq!(status.store_fault.as_deref(), Some(said));
    bench.answers.send(Ok(())).unwrap();
    let ledger = bench.control.service.ledger();
    let mut revisions = ledger.revisions();
    ledger.retry();
    revisions.wait_for(|newest| *newest == 3).await.unwrap();
    let status = bench.control.status().await.unwrap();
    assert_eq!((status.revision, status.store_fault), (3, None));
    assert_eq!(
        bench.recorded(),
        [
            row("done", "", "2"),
            row("repeated", "", "2"),
            row("denied", "NO_PERMIT", ""),
            row("refused", "", ""),
            row("done", "", "2"),
        ]
    );
}

/// Begins a write and leaves.
async fn begin_and_leave<T>(asked: impl Future<Output = T>) {
    let mut asked = Box::pin(asked);
    let waiting = std::future::poll_fn(|context| {
        std::task::Poll::Ready(asked.as_mut().poll(context).is_pending())
    });
    assert!(waiting.await, "it waits for the store");
}

#[tokio::test]
async fn a_write_goes_on_record_as_it_ends_whoever_waits() {
    let bench = Bench::new();
    let (sec, eve) = (author("sec", Some("key")), author("eve", None));
    let tasks = bench.control.service.tasks();
    tasks.close();
    begin_and_leave(bench.control.end_session(&sec, "s".into())).await;
    assert_eq!(
        bench.recorded().len(),
        0,
        "it is not known what becomes of it"
    );
    bench.answers.send(Ok(())).unwrap();
    tasks.wait().await;
    begin_and_leave(bench.control.end_session(&eve, "s".into())).await;
    tasks.wait().await;
    let plan = |context: &WriteContext<'_>| {
        context.set_object("thing");
        Ok(PlannedChange {
            verb: "PutEntity",
            id: "thing".into(),
            change: Change::SessionEnded {
                session: "t".into(),
            },
        })
    };
    begin_and_leave(bench.control.write("PutEntity", &sec, plan)).await;
    tasks.wait().await;
    let broken = StoreError::Write("the disk is full".to_owned());
    bench.answers.send(Err(broken)).unwrap();
    let other = author("sec", None);
    begin_and_leave(bench.control.write("PutEntity", &other, plan)).await;
    tasks.wait().await;
    let again = bench.control.end_session(&sec, "s".into()).await;
    assert_eq!(again.unwrap().revision, 2);
    assert_eq!(
        bench.recorded(),
        [
            row("done", "", "2"),
            row("denied", "NO_PERMIT", ""),
            row("repeated", "", "2"),
            row("failed", "", ""),
            row("repeated", "", "2"),
        ]
    );
}

#[tokio::test]
async fn a_write_that_is_given_up_with_the_server_is_abandoned() {
    let bench = Bench::new();
    let sec = author("sec", None);
    let control = Arc::clone(&bench.control);
    let ended = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(begin_and_leave(control.end_session(&sec, "s".into())));
        runtime.block_on(tokio::task::yield_now());
        // The write waits for the store, and the runtime ends.
        drop(runtime);
    });
    ended.await.unwrap();
    assert_eq!(bench.recorded(), [row("abandoned", "", "")]);
    bench.answers.send(Ok(())).unwrap();
}

#[tokio::test]
async fn there_is_a_limit_to_writes_under_way() {
    let bench = Bench::with(Limits {
        writes_under_way: 1,
        ..Limits::default()
    });
    let sec = author("sec", None);
    let mut first = Box::pin(bench.control.end_session(&sec, "s".into()));
    let waiting = std::future::poll_fn(|context| {
        std::task::Poll::Ready(first.as_mut().poll(context).is_pending())
    });
    assert!(waiting.await, "the store is held");
    let second = bench.control.end_session(&sec, "t".into()).await;
    assert!(
        matches!(second, Err(ControlError::LimitExceeded(_))),
        "{second:?}"
    );
    // What gives has places of its own, and takes none of what takes away.
    let plan = |_: &WriteContext<'_>| Err(ControlError::KeyReused);
    let giving = bench.control.write("PutEntity", &sec, plan).await;
    assert!(matches!(giving, Err(ControlError::KeyReused)), "{giving:?}");
    bench.answers.send(Ok(())).unwrap();
    assert_eq!(first.await.unwrap().revision, 2);
    bench.answers.send(Ok(())).unwrap();
    assert_eq!(
        bench
            .control
            .end_session(&sec, "t".into())
            .await
            .unwrap()
            .revision,
        3
    );
}

#[test]
fn ids_sort_by_the_order_in_which_they_were_made() {
    let ids = IdGenerator::default();
    let now = SystemTime::now();
    let made: Vec<SmolStr> = (0..1_000).map(|_| ids.next("delegation", now)).collect();
    assert!(made.is_sorted() && made[0].starts_with("delegation-"));
    let later = ids.next("delegation", now + Duration::from_millis(1));
    assert!(made[999] < later);
}

#[test]
fn moments_are_cut_to_what_is_stored() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890);
    let cut = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234);
    assert_eq!(whole_millis(at), cut);
    assert_eq!(whole_millis(cut), cut);
}

#[tokio::test]
async fn a_change_that_the_log_has_no_place_for_is_not_made() {
    let room = QueueLimits {
        reserved: 1,
        ..QueueLimits::default()
    };
    let sink = LogQueue::start(std::io::sink(), room, Arc::default()).unwrap();
    let bench = Bench::logging_to(Limits::default(), Some(sink.clone()));
    let sec = author("sec", None);
    let held = sink.reserve(std::time::Duration::ZERO).await;
    assert!(held.is_some());
    let refused = bench.control.end_session(&sec, "s".into()).await;
    let Err(error @ ControlError::AuditUnavailable) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("is not made"), "{error}");
    assert_eq!(bench.control.status().await.unwrap().revision, 1);
    assert_eq!(bench.recorded(), [row("failed", "", "")], "it is told");
    drop(held);
    bench.answers.send(Ok(())).unwrap();
    let done = bench.control.end_session(&sec, "s".into()).await;
    assert_eq!(done.unwrap().revision, 2);
    assert_eq!(bench.recorded().len(), 2);
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made_but_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("capsule.key");
    let opened = AuditLog::open(dir.path(), &key, &AuditConfig::default());
    let log = opened.unwrap().unwrap();
    let bench = Bench::with_logs(Limits::default(), None, Some(log.clone()));
    let segments = dir.path().join(SEGMENTS);
    std::fs::rename(&segments, dir.path().join("aside")).unwrap();
    std::fs::write(&segments, "in the way").unwrap();
    // What takes something away is done, and finds out.
    bench.answers.send(Ok(())).unwrap();
    let sec = author("sec", Some("key"));
    let ended = bench.control.end_session(&sec, "s".into()).await.unwrap();
    assert_eq!(ended.revision, 2);
    assert!(!ended.is_recorded, "and it says so");
    assert!(log.must_deny());
    for count in 2..5 {
        let plan = |_: &WriteContext<'_>| panic!("it is not planned");
        let refused = bench.control.write("PutEntity", &sec, plan).await;
        let Err(ControlError::AuditUnavailable) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(log.unrecorded(), count);
        let told = bench.recorded();
        assert_eq!(told.len() as u64, count);
        assert_eq!(told.last(), Some(&row("failed", "", "")));
    }
    assert_eq!(bench.control.status().await.unwrap().revision, 2);
    // Asked again once it can be written, it is put on record.
    std::fs::remove_file(&segments).unwrap();
    std::fs::rename(dir.path().join("aside"), &segments).unwrap();
    while log.is_failing() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = bench.control.end_session(&sec, "s".into()).await.unwrap();
    assert_eq!((again.revision, again.is_recorded), (2, true));
    log.close();
}

#[tokio::test]
async fn a_repeated_stop_is_on_record_with_its_own_reason() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("capsule.key");
    let opened = AuditLog::open(dir.path(), &key, &AuditConfig::default());
    let log = opened.unwrap().unwrap();
    let bench = Bench::with_logs(Limits::default(), None, Some(log.clone()));
    let (first, other) = (author("sec", Some("key")), author("sec", None));
    let eve = schema::entity_uid(&TYPES.user, "eve");
    let stop = |author: &WriteRequester, reason: &str| {
        let (author, eve, reason) = (author.clone(), eve.clone(), SmolStr::new(reason));
        let control = Arc::clone(&bench.control);
        async move { control.stop_entity(&author, eve, reason).await.unwrap() }
    };
    for _ in 0..3 {
        bench.answers.send(Ok(())).unwrap();
    }
    assert_eq!(stop(&first, "INC-1").await.revision, 2);
    assert_eq!(stop(&other, "INC-2").await.revision, 3);
    assert_eq!(stop(&first, "INC-1").await.revision, 2);
    let resumed = bench.control.resume_entity(&other, eve.clone()).await;
    assert_eq!(resumed.unwrap(), 4);
    assert_eq!(stop(&first, "INC-1").await.revision, 2);
    log.close();
    let records = LogReader::open(dir.path()).unwrap().iter_from(0);
    let told = records.filter_map(|record| match record.unwrap().decode().unwrap().kind {
        Some(record::Kind::Write(it)) => Some(format!("{} {}", it.outcome, it.stop_reason)),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "done INC-1",
            "done INC-2",
            "repeated INC-1",
            "done ",
            "repeated INC-1"
        ]
    );
}
