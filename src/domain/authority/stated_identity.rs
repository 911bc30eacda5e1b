//! Identities as callers state them.

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::authn::caller::Caller;
use crate::domain::authority::form;
use crate::domain::request::call_context::Identity;
use crate::domain::schema::{self, TYPES};

/// An identity as a caller stated it: all that policies see of it besides claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedIdentity {
    /// `context.identity.method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<SmolStr>,
    /// `context.identity.verified`.
    pub verified: bool,
    /// `context.identity.through_agent`.
    pub through_agent: bool,
    /// `context.environment.gateway`: the caller that stated it.
    #[serde(with = "form::uid")]
    pub gateway: EntityUID,
}

impl StatedIdentity {
    /// An identity that `caller` states.
    pub fn new(identity: &Identity, caller: &Caller) -> Self {
        Self {
            method: identity.method.clone(),
            verified: identity.verified,
            through_agent: identity.is_relayed && !caller.rights.people_in_person,
            gateway: schema::entity_uid(&TYPES.gateway, SmolStr::new(&caller.id)),
        }
    }

    /// The same as an identity whose token is not looked at any more.
    pub fn to_identity(&self) -> Identity {
        Identity {
            method: self.method.clone(),
            verified: self.verified,
            ..Identity::default()
        }
    }
}
