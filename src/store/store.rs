//! What a database has to do for Callgate.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::change::{ChangeOrigin, ChangeRecord};
use crate::domain::authority::form;
use crate::domain::authority::labels::LabelCarrier;
use crate::domain::authority::state::Authority;

/// A database. One writer owns it; decisions never wait for it to read.
///
/// Only as wide as a second implementation needs: everything is loaded at once, written in order, and
/// told again by revision. `tests/it/store.rs` is what every store has to pass.
pub trait Store: Send {
    /// Everything there is. That no two servers write to it is for the store to make sure of before.
    fn load(&mut self) -> Result<StoredState, StoreError>;

    /// Writes all of it or nothing. What it returned `Ok` for survives the process and the machine.
    ///
    /// An [`Write::Entry`] whose revision is not the next one is refused with
    /// [`StoreError::OutOfOrder`].
    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError>;

    /// Whether what is written now is what the next start will read. Cheap; asked about once a second.
    fn check(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The entries after a revision, in order, at most `limit`. Old ones may have been forgotten: then the
    /// first is not the next one, and whoever asked has to load everything again.
    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError>;

    /// Forgets some of what ended before these moments, see [`Retention`]: as much as is done in a few
    /// milliseconds, so that writes do not wait long. To be called again until nothing is left.
    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError>;
}

/// One thing to write.
#[derive(Debug, Clone)]
pub enum StoreWrite {
    /// A change under its revision, and the id that its asker was told.
    Entry {
        /// The change and what is kept about it.
        entry: ChangeRecord,
        /// What it made or changed, so that a repeated request gets the same answer.
        id: SmolStr,
    },
    /// An approval has been used that often. A smaller number never replaces a greater one.
    ApprovalUsed {
        /// Which.
        id: SmolStr,
        /// How often in all.
        uses: u32,
    },
    /// At most that many calls of a task's budget have been used. A smaller number never replaces a
    /// greater one, unless `is_exact`: then it is what the task has really used, as no more is reserved.
    TaskSpent {
        /// Which.
        id: SmolStr,
        /// How many in all.
        spent: u64,
        /// Whether it replaces whatever was written before.
        is_exact: bool,
        /// How many of them crashes may have lost by then, at most.
        lost: u64,
    },
    /// Labels that are new to a session.
    SessionLabels {
        /// Which.
        id: SmolStr,
        /// The new ones.
        labels: Vec<SmolStr>,
        /// When.
        at: SystemTime,
    },
    /// Labels of what carries them beside a session. Earlier moments never replace later ones.
    Labels {
        /// Whose.
        carrier: LabelCarrier,
        /// Which.
        labels: Vec<LabelTimes>,
        /// When.
        at: SystemTime,
    },
    /// What else is known of a session. Says nothing of its labels.
    Session {
        /// Which.
        id: SmolStr,
        /// Allowed calls.
        calls: u64,
        /// Tools called.
        tools: Vec<EntityUID>,
        /// The last of them, the latest last.
        last: Vec<EntityUID>,
        /// When.
        at: SystemTime,
    },
    /// How much one actor has used one tool, or was denied for one root; `None` for what is counted of the actor alone.
    Usage {
        /// Who.
        actor: EntityUID,
        /// What, or for whom.
        tool: Option<EntityUID>,
        /// The counters, as [`crate::store::usage`] writes them.
        counters: Vec<u8>,
        /// When.
        at: SystemTime,
    },
    /// Callgate's time has come this far. An earlier one never replaces a later one.
    Clock(SystemTime),
    /// No later moment than this is told before the next of these: where time starts after a crash. An earlier one
    /// replaces a later one.
    Lease(SystemTime),
    /// A tool was shown with a definition that is not the pinned one, or with the pinned one again (`None`).
    ToolShown {
        /// Through which gateway.
        gateway: SmolStr,
        /// Which.
        tool: EntityUID,
        /// What it was shown as.
        shown: Option<StoredDefinition>,
    },
}

impl StoreWrite {
    /// When what it says happened, if it says so. Time has come at least this far.
    pub fn at(&self) -> Option<SystemTime> {
        match self {
            Self::Entry { entry, .. } => Some(entry.at),
            Self::SessionLabels { at, .. }
            | Self::Labels { at, .. }
            | Self::Session { at, .. }
            | Self::Usage { at, .. } => Some(*at),
            Self::Clock(at) => Some(*at),
            Self::ApprovalUsed { .. }
            | Self::TaskSpent { .. }
            | Self::Lease(_)
            | Self::ToolShown { .. } => None,
        }
    }
}

/// Everything that a store holds.
#[derive(Debug, Default)]
pub struct StoredState {
    /// The last revision; 0 before the first.
    pub revision: u64,
    /// How far time has come: the latest moment of anything written. `None` before the first.
    pub clock: Option<SystemTime>,
    /// What no moment was told after, see [`Write::Lease`].
    pub lease: Option<SystemTime>,
    /// The digest of the directory that was in service last.
    pub bundle_digest: Option<SmolStr>,
    /// Entities that were put, in Cedar's JSON form.
    pub entities: Vec<(EntityUID, Arc<str>)>,
    /// Delegations, tasks and approvals.
    pub authority: Authority,
    /// Requests that must not be carried out twice.
    pub keys: Vec<StoredKey>,
    /// How often approvals were used.
    pub approval_uses: Vec<(SmolStr, u32)>,
    /// How many calls of their budgets tasks have used, at most.
    pub task_spent: Vec<(SmolStr, u64)>,
    /// How many of them crashes may have lost so far, at most.
    pub task_lost: Vec<(SmolStr, u64)>,
    /// Sessions.
    pub sessions: Vec<StoredSession>,
    /// Sessions that were ended for good, those among them of which nothing else is known any more.
    pub ended_sessions: Vec<SmolStr>,
    /// Tools that were shown with other definitions than the pinned ones, with the gateways.
    pub shown_tools: Vec<(SmolStr, EntityUID, StoredDefinition)>,
    /// Labels of what carries them beside sessions.
    pub labels: Vec<StoredLabel>,
    /// Usage, as it was written.
    pub usage: Vec<StoredUsage>,
}

/// A definition that is not the pinned one, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDefinition {
    /// The digest of what is pinned of it.
    pub pinned: SmolStr,
    /// The digest over all of it.
    pub whole: SmolStr,
    /// The parts that differ.
    pub fields: Vec<SmolStr>,
    /// When it was shown.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
}

