//! Who asks for a write.

use std::sync::Arc;

use crate::call::context::{Subject, TraceContext};
use crate::call::live::change::{Asked, Key};
use crate::identity::caller::Caller;

/// Who asks for a write, through whom, and under which key.
#[derive(Debug, Clone)]
pub struct Author {
    /// The caller, as configured.
    pub caller: Arc<Caller>,
    /// The front door, e.g. `grpc`.
    pub adapter: &'static str,
    /// The principal that Cedar is asked about.
    pub actor: Subject,
    /// Makes a repeated request one request.
    pub key: Option<Key>,
    /// The trace the write belongs to.
    pub trace: TraceContext,
}

impl Author {
    /// What is kept of it with the change.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            caller: (&*self.caller.id).into(),
            principal: Some(self.actor.entity.clone()),
            key: self.key.clone(),
        }
    }
}
