//! What strangers may use: health and reflection. Neither asks who calls, so both are bounded by how many calls there
//! are, in all and on one connection, and by the time that each takes.
//!
//! A call that is answered at once (`Check`) always finds a place: the oldest one that is still under way ends for it.
//! A watch of health lasts as long as its client likes, so one too many is refused. Callers that show who they are have
//! as many watches again, which strangers cannot take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::adapters::transport::grpc_admission::peer;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::headers;
use crate::authn::authenticate::PresentedCredentials;
use crate::authn::capacity::{CapacityLimit, CapacityPermit, UsageCount};
use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionRequest;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// Bytes of one message to health or reflection.
pub const MESSAGE_BYTES: usize = 4_096;

/// The calls of all public services. Its clones count together.
#[derive(Clone)]
pub struct PublicCalls {
    doorkeeper: Arc<ReloadableAuthenticator>,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    open: Arc<Mutex<OpenCalls>>,
}

/// Calls that are under way, by the order in which they came.
#[derive(Default)]
struct OpenCalls {
    next: u64,
    calls: BTreeMap<u64, CancellationToken>,
}

/// A service that strangers may use.
#[derive(Clone)]
pub struct PublicService<S> {
    inner: S,
    calls: PublicCalls,
}

/// One call under way.
struct PublicCallPermit {
    /// Its number among those that end when there are too many.
    number: Option<(u64, PublicCalls)>,
    _watch: Option<CapacityPermit>,
    _on_connection: Option<CapacityPermit>,
    _asked: Option<ConnectionRequest>,
}

impl Drop for PublicCallPermit {
    fn drop(&mut self) {
        if let Some((number, calls)) = &self.number {
            calls.open().calls.remove(number);
        }
    }
}

/// When a call ends whether it is answered or not.
struct CallDeadline {
    pushed_out: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallDeadline {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<GrpcRejection> {
        if self.pushed_out.as_mut().poll(context).is_ready() {
            return Poll::Ready(GrpcRejection::TooManyPublicCalls { of: "public_calls" });
        }
        match &mut self.timer {
            Some(timer) => timer
                .as_mut()
                .poll(context)
                .map(|()| GrpcRejection::DeadlineExceeded),
            None => Poll::Pending,
        }
    }
}

impl PublicCalls {
    /// None yet.
    pub fn new(
        doorkeeper: Arc<ReloadableAuthenticator>,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<ServerLoad>,
    ) -> Self {
        Self {
            doorkeeper,
            limits,
            load,
            open: Arc::default(),
        }
    }

    /// Serves a service to strangers.
    pub fn of<S>(&self, inner: S) -> PublicService<S> {
        PublicService {
            inner,
            calls: self.clone(),
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, OpenCalls> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        request: &Request<Body>,
    ) -> Result<(PublicCallPermit, CallDeadline), GrpcRejection> {
        let limits = self.limits.load();
        let peer = peer(request.extensions());
        let refused = |of| {
            self.load.public_calls_refused.add();
            GrpcRejection::TooManyPublicCalls { of }
        };
        let of_connection = peer.map(|it| it.standing().public_calls());
        let most = bound(limits.public_calls_per_connection, 1);
        let on_connection = of_connection
            .map(|open| CapacityPermit::one(open, &UsageCount::default(), most))
            .transpose()
            .map_err(|_| refused("public_calls_per_connection"))?;
        let is_watch = request.uri().path().ends_with("/Watch");
        let ended = CancellationToken::new();
        let (number, watch) = if is_watch {
            let known = self.is_known(request.headers(), peer);
            let most = bound(limits.health_watches, if known { 2 } else { 1 });
            let watch =
                CapacityPermit::one(&self.load.health_watches, &UsageCount::default(), most);
            (None, Some(watch.map_err(|_| refused("health_watches"))?))
        } else {
            let number = self.register(limits.public_calls as usize, &ended);
            (Some((number, self.clone())), None)
        };
        let longest = Duration::from_millis(limits.public_call_ms.into());
        let end = CallDeadline {
            pushed_out: Box::pin(ended.cancelled_owned()),
            timer: Some(Box::pin(tokio::time::sleep_until(Instant::now() + longest))),
        };
        let ticket = PublicCallPermit {
            number,
            _watch: watch,
            _on_connection: on_connection,
            _asked: peer.map(|it| ConnectionRequest::new(it.standing())),
        };
        Ok((ticket, end))
    }

    /// A place among those under way; the oldest ends if there are too many.
    fn register(&self, most: usize, ended: &CancellationToken) -> u64 {
        let mut open = self.open();
        while open.calls.len() >= most {
            let Some((_, oldest)) = open.calls.pop_first() else {
                break;
            };
            oldest.cancel();
            self.load.public_calls_refused.add();
        }
        let number = open.next;
        open.next += 1;
        open.calls.insert(number, ended.clone());
        number
    }

    fn is_known(&self, headers: &HeaderMap, peer: Option<&Peer>) -> bool {
        let Ok(authorization) = headers::authorization(headers) else {
            return false;
        };
        let shown = PresentedCredentials {
            authorization: authorization.map(http::HeaderValue::as_bytes),
            names: peer.map_or(&[], Peer::names_read),
        };
        self.doorkeeper.current().authenticate(shown).is_ok()
    }
}

fn bound(limit: u32, times: usize) -> CapacityLimit {
    let limit = (limit as usize).saturating_mul(times);
    CapacityLimit {
        limit,
        share: limit,
    }
}

impl<S: NamedService> NamedService for PublicService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for PublicService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_watch = request.uri().path().ends_with("/Watch");
        let (ticket, mut end) = match self.calls.enter(&request) {
            Ok(take_admission) => take_admission,
            Err(refusal) => {
                let refused = Ok(Status::from(refusal).into_http());
                return Box::pin(std::future::ready(refused));
            }
        };
        let mut coming = Box::pin(self.inner.call(request));
        Box::pin(async move {
            let answered = std::future::poll_fn(|context| {
                if let Poll::Ready(answered) = coming.as_mut().poll(context) {
                    return Poll::Ready(answered);
                }
                end.poll(context)
                    .map(|refusal| Ok(Status::from(refusal).into_http()))
            });
            let response = answered.await?;
            if is_watch {
                end.timer = None;
            }
            Ok(response.map(|inner| {
                Body::new(BoundedResponseBody {
                    inner,
                    end,
                    is_over: false,
                    _ticket: ticket,
                })
            }))
        })
    }
}

/// What is answered, until it has to end.
struct BoundedResponseBody {
    inner: Body,
    end: CallDeadline,
    is_over: bool,
    _ticket: PublicCallPermit,
}

impl http_body::Body for BoundedResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // Looked at first: a client that has always something to ask would never be told.
        let refusal = match self.end.poll(context) {
            Poll::Pending => return Pin::new(&mut self.inner).poll_frame(context),
            Poll::Ready(refusal) => refusal,
        };
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(
            match Status::from(refusal).add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            },
        ))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "public_services_tests.rs"]
mod tests;
