//! What stands before the router of gRPC: turning away what there is no time for, as cheaply as can be.
//!
//! Under overload most requests are refused, so a refusal has to cost much less than an answer. On a connection that is
//! a known caller's, a question beyond the limit of [`crate::service::pressure`] is refused here: by its path alone,
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

use crate::adapters::grpc::authorization::ADAPTER;
use crate::adapters::grpc::entrance::{self, peer};
use crate::adapters::grpc::refusal::Refusal;
use crate::config::limits::Limits;
use crate::identity::places::{Bound, Held};
use crate::identity::standing::Standing;
use crate::server::shield::grpc_timeout;
use crate::service::load::Load;
use crate::telemetry::metrics::Refusal as Refused;
use crate::telemetry::recorder::Recorder;

/// What stands before a router.
#[derive(Clone)]
pub struct Front<S> {
    inner: S,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<Load>,
    recorder: Recorder,
}

impl<S> Front<S> {
    /// Stands before this router.
    pub fn new(
        inner: S,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<Load>,
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
        standing: Option<&Standing>,
    ) -> Option<Response<Body>> {
        let limits = self.limits.load();
        let configured = limits.concurrent_requests as usize;
        let limit = self.load.pressure.limit(configured);
        let percent = limits.caller_share_percent;
        let has_share = |held: &Held| held.requests.get() >= Bound::of(limit, percent, held).share;
        let standing = standing.filter(|it| limit < configured && !it.is_stranger())?;
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let given = grpc_timeout(request.headers()).unwrap_or(longest);
        let is_stale = standing.behind() > given.min(longest) / 2;
        let has_room = self.load.requests.get() < limit;
        if has_room && !is_stale && !standing.held().is_some_and(has_share) {
            return None;
        }
        if !entrance::rpc(request.uri().path()).is_some_and(entrance::yields) {
            return None;
        }
        self.load.pressure.shed.add();
        let refusal = Refusal::Overloaded { limit };
        self.recorder
            .refusal(ADAPTER, Refused::Overloaded, "overloaded");
        Some(Status::from(refusal).into_http())
    }
}

impl<S> Service<Request<Body>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Fronted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let standing = peer(request.extensions()).map(|peer| Arc::clone(peer.standing()));
        let coming = match self.refuse(&request, standing.as_deref()) {
            Some(refused) => Coming::Refused(refused),
            None => Coming::Running(self.inner.call(request)),
        };
        Fronted {
            coming: Some(coming),
            standing,
        }
    }
}

/// A request that is answered or taken back.
pub struct Fronted<F> {
    /// Nothing once it is answered.
    coming: Option<Coming<F>>,
    standing: Option<Arc<Standing>>,
}

enum Coming<F> {
    Refused(Response<Body>),
    Running(F),
}

impl<F> Future for Fronted<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.coming {
            Some(Coming::Running(running)) => Pin::new(running).poll(context),
            Some(Coming::Refused(refused)) => Poll::Ready(Ok(std::mem::take(refused))),
            None => Poll::Pending,
        };
        if polled.is_ready() {
            self.coming = None;
        }
        polled
    }
}

impl<F> Drop for Fronted<F> {
    fn drop(&mut self) {
        if let (Some(_), Some(standing)) = (&self.coming, &self.standing) {
            standing.note_taken_back();
        }
    }
}

impl<F: Unpin> Unpin for Fronted<F> {}

#[cfg(test)]
mod tests;
