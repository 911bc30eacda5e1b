//! What stands before every request: who asks, a limit on how many are under way, a deadline, and a net for panics.
//!
//! Who asks is found out by the headers, before a place is taken and before a byte of the body is read: whoever may not
//! ask is answered at once, and holds nothing. The request of a known caller counts from the moment its headers arrive,
//! so that those still waiting for a thread count too: that is what overload looks like when answers take microseconds.
//! What it takes to arrive is bounded by [`crate::server::limited_body`]. Every request that ends without an answer is counted
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

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::transport::grpc_admission::{self, over_share, peer};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::Caller;
use crate::authn::capacity::{CapacityError, CapacityLimit, CapacityPermit};
use crate::authn::connection::{ConnectionRequest, ConnectionState};
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::server::limited_body::{BodyPermitSlot, Framing, LimitedBody};
use crate::service::deadline::Deadline;
use crate::service::server_load::ServerLoad;
use crate::telemetry::record::metrics::{InFlight, RejectionKind as Refused};
use crate::telemetry::record::recorder::Recorder;

/// How a protocol says that a request is refused, and how to tell from a response that one was.
#[derive(Clone, Copy)]
pub struct ErrorFormat {
    /// The response of a refusal by the shield itself.
    pub refuse: fn(GrpcRejection) -> Response<Body>,
    /// Which protocol refused, and why, if the response is a refusal.
    pub refused: fn(&Response<Body>) -> Option<(&'static str, Refused)>,
    /// What a response that is a refusal tells.
    pub said: fn(&Response<Body>) -> String,
    /// How the client called what a response answers.
    pub request_id: fn(&Response<Body>) -> Option<&str>,
    /// The name of the one front door that refuses, where the response does not tell.
    pub door: Option<&'static str>,
}

impl ErrorFormat {
    /// Which front door refused, and why, if the response is a refusal.
    fn refusal(&self, response: &Response<Body>) -> Option<(&'static str, Refused)> {
        let (protocol, why) = (self.refused)(response)?;
        Some((self.door.unwrap_or(protocol), why))
    }
}

/// gRPC.
const GRPC: ErrorFormat = ErrorFormat {
    refuse: |refusal| Status::from(refusal).into_http(),
    refused: |response| grpc_rejection(response.headers()),
    said: |response| {
        let status = Status::from_header_map(response.headers());
        status.map_or_else(String::new, |status| status.message().to_owned())
    },
    request_id: |_| None,
    door: None,
};

/// A request whose caller may ask.
pub struct Admission {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// How its body is made of messages.
    pub framing: Framing,
    /// Whether it gives way under overload.
    pub yields: bool,
}

/// Says by the head of a request whether it may be asked, or answers it. What it finds out for those who answer goes
/// among the extensions.
pub type Admitter =
    Arc<dyn Fn(&mut Parts) -> Result<Admission, Box<Response<Body>>> + Send + Sync + 'static>;

/// Admits over gRPC.
pub fn grpc_admitter(doorkeeper: Arc<ReloadableAuthenticator>) -> Admitter {
    Arc::new(move |head| {
        let refused = |refusal| Box::new((GRPC.refuse)(refusal));
        let (entrance, rpc) = grpc_admission::admit(&doorkeeper, head).map_err(refused)?;
        let framing = match grpc_admission::is_stream(rpc) {
            true => Framing::Messages,
            false => Framing::Whole,
        };
        let caller = Arc::clone(entrance.caller());
        head.extensions.insert(entrance);
        let yields = grpc_admission::yields(rpc);
        Ok(Admission {
            caller,
            framing,
            yields,
        })
    })
}

/// Shields a service. Everything that is shielded under the same load counts together.
#[derive(Clone)]
pub struct LoadShed<S> {
    inner: S,
    admit: Admitter,
    dialect: ErrorFormat,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    recorder: Recorder,
}

impl<S> LoadShed<S> {
    /// Shields a service with these limits from whoever is not admitted.
    pub fn new(
        inner: S,
        admit: Admitter,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<ServerLoad>,
    ) -> Self {
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
    pub fn with_error_format(self, dialect: ErrorFormat) -> Self {
        Self { dialect, ..self }
    }

    /// Shields this front door, and counts its refusals under its name.
    pub fn for_adapter(mut self, door: &'static str) -> Self {
        self.dialect.door = Some(door);
        self
    }

    /// Counts requests under way and refusals with this recorder.
    pub fn with_recorder(self, recorder: Recorder) -> Self {
        Self { recorder, ..self }
    }
}

impl<S: NamedService> NamedService for LoadShed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for LoadShed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = LoadShedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = match self.enter(request) {
            Ok(take_admission) => RequestState::Running {
                future: self.inner.call(take_admission.request),
                deadline: take_admission.deadline,
                turn: take_admission.turn,
                timer: None,
                _place: take_admission.place,
                _kept: take_admission.kept,
                _in_flight: self.recorder.enter(),
                _asked: take_admission.asked,
            },
            Err(response) => RequestState::Answered(Some(response)),
        };
        LoadShedFuture {
            state,
            dialect: self.dialect,
            recorder: self.recorder.clone(),
        }
    }
}

