//! Whether two requests are the same one: a write repeated under its idempotency key, and the next page of a list.
//!
//! Two spellings of one thing are the same: a type may be named with its namespace or without. What is not part of what
//! is asked for (a trace, the id that a client gives its request) makes no other request: clients that trace have a new
//! span for every attempt.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::adapters::callgate_v1::parse::MessageParser;
use crate::authn::caller::Rpc;
use crate::proto::v1;

/// A message that is compared with others.
pub(super) trait ComparedRequest: Message + Clone {
    /// Passes each name of an entity in it to `each`.
    fn entities(&mut self, each: &mut dyn FnMut(&mut v1::EntityRef));

    /// Takes out what makes no other request.
    fn drop_circumstances(&mut self) {}
}

/// Says where the entities of messages are: in these optional fields.
macro_rules! entities {
    ($($message:ident: $($field:ident)*;)+) => {
        $(
            impl ComparedRequest for v1::$message {
                fn entities(&mut self, _each: &mut dyn FnMut(&mut v1::EntityRef)) {
                    $(self.$field.iter_mut().for_each(&mut *_each);)*
                }
            }
        )+
    };
}

/// The same for writes, which also name their actor.
macro_rules! entities_and_actor {
    ($($message:ident: $($field:ident)*;)+) => {
        $(
            impl ComparedRequest for v1::$message {
                fn entities(&mut self, each: &mut dyn FnMut(&mut v1::EntityRef)) {
                    of_actor(&mut self.actor, each);
                    $(self.$field.iter_mut().for_each(&mut *each);)*
                }
            }
        )+
    };
}

entities! {
    ListDelegationsRequest: from to;
    ListTasksRequest: agent person;
    ListApprovalsRequest: subject root;
    ListEntitiesRequest: ;
}

entities_and_actor! {
    DeleteEntityRequest: uid;
    RegisterToolRequest: ;
    PinToolRequest: ;
    GrantDelegationRequest: to;
    NarrowDelegationRequest: ;
    RevokeDelegationRequest: ;
    OpenTaskRequest: agent person;
    AdvanceTaskRequest: ;
    CloseTaskRequest: ;
    ApproveCallRequest: ;
    RejectCallRequest: ;
    EndSessionRequest: ;
    StopEntityRequest: uid;
    ResumeEntityRequest: uid;
    RepairClockRequest: ;
    PublishBundleRequest: ;
    RollbackBundleRequest: ;
}

fn of_actor(actor: &mut Option<v1::Actor>, each: &mut dyn FnMut(&mut v1::EntityRef)) {
    let entity = actor.as_mut().and_then(|actor| actor.entity.as_mut());
    entity.into_iter().for_each(each);
}

impl ComparedRequest for v1::PutEntityRequest {
    fn entities(&mut self, each: &mut dyn FnMut(&mut v1::EntityRef)) {
        of_actor(&mut self.actor, each);
        if let Some(entity) = &mut self.entity {
            entity.uid.iter_mut().for_each(&mut *each);
            entity.parents.iter_mut().for_each(&mut *each);
        }
    }
}

impl ComparedRequest for v1::RequestApprovalRequest {
    fn entities(&mut self, each: &mut dyn FnMut(&mut v1::EntityRef)) {
        let Some(call) = &mut self.call_context else {
            return;
        };
        let subject = call.subject.as_mut().and_then(|it| it.entity.as_mut());
        subject.into_iter().for_each(&mut *each);
        if let Some(chain) = &mut call.delegation {
            chain.root.iter_mut().for_each(&mut *each);
            chain.actors.iter_mut().for_each(&mut *each);
        }
    }

    fn drop_circumstances(&mut self) {
        let Some(call) = &mut self.call_context else {
            return;
        };
        call.trace = None;
        if let Some(workflow) = &mut call.workflow {
            workflow.request_id.clear();
        }
        // What held nothing else is as good as absent.
        call.workflow = call.workflow.take().filter(|it| *it != Default::default());
    }
}

/// A digest of what is asked for with an RPC.
pub(super) fn digest<M: ComparedRequest>(
    parser: &MessageParser<'_>,
    rpc: Rpc,
    message: &M,
) -> [u8; 32] {
    let mut message = message.clone();
    message.drop_circumstances();
    message.entities(&mut |entity| {
        // One that is no type is refused later on.
        if let Some(whole) = parser.whole_type(&entity.r#type) {
            entity.r#type = whole;
        }
    });
    let mut digest = Sha256::new();
    digest.update(rpc.name());
    digest.update([0]);
    digest.update(message.encode_to_vec());
    digest.finalize().into()
}
