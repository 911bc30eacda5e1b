//! The services that need no authentication: health and reflection. They are bounded by the number of calls, in all and on
//! one connection, and by the time of each.
//!
//! A short call (`Check`) is always admitted: at the limit, the oldest open call is ended for it. A health watch lasts as
//! long as the client likes, so one beyond the limit is rejected. Authenticated callers have twice the number of watches,
//! so unauthenticated ones cannot take all.

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

use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::headers;
use crate::authn::authenticate::PresentedCredentials;
use crate::authn::capacity::{CapacityLimit, CapacityPermit, UsageCount};
use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionRequest;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// Largest message to health or reflection, in bytes.
pub const MESSAGE_BYTES: usize = 4_096;

/// The open calls of all public services. Clones share them.
#[derive(Clone)]
pub struct PublicCalls {
    authenticator: Arc<ReloadableAuthenticator>,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    open: Arc<Mutex<OpenCalls>>,
}

/// The open calls, in the order in which they arrived.
#[derive(Default)]
struct OpenCalls {
    next: u64,
    calls: BTreeMap<u64, CancellationToken>,
}

/// A service that needs no authentication.
#[derive(Clone)]
pub struct PublicService<S> {
    inner: S,
    calls: PublicCalls,
}

/// One open call.
struct PublicCallPermit {
    /// Its number among the calls that may be ended at the limit.
    number: Option<(u64, PublicCalls)>,
    _watch: Option<CapacityPermit>,
    _on_connection: CapacityPermit,
    _connection_request: ConnectionRequest,
}

impl Drop for PublicCallPermit {
    fn drop(&mut self) {
        if let Some((number, calls)) = &self.number {
            calls.open().calls.remove(number);
        }
    }
}

/// Ends a call at the limit or after its time.
struct CallDeadline {
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallDeadline {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<GrpcRejection> {
        if self.evicted.as_mut().poll(context).is_ready() {
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
    /// No calls yet.
    pub fn new(
        authenticator: Arc<ReloadableAuthenticator>,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<ServerLoad>,
    ) -> Self {
        Self {
            authenticator,
            limits,
            load,
            open: Arc::default(),
        }
    }

    /// Bounds the calls of a service.
    pub fn wrap<S>(&self, inner: S) -> PublicService<S> {
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
        let peer: &Peer = request
            .extensions()
            .get()
            .ok_or(GrpcRejection::NotAdmitted)?;
        let refused = |of| {
            self.load.public_calls_refused.add();
            GrpcRejection::TooManyPublicCalls { of }
        };
        let of_connection = peer.standing().public_calls();
        let most = bound(limits.public_calls_per_connection, 1);
        let on_connection = CapacityPermit::one(of_connection, &UsageCount::default(), most)
            .map_err(|_| refused("public_calls_per_connection"))?;
        let is_watch = request.uri().path().ends_with("/Watch");
        let ended = CancellationToken::new();
        let (number, watch) = if is_watch {
            let known = self.is_authenticated(request.headers(), peer);
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
            evicted: Box::pin(ended.cancelled_owned()),
            timer: Some(Box::pin(tokio::time::sleep_until(Instant::now() + longest))),
        };
        let permit = PublicCallPermit {
            number,
            _watch: watch,
            _on_connection: on_connection,
            _connection_request: ConnectionRequest::new(peer.standing()),
        };
        Ok((permit, end))
    }

    /// Registers a call and gives its number; ends the oldest at the limit.
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

    fn is_authenticated(&self, headers: &HeaderMap, peer: &Peer) -> bool {
        let Ok(authorization) = headers::authorization(headers) else {
            return false;
        };
        let presented = PresentedCredentials {
            authorization: authorization.map(http::HeaderValue::as_bytes),
            names: peer.names(),
        };
        self.authenticator.current().authenticate(presented).is_ok()
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
        let (permit, mut end) = match self.calls.enter(&request) {
            Ok(entered) => entered,
            Err(refusal) => {
                let refused = Ok(Status::from(refusal).into_http());
                return Box::pin(std::future::ready(refused));
            }
        };
        let mut response = Box::pin(self.inner.call(request));
        Box::pin(async move {
            let answered = std::future::poll_fn(|context| {
                if let Poll::Ready(answered) = response.as_mut().poll(context) {
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
                    _permit: permit,
                })
            }))
        })
    }
}

/// A response body that ends at the limit or after the call's time.
struct BoundedResponseBody {
    inner: Body,
    end: CallDeadline,
    is_over: bool,
    _permit: PublicCallPermit,
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
        // Polled first: a client that always has data ready would otherwise never be ended.
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
