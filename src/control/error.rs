//! Why a request of the write side is not carried out.

use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::request::visible::shown;

/// Why a request is not carried out. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// A field cannot be used.
    #[error("`{field}` {message}")]
    Invalid {
        /// Its path in the request.
        field: String,
        /// What is wrong with it; completes "`field` …".
        message: String,
    },
    /// Evidence or Cedar says no.
    #[error("{}", first_message(.0))]
    Denied(Box<Verdict>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The thing is not in a state in which this can be done.
    #[error("{0}")]
    Precondition(String),
    /// The idempotency key was used for another request.
    #[error("`idempotency_key` was used for another request")]
    KeyReused,
    /// A limit is reached.
    #[error("{0}")]
    LimitExceeded(String),
    /// Nothing is loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// Looking failed in a way that it never should.
    #[error("the answer could not be made")]
    Internal,
    /// The log takes no lines, so the change would not be on record.
    #[error("the log takes no lines, and a change that is not on record is not made")]
    AuditUnavailable,
    /// The store did not write. Whether it has is not known; asking again with the same key is safe.
    #[error("the change could not be written: ask again with the same `idempotency_key`")]
    Unavailable,
    /// The files of the store were taken away while it was open.
    #[error("{0}")]
    StoreLost(String),
}

impl ControlError {
    /// A problem with one field.
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }

    /// A field names something that is not there.
    pub(super) fn not_found(what: &str, id: &str) -> Self {
        Self::NotFound(format!("{what} `{}` is not known", shown(id)))
    }

    /// A deny that no policy was asked about.
    pub(super) fn evidence(code: ReasonCode, message: impl Into<String>) -> Self {
        Self::denied(Verdict::deny(Reason::new(code, message)))
    }

    /// A deny.
    pub(super) fn denied(decision: Verdict) -> Self {
        Self::Denied(Box::new(decision))
    }
}

fn first_message(decision: &Verdict) -> &str {
    let first = decision.reasons.first();
    first.map_or("this is not allowed", |reason| &reason.message)
}
