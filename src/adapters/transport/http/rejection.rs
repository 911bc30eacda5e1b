//! Every reason for which a request over plain HTTP gets no response, with its status.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::adapters::input::field_error::FieldError;
use crate::adapters::transport::admission::AdmissionError;
use crate::adapters::transport::http::reply::reply;
use crate::authn::authenticate;
use crate::authn::caller::Rpc;
use crate::service::deadline::ServiceError;
use crate::telemetry::record::metrics;

/// Why a request is rejected. An enforcement point treats every rejection as a deny.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpRejection {
    /// A field cannot be used.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The body is empty.
    #[error("the body is empty, but must be a JSON object")]
    EmptyBody,
    /// The body is not declared as JSON in UTF-8.
    #[error("the `content-type` must be `application/json`, in UTF-8")]
    NotJson,
    /// The body is compressed, or encoded otherwise.
    #[error("the `content-encoding` must be `identity`, or left out: send the body as it is")]
    Encoded,
    /// The body ended early.
    #[error("the body could not be read to its end")]
    BrokenBody,
    /// The body exceeds the limit.
    #[error("the body has more than {limit} bytes, as many as `limits.message_bytes` allows")]
    TooLarge {
        /// The limit in bytes.
        limit: u32,
    },
    /// The headers exceed the limit.
    #[error("the headers have more than {limit} bytes, as many as `limits.header_bytes` allows")]
    HeadersTooLarge {
        /// The limit in bytes.
        limit: u32,
    },
    /// The page token belongs to another search or an earlier state.
    #[error("`page.token` is of another search, or of an earlier state: begin again without it")]
    OtherPage,
    /// The caller cannot be authenticated.
    #[error(transparent)]
    Unauthenticated(#[from] authenticate::AuthenticationError),
    /// The caller lacks the right.
    #[error("caller `{caller}` has no right to use `{}`: add it to `rights.rpcs`", rpc.name())]
    NotAllowed {
        /// The caller's id.
        caller: String,
        /// The right.
        rpc: Rpc,
    },
    /// Without configured callers every local process may ask, but not a web page in a local browser.
    #[error(
        "without configured callers, only requests for `localhost` or a loopback address are answered"
    )]
    ForeignHost,
    /// The document would name another host as this decision point.
    #[error("only for `localhost` and loopback addresses is this known without `[authzen] url`")]
    NoIdentifier,
    /// The path is unknown.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path exists with another method.
    #[error("use {allowed} here")]
    MethodNotAllowed {
        /// The allowed methods.
        allowed: &'static str,
    },
    /// No policies are loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// Too many requests are in progress.
    #[error(
        "{limit} requests are under way, as many as `limits.concurrent_requests` allows: try again later"
    )]
    TooManyRequests {
        /// The limit.
        limit: u32,
    },
    /// A header that may occur once is repeated.
    #[error("the `{name}` header comes twice: send it once")]
    Repeated {
        /// The header's name.
        name: &'static str,
    },
    /// The server sheds load; the text is its message.
    #[error("{0}")]
    Overloaded(String),
    /// The body did not arrive in time; the text says so.
    #[error("{0}")]
    LateBody(String),
    /// The deadline has passed.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
    /// Answering panicked.
    #[error("the answer failed inside the server")]
    Panicked,
}

/// The adapter and kind of a rejection, attached to its response for metrics and the log.
#[derive(Debug, Clone)]
pub struct RejectionRecord {
    /// The adapter's name.
    pub adapter: &'static str,
    /// The kind.
    pub why: metrics::RejectionKind,
    /// The message that the client gets.
    pub said: String,
}

impl HttpRejection {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_)
            | Self::EmptyBody
            | Self::NotJson
            | Self::BrokenBody
            | Self::Repeated { .. }
            | Self::OtherPage => StatusCode::BAD_REQUEST,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::NotAllowed { .. } | Self::ForeignHost | Self::NoIdentifier => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotReady | Self::TooManyRequests { .. } | Self::Overloaded(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::LateBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The response: a status and `{"error": {"status", "message"}}`.
    pub fn response(&self, adapter: &'static str) -> Response<Bytes> {
        let status = self.status();
        let said = self.to_string();
        let error = json!({"error": {"status": status.as_u16(), "message": said}});
        let mut response = reply(status, &error);
        let headers = response.headers_mut();
        match self {
            Self::Unauthenticated(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::MethodNotAllowed { allowed } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Encoded => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::NotReady | Self::TooManyRequests { .. } | Self::Overloaded(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        let why = self.why();
        let rejection = RejectionRecord { adapter, why, said };
        response.extensions_mut().insert(rejection);
        response
    }

    fn why(&self) -> metrics::RejectionKind {
        match self {
            Self::Unauthenticated(_)
            | Self::NotAllowed { .. }
            | Self::ForeignHost
            | Self::NoIdentifier => metrics::RejectionKind::NotEntitled,
            Self::NotReady => metrics::RejectionKind::Unavailable,
            Self::TooManyRequests { .. } | Self::Overloaded(_) => {
                metrics::RejectionKind::Overloaded
            }
            Self::DeadlineExceeded | Self::LateBody(_) => metrics::RejectionKind::Deadline,
            Self::Panicked => metrics::RejectionKind::Failed,
            _ => metrics::RejectionKind::Malformed,
        }
    }
}

impl From<AdmissionError> for HttpRejection {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::NotAllowed { caller, rpc } => Self::NotAllowed { caller, rpc },
            AdmissionError::RepeatedHeader { name } => Self::Repeated { name },
        }
    }
}

impl From<ServiceError> for HttpRejection {
    fn from(unanswered: ServiceError) -> Self {
        match unanswered {
            ServiceError::NotReady => Self::NotReady,
            ServiceError::DeadlineExceeded => Self::DeadlineExceeded,
        }
    }
}

#[cfg(test)]
#[path = "rejection_tests.rs"]
mod tests;
