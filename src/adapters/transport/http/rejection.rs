//! Everything that can keep a question over HTTP from being answered, and the status each becomes.

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::adapters::input::field_error::FieldError;
use crate::adapters::transport::http::admission::reply;
use crate::authn::authenticate;
use crate::authn::caller::Rpc;
use crate::service::deadline::ServiceError;
use crate::telemetry::record::metrics;

/// Why a question is not answered. An enforcement point treats every one as a deny.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpRejection {
    /// A field cannot be used.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// No body.
    #[error("the body is empty, but must be a JSON object")]
    EmptyBody,
    /// A body of another kind.
    #[error("the `content-type` must be `application/json`, in UTF-8")]
    NotJson,
    /// The body broke off.
    #[error("the body could not be read to its end")]
    BrokenBody,
    /// Too large a body.
    #[error("the body has more than {limit} bytes, as many as `limits.message_bytes` allows")]
    TooLarge {
        /// The limit.
        limit: u32,
    },
    /// Headers beyond the limit.
    #[error("the headers have more than {limit} bytes, as many as `limits.header_bytes` allows")]
    HeadersTooLarge {
        /// The limit.
        limit: u32,
    },
    /// A page of an earlier load.
    #[error("`page.token` is of another search, or of an earlier state: begin again without it")]
    OtherPage,
    /// Nobody knows who asks.
    #[error(transparent)]
    Unauthenticated(#[from] authenticate::AuthenticationError),
    /// The caller has no right to this.
    #[error("caller `{caller}` has no right to use `{}`: add it to `rights.rpcs`", rpc.name())]
    NotAllowed {
        /// Who asks.
        caller: String,
        /// What for.
        rpc: Rpc,
    },
    /// Everyone on this machine may ask, but a web page in a browser on it is not of this machine.
    #[error(
        "without configured callers, only requests for `localhost` or a loopback address are answered"
    )]
    ForeignHost,
    /// The document would say that somebody else's name is this server's.
    #[error("only for `localhost` and loopback addresses is this known without `[authzen] url`")]
    NoIdentifier,
    /// Nothing is here.
    #[error("there is nothing at this path")]
    NotFound,
    /// Another method is wanted.
    #[error("use {allowed} here")]
    MethodNotAllowed {
        /// The method.
        allowed: &'static str,
    },
    /// Nothing is loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// Too many requests are under way.
    #[error(
        "{limit} requests are under way, as many as `limits.concurrent_requests` allows: try again later"
    )]
    TooManyRequests {
        /// The limit.
        limit: u32,
    },
    /// A header that may come once.
    #[error("the `{name}` header comes twice: send it once")]
    Repeated {
        /// The header.
        name: &'static str,
    },
    /// What the shield says of load, in its words.
    #[error("{0}")]
    Overloaded(String),
    /// A body that does not come to its end.
    #[error("{0}")]
    LateBody(String),
    /// No answer in time.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
    /// The answer panicked.
    #[error("the answer failed inside the server")]
    Panicked,
}

/// Which protocol refused, and what kind of refusal it is, beside a response: for metrics and log.
#[derive(Debug, Clone)]
pub struct RejectionRecord {
    /// The protocol.
    pub adapter: &'static str,
    /// The kind.
    pub why: metrics::RejectionKind,
    /// What its sender is told.
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

    /// The response of a protocol that refuses: a status and `{"error": {"status", "message"}}`.
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
            Self::NotReady | Self::TooManyRequests { .. } | Self::Overloaded(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        let why = self.why();
        let refused = RejectionRecord { adapter, why, said };
        response.extensions_mut().insert(refused);
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
