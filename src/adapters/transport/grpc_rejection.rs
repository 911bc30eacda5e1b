//! Every reason for which a gRPC request gets no response, with its status.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::adapters::input::field_error::FieldError;
use crate::adapters::transport::admission::AdmissionError;
use crate::authn::authenticate;
use crate::authn::caller::Rpc;
use crate::service::concurrency_limit::RETRY_AFTER;
use crate::service::deadline::ServiceError;
use crate::telemetry::record::metrics::RejectionKind;

/// The metadata key with the time after which a client may retry, in milliseconds.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The value by which a client is not to retry (gRFC A6): the same request will be rejected again.
pub const NEVER: &str = "-1";

/// Why a request is rejected. An enforcement point treats every rejection as a deny.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrpcRejection {
    /// A field cannot be used.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The caller cannot be authenticated.
    #[error(transparent)]
    Unauthenticated(#[from] authenticate::AuthenticationError),
    /// The caller lacks the right to this RPC.
    #[error("caller `{caller}` has no right to use `{}`: add it to `rights.rpcs`", rpc.name())]
    NotAllowed {
        /// The caller's id.
        caller: String,
        /// The RPC.
        rpc: Rpc,
    },
    /// The caller lacks the right to explanations.
    #[error("caller `{caller}` has no right to explanations: set `rights.explain`")]
    NoExplanations {
        /// The caller's id.
        caller: String,
    },
    /// The request bypassed admission, which is a fault of the server.
    #[error("nobody has checked who asks")]
    NotAdmitted,
    /// The RPC does not exist.
    #[error("there is no such method")]
    NoSuchMethod,
    /// A header that may occur once is repeated.
    #[error("the `{name}` header comes twice: send it once")]
    Repeated {
        /// The header's name.
        name: &'static str,
    },
    /// The caller holds its share of a limit.
    #[error(
        "caller `{caller}` holds {share}, the share of one caller (`limits.caller_share_percent`) of `limits.{of}`: try again later"
    )]
    Share {
        /// The caller's id.
        caller: String,
        /// The number it may hold.
        share: usize,
        /// The setting in `limits`.
        of: &'static str,
    },
    /// Request bodies hold as many bytes as allowed.
    #[error("requests hold {limit} MiB, as many as `limits.bodies_mib` allows: try again later")]
    TooManyBytes {
        /// The limit in MiB.
        limit: u32,
    },
    /// The message exceeds the limit.
    #[error("the message has more than {limit} bytes, as many as `limits.message_bytes` allows")]
    TooLarge {
        /// The limit in bytes.
        limit: u32,
    },
    /// Another message follows that of an RPC with one.
    #[error("a second message came, and this RPC takes one")]
    SecondMessage,
    /// The message did not arrive in time.
    #[error("the message did not arrive within {limit} ms, as `limits.body_ms` demands")]
    LateBody {
        /// The limit in milliseconds.
        limit: u32,
    },
    /// Too many calls of health and reflection are in progress.
    #[error(
        "too many calls of health and reflection are under way (`limits.{of}`): try again later"
    )]
    TooManyPublicCalls {
        /// The setting in `limits`.
        of: &'static str,
    },
    /// No policies are loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// Too many streams are open.
    #[error("{limit} streams are open, as many as `limits.open_streams` allows: try again later")]
    TooManyStreams {
        /// The limit.
        limit: u32,
    },
    /// Too many watches are open.
    #[error("{limit} watches are open, as many as `limits.watchers` allows: try again later")]
    TooManyWatchers {
        /// The limit.
        limit: u32,
    },
    /// Too many requests are in progress.
    #[error(
        "{limit} requests are under way, as many as `limits.concurrent_requests` allows: try again later"
    )]
    TooManyRequests {
        /// The limit.
        limit: u32,
    },
    /// Requests wait too long for a thread.
    #[error(
        "the server is overloaded: {limit} requests are under way, as many as it answers in time; try again later"
    )]
    Overloaded {
        /// The current limit on requests in progress.
        limit: usize,
    },
    /// The deadline of the caller or the configuration has passed.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
    /// The server is draining.
    #[error("the server is stopping: ask again on a new connection")]
    Draining,
    /// The decision log cannot be written.
    #[error("the decision log cannot be written: try again later")]
    NotRecorded,
    /// Answering panicked.
    #[error("the answer failed inside the server")]
    Panicked,
}

impl GrpcRejection {
    /// The gRPC status code.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::Repeated { .. } | Self::SecondMessage => Code::InvalidArgument,
            Self::NoSuchMethod => Code::Unimplemented,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::NotAllowed { .. } | Self::NoExplanations { .. } => Code::PermissionDenied,
            Self::NotReady | Self::Draining | Self::NotRecorded => Code::Unavailable,
            Self::TooManyStreams { .. }
            | Self::TooManyWatchers { .. }
            | Self::TooManyRequests { .. }
            | Self::Overloaded { .. }
            | Self::Share { .. }
            | Self::TooManyBytes { .. }
            | Self::TooLarge { .. }
            | Self::TooManyPublicCalls { .. } => Code::ResourceExhausted,
            Self::DeadlineExceeded | Self::LateBody { .. } => Code::DeadlineExceeded,
            Self::Panicked | Self::NotAdmitted => Code::Internal,
        }
    }

    /// As what it is counted.
    pub fn kind(&self) -> RejectionKind {
        kind_of(self.code(), false).unwrap_or(RejectionKind::Failed)
    }
}

/// As what a status is counted; `None` if it is no rejection: a request that was valid and cannot be done is none. What is
/// not to be sent again is at fault itself.
pub fn kind_of(code: Code, is_never_sent_again: bool) -> Option<RejectionKind> {
    Some(match code {
        Code::Ok | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => return None,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => RejectionKind::Malformed,
        Code::Unauthenticated | Code::PermissionDenied => RejectionKind::NotEntitled,
        Code::ResourceExhausted if is_never_sent_again => RejectionKind::Malformed,
        Code::ResourceExhausted => RejectionKind::Overloaded,
        Code::DeadlineExceeded | Code::Cancelled => RejectionKind::Deadline,
        Code::Unavailable => RejectionKind::Unavailable,
        _ => RejectionKind::Failed,
    })
}

impl From<AdmissionError> for GrpcRejection {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::NotAllowed { caller, rpc } => Self::NotAllowed { caller, rpc },
            AdmissionError::RepeatedHeader { name } => Self::Repeated { name },
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
        if matches!(refusal, GrpcRejection::TooLarge { .. }) {
            let never = MetadataValue::from_static(NEVER);
            status.metadata_mut().insert(PUSHBACK, never);
        }
        status
    }
}

#[cfg(test)]
#[path = "grpc_rejection_tests.rs"]
mod tests;
