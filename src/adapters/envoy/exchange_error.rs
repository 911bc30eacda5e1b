//! Errors that abort an exchange.

use crate::adapters::transport::grpc_rejection::GrpcRejection;

/// Why an exchange is aborted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExchangeError {
    /// Envoy sent a message that the current stage does not expect.
    #[error("{0} came {1}")]
    OutOfOrder(&'static str, &'static str),
    /// An event of the server exceeds the limit.
    #[error(
        "an event of the server has more than {0} bytes, as many as `limits.message_bytes` allows"
    )]
    TooLong(usize),
    /// The server sent bytes that are no event, or that readers would understand differently.
    #[error("the server sent something that is no event, or that readers understand differently")]
    Malformed,
    /// The request is rejected.
    #[error(transparent)]
    Rejected(#[from] GrpcRejection),
}
