//! Stops: an agent, user, server or tool is out of service until the stop is lifted, whatever policies say
//! and wherever it is defined.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::schema::TYPES;

/// A stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The stopped entity.
    #[serde(with = "form::uid")]
    pub uid: EntityUID,
    /// The reason, in the words of whoever stopped it.
    pub reason: SmolStr,
    /// When it was stopped.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
    /// The principal that stopped it.
    #[serde(with = "form::uid")]
    pub by: EntityUID,
}

impl Stop {
    /// Whether entities of this type can be stopped.
    pub fn is_stoppable(uid: &EntityUID) -> bool {
        let ty = uid.entity_type();
        [&TYPES.agent, &TYPES.user, &TYPES.server, &TYPES.tool].contains(&ty)
    }
}
