//! Stored delegations: authority that a user or an agent delegates to an agent.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{Overlay, Snapshot};
use serde::{Deserialize, Serialize};

use crate::domain::authority::form;
use crate::domain::authority::indexed::{HasParts, Part};
use crate::domain::authority::ownership::{self, AgentOwners};
use crate::domain::authority::scope::Scope;
use crate::domain::ids::{DelegationId, TaskId};
use crate::domain::reason::{Reason, ReasonCode};

/// Authority that one party delegates to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// The delegation's id.
    pub id: DelegationId,
    /// The delegator: a user or an agent.
    #[serde(with = "form::uid")]
    pub from: EntityUID,
    /// The delegate: an agent.
    #[serde(with = "form::uid")]
    pub to: EntityUID,
    /// The calls it covers.
    pub scope: Scope,
    /// The task it is for. It ends with that task and covers only calls of that task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The delegation it is redelegated from; `None` if `from` delegates its own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<DelegationId>,
    /// How many times it may be redelegated in succession; 0 forbids it. What it was redelegated from may allow less.
    #[serde(default)]
    pub max_redelegations: u32,
    /// Valid from this time on.
    #[serde(with = "form::moment")]
    pub not_before: SystemTime,
    /// Valid before this time.
    #[serde(with = "form::moment")]
    pub expires_at: SystemTime,
    /// When it was revoked.
    #[serde(
        default,
        with = "form::maybe_moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub revoked_at: Option<SystemTime>,
    /// When it was created.
    #[serde(with = "form::moment")]
    pub created_at: SystemTime,
    /// Whose the agents were that it is from and to. It is not in force between others of these names.
    #[serde(default, skip_serializing_if = "AgentOwners::is_empty")]
    pub owners: AgentOwners,
}

/// The status of one delegation and its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegationStatus {
    /// Valid.
    Active,
    /// Not valid yet.
    NotYetValid,
    /// Expired.
    Expired,
    /// Revoked.
    Revoked,
    /// The task it was for has ended.
    TaskEnded,
    /// An agent that it is from or to is gone, or belongs to somebody else than when it was granted.
    AgentGone,
}

impl HasParts for Delegation {
    type Id = DelegationId;

    fn id(&self) -> &DelegationId {
        &self.id
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let task = self.task.clone().map(Part::Task);
        let parties = [Part::Acts(self.to.clone()), Part::Behind(self.from.clone())];
        parties.into_iter().chain(task)
    }
}

impl DelegationStatus {
    /// Whether it never is active again. What has not begun, and what has an agent that is gone, may be.
    pub fn is_over(self) -> bool {
        match self {
            Self::Active | Self::NotYetValid | Self::AgentGone => false,
            Self::Expired | Self::Revoked | Self::TaskEnded => true,
        }
    }

    /// The status of a link that is not over, with that of the one above it.
    pub fn with_parent(self, parent: Self) -> Self {
        match self {
            Self::Active => parent,
            _ if parent.is_over() => parent,
            _ => self,
        }
    }

    /// The status as a clause that completes "delegation `…` …"; `None` if it is active.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::NotYetValid => Some("is not in force yet"),
            Self::Expired => Some("has expired"),
            Self::Revoked => Some("was revoked"),
            Self::TaskEnded => Some("was for a task that is over"),
            Self::AgentGone => {
                Some("has an agent that is gone, or belongs to somebody else by now")
            }
        }
    }

    /// Why a call that relies on a delegation with this status is denied; `None` if it is active.
    pub fn to_reason(self) -> Option<Reason> {
        let (code, message) = match self {
            Self::Active => return None,
            Self::NotYetValid => (
                ReasonCode::DelegationOutOfScope,
                "what was delegated is not in force yet",
            ),
            Self::Expired => (
                ReasonCode::DelegationExpired,
                "the authority this call relies on has expired",
            ),
            Self::Revoked => (
                ReasonCode::DelegationRevoked,
                "the authority this call relies on was revoked",
            ),
            Self::TaskEnded => (
                ReasonCode::TaskClosed,
                "the task that the authority was delegated for is over",
            ),
            Self::AgentGone => (
                ReasonCode::DelegationRevoked,
                "an agent of the delegation is gone, or belongs to somebody else by now",
            ),
        };
        Some(Reason::new(code, message))
    }
}

impl Delegation {
    /// When it ends or ended.
    pub fn ended_at(&self) -> SystemTime {
        self.revoked_at
            .map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// Whether the agents that it is from and to are there, and belong to whom they belonged when it was granted.
    pub fn is_between_the_same(&self, snapshot: &Snapshot) -> bool {
        self.parties()
            .all(|(party, owner)| ownership::is_the_same(snapshot, party, owner))
    }

    /// What is known of its agents that are gone.
    pub fn remembered_agents(&self, snapshot: &Snapshot) -> impl Iterator<Item = Overlay> {
        let parties = self.parties();
        parties.filter_map(|(party, owner)| ownership::remembered(snapshot, party, owner))
    }

    /// The parties, each with its recorded owner.
    fn parties(&self) -> impl Iterator<Item = (&EntityUID, Option<&EntityUID>)> {
        let AgentOwners { from, to } = &self.owners;
        [(&self.from, from.as_ref()), (&self.to, to.as_ref())].into_iter()
    }

    /// Whether `parent` is delegated to the delegator of this one, and allows a chain that goes on for this many
    /// links below it.
    pub fn follows_from(&self, parent: &Self, links_below: usize) -> bool {
        parent.to == self.from && parent.allows_below(links_below)
    }

    /// Whether a chain may go on for this many links below this one.
    pub fn allows_below(&self, links: usize) -> bool {
        links <= self.max_redelegations as usize
    }

    /// The status at `now`, regardless of the task.
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
