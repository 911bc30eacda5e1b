//! Callers that leave before their answer: what their calls have used up, and what their writes have changed, is on record all
//! the same.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use callgate::audit::log::AuditLog;
use callgate::audit::record::schema::Verdict as RecordedVerdict;
use callgate::authn::caller::Caller;
use callgate::config::audit::AuditConfig;
use callgate::domain::decide::is_authorized::ParcRequest;
use callgate::domain::request::call_context::CallContext;
use callgate::domain::request::operation::{Listing, OperationKind};
use callgate::domain::request::trace_context::TraceContext;
use callgate::domain::schema;
use callgate::service::Service;
use callgate::service::batch::BatchItem;
use callgate::service::clock::SystemClock;
use callgate::service::deadline::Deadline;
use callgate::service::pending::Progress;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::{Store, StoreError, StoreWrite};
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::export::span_tracer::SpanSampler;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use callgate_engine::cedar::Context;
use tempfile::TempDir;

use crate::adapters_agree::span_fixtures::KeptSpans;
use crate::audit::log_reading::Contents;
use crate::live::office::{agent, call, person};
use crate::support::watched_store::WatchedStore;
use crate::support::worlds;

const HELD: u8 = 0;
const OPEN: u8 = 1;
const BROKEN: u8 = 2;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A store that holds what calls leave behind until it is told what to do with it.
fn held_store(gate: &Arc<AtomicU8>) -> WatchedStore {
    let gate = Arc::clone(gate);
    let store = Box::new(SqliteStore::in_memory().expect("a store"));
    WatchedStore::new(store as Box<dyn Store>, move |writes| {
        let is_held = |write: &StoreWrite| matches!(write, StoreWrite::SessionLabels { .. });
        if !writes.iter().any(is_held) {
            return Ok(());
        }
        let begun = Instant::now();
        while gate.load(Ordering::SeqCst) == HELD && begun.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(1));
        }
        match gate.load(Ordering::SeqCst) {
            BROKEN => Err(StoreError::Write("told to fail".to_owned())),
            _ => Ok(()),
        }
    })
}

