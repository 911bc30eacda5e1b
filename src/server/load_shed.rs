//! Runs before every request: authentication, a limit on concurrent requests, a deadline, and a guard against panics.
//!
//! The caller is authenticated by the headers, before a permit is taken and before a byte of the body is read: a caller
//! without the right is rejected at once and holds nothing. A request counts from the arrival of its headers, so that those
//! waiting for a thread count too: when an answer takes microseconds, that queue is what overload looks like.
//! [`crate::server::limited_body`] bounds the arrival of the body. Every rejected request is counted here, whichever layer
//! rejected it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, Response};
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::adapters::transport::grpc_admission::{self, Admitted, over_share};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::request::{AdmittedRequest, ReceivedHead, ReceivedRequest};
use crate::adapters::transport::response_body::ResponseBody;
use crate::audit::turn::poll_noting_turns;
use crate::authn::caller::Caller;
use crate::authn::capacity::{CapacityError, CapacityLimit, CapacityPermit};
use crate::authn::connection::{ConnectionRequest, ConnectionState};
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::server::error_format::{ErrorFormat, GRPC};
use crate::server::limited_body::{Framing, LimitedBody, ReceivedBody};
use crate::server::request_timing::RequestTiming;
use crate::server::round_time;
use crate::service::concurrency_limit::ConcurrencyLimit;
use crate::service::deadline::Deadline;
use crate::service::fleet::state::FleetState;
use crate::service::off_thread;
use crate::service::server_load::ServerLoad;
use crate::telemetry::export::live_gauges::InFlight;
use crate::telemetry::record::metrics::RejectionKind;
use crate::telemetry::record::recorder::Recorder;

/// Whom a request is admitted for.
pub struct Admission<A> {
    /// What the adapter needs to know.
    pub admitted: A,
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// How its body is divided into messages.
    pub framing: Framing,
    /// Whether it is shed under overload.
    pub yields: bool,
}

/// Admits a request by its head, or answers it.
pub type Admitter<A> =
    Arc<dyn Fn(ReceivedHead<'_>) -> Result<Admission<A>, Rejected> + Send + Sync + 'static>;

/// The response to a request that is not admitted.
type Rejected = Box<Response<ResponseBody>>;

/// The admitter of gRPC requests, whose messages have at most `most` bytes.
pub fn grpc_admitter(authenticator: Arc<ReloadableAuthenticator>, most: u32) -> Admitter<Admitted> {
    Arc::new(move |head| {
        let rejected = |rejection| Box::new((GRPC.encode)(rejection));
        let admitted = grpc_admission::admit(&authenticator, head).map_err(rejected)?;
        let rpc = admitted.rpc;
        let framing = match grpc_admission::is_stream(rpc) {
            true => Framing::Messages { most },
            false => Framing::Message { most },
        };
        let caller = Arc::clone(admitted.caller.caller());
        let yields = grpc_admission::is_sheddable(rpc);
        Ok(Admission {
            admitted,
            caller,
            framing,
            yields,
        })
    })
}

/// Limits the requests of a service. Services with the same [`ServerLoad`] share the limits.
pub struct LoadShed<S, A> {
    inner: S,
    admit: Admitter<A>,
    error_format: ErrorFormat,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    recorder: Recorder,
    fleet: Option<Arc<FleetState>>,
}

impl<S: Clone, A> Clone for LoadShed<S, A> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            admit: Arc::clone(&self.admit),
            error_format: self.error_format,
            limits: Arc::clone(&self.limits),
            load: Arc::clone(&self.load),
            recorder: self.recorder.clone(),
            fleet: self.fleet.clone(),
        }
    }
}

impl<S, A> LoadShed<S, A> {
    /// Limits a service, with rejections as gRPC statuses.
    pub fn new(
        inner: S,
        admit: Admitter<A>,
        limits: Arc<ArcSwap<Limits>>,
        load: Arc<ServerLoad>,
    ) -> Self {
        Self {
            inner,
            admit,
            error_format: GRPC,
            limits,
            load,
            recorder: Recorder::default(),
            fleet: None,
        }
    }

    /// Gives changes the time that the other replicas may take to apply them or to be out of service, beyond
    /// `limits.deadline_ms`.
    pub fn in_fleet(self, fleet: Option<Arc<FleetState>>) -> Self {
        Self { fleet, ..self }
    }

    /// Rejects in another form.
    pub fn with_error_format(self, error_format: ErrorFormat) -> Self {
        Self {
            error_format,
            ..self
        }
    }

