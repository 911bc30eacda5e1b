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
use std::task::{Context, Poll, Waker};
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
use crate::identity::standing::{Asked, Standing};
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
    /// Whether it gives way under overload.
    pub yields: bool,
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
        let yields = entrance::yields(rpc);
        Ok(Admitted {
            caller,
            framing,
            yields,
        })
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
                turn: entered.turn,
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
    turn: Turn,
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
        let standing = peer(&head.extensions).map(|peer| Arc::clone(peer.standing()));
        let (arrived, given) = (Instant::now(), asked.min(longest));
        let deadline = arrived + given;
        // Whoever makes many decisions in a row looks at it between them.
        head.extensions.insert(Deadline::at(deadline.into_std()));
        let asked = standing.as_ref().map(Asked::through);
        let admitted = match (self.admit)(&mut head) {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.note_refused(&refused, standing.as_deref(), body);
                return Err(refused);
            }
        };
        let Admitted {
            caller,
            framing,
            yields,
        } = admitted;
        if let Some(standing) = &standing {
            standing.prove_as(&caller.held);
        }
        let limit = self.most(&limits, yields);
        self.recorder.request_limit(self.most(&limits, true));
        let bound = Bound::of(limit, limits.caller_share_percent, &caller.held);
        let place = Taken::one(&self.load.requests, &caller.held.requests, bound);
        let place = place.map_err(|full| {
            let refusal = self.full(full, &caller, &limits, limit);
            Box::new((self.dialect.refuse)(refusal))
        })?;
        let turn = Turn {
            behind: standing.as_deref().map_or(Duration::ZERO, Standing::behind),
            arrived,
            given,
            configured: limits.concurrent_requests as usize,
            load: Arc::clone(&self.load),
            has_come: false,
        };
        let (body, kept) = Counted::new(body, caller, &self.limits, &self.load, framing);
        Ok(Entered {
            request: Request::from_parts(head, Body::new(body)),
            deadline,
            turn,
            place,
            kept,
            asked,
        })
    }
}

impl<S> Shield<S> {
    /// Counts a request that may not be asked, and whether it was taken back before it was looked at.
    fn note_refused(&self, refused: &Response<Body>, standing: Option<&Standing>, mut body: Body) {
        if let Some((_, Refused::NotEntitled)) = self.dialect.refusal(refused) {
            self.load.not_entitled.add();
        }
        if let Some(standing) = standing.filter(|it| it.is_stranger())
            && is_taken_back(&mut body)
        {
            standing.note_taken_back();
        }
    }

    /// How many requests may be under way: those that do not give way to overload find the places that it leaves.
    fn most(&self, limits: &Limits, yields: bool) -> usize {
        let configured = limits.concurrent_requests as usize;
        match yields {
            true => self.load.pressure.limit(configured),
            false => configured,
        }
    }

    /// Why there is no place, counted.
    fn full(&self, full: Full, caller: &Caller, limits: &Limits, limit: usize) -> Refusal {
        let configured = limits.concurrent_requests;
        match full {
            _ if limit < configured as usize => {
                self.load.pressure.shed.add();
                Refusal::Overloaded { limit }
            }
            Full::All => {
                self.load.requests_refused.add();
                Refusal::TooManyRequests { limit: configured }
            }
            Full::Share => {
                self.load.requests_refused.add();
                over_share(caller, limits, limit, "concurrent_requests")
            }
        }
    }
}

/// Whether a body ends with an error already, as it does once its stream is reset. Does not wait for it.
fn is_taken_back(body: &mut Body) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    // What has come before the end is there first: not more than a prefix and a message count.
    (0..3).any(|_| {
        let next = http_body::Body::poll_frame(Pin::new(body), &mut context);
        matches!(next, Poll::Ready(Some(Err(_))))
    })
}

/// How long a request takes, noted when it ends: answered, refused or given up.
struct Turn {
    /// How long it may have been there before it was read, and when that was.
    behind: Duration,
    arrived: Instant,
    given: Duration,
    configured: usize,
    load: Arc<Load>,
    has_come: bool,
}

impl Turn {
    /// Whether its turn comes only now, and too late, so that nothing need be done for it any more.
    fn comes_late(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.has_come, true);
        let is_late = is_first && self.arrived.elapsed() >= self.given;
        if is_late {
            self.load.pressure.expired.add();
        }
        is_late
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let took = self.behind + self.arrived.elapsed();
        let under_way = self.load.requests.get();
        let pressure = &self.load.pressure;
        pressure.ended(took, self.given, under_way, self.configured);
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
        turn: Turn,
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
                turn,
                ..
            } => 'running: {
                if turn.comes_late() {
                    break 'running Some(Refusal::DeadlineExceeded);
                }
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
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
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
