//! What a client's or server's message asks for, and why a message cannot be decided.

use crate::adapters::input::field_error::{FieldError, TextExcerpt};
use crate::domain::request::call_context::Operation;

/// What a message asks for.
#[derive(Debug, Clone)]
pub enum MessageIntent {
    /// These operations, of which there is at least one. All of them must be allowed.
    Authorize(Vec<Operation>),
    /// Nothing that has to be decided.
    Exempt,
}

/// Why a message cannot be decided. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// No revision of the protocol has the method, or not from this side.
    #[error("`{0}` is not a method that is known here")]
    UnknownMethod(TextExcerpt),
    /// The method is that of a request, and the message has no id.
    #[error("`{0}` is a request, and a request has an `id`")]
    NoId(&'static str),
    /// The method is always rejected.
    #[error("`{method}` is refused: {why}")]
    Unsupported {
        /// The method.
        method: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A parameter cannot be used.
    #[error(transparent)]
    Invalid(#[from] FieldError),
}

impl OperationError {
    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        match self {
            Self::NoId(_) => -32600,
            Self::UnknownMethod(_) | Self::Unsupported { .. } => -32601,
            Self::Invalid(_) => -32602,
        }
    }
}
