//! The RPC `Process` of Envoy's external processing: requests are decided and responses filtered.
//!
//! Envoy forwards everything once a processor closes its stream without an error. So this side closes a
//! stream only after Envoy has, or with an error, on which Envoy aborts the exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::exchange::Exchange;
use crate::adapters::envoy::exchange_error::ExchangeError;
use crate::adapters::envoy::processor_codec::{self, ProcessorConfigError};
use crate::adapters::transport::grpc_admission::{AdmittedCaller, take_admission};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::{acquire_stream_slot, catch_panic, request_meta};
use crate::adapters::transport::trace::trace_context;
use crate::authn::caller::Rpc;
use crate::authn::capacity::{CapacityPermit, UsageCount};
use crate::config::envoy::EnvoyConfig;
use crate::config::limits::Limits;
use crate::proto::envoy::processing::external_processor_server::ExternalProcessor;
use crate::proto::envoy::processing::{ProcessingRequest, ProcessingResponse};
use crate::service::Service;
use crate::service::deadline::Deadline;

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "ext_proc";

/// The gRPC metadata in which Envoy's route names its server.
const SERVER_METADATA: &str = "callgate-server";

/// `envoy.service.ext_proc.v3.ExternalProcessor`. Cloning is cheap.
#[derive(Clone)]
pub struct ExtProc {
    adapter: EnvoyAdapter,
    draining: CancellationToken,
    open: UsageCount,
}

impl ExtProc {
    /// Creates the adapter. Endless exchanges are aborted once `draining` is cancelled.
    pub fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<EnvoyConfig>>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            adapter: EnvoyAdapter::new(service, limits, settings),
            draining,
            open: UsageCount::default(),
        }
    }
}

/// The stream of replies to Envoy.
pub type Answers = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Answers;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (metadata, mut extensions, messages) = request.into_parts();
        let entrance = take_admission(&mut extensions, Rpc::ExtProcProcess)?;
        let mut named = metadata.get_all(SERVER_METADATA).iter();
        let server = match (named.next(), named.next()) {
            (None, _) => None,
            (Some(name), None) => Some(server_name(name.as_bytes())?.to_owned()),
            (Some(_), Some(_)) => {
                let said = format!("`{SERVER_METADATA}` comes twice");
                return Err(Status::invalid_argument(said));
            }
        };
        let session = ProcessorStream {
            _place: acquire_stream_slot(&self.open, &entrance, &self.adapter.limits.load())?,
            exchange: Exchange::new(self.adapter.clone(), trace_context(metadata.as_ref())),
            adapter: self.adapter.clone(),
            draining: self.draining.clone(),
            entrance,
            messages,
            server,
            is_first: true,
        };
        Ok(Response::new(Box::pin(Replies::new(session))))
    }
}

/// The state of one stream, which is one exchange.
struct ProcessorStream {
    _place: CapacityPermit,
    exchange: Exchange,
    adapter: EnvoyAdapter,
    draining: CancellationToken,
    entrance: AdmittedCaller,
    messages: Streaming<ProcessingRequest>,
    server: Option<String>,
    is_first: bool,
}

impl ProcessorStream {
    /// Returns the replies to the next message, or `None` once Envoy has closed the stream.
    async fn next(&mut self) -> Result<Option<Vec<ProcessingResponse>>, Status> {
        let message = tokio::select! {
            biased;
            message = self.messages.message() => message?,
            () = self.draining.cancelled(), if self.exchange.is_endless() => {
                return Err(GrpcRejection::Draining.into());
            }
        };
        let Some(message) = message else {
            return Ok(None);
        };
        if std::mem::take(&mut self.is_first) {
            processor_codec::check(&message).map_err(failed)?;
        }
        let event = processor_codec::decode_event(message, self.server.as_deref())
            .map_err(GrpcRejection::from)?;
        // A caller whose right was withdrawn gets no further replies.
        let caller = self.entrance.reauthenticate(Rpc::ExtProcProcess)?;
        let deadline = Deadline::in_millis(self.adapter.limits.load().deadline_ms);
        let handling = self
            .exchange
            .handle(request_meta(caller, ADAPTER, deadline), event);
        let told = deadline
            .within(handling)
            .await
            .map_err(GrpcRejection::from)?;
        let told = told.map_err(broken)?;
        Ok(Some(
            told.into_iter()
                .map(processor_codec::encode_reply)
                .collect(),
        ))
    }
}

/// The server's name as the route says it. One that cannot be read is no reason to look for another server.
fn server_name(wire: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(wire)
        .map_err(|_| Status::invalid_argument(format!("`{SERVER_METADATA}` is not UTF-8")))
}

fn failed(unsafe_: ProcessorConfigError) -> Status {
    tracing::warn!(why = %unsafe_, "Envoy's configuration shows too little: nothing passes");
    Status::failed_precondition(unsafe_.to_string())
}

fn broken(broken: ExchangeError) -> Status {
    match broken {
        ExchangeError::Rejected(refusal) => refusal.into(),
        ExchangeError::OutOfOrder(..) => Status::failed_precondition(broken.to_string()),
        ExchangeError::TooLong(_) | ExchangeError::Malformed => {
            tracing::warn!(why = %broken, "a stream of events was cut");
            Status::aborted(broken.to_string())
        }
    }
}

/// The replies of a session in order. It ends after Envoy's side, or with an error.
struct Replies {
    state: ReplyState,
    told: std::vec::IntoIter<ProcessingResponse>,
}

enum ReplyState {
    Hearing(Pin<Box<dyn Future<Output = Heard> + Send>>),
    Over,
}

/// The session, unless it is over, and its replies.
type Heard = (
    Option<Box<ProcessorStream>>,
    Result<Vec<ProcessingResponse>, Status>,
);

impl Replies {
    fn new(session: ProcessorStream) -> Self {
        Self {
            state: ReplyState::Hearing(Box::pin(hear(Box::new(session)))),
            told: Vec::new().into_iter(),
        }
    }
}

async fn hear(mut session: Box<ProcessorStream>) -> Heard {
    match catch_panic(session.next()).await {
        Some(Ok(Some(told))) => (Some(session), Ok(told)),
        Some(Ok(None)) => (None, Ok(Vec::new())),
        Some(Err(status)) => (None, Err(status)),
        None => (None, Err(GrpcRejection::Panicked.into())),
    }
}

impl Stream for Replies {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(told) = self.told.next() {
                return Poll::Ready(Some(Ok(told)));
            }
            let ReplyState::Hearing(handling) = &mut self.state else {
                return Poll::Ready(None);
            };
            let (session, told) = ready!(handling.as_mut().poll(context));
            self.state = match session {
                Some(session) => ReplyState::Hearing(Box::pin(hear(session))),
                None => ReplyState::Over,
            };
            match told {
                Ok(told) => self.told = told.into_iter(),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }
}

#[cfg(test)]
#[path = "ext_proc_tests.rs"]
mod tests;
