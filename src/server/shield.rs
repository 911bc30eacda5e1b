//! What stands before every request: who asks, a limit on how many are under way, a deadline, and a net for panics.
//!
//! Who asks is found out by the headers, before a place is taken and before a byte of the body is read: whoever may not
//! ask is answered at once, and holds nothing. The request of a known caller counts from the moment its headers arrive,
//! so that those still waiting for a thread count too: that is what overload looks like when answers take microseconds.
//! What it takes to arrive is bounded by [`crate::server::body`]. Every request that ends without an answer is counted
//! here, whoever turned it away.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use crate::adapters::grpc::authorization::ADAPTER;
use crate::adapters::grpc::entrance::{self, over_share, peer};
use crate::adapters::grpc::refusal::Refusal;
use crate::config::limits::Limits;
use crate::identity::caller::Caller;
use crate::identity::doorkeeper::Doorkeeper;
use crate::identity::places::{Bound, Full, Taken};
use crate::identity::standing::Asked;
use crate::server::body::{Counted, Framing, Kept};
use crate::service::deadline::Deadline;
use crate::service::load::Load;
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

/// A request whose caller may ask.
pub struct Admitted {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// How its body is made of messages.
    pub framing: Framing,
}

/// Says by the head of a request whether it may be asked, or answers it. What it finds out for those who answer goes
/// among the extensions.
pub type Admit =
    Arc<dyn Fn(&mut Parts) -> Result<Admitted, Box<Response<Body>>> + Send + Sync + 'static>;

/// Admits over gRPC.
pub fn over_grpc(doorkeeper: Arc<Doorkeeper>) -> Admit {
    Arc::new(move |head| {
        let refused = |refusal| Box::new((GRPC.refuse)(refusal));
        let (entrance, rpc) = entrance::admit(&doorkeeper, head).map_err(refused)?;
        let framing = match entrance::is_stream(rpc) {
            true => Framing::Messages,
            false => Framing::Whole,
        };
        let caller = Arc::clone(entrance.caller());
        head.extensions.insert(entrance);
        Ok(Admitted { caller, framing })
    })
}

/// Shields a service. Everything that is shielded under the same load counts together.
#[derive(Clone)]
pub struct Shield<S> {
    inner: S,
    admit: Admit,
    dialect: Dialect,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<Load>,
    recorder: Recorder,
}

impl<S> Shield<S> {
    /// Shields a service with these limits from whoever is not admitted.
    pub fn new(inner: S, admit: Admit, limits: Arc<ArcSwap<Limits>>, load: Arc<Load>) -> Self {
        Self {
            inner,
            admit,
            dialect: GRPC,
            limits,
            load,
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = match self.enter(request) {
            Ok(entered) => State::Running {
                future: self.inner.call(entered.request),
                deadline: entered.deadline,
                timer: None,
                _place: entered.place,
                _kept: entered.kept,
                _in_flight: self.recorder.enter(),
                _asked: entered.asked,
            },
            Err(response) => State::Answered(Some(response)),
        };
        Shielded {
            state,
            dialect: self.dialect,
            recorder: self.recorder.clone(),
        }
    }
}

/// A request that has a place.
struct Entered {
    request: Request<Body>,
    deadline: Instant,
    place: Taken,
    kept: Kept,
    asked: Option<Asked>,
}

impl<S> Shield<S> {
    /// Finds out who asks, and takes a place.
    fn enter(&self, request: Request<Body>) -> Result<Entered, Box<Response<Body>>> {
        let limits = self.limits.load();
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let (mut head, body) = request.into_parts();
        let asked = grpc_timeout(&head.headers).unwrap_or(longest);
        let deadline = Instant::now() + asked.min(longest);
        // Whoever makes many decisions in a row looks at it between them.
        head.extensions.insert(Deadline::at(deadline.into_std()));
        let standing = peer(&head.extensions).map(|peer| Arc::clone(peer.standing()));
        let asked = standing.as_ref().map(Asked::through);
        let admitted = (self.admit)(&mut head).inspect_err(|refused| {
            if let Some((_, Refused::NotEntitled)) = self.dialect.refusal(refused) {
                self.load.not_entitled.add();
            }
        })?;
        if let Some(standing) = &standing {
            standing.prove();
        }
        let Admitted { caller, framing } = admitted;
        let limit = limits.concurrent_requests;
        let bound = Bound::of(limit as usize, limits.caller_share_percent, &caller.held);
        let place = Taken::one(&self.load.requests, &caller.held.requests, bound);
        let place = place.map_err(|full| {
            self.load.requests_refused.add();
            Box::new((self.dialect.refuse)(match full {
                Full::All => Refusal::TooManyRequests { limit },
                Full::Share => over_share(&caller, &limits, limit as usize, "concurrent_requests"),
            }))
        })?;
        let (body, kept) = Counted::new(body, caller, &self.limits, &self.load, framing);
        Ok(Entered {
            request: Request::from_parts(head, Body::new(body)),
            deadline,
            place,
            kept,
            asked,
        })
    }
}

/// A request under way.
pub struct Shielded<F> {
    state: State<F>,
    dialect: Dialect,
    recorder: Recorder,
}

enum State<F> {
    Answered(Option<Box<Response<Body>>>),
    Running {
        future: F,
        deadline: Instant,
        /// Made when the request first has to wait, which most never do.
        timer: Option<Pin<Box<Sleep>>>,
        _place: Taken,
        _kept: Kept,
        _in_flight: InFlight,
        _asked: Option<Asked>,
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
            State::Answered(response) => match response.take() {
                Some(response) => {
                    count_refusal(&this.recorder, this.dialect, &response);
                    return Poll::Ready(Ok(*response));
                }
                None => None,
            },
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
        this.state = State::Answered(None);
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
