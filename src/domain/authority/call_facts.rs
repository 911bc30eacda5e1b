//! Facts of a call that awaits an approval, as they were when the approval was requested.
//!
//! With them, whether somebody may approve is decided on the same facts as when the call was denied.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::{CedarSet, Session};
use crate::domain::authority::usage::Usage;
use crate::domain::ids::DelegationId;

/// What a decision has seen of a call besides the call itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFacts {
    /// The stored delegations of its chain, the root's first; empty if the chain is asserted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delegations: Vec<DelegationId>,
    /// The delegated OAuth scopes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<SmolStr>,
    /// Whether the chain was verified, by the caller or because it is stored.
    pub is_chain_verified: bool,
    /// The mapped claims about its subject and the parties of its chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<PartyClaims>,
    /// Its session; `None` if it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionForm>,
    /// The labels of what else it carries; `None` if they were not looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<CarriedForm>,
    /// Its usage; `None` if no policy read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The remaining calls of the task's budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_left: Option<u64>,
    /// The remaining calls of its tool in the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls_left: Option<u64>,
}

/// The mapped claims about one party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyClaims {
    /// The party.
    #[serde(with = "form::uid")]
    pub party: EntityUID,
    /// The claims.
    pub claims: Map<String, Json>,
}

/// The serialized form of a session, as far as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionForm {
    calls: u64,
    labels: Vec<SmolStr>,
    #[serde(with = "form::uids")]
    tools: Vec<EntityUID>,
    /// Places among `tools`, latest last.
    last: Vec<u16>,
}

/// The serialized form of [`CarriedLabels`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarriedForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Vec<SmolStr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegation: Option<Vec<SmolStr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recent: Option<Vec<SmolStr>>,
}

impl From<&Session> for SessionForm {
    fn from(session: &Session) -> Self {
        Self {
            calls: session.calls,
            labels: session.labels.items().to_vec(),
            tools: session.tools.items().to_vec(),
            last: session.last_places().to_vec(),
        }
    }
}

impl From<&SessionForm> for Session {
    fn from(form: &SessionForm) -> Self {
        let mut session = Self::new();
        session.calls = form.calls;
        session.labels = Arc::new(CedarSet::new(form.labels.clone()));
        session.tools = Arc::new(CedarSet::new(form.tools.clone()));
        let last = form.last.iter();
        let last = last.filter_map(|place| form.tools.get(usize::from(*place)).cloned());
        session.with_last_tools(&last.collect::<Vec<_>>())
    }
}

impl From<&CarriedLabels> for CarriedForm {
    fn from(carried: &CarriedLabels) -> Self {
        let items = |labels: &Option<Arc<Labels>>| labels.as_ref().map(|it| it.items().to_vec());
        Self {
            task: items(&carried.task),
            delegation: items(&carried.delegation),
            recent: items(&carried.recent),
        }
    }
}

impl From<&CarriedForm> for CarriedLabels {
    fn from(form: &CarriedForm) -> Self {
        let labels = |items: &Option<Vec<SmolStr>>| {
            let items = items.clone();
            items.map(|items| Arc::new(Labels::new(items)))
        };
        Self {
            task: labels(&form.task),
            delegation: labels(&form.delegation),
            recent: labels(&form.recent),
        }
    }
}
