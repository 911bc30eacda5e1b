//! Who asks for a write.

use std::sync::Arc;

use crate::authn::caller::Caller;
use crate::domain::authority::change::{ChangeOrigin, IdempotencyKey};
use crate::domain::request::call_context::{Subject, TraceContext};

/// Who asks for a write, through whom, and under which key.
#[derive(Debug, Clone)]
pub struct WriteRequester {
    /// The caller, as configured.
    pub caller: Arc<Caller>,
    /// The front door, e.g. `grpc`.
    pub adapter: &'static str,
    /// The principal that Cedar is asked about.
    pub actor: Subject,
    /// Makes a repeated request one request.
    pub key: Option<IdempotencyKey>,
    /// The trace the write belongs to.
    pub trace: TraceContext,
}

impl WriteRequester {
    /// What is kept of it with the change.
    pub(super) fn asked(&self) -> ChangeOrigin {
        ChangeOrigin {
            caller: (&*self.caller.id).into(),
            principal: Some(self.actor.entity.clone()),
            key: self.key.clone(),
        }
    }
}
