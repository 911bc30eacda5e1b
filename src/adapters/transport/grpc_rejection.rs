//! Everything that can keep a question from being answered, and the status each becomes.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::adapters::input::field_error::FieldError;
use crate::authn::authenticate;
use crate::authn::caller::Rpc;
use crate::service::concurrency_limit::RETRY_AFTER;
use crate::service::deadline::ServiceError;

/// When a client may ask again, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a question is not answered. An enforcement point treats every one as a deny.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrpcRejection {
    /// A field cannot be used.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// Nobody knows who asks.
    #[error(transparent)]
    Unauthenticated(#[from] authenticate::AuthenticationError),
    /// The caller has no right to this RPC.
    #[error("caller `{caller}` has no right to use `{}`: add it to `rights.rpcs`", rpc.name())]
    NotAllowed {
        /// Who asks.
        caller: String,
        /// The RPC.
        rpc: Rpc,
    },
    /// The request has come past the check of its caller, which is a fault of the server.
    #[error("nobody has checked who asks")]
    NotAdmitted,
    /// There is no such RPC.
    #[error("there is no such method")]
    NoSuchMethod,
    /// A header that may come once.
    #[error("the `{name}` header comes twice: send it once")]
    Repeated {
        /// The header.
        name: &'static str,
    },
    /// One caller has its share.
    #[error(
        "caller `{caller}` holds {share}, the share of one caller (`limits.caller_share_percent`) of `limits.{of}`: try again later"
    )]
    Share {
        /// Who asks.
        caller: String,
        /// How many it may hold.
        share: usize,
        /// The limit.
        of: &'static str,
    },
    /// Too many bytes on their way in.
    #[error("requests hold {limit} MiB, as many as `limits.bodies_mib` allows: try again later")]
    TooManyBytes {
        /// The limit.
        limit: u32,
    },
    /// A message that does not come to its end.
    #[error("the message did not arrive within {limit} ms, as `limits.body_ms` demands")]
    LateBody {
        /// The limit.
        limit: u32,
    },
    /// Too many calls of health and reflection.
    #[error(
        "too many calls of health and reflection are under way (`limits.{of}`): try again later"
    )]
    TooManyPublicCalls {
        /// The limit.
        of: &'static str,
    },
    /// Nothing is loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// Too many streams are open.
    #[error("{limit} streams are open, as many as `limits.open_streams` allows: try again later")]
    TooManyStreams {
        /// The limit.
        limit: u32,
    },
    /// Too many watchers.
    #[error("{limit} watches are open, as many as `limits.watchers` allows: try again later")]
    TooManyWatchers {
        /// The limit.
        limit: u32,
    },
    /// Too many requests are under way.
    #[error(
        "{limit} requests are under way, as many as `limits.concurrent_requests` allows: try again later"
    )]
    TooManyRequests {
        /// The limit.
        limit: u32,
    },
    /// Requests wait too long for their turn.
    #[error(
        "the server is overloaded: {limit} requests are under way, as many as it answers in time; try again later"
    )]
    Overloaded {
        /// How many may be under way now.
        limit: usize,
    },
    /// No answer in the time that the caller or the configuration gives it.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
    /// The server is stopping.
    #[error("the server is stopping: ask again on a new connection")]
    Draining,
    /// The answer panicked.
    #[error("the answer failed inside the server")]
    Panicked,
}

impl GrpcRejection {
    /// The gRPC status code.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::Repeated { .. } => Code::InvalidArgument,
            Self::NoSuchMethod => Code::Unimplemented,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::NotAllowed { .. } => Code::PermissionDenied,
            Self::NotReady | Self::Draining => Code::Unavailable,
            Self::TooManyStreams { .. }
            | Self::TooManyWatchers { .. }
            | Self::TooManyRequests { .. }
            | Self::Overloaded { .. }
            | Self::Share { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyPublicCalls { .. } => Code::ResourceExhausted,
            Self::DeadlineExceeded | Self::LateBody { .. } => Code::DeadlineExceeded,
            Self::Panicked | Self::NotAdmitted => Code::Internal,
        }
    }
}

impl From<ServiceError> for GrpcRejection {
    fn from(unanswered: ServiceError) -> Self {
        match unanswered {
            ServiceError::NotReady => Self::NotReady,
            ServiceError::DeadlineExceeded => Self::DeadlineExceeded,
        }
    }
}

impl From<GrpcRejection> for Status {
    fn from(refusal: GrpcRejection) -> Self {
        let mut status = Status::new(refusal.code(), refusal.to_string());
        if matches!(refusal, GrpcRejection::Overloaded { .. }) {
            let again_after = MetadataValue::from(RETRY_AFTER.as_millis() as u64);
            status.metadata_mut().insert(PUSHBACK, again_after);
        }
        status
    }
}

#[cfg(test)]
#[path = "grpc_rejection_tests.rs"]
mod tests;
