//! What all writes carry: the actor and the idempotency key.

use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Request;

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::callgate_v1::control::state::{AdmittedControlRpc, ControlState};
use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::Rpc;
use crate::control::approvals::ApprovalRequest;
use crate::control::requester::WriteRequester;
use crate::domain::authority::change::IdempotencyKey;
use crate::domain::request::call_context::Subject;
use crate::proto::v1;

/// A request that changes something.
pub(super) trait Write: Message {
    /// Takes the idempotency key out of the message.
    fn take_key(&mut self) -> String;
}

/// A request that names its actor.
pub(super) trait Acted: Write {
    /// Takes the actor out of the message.
    fn take_actor(&mut self) -> Option<v1::Actor>;
}

macro_rules! writes {
    ($($message:ident)+) => {
        $(
            impl Write for v1::$message {
                fn take_key(&mut self) -> String {
                    std::mem::take(&mut self.idempotency_key)
                }
            }

            impl Acted for v1::$message {
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
    RepairClockRequest
}

impl Write for v1::RequestApprovalRequest {
    fn take_key(&mut self) -> String {
        std::mem::take(&mut self.idempotency_key)
    }
}

/// Reads the requester of a write from its message.
pub(super) fn of<M: Acted>(
    parser: &MessageParser<'_>,
    rpc: Rpc,
    admitted: &mut AdmittedControlRpc<M>,
) -> Result<WriteRequester, FieldError> {
    const FIELD: &str = "actor";
    let key = key(parser, rpc, &mut admitted.message)?;
    let actor = admitted.message.take_actor();
    let actor = actor.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
    let actor = parser
        .principal(actor.entity, actor.identity, actor.claims)
        .within(FIELD)?;
    Ok(with(admitted, actor, key))
}

fn with<M>(
    admitted: &AdmittedControlRpc<M>,
    actor: Subject,
    key: Option<IdempotencyKey>,
) -> WriteRequester {
    WriteRequester {
        caller: admitted.caller.clone(),
        adapter: ADAPTER,
        actor,
        key,
        trace: admitted.trace.clone(),
    }
}

/// The idempotency key, bound to a digest of the rest of the request.
fn key<M: Write>(
    parser: &MessageParser<'_>,
    rpc: Rpc,
    message: &mut M,
) -> Result<Option<IdempotencyKey>, FieldError> {
    const FIELD: &str = "idempotency_key";
    let text = message.take_key();
    let limit = parser.limits.key_bytes;
    if text.len() > limit as usize {
        let bytes = text.len();
        return Err(FieldError::new(
            FIELD,
            FieldProblem::TooLong { bytes, limit },
        ));
    }
    let Some(text) = parser.optional_id(text, FIELD)? else {
        return Ok(None);
    };
    let mut request = Sha256::new();
    request.update(rpc.name());
    request.update([0]);
    request.update(message.encode_to_vec());
    Ok(Some(IdempotencyKey {
        text,
        request: request.finalize().into(),
    }))
}

impl ControlState {
    /// The requester of `RequestApproval`, which is the subject of its call.
    pub(super) fn approval_request(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<(WriteRequester, ApprovalRequest), GrpcRejection> {
        const RPC: Rpc = Rpc::RequestApproval;
        let mut admitted = Self::admit_unary(request, RPC)?;
        let (caller, trace) = (Arc::clone(&admitted.caller), admitted.trace.clone());
        self.parsing(&caller, &trace, |parser| {
            let key = key(parser, RPC, &mut admitted.message)?;
            let message = std::mem::take(&mut admitted.message);
            let asked = parser.approval_request(message)?;
            let author = with(&admitted, asked.call.subject.clone(), key);
            Ok((author, asked))
        })
    }
}
