//! A change of the authority, and its record.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::approval::Approval;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::form;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::ids::SessionId;

/// A change. Each variant carries the complete new state of its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A bundle was loaded.
    Bundle {
        /// Its digest, `sha256:<hex>`.
        digest: SmolStr,
    },
    /// A bundle was published, or an earlier one put back into service.
    Published(Arc<PublishedBundle>),
    /// An entity was added or replaced.
    Entity {
        /// The uid of the entity.
        #[serde(with = "form::uid")]
        uid: EntityUID,
        /// The entity in Cedar's JSON form.
        json: Arc<str>,
    },
    /// An entity was removed.
    EntityGone {
        /// The uid of the entity.
        #[serde(with = "form::uid")]
        uid: EntityUID,
    },
    /// A delegation was granted, narrowed or revoked.
    Grant(Arc<Delegation>),
    /// A task was opened, advanced or closed.
    Task(Arc<Task>),
    /// An approval was requested or decided.
    Approval(Arc<Approval>),
    /// A session was ended.
    SessionEnded {
        /// The session id.
        session: SessionId,
    },
    /// An agent, a user, a server or a tool was stopped.
    Stopped(Arc<Stop>),
    /// A stop was lifted.
    Resumed {
        /// The uid of the entity.
        #[serde(with = "form::uid")]
        uid: EntityUID,
    },
    /// The system clock was accepted as correct, whatever it showed before.
    ClockRepaired {
        /// Callgate's time before.
        #[serde(with = "form::moment")]
        from: SystemTime,
        /// Callgate's time after.
        #[serde(with = "form::moment")]
        to: SystemTime,
        /// The reason given.
        reason: SmolStr,
    },
}

/// A change and its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRecord {
    /// The revision; every change has the next one.
    pub revision: u64,
    /// When it was made.
    pub at: SystemTime,
    /// The control operation, e.g. `GrantDelegation`.
    pub verb: SmolStr,
    /// The change.
    pub change: Change,
    /// Who requested it.
    pub asker: ChangeOrigin,
}

/// Who requested a change, and under which idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrigin {
    /// The configured name of the caller; `callgate` for changes the server makes by itself.
    pub caller: SmolStr,
    /// The principal of the Cedar request.
    pub principal: Option<EntityUID>,
    /// The idempotency key.
    pub key: Option<IdempotencyKey>,
}

/// Identifies repeated requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key that the caller chose.
    pub text: SmolStr,
    /// SHA-256 over the request, so that a key cannot be reused for another one.
    pub request: [u8; 32],
}
