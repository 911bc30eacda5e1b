//! The requester of a write.

use std::sync::Arc;

use crate::authn::caller::Caller;
use crate::domain::authority::change::{ChangeOrigin, IdempotencyKey};
use crate::domain::request::call_context::Subject;
use crate::domain::request::trace_context::TraceContext;

/// The requester of a write, the caller it came through, and its idempotency key.
#[derive(Debug, Clone)]
pub struct WriteRequester {
    /// The caller, as configured.
    pub caller: Arc<Caller>,
    /// The adapter it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// The principal that Cedar is asked about.
    pub actor: Subject,
    /// The idempotency key.
    pub key: Option<IdempotencyKey>,
    /// The trace the write belongs to.
    pub trace: TraceContext,
}

impl WriteRequester {
    /// The origin that is stored with the change.
    pub(super) fn asked(&self) -> ChangeOrigin {
        ChangeOrigin {
            caller: (&*self.caller.id).into(),
            principal: Some(self.actor.entity.clone()),
            key: self.key.clone(),
        }
    }
}