/// A request that has a place.
struct AdmittedRequest {
    request: Request<Body>,
    deadline: Instant,
    turn: RequestTiming,
    place: CapacityPermit,
    kept: BodyPermitSlot,
    asked: Option<ConnectionRequest>,
}

impl<S> LoadShed<S> {
    /// Finds out who asks, and takes a place.
    fn enter(&self, request: Request<Body>) -> Result<AdmittedRequest, Box<Response<Body>>> {
        let limits = self.limits.load();
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let (mut head, body) = request.into_parts();
        let asked = grpc_timeout(&head.headers).unwrap_or(longest);
        let standing = peer(&head.extensions).map(|peer| Arc::clone(peer.standing()));
        let (arrived, given) = (Instant::now(), asked.min(longest));
        let deadline = arrived + given;
        // Whoever makes many decisions in a row looks at it between them.
        head.extensions.insert(Deadline::at(deadline.into_std()));
        let asked = standing.as_ref().map(ConnectionRequest::new);
        let admitted = match (self.admit)(&mut head) {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.count_rejection(&refused, standing.as_deref(), body);
                return Err(refused);
            }
        };
        let Admission {
            caller,
            framing,
            yields,
        } = admitted;
        if let Some(standing) = &standing {
            standing.mark_authenticated_as(&caller.held);
        }
        let limit = self.most(&limits, yields);
        self.recorder.request_limit(self.most(&limits, true));
        let bound = CapacityLimit::new(limit, limits.caller_share_percent, &caller.held);
        let place = CapacityPermit::one(&self.load.requests, &caller.held.requests, bound);
        let place = place.map_err(|full| {
            let refusal = self.full(full, &caller, &limits, limit);
            Box::new((self.dialect.refuse)(refusal))
        })?;
        let turn = RequestTiming {
            behind: standing
                .as_deref()
                .map_or(Duration::ZERO, ConnectionState::behind),
            arrived,
            given,
            configured: limits.concurrent_requests as usize,
            load: Arc::clone(&self.load),
            has_come: false,
        };
        let (body, kept) = LimitedBody::new(body, caller, &self.limits, &self.load, framing);
        Ok(AdmittedRequest {
            request: Request::from_parts(head, Body::new(body)),
            deadline,
            turn,
            place,
            kept,
            asked,
        })
    }
}

