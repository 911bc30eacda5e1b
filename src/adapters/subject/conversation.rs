//! The conversation between a client and a server: everything of a call but its operation.

use std::time::SystemTime;

use serde_json::Map;
use smol_str::SmolStr;

use crate::domain::ids::ApprovalId;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, Workflow,
};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema;

/// A client and a server that communicate through a gateway. An adapter resolves it once for a request; calls
/// of both sides are made with [`Conversation::call`].
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The subject on the client's side.
    pub subject: Subject,
    /// The parties on whose behalf the subject acts.
    pub actor_chain: Option<ActorChain>,
    /// Session, task and step.
    pub workflow: Workflow,
    /// The approvals that the client's requests rely on.
    pub approval_ids: Vec<ApprovalId>,
    /// The client's environment.
    pub environment: Environment,
    /// The client's trace context.
    pub trace: TraceContext,
    /// How the gateway identifies the server. Verified only if the connection authenticates it: an address
    /// does not.
    pub peer: Identity,
    /// When the client's identity expires, if known. A stream may outlive it.
    pub expires_at: Option<SystemTime>,
}

/// The identity of a server: by its certificate, or unverified.
pub fn peer(is_verified: bool) -> Identity {
    Identity {
        method: is_verified.then_some(SmolStr::new_static("tls")),
        verified: is_verified,
        ..Identity::default()
    }
}

impl Conversation {
    /// Builds the call of an operation. A server acts in its own name, on behalf of the client that called
    /// it, and without the client's approvals.
    pub fn call(&self, operation: Operation) -> CallContext {
        let is_servers = operation.initiator == Initiator::Server;
        let (subject, actor_chain) = if is_servers {
            (self.server(&operation.server), Some(self.through_client()))
        } else {
            (self.subject.clone(), self.actor_chain.clone())
        };
        let approval_ids = match is_servers {
            true => Vec::new(),
            false => self.approval_ids.clone(),
        };
        CallContext {
            subject,
            actor_chain,
            operation,
            workflow: self.workflow.clone(),
            approval_ids,
            environment: self.environment.clone(),
            trace: self.trace.clone(),
            denied: None,
        }
    }

    fn server(&self, name: &SmolStr) -> Subject {
        Subject {
            entity: schema::server_uid(name),
            identity: self.peer.clone(),
            claims: Map::new(),
        }
    }

    /// The client's actor chain extended by the client, which stands directly before the server.
    fn through_client(&self) -> ActorChain {
        let client = self.subject.entity.clone();
        let mut actor_chain = match &self.actor_chain {
            None => ActorChain {
                verified: self.subject.identity.verified,
                expires_at: self.expires_at,
                ..ActorChain::verified_from(client.clone())
            },
            Some(actor_chain) => {
                let mut actor_chain = actor_chain.clone();
                // A chain that consists of stored delegations alone names the client already.
                if actor_chain.root.is_some() {
                    actor_chain.actors.push(client.clone());
                }
                actor_chain
            }
        };
        if !self.subject.claims.is_empty() {
            let claims = self.subject.claims.clone();
            actor_chain.claims.push((client, claims));
        }
        actor_chain
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
