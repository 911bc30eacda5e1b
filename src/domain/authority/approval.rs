//! Approvals: a user's consent to exactly one call.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::authority::call_facts::CallFacts;
use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::authority::ownership;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::ids::{ApprovalId, CallDigest, TaskId};
use crate::domain::request::call_context::Initiator;
use crate::domain::request::canonical;
use crate::domain::schema::AccessLevel;

/// A call that awaits a decision, or has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The approval's id.
    pub id: ApprovalId,
    /// `sha256:<hex>` over the call and its expiry; see [`ApprovedCall::digest`].
    pub digest: CallDigest,
    /// The call, for display to the approver.
    pub call: ApprovedCall,
    /// What else the approver sees; not covered by the digest.
    #[serde(default, skip_serializing_if = "ApprovalContext::is_empty")]
    pub circumstances: ApprovalContext,
    /// When it was requested.
    #[serde(with = "form::moment")]
    pub requested_at: SystemTime,
    /// Invalid from this time on, decided or not. Whole seconds.
    #[serde(with = "form::moment")]
    pub expires_at: SystemTime,
    /// The approver's decision; `None` while pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<ApprovalDecision>,
}

/// The call that an approval covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedCall {
    /// The subject.
    #[serde(with = "form::uid")]
    pub subject: EntityUID,
    /// The root of the delegation chain.
    #[serde(
        default,
        with = "form::maybe_uid",
        skip_serializing_if = "Option::is_none"
    )]
    pub root: Option<EntityUID>,
    /// The actors between root and subject, nearest to the root first.
    #[serde(default, with = "form::uids", skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<EntityUID>,
    /// The side that initiates the call.
    #[serde(default, skip_serializing_if = "is_client")]
    pub initiator: Initiator,
    /// The server.
    pub server: SmolStr,
    /// The name of the tool on that server.
    pub tool: SmolStr,
    /// The digest of the pinned definition, if one is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<SmolStr>,
    /// The arguments, as [canonical] JSON.
    pub arguments: String,
    /// The client responses, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<String>,
    /// The `requestState` of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
    /// The target, if the gateway states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SmolStr>,
    /// The id of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// What the approver sees beside the call, recorded when the approval was requested. Policies are evaluated
/// again when the call is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApprovalContext {
    /// The policies that require approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<ApprovalPolicy>,
    /// The labels of everything the call carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SmolStr>,
    /// The purpose, as the caller states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<SmolStr>,
    /// The targets, as policies see them.
    #[serde(with = "form::uids", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<EntityUID>,
    /// The registered access level of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessLevel>,
    /// Whose the agent that calls was. The approval is for no other agent of this name; not shown.
    #[serde(with = "form::maybe_uid", skip_serializing_if = "Option::is_none")]
    pub agent_owner: Option<EntityUID>,
    /// The argument names in display order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argument_order: Vec<SmolStr>,
    /// What policies about the approver may read of the call; not shown. `None` if it was requested before this was
    /// recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Arc<CallFacts>>,
}

/// A policy that requires approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalPolicy {
    /// The policy id.
    pub id: SmolStr,
    /// The owner of the policy (`@owner`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// The sentence for users (`@reason`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// An approver's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalDecision {
    /// The approver.
    #[serde(with = "form::uid")]
    pub by: EntityUID,
    /// When it was decided.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
    /// The number of calls allowed; 0 rejects the call.
    pub uses: u32,
    /// The approver's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The mapped claims about the approver, with which the right to approve is verified again on use.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Json>,
    /// How the approver's identity was established, with which the right to approve is verified again on use.
    /// `None` if it was decided before this was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<StatedIdentity>,
}

/// The status of an approval, including its task and its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// Not decided.
    Pending,
    /// Approved, with calls left.
    Approved,
    /// Rejected.
    Rejected,
    /// Expired.
    Expired,
    /// Approved, with no calls left.
    Used,
    /// The task it was for has ended.
    TaskEnded,
    /// An agent of the call is gone, or belongs to somebody else than when the approval was requested; or that of its task.
    AgentGone,
}

/// Omitted for clients, so that digests from before the field existed stay valid.
fn is_client(initiator: &Initiator) -> bool {
    *initiator == Initiator::Client
}

/// What the digest of an approval covers.
#[derive(Serialize)]
struct DigestedCall<'a> {
    call: &'a ApprovedCall,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

impl ApprovedCall {
    /// The digest of the call and its expiry: `sha256:<hex>` over [canonical] JSON.
    pub fn digest(&self, expires_at: SystemTime) -> CallDigest {
        let digested = DigestedCall {
            call: self,
            expires_at: form::millis(expires_at) / 1000,
        };
        // Strings, lists and one integer always serialize.
        canonical::digest(&digested).unwrap_or_default().into()
    }
}

impl ApprovalContext {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HasParts for Approval {
    type Id = ApprovalId;

    fn id(&self) -> &ApprovalId {
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
    /// Whether the approval is for exactly this call.
    pub fn is_for(&self, call: &ApprovedCall) -> bool {
        !self.digest.as_str().is_empty() && self.digest == call.digest(self.expires_at)
    }

    /// Whether the agents of the call are there, and the one that makes it belongs to whom it did when it was requested.
    pub fn is_of_the_same(&self, snapshot: &Snapshot) -> bool {
        let owner = self.circumstances.agent_owner.as_ref();
        let mut others = self.call.actors.iter().chain(&self.call.root);
        ownership::is_the_same(snapshot, &self.call.subject, owner)
            && others.all(|it| ownership::is_the_same(snapshot, it, None))
    }

    /// The status after `uses` calls, regardless of the task and of the agents.
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
