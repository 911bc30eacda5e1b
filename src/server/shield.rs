//! What stands before every request: a limit on how many are under way, a deadline, and a net for panics.
//!
//! A request counts from the moment its headers arrive, so that those still waiting for a thread count
//! too: that is what overload looks like when answers take microseconds. Every request that ends without
//! an answer is counted here, whoever turned it away.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use crate::adapters::grpc::authorization::ADAPTER;
use crate::adapters::grpc::refusal::Refusal;
use crate::config::limits::Limits;
use crate::service::deadline::Deadline;
use crate::telemetry::metrics::{InFlight, Refusal as Refused};
use crate::telemetry::recorder::Recorder;

/// How a protocol says that a request is refused, and how to tell from a response that one was.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// The response of a refusal by the shield itself.
    pub refuse: fn(Refusal) -> Response<Body>,
    /// Which protocol refused, and why, if the response is a refusal.
    pub refused: fn(&Response<Body>) -> Option<(&'static str, Refused)>,
    /// What a response that is a refusal tells.
    pub said: fn(&Response<Body>) -> String,
    /// How the client called what a response answers.
    pub request_id: fn(&Response<Body>) -> Option<&str>,
    /// The name of the one front door that refuses, where the response does not tell.
    pub door: Option<&'static str>,
}

impl Dialect {
    /// Which front door refused, and why, if the response is a refusal.
    fn refusal(&self, response: &Response<Body>) -> Option<(&'static str, Refused)> {
        let (protocol, why) = (self.refused)(response)?;
        Some((self.door.unwrap_or(protocol), why))
    }
}

/// gRPC.
const GRPC: Dialect = Dialect {
    refuse: |refusal| Status::from(refusal).into_http(),
    refused: |response| grpc_refusal(response.headers()),
    said: |response| {
        let status = Status::from_header_map(response.headers());
        status.map_or_else(String::new, |status| status.message().to_owned())
    },
    request_id: |_| None,
    door: None,
};

/// Shields a service. Its clones count together.
#[derive(Clone)]
pub struct Shield<S> {
    inner: S,
    dialect: Dialect,
    limits: Arc<ArcSwap<Limits>>,
    under_way: Arc<AtomicU32>,
    recorder: Recorder,
}

impl<S> Shield<S> {
    /// Shields a service with these limits.
    pub fn new(inner: S, limits: Arc<ArcSwap<Limits>>) -> Self {
        Self {
            inner,
            dialect: GRPC,
            limits,
            under_way: Arc::default(),
            recorder: Recorder::default(),
        }
    }

    /// Refuses in another protocol than gRPC.
    pub fn speaking(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Shields this front door, and counts its refusals under its name.
    pub fn of_door(mut self, door: &'static str) -> Self {
        self.dialect.door = Some(door);
        self
    }

    /// Counts requests under way and refusals with this recorder.
    pub fn recording(self, recorder: Recorder) -> Self {
        Self { recorder, ..self }
    }
}

impl<S: NamedService> NamedService for Shield<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Shield<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Shielded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (limit, longest) = {
            let limits = self.limits.load();
            (
                limits.concurrent_requests,
                Duration::from_millis(limits.deadline_ms.into()),
            )
        };
        let place = Place(Arc::clone(&self.under_way));
        if place.0.fetch_add(1, Ordering::AcqRel) >= limit {
            let refused = State::Refused(Some(Refusal::TooManyRequests { limit }));
            return Shielded {
                state: refused,
                dialect: self.dialect,
                recorder: self.recorder.clone(),
            };
        }
        let asked = grpc_timeout(request.headers()).unwrap_or(longest);
        let deadline = Instant::now() + asked.min(longest);
        // Whoever makes many decisions in a row looks at it between them.
        let extensions = request.extensions_mut();
        extensions.insert(Deadline::at(deadline.into_std()));
        let running = State::Running {
            future: self.inner.call(request),
            deadline,
            timer: None,
            _place: place,
            _in_flight: self.recorder.enter(),
        };
        Shielded {
            state: running,
            dialect: self.dialect,
            recorder: self.recorder.clone(),
        }
    }
}

/// One request's place among those under way.
struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request under way.
pub struct Shielded<F> {
    state: State<F>,
    dialect: Dialect,
    recorder: Recorder,
}

enum State<F> {
    Refused(Option<Refusal>),
    Running {
        future: F,
        deadline: Instant,
        /// Made when the request first has to wait, which most never do.
        timer: Option<Pin<Box<Sleep>>>,
        _place: Place,
        _in_flight: InFlight,
    },
}

impl<F> Future for Shielded<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let refusal = match &mut this.state {
            State::Refused(refusal) => refusal.take(),
            State::Running {
                future,
                deadline,
                timer,
                ..
            } => {
                // A future that has panicked is dropped below and never polled again.
                match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(context))) {
                    Ok(Poll::Ready(Ok(response))) => {
                        count_refusal(&this.recorder, this.dialect, &response);
                        return Poll::Ready(Ok(response));
                    }
                    Ok(Poll::Ready(Err(never))) => match never {},
                    Err(_) => Some(Refusal::Panicked),
                    Ok(Poll::Pending) => {
                        let timer = timer
                            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*deadline)));
                        if timer.as_mut().poll(context).is_pending() {
                            return Poll::Pending;
                        }
                        Some(Refusal::DeadlineExceeded)
                    }
                }
            }
        };
        this.state = State::Refused(None);
        let refusal = refusal.unwrap_or(Refusal::Panicked);
        if refusal == Refusal::Panicked {
            tracing::error!("a request panicked and was answered with INTERNAL");
        }
        let response = (this.dialect.refuse)(refusal);
        count_refusal(&this.recorder, this.dialect, &response);
        Poll::Ready(Ok(response))
    }
}

fn count_refusal(recorder: &Recorder, dialect: Dialect, response: &Response<Body>) {
    if let Some((adapter, why)) = dialect.refusal(response) {
        let request_id = (dialect.request_id)(response);
        recorder.refusal_of(request_id, adapter, why, &(dialect.said)(response));
    }
}

/// A response that is an error has its status among the headers; an answer has it at its end.
fn grpc_refusal(headers: &HeaderMap) -> Option<(&'static str, Refused)> {
    let status = headers.get(Status::GRPC_STATUS)?;
    // A status with details is the answer to a write, which is on record already.
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    let why = match Code::from_bytes(status.as_bytes()) {
        Code::Ok => return None,
        // So is what was understood and cannot be done.
        Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => return None,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Refused::Malformed,
        Code::Unauthenticated | Code::PermissionDenied => Refused::NotEntitled,
        Code::ResourceExhausted => Refused::Overloaded,
        Code::DeadlineExceeded | Code::Cancelled => Refused::Deadline,
        Code::Unavailable => Refused::Unavailable,
        _ => Refused::Failed,
    };
    Some((ADAPTER, why))
}

/// The time that the client gives: at most eight digits and a unit. What is malformed counts as absent,
/// and the configured deadline holds.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
