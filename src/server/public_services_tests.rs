use std::future::{Pending, Ready, pending, ready};

use http_body_util::BodyExt as _;
use tonic::Code;

use super::*;
use crate::authn::authenticate::Authenticator;
use crate::authn::connection::ConnectionState;

type Answer = Result<Response<Body>, Infallible>;

/// Answers at once, with a body that never ends.
#[derive(Clone)]
struct Endless;

/// Never answers.
#[derive(Clone)]
struct Silent;

impl Service<Request<Body>> for Endless {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let body = http_body_util::StreamBody::new(tokio_stream::pending::<
            Result<Frame<Bytes>, Status>,
        >());
        ready(Ok(Response::new(Body::new(body))))
    }
}

impl Service<Request<Body>> for Silent {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pending<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        pending()
    }
}

fn calls(limits: Limits) -> PublicCalls {
    let nobody = Arc::new(ReloadableAuthenticator::new(Authenticator::new([])));
    PublicCalls::new(
        nobody,
        Arc::new(ArcSwap::from_pointee(limits)),
        Arc::default(),
    )
}

fn request(method: &str, peer: &Peer) -> Request<Body> {
    let request = Request::builder().uri(format!("/grpc.health.v1.Health/{method}"));
    let request = request.extension(peer.clone());
    request.body(Body::empty()).expect("a request")
}

fn code(response: &Response<Body>) -> Option<Code> {
    Status::from_header_map(response.headers()).map(|status| status.code())
}

#[tokio::test]
async fn one_call_too_many_ends_the_oldest() {
    let calls = calls(Limits {
        public_calls: 2,
        ..Limits::default()
    });
    let mut silent = calls.wrap(Silent);
    let peer = Peer::default();
    let first = silent.call(request("Check", &peer));
    let second = silent.call(request("Check", &peer));
    let Ok(answered) = calls.wrap(Endless).call(request("Check", &peer)).await;
    assert_eq!(code(&answered), None, "the new one is answered");
    let Ok(ended) = first.await;
    assert_eq!(code(&ended), Some(Code::ResourceExhausted));
    drop((second, answered));
    assert!(calls.open().calls.is_empty());
}

#[tokio::test]
async fn one_connection_has_a_part_of_it() {
    let calls = calls(Limits {
        public_calls_per_connection: 2,
        ..Limits::default()
    });
    let peer = Peer::new(Arc::new(ConnectionState::default()));
    let mut endless = calls.wrap(Endless);
    let mut open = Vec::new();
    for method in ["Watch", "Check"] {
        let Ok(answered) = endless.call(request(method, &peer)).await;
        assert_eq!(code(&answered), None);
        open.push(answered);
    }
    let Ok(refused) = endless.call(request("Check", &peer)).await;
    assert_eq!(code(&refused), Some(Code::ResourceExhausted));
    let Ok(other) = endless.call(request("Check", &Peer::default())).await;
    assert_eq!(code(&other), None);
    drop(open);
    let Ok(again) = endless.call(request("Check", &peer)).await;
    assert_eq!(code(&again), None);
}

#[tokio::test]
async fn watches_are_counted_and_the_known_have_as_many_again() {
    let mut calls = calls(Limits {
        health_watches: 1,
        ..Limits::default()
    });
    let watch = || request("Watch", &Peer::default());
    let Ok(first) = calls.wrap(Endless).call(watch()).await;
    let Ok(second) = calls.wrap(Endless).call(watch()).await;
    assert_eq!(
        (code(&first), code(&second)),
        (None, Some(Code::ResourceExhausted))
    );
    let caller = crate::authn::caller::Caller::local();
    calls.authenticator = Arc::new(ReloadableAuthenticator::new(Authenticator::local(caller)));
    let Ok(known) = calls.wrap(Endless).call(watch()).await;
    assert_eq!(code(&known), None);
    let Ok(too_many) = calls.wrap(Endless).call(watch()).await;
    assert_eq!(code(&too_many), Some(Code::ResourceExhausted));
}

#[tokio::test]
async fn a_call_has_its_time_and_a_watch_does_not_end() {
    let calls = calls(Limits {
        public_call_ms: 50,
        ..Limits::default()
    });
    let peer = Peer::default();
    let Ok(late) = calls.wrap(Silent).call(request("Check", &peer)).await;
    assert_eq!(code(&late), Some(Code::DeadlineExceeded));
    let Ok(stream) = calls.wrap(Endless).call(request("Check", &peer)).await;
    let end = stream.into_body().collect().await.expect("an end");
    let trailers = end.trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "4");
    let Ok(watch) = calls.wrap(Endless).call(request("Watch", &peer)).await;
    let longer = Duration::from_millis(200);
    let waiting = tokio::time::timeout(longer, watch.into_body().collect()).await;
    assert!(waiting.is_err());
}