/// A request that was carried out under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The caller whose key it is.
    pub caller: SmolStr,
    /// The key.
    pub text: SmolStr,
    /// SHA-256 over what was asked.
    pub request: [u8; 32],
    /// The revision it got.
    pub revision: u64,
    /// What it made or changed.
    pub id: SmolStr,
    /// When.
    pub at: SystemTime,
}

impl StoredKey {
    /// The key of a request, if it came under one, with what it got.
    pub fn of(asked: &ChangeOrigin, revision: u64, id: SmolStr, at: SystemTime) -> Option<Self> {
        let key = asked.key.as_ref()?;
        Some(Self {
            caller: asked.caller.clone(),
            text: key.text.clone(),
            request: key.request,
            revision,
            id,
            at,
        })
    }
}

/// A session, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Its id.
    pub id: SmolStr,
    /// Whether it was ended.
    pub is_ended: bool,
    /// Allowed calls.
    pub calls: u64,
    /// Its labels.
    pub labels: Vec<SmolStr>,
    /// Tools called.
    pub tools: Vec<EntityUID>,
    /// The last of them, the latest last.
    pub last: Vec<EntityUID>,
    /// When it was last written.
    pub at: SystemTime,
}

/// When a label was brought, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelTimes {
    /// The label.
    pub label: SmolStr,
    /// Not later than this.
    pub through: SystemTime,
    /// By a call outside of what Callgate has issued: not later than this. `None` if there was no such call.
    pub loose_through: Option<SystemTime>,
}

/// One label of one carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLabel {
    /// Whose.
    pub carrier: LabelCarrier,
    /// Which, and when.
    pub brought: LabelTimes,
}

/// Usage, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUsage {
    /// Who.
    pub actor: EntityUID,
    /// What, or for whom; `None` for what is counted of the actor alone.
    pub tool: Option<EntityUID>,
    /// The counters.
    pub counters: Vec<u8>,
    /// When they were last written.
    pub at: SystemTime,
}

/// How long what has ended is kept. Ended means: a delegation revoked or expired, a task closed or
/// overdue, an approval rejected or expired, a session ended or silent, all before `ended`. Delegations
/// and approvals of a task also end with it. A task goes last, so that nothing outlives its task.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Delegations, tasks, approvals and sessions that ended before this: longer ago than the time after
    /// which a silent session may begin anew, or one would lose its labels too soon.
    pub ended: SystemTime,
    /// Idempotency keys, usage and labels of pairs from before this: more than a day ago, or usage would be counted
    /// short.
    pub recent: SystemTime,
    /// Labels of places that were brought before this: no longer ago than they count.
    pub places: SystemTime,
    /// Changes from before this. The newest is always kept.
    pub changes: SystemTime,
}

/// What one step of pruning took away, so that memory can forget the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Delegations.
    pub delegations: Vec<SmolStr>,
    /// Tasks.
    pub tasks: Vec<SmolStr>,
    /// Approvals.
    pub approvals: Vec<SmolStr>,
    /// Whether there may be more.
    pub is_partial: bool,
}

/// Why a store did not do what it should. Shared by everybody whose writes failed together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("the store {place} cannot be opened: {why}")]
    Open {
        /// Where it is.
        place: String,
        /// Why.
        why: String,
    },
    /// It was written by a newer program.
    #[error("the store {place} has version {found}; this program knows versions up to {known}")]
    TooNew {
        /// Where it is.
        place: String,
        /// The version of its tables.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Something in it makes no sense.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// It did not answer.
    #[error("the store cannot be read: {0}")]
    Read(String),
    /// Its files were removed, replaced or cut while it was open.
    #[error("STORE_LOST: {0}; nothing is written until a restart")]
    Lost(String),
    /// It did not write.
    #[error("the store did not write: {0}")]
    Write(String),
    /// A change did not come in order.
    #[error("revision {found} does not follow {last}")]
    OutOfOrder {
        /// The last revision written.
        last: u64,
        /// The one to write.
        found: u64,
    },
    /// More waits to be written than is good.
    #[error("the store is too slow: too many writes wait")]
    Busy,
    /// The thread that writes has ended.
    #[error("the store is closed")]
    Closed,
}