/// An office with a decision log.
struct Office {
    service: Service,
    caller: Caller,
    gate: Arc<AtomicU8>,
    log: AuditLog,
    spans: KeptSpans,
    folder: TempDir,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("capsule.key");
        let log = AuditLog::open(folder.path(), &key, &AuditConfig::default());
        let log = log.expect("a log").expect("it is on");
        let spans = KeptSpans::default();
        let recorder = Recorder::new(RecorderParts {
            audit: Some(log.clone()),
            tracer: Some(spans.tracer(SpanSampler::ALWAYS_ON)),
            ..RecorderParts::default()
        });
        let gate = Arc::new(AtomicU8::new(HELD));
        let store = held_store(&gate);
        let settings = ServiceSettings::default();
        let service = Service::open(settings, recorder, Box::new(store), Arc::new(SystemClock));
        let service = service.expect("a service");
        service.publish(worlds::office().load()).expect("published");
        Self {
            service,
            caller: Caller::local(),
            gate,
            log,
            spans,
            folder,
        }
    }

    fn ask(&self) -> RequestMeta<'_> {
        RequestMeta {
            caller: &self.caller,
            adapter: "test",
            at_least_revision: 0,
            is_dry_run: false,
            deadline: Deadline::NONE,
            request_id: Some("request"),
        }
    }

    /// The sessions on record, with the verdict of each of their calls.
    fn recorded(&self) -> BTreeMap<String, Vec<(bool, String)>> {
        let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (_, decision) in Contents::read(self.folder.path()).decisions.into_values() {
            assert_eq!(decision.request_id, "request");
            let is_allow = decision.verdict() == RecordedVerdict::Allow;
            let reason = decision.reasons.first().map(|it| it.code.clone());
            let verdict = (is_allow, reason.unwrap_or_default());
            sessions
                .entry(decision.session_id)
                .or_default()
                .push(verdict);
        }
        sessions
    }

    /// The ids of decisions on record, and of those that have a span, with the verdict of each.
    fn told(&self) -> [Vec<(String, String)>; 2] {
        let decisions = Contents::read(self.folder.path()).decisions.into_values();
        let recorded = decisions.map(|(_, decision)| {
            let id = uuid::Uuid::from_slice(&decision.id).expect("an id");
            let is_allow = decision.verdict() == RecordedVerdict::Allow;
            (
                id.to_string(),
                if is_allow { "allow" } else { "deny" }.to_owned(),
            )
        });
        let spans = self.spans.all();
        let spans = spans.iter().map(|span| {
            let attribute = |name: &str| {
                let found = span.attributes.iter().find(|it| it.key.as_str() == name);
                found.map_or(String::new(), |it| it.value.to_string())
            };
            let name = "callgate.decision.id";
            (attribute(name), attribute("callgate.decision"))
        });
        let mut both = [recorded.collect::<Vec<_>>(), spans.collect()];
        both.iter_mut().for_each(|all| all.sort());
        both
    }

    /// Waits until so many decisions are on record.
    async fn record_of(&self, count: usize) -> BTreeMap<String, Vec<(bool, String)>> {
        let begun = Instant::now();
        loop {
            let recorded = self.recorded();
            if recorded.values().map(Vec::len).sum::<usize>() >= count || begun.elapsed() > LONG {
                return recorded;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the store has done what it was given.
    async fn written(&self) {
        let (done, written) = tokio::sync::oneshot::channel::<()>();
        let writer = self.service.ledger().writer();
        let asked = writer.access(move |_| drop(done));
        asked.expect("the store is open");
        let _ = written.await;
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        // A test that has failed must not wait for it.
        let (from, to) = (HELD, OPEN);
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        let _ = self.gate.compare_exchange(from, to, success, failure);
        self.log.close();
    }
}

/// A read that labels its session, which is new.
fn reading(session: &str) -> CallContext {
    let mut call = call(&person("ana"), "files/read");
    call.workflow.session_id = Some(session.into());
    call
}

/// Polls once: it waits then.
async fn begin<F: Future>(mut asked: Pin<&mut F>) {
    let is_waiting =
        std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending()));
    assert!(is_waiting.await, "the store is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_has_used_up_is_on_record_whoever_waits() {
    let office = Office::new();
    let (service, ask) = (&office.service, office.ask());
    // Each way in which somebody leaves.
    let [one, two, three, four, five] = ["one", "two", "three", "four", "five"].map(reading);
    {
        let mut asked = Box::pin(service.authorize(ask, &one));
        begin(asked.as_mut()).await;
    }
    match service.authorize_now(ask, &two).expect("decided") {
        Progress::Pending(pending) => drop(pending),
        Progress::Ready(_) | Progress::Unrecorded(_) => panic!("it has to be written"),
    }
    {
        let asks = ["batch 1", "batch 2", "batch 3"].map(|session| (ask, reading(session)));
        let mut asked = Box::pin(service.authorize_batch(&asks));
        begin(asked.as_mut()).await;
    }
    {
        let items = ["item 1", "item 2"].map(|session| BatchItem::Call(Box::new(reading(session))));
        let items = items.map(Ok::<_, ()>).into_iter();
        let mut asked = Box::pin(service.decide_batch(ask, items, None));
        begin(asked.as_mut()).await;
    }
    {
        let mut asked = Box::pin(service.decide_item(ask, BatchItem::Call(Box::new(three))));
        begin(asked.as_mut()).await;
    }
    {
        let deadline = Deadline::in_millis(20);
        let late = deadline.within(service.authorize(ask, &four)).await;
        assert!(late.is_err(), "the store is held");
    }
    assert_eq!(office.recorded(), BTreeMap::new(), "nothing is final yet");
    {
        let mut asked = Box::pin(service.authorize(ask, &five));
        begin(asked.as_mut()).await;
        office.gate.store(OPEN, Ordering::SeqCst);
        office.written().await;
        // The answer is there, and nobody takes it.
    }
    let recorded = office.record_of(10).await;
    let sessions = [
        "batch 1", "batch 2", "batch 3", "five", "four", "item 1", "item 2", "one", "three", "two",
    ];
    let each = sessions.map(|session| (session.to_owned(), vec![(true, String::new())]));
    assert_eq!(recorded, BTreeMap::from(each));
    service.tasks().close();
    service.tasks().wait().await;
}

/// What needs no write but its record waits for that alone, and nobody is there to wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_record_is_told_once_whoever_waits() {
    let office = Office::new();
    let (service, ask) = (&office.service, office.ask());
    let plain = || call(&person("ana"), "git/log");
    // Nobody has delegated anything to it.
    let denied = || call(&agent("one"), "git/log");
    let cedar = || {
        BatchItem::Cedar(Box::new(ParcRequest {
            principal: person("ana"),
            action: schema::action_uid("call_read"),
            resource: schema::tool_uid("files", "read"),
            context: Context::empty(),
            asserted: Vec::new(),
            denied: None,
            trace: TraceContext::default(),
        }))
    };
    let [one, two] = [plain(), denied()];
    {
        let mut asked = Box::pin(service.authorize(ask, &one));
        begin(asked.as_mut()).await;
    }
    match service.authorize_now(ask, &two).expect("decided") {
        Progress::Unrecorded(response) => drop(response.to(service, &two)),
        Progress::Ready(_) | Progress::Pending(_) => panic!("its record alone is missing"),
    }
    {
        let asks = [plain(), denied(), plain()].map(|call| (ask, call));
        let mut asked = Box::pin(service.authorize_batch(&asks));
        begin(asked.as_mut()).await;
        drop(asked);
        let mut asked = Box::pin(service.authorize_message(&asks));
        begin(asked.as_mut()).await;
    }
    {
        let calls = [plain(), denied()].map(|call| BatchItem::Call(Box::new(call)));
        let items = calls.into_iter().chain((0..20).map(|_| cedar()));
        let mut asked = Box::pin(service.decide_batch(ask, items.map(Ok::<_, ()>), None));
        begin(asked.as_mut()).await;
    }
    {
        let mut list = plain();
        list.operation.kind = OperationKind::List(Listing::Tools);
        let mut asked = Box::pin(service.filter(ask, &list, &[]));
        begin(asked.as_mut()).await;
    }
    // Of those that are answered nothing is told twice.
    for call in [plain(), denied()] {
        service.authorize(ask, &call).await.expect("an answer");
    }
    office.record_of(31).await;
    let [recorded, spans] = office.told();
    assert_eq!(recorded.len(), 31, "{recorded:?}");
    assert_eq!(spans, recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_write_fails_is_denied_on_record_whoever_waits() {
    let office = Office::new();
    let one = reading("one");
    {
        let mut asked = Box::pin(office.service.authorize(office.ask(), &one));
        begin(asked.as_mut()).await;
    }
    office.gate.store(BROKEN, Ordering::SeqCst);
    let recorded = office.record_of(1).await;
    let denied = vec![(false, "STORE_UNAVAILABLE".to_owned())];
    assert_eq!(recorded, BTreeMap::from([("one".to_owned(), denied)]));
}
