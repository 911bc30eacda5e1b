//! What all writes have in common: who asks, and under which key.

use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Request;

use crate::adapters::grpc::authorization::ADAPTER;
use crate::adapters::grpc::control::shared::{Admitted, Shared};
use crate::adapters::grpc::parse::Parser;
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::invalid::{Invalid, Problem, Within};
use crate::call::context::Subject;
use crate::call::live::change::Key;
use crate::control::approvals::ApprovalRequest;
use crate::control::author::Author;
use crate::identity::caller::Rpc;
use crate::proto::v1;

/// A request that changes something.
pub(super) trait Write: Message {
    /// Takes the idempotency key out of it.
    fn take_key(&mut self) -> String;
}

/// A request that says for whom.
pub(super) trait Acted: Write {
    /// Takes the actor out of it.
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

/// Who asks for a write, out of its message.
pub(super) fn of<M: Acted>(
    parser: &Parser<'_>,
    rpc: Rpc,
    admitted: &mut Admitted<M>,
) -> Result<Author, Invalid> {
    const FIELD: &str = "actor";
    let key = key(parser, rpc, &mut admitted.message)?;
    let actor = admitted.message.take_actor();
    let actor = actor.ok_or_else(|| Invalid::new(FIELD, Problem::Missing))?;
    let actor = parser
        .principal(actor.entity, actor.identity, actor.claims)
        .within(FIELD)?;
    Ok(with(admitted, actor, key))
}

fn with<M>(admitted: &Admitted<M>, actor: Subject, key: Option<Key>) -> Author {
    Author {
        caller: admitted.caller.clone(),
        adapter: ADAPTER,
        actor,
        key,
        trace: admitted.trace.clone(),
    }
}

/// The key, bound to everything else that is asked.
fn key<M: Write>(parser: &Parser<'_>, rpc: Rpc, message: &mut M) -> Result<Option<Key>, Invalid> {
    const FIELD: &str = "idempotency_key";
    let text = message.take_key();
    let limit = parser.limits.key_bytes;
    if text.len() > limit as usize {
        let bytes = text.len();
        return Err(Invalid::new(FIELD, Problem::TooLong { bytes, limit }));
    }
    let Some(text) = parser.optional_id(text, FIELD)? else {
        return Ok(None);
    };
    let mut request = Sha256::new();
    request.update(rpc.name());
    request.update([0]);
    request.update(message.encode_to_vec());
    Ok(Some(Key {
        text,
        request: request.finalize().into(),
    }))
}

impl Shared {
    /// The author and the request of `RequestApproval`, whose call says who asks.
    pub(super) fn approval_request(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<(Author, ApprovalRequest), Refusal> {
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
