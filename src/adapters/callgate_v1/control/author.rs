//! What all writes carry: the actor and the idempotency key.

use std::sync::Arc;

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::callgate_v1::control::same_request::{self, ComparedRequest};
use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem};
use crate::adapters::input::limits::check_length;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::authn::caller::Rpc;
use crate::control::requester::WriteRequester;
use crate::domain::authority::change::IdempotencyKey;
use crate::domain::request::call_context::Subject;
use crate::proto::v1;

/// A request that changes something.
pub(super) trait WriteRequest: ComparedRequest {
    /// Takes the idempotency key out of the message.
    fn take_key(&mut self) -> String;
}

/// A request that names its actor.
pub(super) trait ActorRequest: WriteRequest {
    /// Takes the actor out of the message.
    fn take_actor(&mut self) -> Option<v1::Actor>;
}

macro_rules! writes {
    ($($message:ident)+) => {
        $(
            impl WriteRequest for v1::$message {
                fn take_key(&mut self) -> String {
                    std::mem::take(&mut self.idempotency_key)
                }
            }

            impl ActorRequest for v1::$message {
                fn take_actor(&mut self) -> Option<v1::Actor> {
                    self.actor.take()
                }
            }
        )+
    };
}

writes! {
    PutEntityRequest DeleteEntityRequest RegisterToolRequest PinToolRequest
    GrantDelegationRequest NarrowDelegationRequest RevokeDelegationRequest
    OpenTaskRequest AdvanceTaskRequest CloseTaskRequest
    ApproveCallRequest RejectCallRequest EndSessionRequest StopEntityRequest ResumeEntityRequest
    RepairClockRequest PublishBundleRequest RollbackBundleRequest
}

impl WriteRequest for v1::RequestApprovalRequest {
    fn take_key(&mut self) -> String {
        std::mem::take(&mut self.idempotency_key)
    }
}

/// Reads the requester of a write from its message.
pub(super) fn requester<M: ActorRequest>(
    parser: &MessageParser<'_>,
    rpc: Rpc,
    admitted: &AdmittedRpc,
    message: &mut M,
) -> Result<WriteRequester, FieldError> {
    const FIELD: &str = "actor";
    let key = key(parser, rpc, message)?;
    let actor = message.take_actor();
    let actor = actor.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
    let actor = parser
        .principal(actor.entity, actor.identity, actor.claims)
        .within(FIELD)?;
    Ok(with_actor(admitted, actor, key))
}

/// The requester of a write in the name of an actor.
pub(super) fn with_actor(
    admitted: &AdmittedRpc,
    actor: Subject,
    key: Option<IdempotencyKey>,
) -> WriteRequester {
    WriteRequester {
        caller: Arc::clone(admitted.admitted.caller()),
        adapter: ADAPTER,
        actor,
        key,
        trace: admitted.trace.clone(),
    }
}

/// The idempotency key, bound to a digest of what is asked for.
pub(super) fn key<M: WriteRequest>(
    parser: &MessageParser<'_>,
    rpc: Rpc,
    message: &mut M,
) -> Result<Option<IdempotencyKey>, FieldError> {
    const FIELD: &str = "idempotency_key";
    let text = message.take_key();
    check_length(&text, parser.limits.key_bytes, FIELD)?;
    let Some(text) = parser.optional_id(text, FIELD)? else {
        return Ok(None);
    };
    Ok(Some(IdempotencyKey {
        text,
        request: same_request::digest(parser, rpc, message),
    }))
}
