//! `AuthorizeStream`: one response for each request, in order.
//!
//! An invalid request gets its error as a response and the stream goes on. When the server drains, requests
//! that have arrived are answered, and then the stream ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use smol_str::SmolStr;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Status, Streaming};

use crate::adapters::callgate_v1::authorization::{AuthorizationState, Outcome, RpcContext};
use crate::adapters::input::wire_text::text;
use crate::adapters::transport::grpc_admission::{AdmittedCaller, take_admission};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::{acquire_stream_slot, catch_panic};
use crate::adapters::transport::trace::trace_context;
use crate::authn::caller::{Caller, Rpc};
use crate::authn::capacity::CapacityPermit;
use crate::domain::request::trace_context::TraceContext;
use crate::proto::codec::EncodedMessage;
use crate::proto::{served, v1, wire};
use crate::service::deadline::Deadline;

/// The most requests of a stream that are under way at once. Each waits for its record alone.
const UNDER_WAY: usize = 64;

/// Opens a stream.
pub(super) fn answer(
    shared: &Arc<AuthorizationState>,
    request: Request<Streaming<served::AuthorizeStreamRequest>>,
) -> Result<AuthorizeStreamResponses, GrpcRejection> {
    let (metadata, mut extensions, requests) = request.into_parts();
    let entrance = take_admission(&mut extensions, Rpc::AuthorizeStream)?;
    let trace = trace_context(metadata.as_ref());
    let session = Arc::new(OpenStream::open(shared, entrance, trace)?);
    let requests = UntilDrained::new(requests, &session.shared);
    Ok(AuthorizeStreamResponses {
        session,
        requests,
        under_way: VecDeque::new(),
    })
}

type StreamResponse = Result<EncodedMessage<v1::AuthorizeStreamResponse>, Status>;

/// The responses of a stream.
///
/// Whatever has arrived is decided at once, one request after the other, and the responses follow in the same order as their
/// records are written. Only a request that cannot be decided yet holds up those after it.
pub struct AuthorizeStreamResponses {
    session: Arc<OpenStream>,
    requests: UntilDrained,
    under_way: VecDeque<UnderWay>,
}

/// A request of a stream that is not answered yet.
enum UnderWay {
    Answered(Box<StreamResponse>),
    Waiting(Pin<Box<dyn Future<Output = StreamResponse> + Send>>),
}

impl AuthorizeStreamResponses {
    /// Decides the requests that have arrived.
    fn take_on(&mut self, context: &mut Context<'_>) {
        while self.under_way.len() < UNDER_WAY && !self.is_held_up() {
            let Poll::Ready(Some(request)) = Pin::new(&mut self.requests).poll_next(context) else {
                return;
            };
            let mut answer = Box::pin(answer_one(Arc::clone(&self.session), request));
            self.under_way
                .push_back(match answer.as_mut().poll(context) {
                    Poll::Ready(answer) => UnderWay::Answered(Box::new(answer)),
                    Poll::Pending => UnderWay::Waiting(answer),
                });
        }
    }

    /// Whether the last request is not decided yet.
    fn is_held_up(&mut self) -> bool {
        let is_undecided = self.session.is_undecided.load(Ordering::Relaxed);
        is_undecided && !self.under_way.is_empty()
    }
}

impl Stream for AuthorizeStreamResponses {
    type Item = StreamResponse;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.take_on(context);
        let answer = match this.under_way.front_mut() {
            // Nothing came, so the requests are polled, or over.
            None if this.requests.is_over => return Poll::Ready(None),
            None => return Poll::Pending,
            Some(UnderWay::Waiting(answer)) => {
                Some(std::task::ready!(answer.as_mut().poll(context)))
            }
            Some(UnderWay::Answered(_)) => None,
        };
        let first = this.under_way.pop_front();
        Poll::Ready(match (answer, first) {
            (None, Some(UnderWay::Answered(answer))) => Some(*answer),
            (answer, _) => answer,
        })
    }
}

/// The state of an open stream.
struct OpenStream {
    shared: Arc<AuthorizationState>,
    trace: TraceContext,
    entrance: std::sync::Mutex<AdmittedCaller>,
    /// Whether the newest request waits for something without which it cannot be decided.
    is_undecided: AtomicBool,
    _place: CapacityPermit,
}

impl OpenStream {
    fn open(
        shared: &Arc<AuthorizationState>,
        entrance: AdmittedCaller,
        trace: TraceContext,
    ) -> Result<Self, GrpcRejection> {
        let limits = shared.limits.load();
        let place = acquire_stream_slot(&shared.open_streams, &entrance, &limits)?;
        Ok(Self {
            shared: Arc::clone(shared),
            trace,
            entrance: std::sync::Mutex::new(entrance),
            is_undecided: AtomicBool::new(false),
            _place: place,
        })
    }

