//! Load shedding before gRPC routing, at the least possible cost.
//!
//! Under overload most requests are rejected, so a rejection has to cost much less than an answer. On an authenticated
//! connection, a decision request beyond the limit of [`crate::service::concurrency_limit`] is rejected here: by its path alone,
//! before routing, before its token is checked and before its body is read. So is one on a connection that has had unread
//! bytes for half of the request's time: it may have waited that long, and would be answered late. Requests on
//! unauthenticated connections go on to [`crate::server::load_shed`], which answers UNAUTHENTICATED. Control writes go on
//! too: revoking something must not wait for decisions.
//!
//! This module also notes requests that the client cancels before they are answered. An authenticated caller may cancel
//! many, as its own callers may have given up; an unauthenticated connection that does is closed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tonic::Status;
use tower::Service;

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::transport::grpc_admission;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::request::ReceivedRequest;
use crate::adapters::transport::response_body::ResponseBody;
use crate::authn::capacity::{CallerUsage, CapacityLimit};
use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionState;
use crate::config::limits::Limits;
use crate::server::load_shed::grpc_timeout;
use crate::service::server_load::ServerLoad;
use crate::telemetry::record::metrics::RejectionKind;
use crate::telemetry::record::recorder::Recorder;

/// Sheds load before a router.
#[derive(Clone)]
pub struct EarlyLoadShed<S> {
    inner: S,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    recorder: Recorder,
}

impl<S> EarlyLoadShed<S> {
    /// Sheds load before this router.
    pub fn new(
        inner: S,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<ServerLoad>,
        recorder: Recorder,
    ) -> Self {
        Self {
            inner,
            limits,
            load,
            recorder,
        }
    }

    /// The rejection of a decision request for which there is no capacity or time.
    fn reject<B>(
        &self,
        request: &Request<B>,
        connection: &ConnectionState,
    ) -> Option<Response<ResponseBody>> {
        let limits = self.limits.load();
        let configured = limits.concurrent_requests as usize;
        let limit = self.load.pressure.limit(configured);
        let percent = limits.caller_share_percent;
        let has_share = |held: &CallerUsage| {
            held.requests.get() >= CapacityLimit::new(limit, percent, held).share
        };
        if limit >= configured || connection.is_unauthenticated() {
            return None;
        }
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let given = grpc_timeout(request.headers()).unwrap_or(longest);
        let is_stale = connection.behind() > given.min(longest) / 2;
        let has_room = self.load.requests.get() < limit;
        if has_room && !is_stale && !connection.held().is_some_and(has_share) {
            return None;
        }
        if !grpc_admission::rpc(request.uri().path()).is_some_and(grpc_admission::is_sheddable) {
            return None;
        }
        self.load.pressure.shed.add();
        let rejection = GrpcRejection::Overloaded { limit };
        self.recorder
            .rejection(ADAPTER, RejectionKind::Overloaded, "overloaded");
        Some(Status::from(rejection).into_http())
    }
}

impl<S, B> Service<ReceivedRequest<B>> for EarlyLoadShed<S>
where
    S: Service<ReceivedRequest<B>, Response = Response<ResponseBody>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = EarlyLoadShedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, received: ReceivedRequest<B>) -> Self::Future {
        let peer = received.peer.clone();
        peer.standing().note_begun();
        let pending = match self.reject(&received.request, peer.standing()) {
            Some(refused) => EarlyResponse::Rejected(refused),
            None => EarlyResponse::Running(self.inner.call(received)),
        };
        EarlyLoadShedFuture {
            pending: Some(pending),
            peer,
        }
    }
}

/// A request until it is answered or cancelled.
pub struct EarlyLoadShedFuture<F> {
    /// `None` once it is answered.
    pending: Option<EarlyResponse<F>>,
    peer: Peer,
}

enum EarlyResponse<F> {
    Rejected(Response<ResponseBody>),
    Running(F),
}

impl<F> Future for EarlyLoadShedFuture<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.pending {
            Some(EarlyResponse::Running(running)) => Pin::new(running).poll(context),
            Some(EarlyResponse::Rejected(refused)) => Poll::Ready(Ok(std::mem::take(refused))),
            None => Poll::Pending,
        };
        if polled.is_ready() {
            self.pending = None;
        }
        polled
    }
}

impl<F> Drop for EarlyLoadShedFuture<F> {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.peer.standing().note_cancelled();
        }
    }
}

impl<F: Unpin> Unpin for EarlyLoadShedFuture<F> {}

#[cfg(test)]
#[path = "early_load_shed_tests.rs"]
mod tests;
