use std::future::{Ready, pending, ready};

use tonic::body::Body;

use crate::authn::capacity::CapacityPermit;
use crate::config::limits::Limits;

use super::*;

type Answer = Result<Response<ResponseBody>, Infallible>;

/// A router that answers everything.
#[derive(Clone)]
struct Answers;

impl Service<ReceivedRequest<Body>> for Answers {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ReceivedRequest<Body>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

/// A router that answers nothing.
#[derive(Clone)]
struct Never;

impl Service<ReceivedRequest<Body>> for Never {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ReceivedRequest<Body>) -> Self::Future {
        Box::pin(pending())
    }
}

const AUTHORIZE: &str = "/callgate.v1.Authorization/Authorize";
const REVOKE: &str = "/callgate.v1.Control/RevokeDelegation";

fn front<S>(inner: S, load: &Arc<ServerLoad>) -> EarlyLoadShed<S> {
    let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
    EarlyLoadShed::new(inner, limits, Arc::clone(load), Recorder::default())
}

fn request(path: &str, peer: &Peer) -> ReceivedRequest<Body> {
    let request = Request::post(path).body(Body::empty());
    ReceivedRequest {
        request: request.expect("a request"),
        peer: peer.clone(),
    }
}

/// Brings the limit down to 50 of 100 under way.
fn overload(load: &ServerLoad) {
    let most = Limits::default().concurrent_requests as usize;
    for _ in 0..8 {
        let given = Duration::from_secs(1);
        load.pressure
            .record(std::time::Instant::now(), (given, given), 100, most);
    }
    assert_eq!(load.pressure.limit(most), 50);
}

async fn code(front: &mut EarlyLoadShed<Answers>, path: &str, peer: &Peer) -> Option<String> {
    let Ok(response) = front.call(request(path, peer)).await;
    let status = response.headers().get("grpc-status")?;
    Some(status.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn questions_beyond_the_limit_are_refused_and_changes_are_not() {
    let load = Arc::new(ServerLoad::default());
    let mut front = front(Answers, &load);
    let held = CallerUsage::default();
    let known = Peer::default();
    known.standing().mark_authenticated_as(&held);
    overload(&load);
    assert_eq!(code(&mut front, AUTHORIZE, &known).await, None, "room");
    load.requests.add(50);
    let refused = code(&mut front, AUTHORIZE, &known).await;
    assert_eq!(refused.as_deref(), Some("8"), "RESOURCE_EXHAUSTED");
    assert_eq!(load.pressure.shed.get(), 1);
    assert_eq!(code(&mut front, REVOKE, &known).await, None, "a change");
    let stranger = Peer::default();
    assert_eq!(
        code(&mut front, AUTHORIZE, &stranger).await,
        None,
        "strangers go on to be told that they may not ask"
    );
    load.requests.sub(1);
    assert_eq!(code(&mut front, AUTHORIZE, &known).await, None, "room");
}

#[tokio::test]
async fn a_refusal_says_when_to_ask_again() {
    let load = Arc::new(ServerLoad::default());
    let mut front = front(Answers, &load);
    let known = Peer::default();
    known.standing().mark_authenticated();
    overload(&load);
    load.requests.add(100);
    let Ok(response) = front.call(request(AUTHORIZE, &known)).await;
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "500");
}

#[tokio::test]
async fn a_caller_that_has_its_share_leaves_room_for_others() {
    let load = Arc::new(ServerLoad::default());
    let mut front = front(Answers, &load);
    let busy = CallerUsage {
        has_others: true,
        ..CallerUsage::default()
    };
    let other = CallerUsage {
        has_others: true,
        ..CallerUsage::default()
    };
    let [from_busy, from_other, from_both] = [(); 3].map(|()| Peer::default());
    from_busy.standing().mark_authenticated_as(&busy);
    from_other.standing().mark_authenticated_as(&other);
    from_both.standing().mark_authenticated_as(&busy);
    from_both.standing().mark_authenticated_as(&other);
    overload(&load);
    let share = CapacityLimit::new(50, Limits::default().caller_share_percent, &busy);
    let mut taken = CapacityPermit::none(&load.requests, &busy.requests);
    taken.grow(share.share, share).expect("a share");
    let refused = code(&mut front, AUTHORIZE, &from_busy).await;
    assert_eq!(refused.as_deref(), Some("8"));
    assert_eq!(code(&mut front, AUTHORIZE, &from_other).await, None);
    // Whose request it is, the shield finds out.
    assert_eq!(code(&mut front, AUTHORIZE, &from_both).await, None);
}

#[test]
fn a_stranger_that_cancels_what_it_asks_is_closed_and_a_caller_is_not() {
    let load = Arc::new(ServerLoad::default());
    let mut front = front(Never, &load);
    let (stranger, known) = (Peer::default(), Peer::default());
    known.standing().mark_authenticated();
    for peer in [&stranger, &known] {
        for _ in 0..200 {
            drop(front.call(request(AUTHORIZE, peer)));
        }
    }
    assert!(stranger.standing().is_closed());
    assert!(!known.standing().is_closed());
}

#[tokio::test]
async fn what_was_answered_was_not_cancelled() {
    let load = Arc::new(ServerLoad::default());
    let mut front = front(Answers, &load);
    let stranger = Peer::default();
    for _ in 0..200 {
        assert_eq!(code(&mut front, AUTHORIZE, &stranger).await, None);
    }
    assert!(!stranger.standing().is_closed());
}
