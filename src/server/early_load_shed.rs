//! What stands before the router of gRPC: turning away what there is no time for, as cheaply as can be.
//!
//! Under overload most requests are refused, so a refusal has to cost much less than an answer. On a connection that is
//! a known caller's, a question beyond the limit of [`crate::service::concurrency_limit`] is refused here: by its path alone,
//! before its route is looked up, its token is checked or its body is read. So is one on a connection that has not been
//! read to its end for half of its time: it may have waited there for so long, and is answered late. Strangers go on to the shield, which tells
//! them that they may not ask. Changes go on too: taking a power away must not wait for questions.
//!
//! Here too those are found who take back what they asked before it is answered, again and again: a known caller may,
//! whose callers in turn have given up; a stranger's connection is closed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::transport::grpc_admission::{self, peer};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::capacity::{CallerUsage, CapacityLimit};
use crate::authn::connection::ConnectionState;
use crate::config::limits::Limits;
use crate::server::load_shed::grpc_timeout;
use crate::service::server_load::ServerLoad;
use crate::telemetry::record::metrics::RejectionKind as Refused;
use crate::telemetry::record::recorder::Recorder;

/// What stands before a router.
#[derive(Clone)]
pub struct EarlyLoadShed<S> {
    inner: S,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    recorder: Recorder,
}

impl<S> EarlyLoadShed<S> {
    /// Stands before this router.
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

    /// The refusal of a question for which there is no time.
    fn refuse(
        &self,
        request: &Request<Body>,
        standing: Option<&ConnectionState>,
    ) -> Option<Response<Body>> {
        let limits = self.limits.load();
        let configured = limits.concurrent_requests as usize;
        let limit = self.load.pressure.limit(configured);
        let percent = limits.caller_share_percent;
        let has_share = |held: &CallerUsage| {
            held.requests.get() >= CapacityLimit::new(limit, percent, held).share
        };
        let standing = standing.filter(|it| limit < configured && !it.is_unauthenticated())?;
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let given = grpc_timeout(request.headers()).unwrap_or(longest);
        let is_stale = standing.behind() > given.min(longest) / 2;
        let has_room = self.load.requests.get() < limit;
        if has_room && !is_stale && !standing.held().is_some_and(has_share) {
            return None;
        }
        if !grpc_admission::rpc(request.uri().path()).is_some_and(grpc_admission::yields) {
            return None;
        }
        self.load.pressure.shed.add();
        let refusal = GrpcRejection::Overloaded { limit };
        self.recorder
            .refusal(ADAPTER, Refused::Overloaded, "overloaded");
        Some(Status::from(refusal).into_http())
    }
}

impl<S> Service<Request<Body>> for EarlyLoadShed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = EarlyLoadShedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let standing = peer(request.extensions()).map(|peer| Arc::clone(peer.standing()));
        let coming = match self.refuse(&request, standing.as_deref()) {
            Some(refused) => PendingResponse::Refused(refused),
            None => PendingResponse::Running(self.inner.call(request)),
        };
        EarlyLoadShedFuture {
            coming: Some(coming),
            standing,
        }
    }
}

/// A request that is answered or taken back.
pub struct EarlyLoadShedFuture<F> {
    /// Nothing once it is answered.
    coming: Option<PendingResponse<F>>,
    standing: Option<Arc<ConnectionState>>,
}

enum PendingResponse<F> {
    Refused(Response<Body>),
    Running(F),
}

impl<F> Future for EarlyLoadShedFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.coming {
            Some(PendingResponse::Running(running)) => Pin::new(running).poll(context),
            Some(PendingResponse::Refused(refused)) => Poll::Ready(Ok(std::mem::take(refused))),
            None => Poll::Pending,
        };
        if polled.is_ready() {
            self.coming = None;
        }
        polled
    }
}

impl<F> Drop for EarlyLoadShedFuture<F> {
    fn drop(&mut self) {
        if let (Some(_), Some(standing)) = (&self.coming, &self.standing) {
            standing.note_cancelled();
        }
    }
}

impl<F: Unpin> Unpin for EarlyLoadShedFuture<F> {}

#[cfg(test)]
#[path = "early_load_shed_tests.rs"]
mod tests;