    /// Counts rejections under the name of this adapter.
    pub fn for_adapter(mut self, adapter: &'static str) -> Self {
        self.error_format.adapter = Some(adapter);
        self
    }

    /// Counts requests in flight and rejections with this recorder.
    pub fn with_recorder(self, recorder: Recorder) -> Self {
        Self { recorder, ..self }
    }
}

impl<S, A, B> Service<ReceivedRequest<B>> for LoadShed<S, A>
where
    B: ReceivedBody,
    S: Service<
            AdmittedRequest<A, LimitedBody<B>>,
            Response = Response<ResponseBody>,
            Error = Infallible,
        >,
    S::Future: Unpin,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = LoadShedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: ReceivedRequest<B>) -> Self::Future {
        // Nothing that is shared is left half done: what is taken is given back on the way out.
        let admit = AssertUnwindSafe(|| self.admit_request(request));
        let admitted = catch_unwind(admit).unwrap_or_else(|_| {
            note_panic();
            Err(Box::new((self.error_format.encode)(
                GrpcRejection::Panicked,
            )))
        });
        let state = match admitted {
            Ok(admitted) => RequestState::Running {
                future: self.inner.call(admitted.request),
                deadline: admitted.deadline,
                timing: admitted.timing,
                timer: None,
                _permit: admitted.permit,
                _in_flight: self.recorder.enter(),
            },
            Err(response) => RequestState::Answered(Some(response)),
        };
        LoadShedFuture {
            state,
            error_format: self.error_format,
            recorder: self.recorder.clone(),
        }
    }
}

/// An admitted request with its permit.
struct PermittedRequest<A, B> {
    request: AdmittedRequest<A, LimitedBody<B>>,
    deadline: Instant,
    timing: RequestTiming,
    permit: CapacityPermit,
}

impl<S, A> LoadShed<S, A> {
    /// Authenticates the caller and takes a permit.
    fn admit_request<B: ReceivedBody>(
        &self,
        received: ReceivedRequest<B>,
    ) -> Result<PermittedRequest<A, B>, Rejected> {
        let limits = self.limits.load();
        let longest = Duration::from_millis(limits.deadline_ms.into());
        let ReceivedRequest { request, peer } = received;
        let (head, body) = request.into_parts();
        let asked_for = grpc_timeout(&head.headers).unwrap_or(Duration::MAX);
        let connection = peer.standing();
        let arrived = round_time::now();
        // Batches check it between their decisions.
        let usual = arrived + asked_for.min(longest);
        let asked = ConnectionRequest::new(connection);
        let admission = (self.admit)(ReceivedHead {
            parts: &head,
            peer: &peer,
            arrived: arrived.into_std(),
            deadline: Deadline::at(usual.into_std()),
        });
        let Admission {
            admitted,
            caller,
            framing,
            yields,
        } = match admission {
            Ok(admission) => admission,
            Err(refused) => {
                self.count_rejection(&refused, connection, body);
                return Err(refused);
            }
        };
        // A change waits for replicas that are silent, at most until they decide no more.
        let settling = self.fleet.as_ref().filter(|_| !yields);
        let settling = settling.map_or(Duration::ZERO, |fleet| fleet.settles_within());
        let given = asked_for.min(longest + settling);
        let deadline = arrived + given;
        connection.mark_authenticated_as(&caller.held);
        let limit = self.request_limit(&limits, yields);
        self.recorder
            .request_limit(self.request_limit(&limits, true));
        let bound = CapacityLimit::new(limit, limits.caller_share_percent, &caller.held);
        let permit = CapacityPermit::one(&self.load.requests, &caller.held.requests, bound);
        let permit = permit.map_err(|full| {
            let rejection = self.capacity_rejection(full, &caller, &limits, limit);
            Box::new((self.error_format.encode)(rejection))
        })?;
        let timing = RequestTiming::new(
            (arrived, connection.behind_at(arrived.into_std())),
            (given, ConcurrencyLimit::weighed(asked_for, longest)),
            limits.concurrent_requests as usize,
            (&self.load, asked),
        );
        let received = (body, arrived);
        let body = LimitedBody::new(received, caller, &self.limits, &self.load, framing);
        Ok(PermittedRequest {
            request: AdmittedRequest {
                admitted,
                head,
                body,
                deadline: Deadline::at(deadline.into_std()),
            },
            deadline,
            timing,
            permit,
        })
    }
}

