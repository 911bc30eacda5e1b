//! An approval: a person's yes to exactly one call.

use std::time::SystemTime;

use cedar_policy_core::ast::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::call::live::form;

/// A call that waits for a person's word, or has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Names it.
    pub id: SmolStr,
    /// `sha256:<hex>` over the call and its expiry; see [`crate::call::challenge`].
    pub digest: SmolStr,
    /// The call, so that whoever approves can see what it is.
    pub call: ApprovedCall,
    /// When it was asked for.
    #[serde(with = "form::moment")]
    pub requested_at: SystemTime,
    /// Good for nothing from here on, approved or not. Whole seconds.
    #[serde(with = "form::moment")]
    pub expires_at: SystemTime,
    /// What was said, once it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
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
    /// The server.
    pub server: SmolStr,
    /// The tool on that server.
    pub tool: SmolStr,
    /// The pinned definition, if one is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<SmolStr>,
    /// The arguments, as canonical JSON (RFC 8785).
    pub arguments: String,
    /// The resource acted upon, if the gateway named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SmolStr>,
    /// The task it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<SmolStr>,
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
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
    TaskOver,
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
