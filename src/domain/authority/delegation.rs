//! A delegation that is known here: authority lent by a person or an agent to an agent.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::authority::scope::Scope;

/// Authority that one party lends to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Names it.
    pub id: SmolStr,
    /// Who lends: a user or an agent.
    #[serde(with = "form::uid")]
    pub from: EntityUID,
    /// The agent that may act.
    #[serde(with = "form::uid")]
    pub to: EntityUID,
    /// Which calls it covers.
    pub scope: Scope,
    /// The task it is for. It ends with that task, and covers calls of that task only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<SmolStr>,
    /// The grant that is lent on; `None` if `from` lends its own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SmolStr>,
    /// How many times it may be lent on, one after the other; 0 is not at all.
    #[serde(default)]
    pub max_redelegations: u32,
    /// Holds from here on.
    #[serde(with = "form::moment")]
    pub not_before: SystemTime,
    /// Holds until just before here.
    #[serde(with = "form::moment")]
    pub expires_at: SystemTime,
    /// When it was taken back.
    #[serde(
        default,
        with = "form::maybe_moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub revoked_at: Option<SystemTime>,
    /// When it was made.
    #[serde(with = "form::moment")]
    pub created_at: SystemTime,
}

/// How one grant stands, looked at by itself and its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegationStatus {
    /// It holds.
    Active,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// The task it was for is over.
    TaskEnded,
}

impl HasParts for Delegation {
    fn id(&self) -> &SmolStr {
        &self.id
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let task = self.task.clone().map(Part::Task);
        let parties = [Part::Acts(self.to.clone()), Part::Behind(self.from.clone())];
        parties.into_iter().chain(task)
    }
}

impl Delegation {
    /// When it ends, or ended.
    pub fn ended_at(&self) -> SystemTime {
        self.revoked_at
            .map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// How it stands, its task left aside.
    pub fn status(&self, now: SystemTime) -> DelegationStatus {
        if self.revoked_at.is_some() {
            DelegationStatus::Revoked
        } else if self.expires_at <= now {
            DelegationStatus::Expired
        } else if now < self.not_before {
            DelegationStatus::NotYetValid
        } else {
            DelegationStatus::Active
        }
    }
}
