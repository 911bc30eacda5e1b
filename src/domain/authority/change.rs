//! One write to the live authority, and what is kept about it.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::approval::Approval;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::form;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;

/// What a write does. Each carries the whole new state of what it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A directory went into service.
    Bundle {
        /// Its digest, `sha256:<hex>`.
        digest: SmolStr,
    },
    /// An entity was added or replaced.
    Entity {
        /// Its name.
        #[serde(with = "form::uid")]
        uid: EntityUID,
        /// The entity in Cedar's JSON form.
        json: Arc<str>,
    },
    /// An entity was taken away.
    EntityGone {
        /// Its name.
        #[serde(with = "form::uid")]
        uid: EntityUID,
    },
    /// A delegation was granted, narrowed or revoked.
    Grant(Arc<Delegation>),
    /// A task was opened, advanced or closed.
    Task(Arc<Task>),
    /// An approval was asked for or decided.
    Approval(Arc<Approval>),
    /// A session was ended.
    SessionEnded {
        /// Its id.
        session: SmolStr,
    },
    /// An agent, a user, a server or a tool was stopped.
    Stopped(Arc<Stop>),
    /// A stop was lifted.
    Resumed {
        /// Of what.
        #[serde(with = "form::uid")]
        uid: EntityUID,
    },
    /// The machine's clock was taken for right, whatever it was before.
    ClockRepaired {
        /// Callgate's time until then.
        #[serde(with = "form::moment")]
        from: SystemTime,
        /// And from then on.
        #[serde(with = "form::moment")]
        to: SystemTime,
        /// Why.
        reason: SmolStr,
    },
}

/// A change with everything that is kept about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRecord {
    /// Its revision; every entry has the next one.
    pub revision: u64,
    /// When.
    pub at: SystemTime,
    /// What the caller asked for, e.g. `GrantDelegation`.
    pub verb: SmolStr,
    /// What was changed.
    pub change: Change,
    /// Who asked.
    pub asker: ChangeOrigin,
}

/// Who asked for a change, and under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrigin {
    /// The caller, as configured; `callgate` for what the server does by itself.
    pub caller: SmolStr,
    /// The principal that Cedar was asked about.
    pub principal: Option<EntityUID>,
    /// The caller's idempotency key.
    pub key: Option<IdempotencyKey>,
}

/// Makes a repeated request one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's own name for the request.
    pub text: SmolStr,
    /// SHA-256 over what was asked, so that one key cannot stand for two requests.
    pub request: [u8; 32],
}
