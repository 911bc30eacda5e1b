use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::service::Service;
use crate::service::clock::SystemClock;
use crate::service::settings::ServiceSettings;
use crate::store::backend::{Store, StoreWrite};
use crate::store::fixtures::AskingStore;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::record::recorder::Recorder;

/// A service with room for so many sessions over a store that has `s0` to `s3` and reads them slowly; how many it has read, and
/// whether it fails.
fn service(sessions: usize) -> (Service, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let mut inner = SqliteStore::in_memory().expect("a store");
    let at = SystemTime::now();
    for number in 0..4 {
        let id = SessionId::new(format!("s{number}"));
        let labels = vec!["private".into()];
        let session = StoreWrite::Session {
            id: id.clone(),
            calls: 7,
            tools: Vec::new(),
            last: Vec::new(),
            at,
        };
        let labels = StoreWrite::SessionLabels { id, labels, at };
        inner.commit(&[session, labels]).expect("written");
    }
    let (reads, fails) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (counted, is_failing) = (Arc::clone(&reads), Arc::clone(&fails));
    let store = AskingStore::sessions(inner, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        match is_failing.load(Ordering::SeqCst) {
            true => Err(StoreError::Read("told to fail".to_owned())),
            false => Ok(()),
        }
    });
    let settings = ServiceSettings {
        sessions,
        ..ServiceSettings::default()
    };
    let clock = Arc::new(SystemClock);
    let service = Service::open(settings, Recorder::default(), store, clock);
    (service.expect("a service"), reads, fails)
}

#[tokio::test]
async fn a_session_of_the_store_is_read_once_however_many_need_it() {
    let (service, reads, _) = service(100);
    let (service, id) = (Arc::new(service), SessionId::new_static("s0"));
    let sessions = &service.facts().sessions;
    assert_eq!(
        (sessions.len(), sessions.stored()),
        (0, 4),
        "none is loaded"
    );
    assert!(!sessions.is_held(&id) && sessions.is_held(&"new".into()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (service, id) = (Arc::clone(&service), id.clone());
        tasks.spawn(async move { service.session_loader().load(&id).await.is_ok() });
    }
    while let Some(loaded) = tasks.join_next().await {
        assert!(loaded.expect("no panic"));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    let session = service.facts().sessions.get(&id).expect("in memory");
    assert_eq!((session.calls, session.labels.items().len()), (7, 1));
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_not_taken_for_a_new_one() {
    let (service, _, fails) = service(100);
    let id = SessionId::new_static("s0");
    fails.store(true, Ordering::SeqCst);
    let reason = service.session_loader().load(&id).await.unwrap_err();
    assert_eq!(reason.code, ReasonCode::StoreUnavailable);
    let sessions = &service.facts().sessions;
    assert!(!sessions.is_held(&id) && sessions.get(&id).is_none());
    fails.store(false, Ordering::SeqCst);
    service.session_loader().load(&id).await.expect("again");
    assert!(service.facts().sessions.is_held(&id));
    // Once the store is closed, what is not in memory is not to be had.
    service.close();
    let reason = service.session_loader().load(&"s1".into()).await;
    assert_eq!(reason.unwrap_err().code, ReasonCode::StoreUnavailable);
}

#[tokio::test]
async fn what_is_read_takes_the_place_of_what_is_written() {
    let (service, reads, _) = service(2);
    for round in 0..3 {
        for number in 0..4 {
            let id = SessionId::new(format!("s{number}"));
            service.session_loader().load(&id).await.expect("room");
            assert!(service.facts().sessions.len() <= 2, "round {round}");
        }
    }
    assert!(reads.load(Ordering::SeqCst) > 4, "some were read again");
}
