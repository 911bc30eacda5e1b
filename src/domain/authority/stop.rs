//! A stop: an agent, a user, a server or a tool that is out of service until somebody lifts it, whoever defines it
//! and whatever the policies say.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::schema::TYPES;

/// One stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What is stopped.
    #[serde(with = "form::uid")]
    pub uid: EntityUID,
    /// Why, in the words of whoever stopped it.
    pub reason: SmolStr,
    /// When.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
    /// Who stopped it.
    #[serde(with = "form::uid")]
    pub by: EntityUID,
}

impl Stop {
    /// Whether things of the type of this name can be stopped.
    pub fn is_stoppable(uid: &EntityUID) -> bool {
        let ty = uid.entity_type();
        [&TYPES.agent, &TYPES.user, &TYPES.server, &TYPES.tool].contains(&ty)
    }

    /// The reason to deny whatever it is part of.
    pub fn deny(&self) -> Reason {
        let message = format!("`{}` is stopped: {}", self.uid, self.reason);
        let mut reason = Reason::new(ReasonCode::Stopped, message);
        let ty = self.uid.entity_type();
        let is_principal = *ty == TYPES.agent || *ty == TYPES.user;
        reason.principal = is_principal.then(|| self.uid.clone());
        reason
    }
}