impl<S> LoadShed<S> {
    /// Counts a request that may not be asked, and whether it was taken back before it was looked at.
    fn count_rejection(
        &self,
        refused: &Response<Body>,
        standing: Option<&ConnectionState>,
        mut body: Body,
    ) {
        if let Some((_, Refused::NotEntitled)) = self.dialect.refusal(refused) {
            self.load.not_entitled.add();
        }
        if let Some(standing) = standing.filter(|it| it.is_unauthenticated())
            && is_cancelled(&mut body)
        {
            standing.note_cancelled();
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
    fn full(
        &self,
        full: CapacityError,
        caller: &Caller,
        limits: &Limits,
        limit: usize,
    ) -> GrpcRejection {
        let configured = limits.concurrent_requests;
        match full {
            _ if limit < configured as usize => {
                self.load.pressure.shed.add();
                GrpcRejection::Overloaded { limit }
            }
            CapacityError::All => {
                self.load.requests_refused.add();
                GrpcRejection::TooManyRequests { limit: configured }
            }
            CapacityError::Share => {
                self.load.requests_refused.add();
                over_share(caller, limits, limit, "concurrent_requests")
            }
        }
    }
}

/// Whether a body ends with an error already, as it does once its stream is reset. Does not wait for it.
fn is_cancelled(body: &mut Body) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    // What has come before the end is there first: not more than a prefix and a message count.
    (0..3).any(|_| {
        let next = http_body::Body::poll_frame(Pin::new(body), &mut context);
        matches!(next, Poll::Ready(Some(Err(_))))
    })
}

/// How long a request takes, noted when it ends: answered, refused or given up.
struct RequestTiming {
    /// How long it may have been there before it was read, and when that was.
    behind: Duration,
    arrived: Instant,
    given: Duration,
    configured: usize,
    load: Arc<ServerLoad>,
    has_come: bool,
}

impl RequestTiming {
    /// Whether its turn comes only now, and too late, so that nothing need be done for it any more.
    fn is_expired_on_first_poll(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.has_come, true);
        let is_late = is_first && self.arrived.elapsed() >= self.given;
        if is_late {
            self.load.pressure.expired.add();
        }
        is_late
    }
}

impl Drop for RequestTiming {
    fn drop(&mut self) {
        let took = self.behind + self.arrived.elapsed();
        let under_way = self.load.requests.get();
        let pressure = &self.load.pressure;
        pressure.ended(took, self.given, under_way, self.configured);
    }
}

/// A request under way.
pub struct LoadShedFuture<F> {
    state: RequestState<F>,
    dialect: ErrorFormat,
    recorder: Recorder,
}

enum RequestState<F> {
    Answered(Option<Box<Response<Body>>>),
    Running {
        future: F,
        deadline: Instant,
        turn: RequestTiming,
        /// Made when the request first has to wait, which most never do.
        timer: Option<Pin<Box<Sleep>>>,
        _place: CapacityPermit,
        _kept: BodyPermitSlot,
        _in_flight: InFlight,
        _asked: Option<ConnectionRequest>,
    },
}

impl<F> Future for LoadShedFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let refusal = match &mut this.state {
            RequestState::Answered(response) => match response.take() {
                Some(response) => {
                    record_rejection(&this.recorder, this.dialect, &response);
                    return Poll::Ready(Ok(*response));
                }
                None => None,
            },
            RequestState::Running {
                future,
                deadline,
                timer,
                turn,
                ..
            } => 'running: {
                if turn.is_expired_on_first_poll() {
                    break 'running Some(GrpcRejection::DeadlineExceeded);
                }
                // A future that has panicked is dropped below and never polled again.
                match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(context))) {
                    Ok(Poll::Ready(Ok(response))) => {
                        record_rejection(&this.recorder, this.dialect, &response);
                        return Poll::Ready(Ok(response));
                    }
                    Ok(Poll::Ready(Err(never))) => match never {},
                    Err(_) => Some(GrpcRejection::Panicked),
                    Ok(Poll::Pending) => {
                        let timer = timer
                            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*deadline)));
                        if timer.as_mut().poll(context).is_pending() {
                            return Poll::Pending;
                        }
                        Some(GrpcRejection::DeadlineExceeded)
                    }
                }
            }
        };
        this.state = RequestState::Answered(None);
        let refusal = refusal.unwrap_or(GrpcRejection::Panicked);
        if refusal == GrpcRejection::Panicked {
            tracing::error!("a request panicked and was answered with INTERNAL");
        }
        let response = (this.dialect.refuse)(refusal);
        record_rejection(&this.recorder, this.dialect, &response);
        Poll::Ready(Ok(response))
    }
}

fn record_rejection(recorder: &Recorder, dialect: ErrorFormat, response: &Response<Body>) {
    if let Some((adapter, why)) = dialect.refusal(response) {
        let request_id = (dialect.request_id)(response);
        recorder.refusal_of(request_id, adapter, why, &(dialect.said)(response));
    }
}

/// A response that is an error has its status among the headers; an answer has it at its end.
fn grpc_rejection(headers: &HeaderMap) -> Option<(&'static str, Refused)> {
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
#[path = "load_shed_tests.rs"]
mod tests;