    /// The caller, authenticated again if the callers were reloaded since.
    fn caller(&self) -> Result<Arc<Caller>, GrpcRejection> {
        let entrance = self.entrance.lock();
        let mut entrance = entrance.unwrap_or_else(std::sync::PoisonError::into_inner);
        entrance.reauthenticate(Rpc::AuthorizeStream).cloned()
    }
}

async fn answer_one(
    session: Arc<OpenStream>,
    request: Result<Correlated, Status>,
) -> StreamResponse {
    let Correlated {
        correlation_id,
        request,
    } = request?;
    let caller = session.caller()?;
    // The stream as a whole has no deadline; each request has one.
    let asking = RpcContext {
        caller: &caller,
        trace: &session.trace,
        deadline: Deadline::in_millis(session.shared.limits.load().deadline_ms),
    };
    let outcome = async {
        let request = request.unwrap_or_default();
        session.is_undecided.store(false, Ordering::Relaxed);
        match session.shared.authorize_now(asking, request)? {
            Outcome::Decided(response) => Ok(response),
            Outcome::Unrecorded(response, detail) => {
                let recorded = session.shared.recorded(response, detail, asking.deadline);
                recorded.await
            }
            Outcome::Undecided(waiting) => {
                session.is_undecided.store(true, Ordering::Relaxed);
                Box::pin(session.shared.finish(waiting, asking.deadline)).await
            }
            Outcome::Unexplained(ask, waiting) => {
                session.is_undecided.store(true, Ordering::Relaxed);
                Box::pin(session.shared.explained(ask, waiting, asking.deadline)).await
            }
        }
    };
    let outcome = catch_panic(outcome)
        .await
        .unwrap_or(Err(GrpcRejection::Panicked));
    let outcome = outcome.map_err(|refusal| match refusal {
        GrpcRejection::Invalid(invalid) => GrpcRejection::Invalid(invalid.inside("request")),
        other => other,
    });
    if let Err(refusal) = &outcome {
        session.shared.note_rejection(refusal);
    }
    Ok(encode(&correlation_id, outcome))
}

/// Encodes one response, as `AuthorizeStreamResponse`.
fn encode(
    correlation_id: &str,
    outcome: Result<EncodedMessage<v1::AuthorizeResponse>, GrpcRejection>,
) -> EncodedMessage<v1::AuthorizeStreamResponse> {
    EncodedMessage::write(|out| {
        wire::text(out, 1, correlation_id);
        match outcome {
            Ok(response) => wire::bytes(out, 2, response.as_bytes()),
            Err(refusal) => {
                let error = v1::RequestError {
                    code: refusal.code() as i32,
                    message: refusal.to_string(),
                };
                wire::message(out, 3, &error);
            }
        }
    })
}

/// A request, with a copy of its id: the bytes that it came in are not kept until it is answered.
struct Correlated {
    correlation_id: SmolStr,
    request: Option<served::AuthorizeRequest>,
}

impl Correlated {
    /// An id that is no text cannot be returned, which ends the stream.
    fn new(wire: served::AuthorizeStreamRequest) -> Result<Self, Status> {
        let id = text(&wire.correlation_id, "correlation_id").map_err(GrpcRejection::Invalid)?;
        Ok(Self {
            correlation_id: SmolStr::new(id),
            request: wire.request,
        })
    }
}

/// The requests until the server drains: then those that have arrived, followed by the status that ends the
/// stream.
struct UntilDrained {
    requests: Streaming<served::AuthorizeStreamRequest>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
}

impl UntilDrained {
    fn new(
        requests: Streaming<served::AuthorizeStreamRequest>,
        shared: &AuthorizationState,
    ) -> Self {
        let draining = Box::pin(shared.draining.clone().cancelled_owned());
        Self {
            requests,
            draining,
            is_over: false,
        }
    }
}

impl Stream for UntilDrained {
    type Item = Result<Correlated, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(item) = Pin::new(&mut self.requests).poll_next(context) {
            let item = item.map(|wire| wire.and_then(Correlated::new));
            self.is_over = !matches!(item, Some(Ok(_)));
            return Poll::Ready(item);
        }
        if self.draining.as_mut().poll(context).is_ready() {
            self.is_over = true;
            return Poll::Ready(Some(Err(GrpcRejection::Draining.into())));
        }
        Poll::Pending
    }
}
