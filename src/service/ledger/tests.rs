use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::domain::authority::change::{Change, IdempotencyKey};
use crate::domain::authority::task::Task;
use crate::domain::schema::{self, TYPES};
use crate::service::Service;
use crate::service::clock::SystemClock;
use crate::service::fixtures;
use crate::service::settings::ServiceSettings;
use crate::store::fixtures::AskingStore;
use crate::store::sqlite::SqliteStore;

/// A service, and how many of the next commits of its store with a change fail.
fn service() -> (Service, Arc<AtomicUsize>) {
    service_with(ServiceSettings::default())
}

fn service_with(settings: ServiceSettings) -> (Service, Arc<AtomicUsize>) {
    let failures = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&failures);
    let inner = SqliteStore::in_memory().expect("a store");
    let store = AskingStore::commits(inner, move |writes| {
        let is_entry = |write: &StoreWrite| matches!(write, StoreWrite::Entry { .. });
        let fails = |left: usize| left.checked_sub(1);
        let fails = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails);
        match writes.iter().any(is_entry) && fails().is_ok() {
            true => Err(StoreError::Write("told to fail".to_owned())),
            false => Ok(()),
        }
    });
    let service = Service::open(settings, Recorder::default(), store, Arc::new(SystemClock));
    let service = service.expect("a service");
    let load = fixtures::policies("permit (principal, action, resource);");
    service.publish(load).expect("published");
    (service, failures)
}

fn task(id: &str) -> PlannedChange {
    let now = SystemTime::UNIX_EPOCH;
    let task = Task {
        id: id.into(),
        agent: schema::entity_uid(&TYPES.agent, "a"),
        agent_owner: None,
        person: schema::entity_uid(&TYPES.user, "u"),
        purpose: "p".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: now,
        deadline: now,
        closed_at: None,
    };
    PlannedChange {
        verb: "OpenTask",
        change: Change::Task(Arc::new(task)),
        id: id.into(),
    }
}

fn asked(key: Option<(&str, u8)>) -> ChangeOrigin {
    ChangeOrigin {
        caller: "c".into(),
        principal: None,
        key: key.map(|(text, request)| IdempotencyKey {
            text: text.into(),
            request: [request; 32],
        }),
    }
}

async fn open(
    service: &Service,
    id: &str,
    key: Option<(&str, u8)>,
) -> Result<CommittedChange, WriteError<()>> {
    let plan = task(id);
    service
        .ledger()
        .write(asked(key), service.now(), |_| Ok(plan.clone()))
        .await
}

#[tokio::test]
async fn a_change_that_is_not_written_is_not_made() {
    let (service, failures) = service();
    failures.store(1, Ordering::SeqCst);
    let failed = open(&service, "a", Some(("k", 1))).await;
    assert!(matches!(failed, Err(WriteError::Store(_))), "{failed:?}");
    let live = service.live().expect("live");
    assert_eq!((live.revision(), live.authority.tasks.size()), (1, 0));
    // The key was not used up, and the next change gets the revision.
    let written = open(&service, "a", Some(("k", 1))).await.expect("written");
    assert_eq!(written.revision, 2);
    assert_eq!(service.live().expect("live").authority.tasks.size(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_built_on_a_failure_fails_and_nothing_acknowledged_is_lost() {
    let (service, failures) = service();
    let service = Arc::new(service);
    let mut running = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (service, failures) = (Arc::clone(&service), Arc::clone(&failures));
        running.spawn(async move {
            let mut made = Vec::new();
            for number in 0..60 {
                if number % 7 == worker % 7 {
                    failures.fetch_add(1, Ordering::SeqCst);
                }
                let id = format!("{worker}-{number}");
                if open(&service, &id, None).await.is_ok() {
                    // Acknowledged is in service, there and then.
                    let live = service.live().expect("live");
                    assert!(live.authority.tasks.contains_key(id.as_str()));
                    made.push(id);
                }
            }
            made
        });
    }
    let mut made = Vec::new();
    while let Some(some) = running.join_next().await {
        made.extend(some.expect("no panic"));
    }
    let live = service.live().expect("live");
    assert!(made.len() > 100, "{}", made.len());
    assert!(made.len() < 480, "nothing failed");
    assert_eq!(live.authority.tasks.size(), made.len());
    assert!(
        made.iter()
            .all(|id| live.authority.tasks.contains_key(id.as_str()))
    );
    assert_eq!(live.revision(), 1 + made.len() as u64);
}

#[tokio::test]
async fn where_there_is_no_room_for_a_key_only_what_takes_away_is_made() {
    let room = KeyLimits {
        total: 1,
        per_caller: 1,
    };
    let (service, _) = service_with(ServiceSettings {
        idempotency_keys: room,
        ..ServiceSettings::default()
    });
    open(&service, "a", Some(("k", 1))).await.expect("the last");
    let full = open(&service, "b", Some(("l", 2))).await;
    assert!(matches!(full, Err(WriteError::TooManyKeys(_))), "{full:?}");
    let end = |session: &'static str, key| {
        let plan = move |_: &Generation| -> Result<PlannedChange, ()> {
            Ok(PlannedChange {
                verb: "EndSession",
                id: session.into(),
                change: Change::SessionEnded {
                    session: session.into(),
                },
            })
        };
        let now = SystemTime::UNIX_EPOCH;
        let ledger = Arc::clone(service.ledger());
        async move { ledger.write_restriction(asked(Some(key)), now, plan).await }
    };
    let ended = end("s", ("m", 3)).await.expect("without its key");
    assert!(ended.is_durable);
    // Under no key it is made again, or changes nothing.
    end("s", ("m", 3)).await.expect("again");
    // A key that is known is still another request's.
    let reused = end("s", ("k", 3)).await;
    assert!(matches!(reused, Err(WriteError::KeyReused)), "{reused:?}");
}

#[tokio::test]
async fn a_repeated_request_is_one_request() {
    let (service, _) = service();
    let first = open(&service, "a", Some(("k", 1))).await.expect("written");
    open(&service, "b", None).await.expect("written");
    let again = open(&service, "c", Some(("k", 1))).await.expect("repeated");
    assert_eq!((again.revision, again.id.as_str()), (first.revision, "a"));
    assert!(again.is_repeated && !first.is_repeated);
    let other = open(&service, "d", Some(("k", 2))).await;
    assert!(matches!(other, Err(WriteError::KeyReused)), "{other:?}");
    assert_eq!(service.live().expect("live").authority.tasks.size(), 2);
}
