//! The body of a response: one message of gRPC, or whatever a generated service or plain HTTP answers with.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// The body of a response.
pub enum ResponseBody {
    /// A message of gRPC behind its prefix, and trailers that say OK.
    Message(MessageBody),
    /// Any other body.
    Other(Body),
}

/// What is left of the body with one message.
pub struct MessageBody(Rest);

enum Rest {
    Whole(Bytes),
    Trailers,
    Nothing,
}

impl ResponseBody {
    /// A body with this message, which has its prefix.
    pub fn message(frame: Bytes) -> Self {
        Self::Message(MessageBody(Rest::Whole(frame)))
    }
}

impl Default for ResponseBody {
    /// An empty body, without trailers.
    fn default() -> Self {
        Self::Other(Body::default())
    }
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> Self {
        Self::Other(body)
    }
}

impl MessageBody {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        let (frame, rest) = match std::mem::replace(&mut self.0, Rest::Nothing) {
            Rest::Whole(frame) => (Frame::data(frame), Rest::Trailers),
            Rest::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
                (Frame::trailers(trailers), Rest::Nothing)
            }
            Rest::Nothing => return None,
        };
        self.0 = rest;
        Some(frame)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Message(message) => Poll::Ready(message.next().map(Ok)),
            Self::Other(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(message) => matches!(message.0, Rest::Nothing),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Message(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
