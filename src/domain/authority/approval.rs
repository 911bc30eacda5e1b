//! An approval: a person's yes to exactly one call.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::request::call_context::Initiator;
use crate::domain::schema::AccessLevel;

/// A call that waits for a person's word, or has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Names it.
    pub id: SmolStr,
    /// `sha256:<hex>` over the call and its expiry; see [`crate::domain::decide::challenge`].
    pub digest: SmolStr,
    /// The call, so that whoever approves can see what it is.
    pub call: ApprovedCall,
    /// What was so when it was asked for; not part of what is approved.
    #[serde(default, skip_serializing_if = "ApprovalContext::is_empty")]
    pub circumstances: ApprovalContext,
    /// When it was asked for.
    #[serde(with = "form::moment")]
    pub requested_at: SystemTime,
    /// Good for nothing from here on, approved or not. Whole seconds.
    #[serde(with = "form::moment")]
    pub expires_at: SystemTime,
    /// What was said, once it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<ApprovalDecision>,
}

/// The call that an approval is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedCall {
    /// Who acts.
    #[serde(with = "form::uid")]
    pub subject: EntityUID,
    /// For whom, if for anybody.
    #[serde(
        default,
        with = "form::maybe_uid",
        skip_serializing_if = "Option::is_none"
    )]
    pub root: Option<EntityUID>,
    /// Who stands between the two, nearest to the root first.
    #[serde(default, with = "form::uids", skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<EntityUID>,
    /// Who set it off.
    #[serde(default, skip_serializing_if = "is_client")]
    pub initiator: Initiator,
    /// The server.
    pub server: SmolStr,
    /// The tool on that server.
    pub tool: SmolStr,
    /// The pinned definition, if one is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<SmolStr>,
    /// The arguments, as [canonical](crate::domain::request::canonical) JSON.
    pub arguments: String,
    /// What goes back to a server that has asked for something, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<String>,
    /// What that server wants to see again with the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
    /// The resource acted upon, if the gateway named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SmolStr>,
    /// The task it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<SmolStr>,
}

/// What was so when an approval was asked for: what a person decides by. The policies are asked again when the call
/// is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApprovalContext {
    /// The policies that ask for a person's word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<ApprovalPolicy>,
    /// The labels of everything that the call carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SmolStr>,
    /// Why the call is made, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<SmolStr>,
    /// What the call acts upon, as policies see it.
    #[serde(with = "form::uids", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
    /// What the tool does at most, by its registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessLevel>,
    /// The names of the arguments in the order in which to show them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argument_order: Vec<SmolStr>,
}

/// A policy that asks for a person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalPolicy {
    /// Its id.
    pub id: SmolStr,
    /// Who answers for it (`@owner`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// The sentence that people see (`@reason`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalDecision {
    /// Who said it.
    #[serde(with = "form::uid")]
    pub by: EntityUID,
    /// When.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
    /// How often the call may be made; 0 is a no.
    pub uses: u32,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What was claimed of whoever said it, as far as claims become facts: whether it may still be said is asked again.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Json>,
}

/// How an approval stands, looked at by itself and its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// Nobody has said anything.
    Pending,
    /// The call may be made.
    Approved,
    /// Somebody said no.
    Rejected,
    /// Its time is over.
    Expired,
    /// The call was made as often as it may be.
    Used,
    /// The task it was for is over.
    TaskEnded,
}

/// Calls were a client's alone once; their digests stay.
fn is_client(initiator: &Initiator) -> bool {
    *initiator == Initiator::Client
}

impl ApprovalContext {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HasParts for Approval {
    fn id(&self) -> &SmolStr {
        &self.id
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let call = &self.call;
        let task = call.task.clone().map(Part::Task);
        let root = call.root.clone().map(Part::Behind);
        let acts = Part::Acts(call.subject.clone());
        std::iter::once(acts).chain(root).chain(task)
    }
}

impl Approval {
    /// How it stands after that many uses, its task left aside.
    pub fn status(&self, uses: u32, now: SystemTime) -> ApprovalStatus {
        match &self.word {
            Some(word) if word.uses == 0 => ApprovalStatus::Rejected,
            Some(word) if uses >= word.uses => ApprovalStatus::Used,
            _ if self.expires_at <= now => ApprovalStatus::Expired,
            Some(_) => ApprovalStatus::Approved,
            None => ApprovalStatus::Pending,
        }
    }
}
