//! Who talks to which server: everything of a call but what is to happen.

use std::time::SystemTime;

use serde_json::Map;
use smol_str::SmolStr;

use crate::domain::request::call_context::{
    ActorChain, CallContext, Environment, Identity, Initiator, Operation, Subject, TraceContext,
    Workflow,
};
use crate::domain::schema;

/// A client and a server that talk through a gateway. A door establishes it once for a request; both sides'
/// calls in it are made with [`Conversation::call`].
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Who acts on the client's side.
    pub subject: Subject,
    /// For whom.
    pub delegation: Option<ActorChain>,
    /// Session, task and step.
    pub workflow: Workflow,
    /// Approvals that what the client asks relies on.
    pub approval_ids: Vec<SmolStr>,
    /// Where the client is.
    pub environment: Environment,
    /// The client's trace.
    pub trace: TraceContext,
    /// How the gateway knows the server. Verified only if the connection to it proves who it is: an address
    /// does not.
    pub peer: Identity,
    /// When it ends to be known who the client is, if anybody has said. A stream may outlive that.
    pub until: Option<SystemTime>,
}

/// How the gateway knows a server: by its certificate, or by nothing but where it is.
pub fn peer(is_verified: bool) -> Identity {
    Identity {
        method: is_verified.then_some(SmolStr::new_static("tls")),
        verified: is_verified,
        ..Identity::default()
    }
}

impl Conversation {
    /// The call that asks for an operation. What a server asks for, it asks in its own name and on behalf of
    /// the client that called it; approvals are not for that.
    pub fn call(&self, operation: Operation) -> CallContext {
        let is_servers = operation.initiator == Initiator::Server;
        let (subject, delegation) = if is_servers {
            (self.server(&operation.server), Some(self.through_client()))
        } else {
            (self.subject.clone(), self.delegation.clone())
        };
        let approval_ids = match is_servers {
            true => Vec::new(),
            false => self.approval_ids.clone(),
        };
        CallContext {
            subject,
            delegation,
            operation,
            workflow: self.workflow.clone(),
            approval_ids,
            environment: self.environment.clone(),
            trace: self.trace.clone(),
        }
    }

    fn server(&self, name: &SmolStr) -> Subject {
        Subject {
            entity: schema::server_uid(name),
            identity: self.peer.clone(),
            claims: Map::new(),
        }
    }

    /// The client's delegation, one link longer: the client is the last that stands before the server.
    fn through_client(&self) -> ActorChain {
        let client = self.subject.entity.clone();
        let mut delegation = match &self.delegation {
            None => ActorChain {
                verified: self.subject.identity.verified,
                expires_at: self.until,
                ..ActorChain::verified_from(client.clone())
            },
            Some(delegation) => {
                let mut delegation = delegation.clone();
                // Stored grants that stand alone tell who the client is.
                if delegation.root.is_some() {
                    delegation.actors.push(client.clone());
                }
                delegation
            }
        };
        if !self.subject.claims.is_empty() {
            let claims = self.subject.claims.clone();
            delegation.claims.push((client, claims));
        }
        delegation
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
