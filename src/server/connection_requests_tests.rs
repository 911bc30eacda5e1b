use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use hyper::rt::Executor as _;

use super::{ConnectionRequests, MOST, RequestSlots};

const AUTHORIZE: &str = "/callgate.v1.Authorization/Authorize";

fn new() -> (ConnectionRequests, RequestSlots) {
    let requests = ConnectionRequests::default();
    (requests.clone(), RequestSlots::new(requests))
}

/// Executes a request at this path.
fn execute(
    requests: &ConnectionRequests,
    path: &str,
    answer: impl Future<Output = ()> + Send + 'static,
) {
    requests.begin(path);
    requests.execute(answer);
}

/// Whether the task of the connection has to answer a request at this path.
fn is_placed(path: &str) -> bool {
    let (requests, mut slots) = new();
    execute(&requests, path, ready(()));
    slots.take_new(Waker::noop());
    slots.len() == 1
}

#[tokio::test]
async fn what_is_one_decision_is_answered_by_the_task_of_the_connection() {
    for path in [
        AUTHORIZE,
        "/callgate.v1.Authorization/IsAuthorized",
        "/envoy.service.auth.v3.Authorization/Check",
        "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest",
    ] {
        assert!(is_placed(path), "{path}");
    }
    for path in [
        "/callgate.v1.Authorization/AuthorizeBatch",
        "/callgate.v1.Authorization/AuthorizeStream",
        "/callgate.v1.Authorization/FilterTools",
        "/callgate.v1.Control/GrantDelegation",
        "/agentgateway.dev.ext_mcp.ExtMcp/CheckResponse",
        "/grpc.health.v1.Health/Watch",
        "/unknown",
        "",
    ] {
        assert!(!is_placed(path), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_request_has_a_task_of_its_own() {
    let (requests, mut slots) = new();
    execute(&requests, AUTHORIZE, ready(()));
    requests.execute(ready(()));
    slots.take_new(Waker::noop());
    assert_eq!(slots.len(), 1);
}

#[tokio::test]
async fn a_connection_with_many_requests_has_work_for_several_threads() {
    let (requests, mut slots) = new();
    let spawned = Arc::new(AtomicUsize::new(0));
    for _ in 0..MOST + 3 {
        let spawned = Arc::clone(&spawned);
        execute(&requests, AUTHORIZE, async move {
            spawned.fetch_add(1, Ordering::SeqCst);
        });
    }
    slots.take_new(Waker::noop());
    assert_eq!(slots.len(), MOST);
    tokio::task::yield_now().await;
    assert_eq!(spawned.load(Ordering::SeqCst), 3);
    // Once they are answered there is room again.
    slots.go_on();
    assert_eq!((slots.len(), spawned.load(Ordering::SeqCst)), (0, MOST + 3));
    execute(&requests, AUTHORIZE, pending());
    slots.take_new(Waker::noop());
    slots.go_on();
    assert_eq!(slots.len(), 1);
}

#[tokio::test]
async fn only_who_was_woken_goes_on() {
    let (requests, mut slots) = new();
    let polled = Arc::new(AtomicUsize::new(0));
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let counted = Arc::clone(&polled);
    execute(&requests, AUTHORIZE, async move {
        let mut told = told;
        std::future::poll_fn(|context| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::pin::Pin::new(&mut told).poll(context)
        })
        .await
        .expect("it is told");
    });
    slots.take_new(Waker::noop());
    for _ in 0..3 {
        slots.go_on();
    }
    assert_eq!((slots.len(), polled.load(Ordering::SeqCst)), (1, 1));
    tell.send(()).expect("somebody waits");
    slots.go_on();
    assert_eq!((slots.len(), polled.load(Ordering::SeqCst)), (0, 2));
}

#[tokio::test]
async fn a_panic_ends_its_own_request_alone() {
    let (requests, mut slots) = new();
    let answered = Arc::new(AtomicUsize::new(0));
    for number in 0..3 {
        let answered = Arc::clone(&answered);
        execute(&requests, AUTHORIZE, async move {
            assert_ne!(number, 1, "on purpose");
            answered.fetch_add(1, Ordering::SeqCst);
        });
    }
    slots.take_new(Waker::noop());
    slots.go_on();
    assert_eq!((slots.len(), answered.load(Ordering::SeqCst)), (0, 2));
}
