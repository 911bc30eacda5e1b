//! Errors of the control API.

use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::request::visible::shown;

/// Why a request is not carried out. Nothing was changed, unless the variant says so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// A field is invalid.
    #[error("`{field}` {message}")]
    Invalid {
        /// Its path in the request.
        field: String,
        /// The fault; completes "`field` …".
        message: String,
    },
    /// Evidence or Cedar denies it.
    #[error("{}", first_message(.0))]
    Denied(Box<Verdict>),
    /// The call that it is about could not be decided. Whether it is allowed nobody knows.
    #[error("the call could not be decided: {0}: ask again")]
    Undecided(String),
    /// It names something unknown.
    #[error("{0}")]
    NotFound(String),
    /// The state of the thing does not permit it.
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
    /// A read panicked.
    #[error("the answer could not be made")]
    Internal,
    /// The log accepts no lines or the decision log cannot be written, so the change would not be on record.
    #[error("the log cannot be written, and a change that is not on record is not made")]
    AuditUnavailable,
    /// The change is in force, and the decision log could not be written.
    #[error(
        "the change is in force at revision {0}, but it could not be put on record: ask again with the same `idempotency_key`"
    )]
    NotRecorded(u64),
    /// The store did not confirm the write. Repeating it with the same key is safe.
    #[error("the change could not be written: ask again with the same `idempotency_key`")]
    Unavailable,
    /// The store did not answer the write, so it may have been made. Repeating it with the same key is safe.
    #[error(
        "nobody knows whether the change was written: ask again with the same `idempotency_key`"
    )]
    OutcomeUnknown,
    /// It takes longer than one request may. Repeating it with the same key goes on.
    #[error("{0}: ask again with the same `idempotency_key`")]
    UnderWay(&'static str),
    /// The files of the store were removed while it was open.
    #[error("{0}")]
    StoreLost(String),
}

impl ControlError {
    /// An invalid field.
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }

    /// An unknown id.
    pub(super) fn not_found(what: &str, id: &str) -> Self {
        Self::NotFound(format!("{what} `{}` is not known", shown(id)))
    }

    /// A deny by evidence, before any policy is asked.
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