impl<S, A> LoadShed<S, A> {
    /// Counts a rejected request, and on unauthenticated connections whether the client had cancelled it already.
    fn count_rejection(
        &self,
        refused: &Response<ResponseBody>,
        connection: &ConnectionState,
        mut body: impl ReceivedBody,
    ) {
        if let Some((_, RejectionKind::NotEntitled)) = self.error_format.rejection(refused) {
            self.load.not_entitled.add();
        }
        if connection.is_unauthenticated() && is_cancelled(&mut body) {
            connection.note_cancelled();
        }
    }

    /// The limit on concurrent requests. Requests that are not shed have the configured one, also under overload.
    fn request_limit(&self, limits: &Limits, yields: bool) -> usize {
        let configured = limits.concurrent_requests as usize;
        match yields {
            true => self.load.pressure.limit(configured),
            false => configured,
        }
    }

    /// Counts a request without a permit, and gives its rejection.
    fn capacity_rejection(
        &self,
        full: CapacityError,
        caller: &Caller,
        limits: &Limits,
        limit: usize,
    ) -> GrpcRejection {
        let configured = limits.concurrent_requests as usize;
        if limit < configured {
            self.load.pressure.shed.add();
            return GrpcRejection::Overloaded { limit };
        }
        self.load.requests_refused.add();
        self.load.pressure.note_full(configured);
        match full {
            CapacityError::All => GrpcRejection::TooManyRequests {
                limit: limits.concurrent_requests,
            },
            CapacityError::Share => over_share(caller, limits, limit, "concurrent_requests"),
        }
    }
}

/// Whether the body fails without waiting, as it does once its stream is reset.
fn is_cancelled(body: &mut impl ReceivedBody) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    // Frames that arrived before the reset come first; more than two are not worth polling.
    (0..3).any(|_| {
        let next = http_body::Body::poll_frame(Pin::new(body), &mut context);
        matches!(next, Poll::Ready(Some(Err(_))))
    })
}

/// A request in flight.
pub struct LoadShedFuture<F> {
    state: RequestState<F>,
    error_format: ErrorFormat,
    recorder: Recorder,
}

enum RequestState<F> {
    Answered(Option<Rejected>),
    Running {
        future: F,
        deadline: Instant,
        timing: RequestTiming,
        /// Created when the request first has to wait; most never do.
        timer: Option<Pin<Box<Sleep>>>,
        _permit: CapacityPermit,
        _in_flight: InFlight,
    },
}

impl<F> Future for LoadShedFuture<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let rejection = match &mut this.state {
            RequestState::Answered(response) => match response.take() {
                Some(response) => {
                    record_rejection(&this.recorder, this.error_format, &response);
                    return Poll::Ready(Ok(*response));
                }
                None => None,
            },
            RequestState::Running {
                future,
                deadline,
                timer,
                timing,
                ..
            } => 'running: {
                if timing.is_expired_on_first_poll() {
                    break 'running Some(GrpcRejection::DeadlineExceeded);
                }
                timing.end_wait();
                // A future that panicked is dropped below and not polled again.
                let poll = AssertUnwindSafe(|| Pin::new(future).poll(context));
                off_thread::begin_poll();
                let (polled, lets_others_go) = poll_noting_turns(|| catch_unwind(poll));
                match polled {
                    Ok(Poll::Ready(Ok(response))) => {
                        record_rejection(&this.recorder, this.error_format, &response);
                        return Poll::Ready(Ok(response));
                    }
                    Ok(Poll::Ready(Err(never))) => match never {},
                    Err(_) => Some(GrpcRejection::Panicked),
                    Ok(Poll::Pending) if lets_others_go => return Poll::Pending,
                    Ok(Poll::Pending) => {
                        timing.note_pending();
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
        let rejection = rejection.unwrap_or(GrpcRejection::Panicked);
        if rejection == GrpcRejection::Panicked {
            note_panic();
        }
        let response = (this.error_format.encode)(rejection);
        record_rejection(&this.recorder, this.error_format, &response);
        Poll::Ready(Ok(response))
    }
}

fn note_panic() {
    tracing::error!("a request panicked and was answered with INTERNAL");
}

fn record_rejection(
    recorder: &Recorder,
    error_format: ErrorFormat,
    response: &Response<ResponseBody>,
) {
    if let Some((adapter, why)) = error_format.rejection(response) {
        let request_id = (error_format.request_id)(response);
        recorder.rejection_of(request_id, adapter, why, &(error_format.message)(response));
    }
}

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The client's `grpc-timeout`: at most eight digits and a unit. A malformed one counts as absent.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&TIMEOUT)?.to_str().ok()?;
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
