//! Whose an agent was when authority was recorded for it. Every agent has an owner, and one of the same name that belongs to
//! somebody else is another agent: what was recorded for the one before does not count for it.
//!
//! Start at [`AgentOwners`], which a delegation records. People have no owner: they are their names, as the identity provider
//! gives them.

use callgate_engine::cedar::{EntityUID, Literal, Value, ValueKind};
use callgate_engine::{Overlay, Snapshot};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::schema::TYPES;

/// The owners of the two parties of a delegation at the time it was granted, as far as they are agents. A program that did not
/// record them left `None`: then it counts that the agents are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentOwners {
    /// The owner of the delegator, if that is an agent.
    #[serde(with = "form::maybe_uid", skip_serializing_if = "Option::is_none")]
    pub from: Option<EntityUID>,
    /// The owner of the delegate.
    #[serde(with = "form::maybe_uid", skip_serializing_if = "Option::is_none")]
    pub to: Option<EntityUID>,
}

impl AgentOwners {
    /// Those of these two parties now.
    pub fn of(snapshot: &Snapshot, from: &EntityUID, to: &EntityUID) -> Self {
        Self {
            from: owner_of_agent(snapshot, from),
            to: owner_of_agent(snapshot, to),
        }
    }

    /// Whether none is recorded.
    pub fn is_empty(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// The owner of an agent, a server, a tool or a resource, if it is stored and has one.
pub fn owner(snapshot: &Snapshot, uid: &EntityUID) -> Option<EntityUID> {
    match snapshot.entity(uid)?.attribute("owner")?.value {
        ValueKind::Lit(Literal::EntityUID(owner)) => Some(EntityUID::clone(&owner)),
        _ => None,
    }
}

/// The owner of an agent that is there. `None` for people.
pub fn owner_of_agent(snapshot: &Snapshot, party: &EntityUID) -> Option<EntityUID> {
    is_agent(party).then(|| owner(snapshot, party)).flatten()
}

/// Whether a party is still who it was: an agent is there, and belongs to the recorded owner, if one was recorded.
pub fn is_the_same(snapshot: &Snapshot, party: &EntityUID, recorded: Option<&EntityUID>) -> bool {
    if !is_agent(party) {
        return true;
    }
    match recorded {
        Some(recorded) => {
            let known = snapshot.entity(party);
            known.is_some_and(|it| it.refers_to("owner", recorded))
        }
        None => snapshot.contains(party),
    }
}

/// What is known of a party that is gone: an agent that is out of service and belongs to the recorded owner. `None` for whoever
/// is there, and for people.
pub fn remembered(
    snapshot: &Snapshot,
    party: &EntityUID,
    recorded: Option<&EntityUID>,
) -> Option<Overlay> {
    if !is_agent(party) || snapshot.contains(party) {
        return None;
    }
    let owner = recorded.map(|owner| ("owner", Value::new(owner.clone(), None)));
    let known = owner
        .into_iter()
        .chain([("active", Value::new(false, None))]);
    Some(Overlay {
        attributes: known
            .map(|(name, value)| (SmolStr::new_static(name), value))
            .collect(),
        ..Overlay::bare(party.clone())
    })
}

fn is_agent(uid: &EntityUID) -> bool {
    *uid.entity_type() == TYPES.agent
}
