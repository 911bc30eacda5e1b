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
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;
use tower::Service;

use crate::proto::codec::PREFIX_BYTES;

/// Says how the message of a request is compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// RPCs that answer one message with one.
pub trait UnaryRpcs: Send + Sync + 'static {
    /// Whether the RPC at this path is one of them.
    fn serves(path: &str) -> bool;

    /// Answers a message with a message behind its prefix.
    fn answer(
        &self,
        head: &mut Parts,
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

impl<R, S: NamedService> NamedService for DirectUnary<R, S> {
    const NAME: &'static str = S::NAME;
}

/// What generated services answer with.
type Answer = BoxFuture<Response<Body>, Infallible>;

impl<R, S, B> Service<Request<B>> for DirectUnary<R, S>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static,
    R: UnaryRpcs,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    /// Always, as generated services are.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        if !R::serves(request.uri().path()) || request.headers().contains_key(&ENCODING) {
            return self.both.1.clone().call(request.map(Body::new));
        }
        let (both, max_bytes) = (Arc::clone(&self.both), self.max_bytes);
        Box::pin(async move {
            let (mut head, mut body) = request.into_parts();
            let message = match only_message(&mut body, max_bytes).await {
                Ok(message) => message,
                Err(read) => {
                    let body = Body::new(Replayed { read, rest: body });
                    let request = Request::from_parts(head, body);
                    return both.1.clone().call(request).await;
                }
            };
            // Its bytes count until the answer is there, by what it leaves behind now.
            drop(body);
            let answer = both.0.answer(&mut head, message).await;
            Ok(match answer {
                Ok(frame) => response(head.headers, frame),
                Err(status) => status.into_http(),
            })
        })
    }
}

/// Reads a body to its end. What was read of it, the last first, if it is not one frame with one message that is not compressed.
async fn only_message<B>(body: &mut B, max_bytes: usize) -> Result<Bytes, Vec<BodyPart>>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
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
fn response(mut headers: HeaderMap, frame: Bytes) -> Response<Body> {
    headers.clear();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    let mut response = Response::new(Body::new(OneMessage::Whole(frame)));
    *response.headers_mut() = headers;
    response
}

/// The body of a response: a message, and trailers that say OK.
enum OneMessage {
    Whole(Bytes),
    Trailers,
    Over,
}

impl http_body::Body for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = match &mut *self {
            Self::Whole(frame) => {
                let frame = Frame::data(std::mem::take(frame));
                *self = Self::Trailers;
                Some(Ok(frame))
            }
            Self::Trailers => {
                *self = Self::Over;
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            Self::Over => None,
        };
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Over)
    }
}

/// One part of a body, or why it ended.
type BodyPart = Result<Frame<Bytes>, Status>;

/// A body of which some was read.
struct Replayed<B> {
    /// What was read, the last first.
    read: Vec<BodyPart>,
    rest: B,
}

impl<B: http_body::Body<Data = Bytes, Error = Status> + Unpin> http_body::Body for Replayed<B> {
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

#[cfg(test)]
#[path = "grpc_unary_tests.rs"]
mod tests;
