//! RPCs with one message on either side, answered without the streams that gRPC's general case needs.
//!
//! Start at [`DirectUnary`]. A request whose message is there in one piece, as clients send short ones, is answered with one
//! frame. Whatever else a request may be goes on to the generated service as it came: compressed, in pieces, too long, or
//! without a message. So nobody can tell by an answer which way it took.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::Status;
use tonic::metadata::GRPC_CONTENT_TYPE;
use tower::Service;

use crate::adapters::transport::grpc_admission::Admitted;
use crate::adapters::transport::grpc_generated::{Answer, Generated, GeneratedService};
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::adapters::transport::request::{AdmittedRequest, CountedBody, PermitSlot};
use crate::adapters::transport::response_body::ResponseBody;
use crate::authn::caller::Rpc;
use crate::authn::capacity::CapacityPermit;
use crate::proto::codec::PREFIX_BYTES;

/// Says how the message of a request is compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// RPCs that answer one message with one.
pub trait UnaryRpcs: Send + Sync + 'static {
    /// Whether this RPC is one of them.
    fn serves(rpc: Rpc) -> bool;

    /// Answers a message with a message behind its prefix. The path tells the methods of an RPC apart.
    fn answer(
        &self,
        path: &str,
        rpc: AdmittedRpc,
        message: Bytes,
    ) -> impl Future<Output = Result<Bytes, Status>> + Send;
}

/// A generated service, some of whose RPCs are answered directly.
pub struct DirectUnary<R, S> {
    both: Arc<(R, S)>,
    max_bytes: usize,
}

impl<R, S> DirectUnary<R, S> {
    /// Answers what `rpcs` serves, if its message is no longer than this, and leaves the rest to the generated service.
    pub fn new(rpcs: R, generated: S, max_bytes: usize) -> Self {
        Self {
            both: Arc::new((rpcs, generated)),
            max_bytes,
        }
    }
}

impl<R, S> Clone for DirectUnary<R, S> {
    fn clone(&self) -> Self {
        Self {
            both: Arc::clone(&self.both),
            max_bytes: self.max_bytes,
        }
    }
}

impl<R, S, B> Service<AdmittedRequest<Admitted, B>> for DirectUnary<R, S>
where
    B: CountedBody,
    R: UnaryRpcs,
    S: GeneratedService,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer;

    /// Always, as generated services are.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: AdmittedRequest<Admitted, B>) -> Answer {
        let is_compressed = request.head.headers.contains_key(&ENCODING);
        if is_compressed || !R::serves(request.admitted.rpc) {
            return Generated(self.both.1.clone()).call(request);
        }
        let (both, max_bytes) = (Arc::clone(&self.both), self.max_bytes);
        Box::pin(async move {
            let message = match only_message(&mut request.body, max_bytes).await {
                Ok(message) => message,
                Err(read) => {
                    let request = request.replayed(read);
                    return Generated(both.1.clone()).call(request).await;
                }
            };
            let AdmittedRequest {
                admitted,
                head,
                body,
                deadline,
            } = request;
            // Its bytes count until the answer is there.
            let _permit = body.into_permit();
            let rpc = AdmittedRpc::new(admitted, &head.headers, deadline);
            let answer = both.0.answer(head.uri.path(), rpc, message).await;
            Ok(match answer {
                Ok(frame) => response(head.headers, frame),
                Err(status) => status.into_http(),
            })
        })
    }
}

/// Reads a body to its end. What was read of it, the last first, if it is not one frame with one message that is not compressed.
async fn only_message<B: CountedBody>(
    body: &mut B,
    max_bytes: usize,
) -> Result<Bytes, Vec<BodyPart>> {
    let data = match body.frame().await {
        None => return Err(Vec::new()),
        Some(Ok(frame)) if frame.is_data() => frame.into_data().unwrap_or_default(),
        Some(other) => return Err(vec![other]),
    };
    if message_length(&data).is_none_or(|length| length > max_bytes) {
        return Err(vec![Ok(Frame::data(data))]);
    }
    loop {
        match body.frame().await {
            None => return Ok(data.slice(PREFIX_BYTES..)),
            // The end of a stream may come in a frame of its own.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(other) => return Err(vec![other, Ok(Frame::data(data))]),
        }
    }
}

/// The length of the message, if the data are exactly one that is not compressed.
fn message_length(data: &[u8]) -> Option<usize> {
    let ([0, length @ ..], message) = data.split_first_chunk::<PREFIX_BYTES>()? else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (length == message.len()).then_some(length)
}

/// The response with this frame, in the map of the request's headers.
fn response(mut headers: HeaderMap, frame: Bytes) -> Response<ResponseBody> {
    headers.clear();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    let mut response = Response::new(ResponseBody::message(frame));
    *response.headers_mut() = headers;
    response
}

/// One part of a body, or why it ended.
type BodyPart = Result<Frame<Bytes>, Status>;

/// A body of which some was read.
struct Replayed<B> {
    /// What was read, the last first.
    read: Vec<BodyPart>,
    rest: B,
}

impl<A, B> AdmittedRequest<A, B> {
    /// The request with what was read of its body, the last first.
    fn replayed(self, read: Vec<BodyPart>) -> AdmittedRequest<A, Replayed<B>> {
        AdmittedRequest {
            admitted: self.admitted,
            head: self.head,
            body: Replayed {
                read,
                rest: self.body,
            },
            deadline: self.deadline,
        }
    }
}

impl<B: CountedBody> http_body::Body for Replayed<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BodyPart>> {
        match self.read.pop() {
            Some(read) => Poll::Ready(Some(read)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }
}

impl<B: CountedBody> CountedBody for Replayed<B> {
    fn into_permit(self) -> Option<CapacityPermit> {
        self.rest.into_permit()
    }

    fn permit_slot(&mut self) -> PermitSlot {
        self.rest.permit_slot()
    }
}

#[cfg(test)]
#[path = "grpc_unary_tests.rs"]
mod tests;
