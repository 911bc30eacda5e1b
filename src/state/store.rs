//! What a database has to do for Callgate.

use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy_core::ast::EntityUID;
use smol_str::SmolStr;

use crate::call::live::authority::Authority;
use crate::call::live::change::Entry;

/// A database. One writer owns it; decisions never wait for it to read.
///
/// Only as wide as a second implementation needs: everything is loaded at once, written in order, and
/// told again by revision.
pub trait Store: Send {
    /// Everything there is.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Writes all of it or nothing. What it returned `Ok` for survives the process and the machine.
    ///
    /// An [`Write::Entry`] whose revision is not the next one is refused with
    /// [`StoreError::OutOfOrder`].
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// The entries after a revision, in order, at most `limit`.
    fn entries_after(&mut self, revision: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Forgets what ended before these moments. See [`Retention`].
    fn prune(&mut self, before: &Retention) -> Result<(), StoreError>;
}

/// One thing to write.
#[derive(Debug, Clone)]
pub enum Write {
    /// A change under its revision, and the id that its asker was told.
    Entry {
        /// The change and what is kept about it.
        entry: Entry,
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
    /// How much one actor has used one tool; `None` for what is counted of the actor alone.
    Usage {
        /// Who.
        actor: EntityUID,
        /// What.
        tool: Option<EntityUID>,
        /// The counters, as [`crate::state::usage`] writes them.
        counters: Vec<u8>,
        /// When.
        at: SystemTime,
    },
    /// Callgate's time has come this far. An earlier one never replaces a later one.
    Clock(SystemTime),
}

/// Everything that a store holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The last revision; 0 before the first.
    pub revision: u64,
    /// How far time has come; `None` before the first write.
    pub clock: Option<SystemTime>,
    /// The digest of the directory that was in service last.
    pub bundle_digest: Option<SmolStr>,
    /// Entities that were put, in Cedar's JSON form.
    pub entities: Vec<(EntityUID, Arc<str>)>,
    /// Delegations, tasks and approvals.
    pub authority: Authority,
    /// Requests that must not be carried out twice.
    pub keys: Vec<KnownKey>,
    /// How often approvals were used.
    pub approval_uses: Vec<(SmolStr, u32)>,
    /// How many calls of their budgets tasks have used, at most.
    pub task_spent: Vec<(SmolStr, u64)>,
    /// Sessions.
    pub sessions: Vec<StoredSession>,
    /// Usage, as it was written.
    pub usage: Vec<StoredUsage>,
}

/// A request that was carried out under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
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

/// Usage, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUsage {
    /// Who.
    pub actor: EntityUID,
    /// What; `None` for what is counted of the actor alone.
    pub tool: Option<EntityUID>,
    /// The counters.
    pub counters: Vec<u8>,
    /// When they were last written.
    pub at: SystemTime,
}

/// How long what has ended is kept. Ended means: a delegation revoked or expired, a task closed or
/// overdue, an approval rejected, used up or expired, a session ended or silent, all before `ended`.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Delegations, tasks, approvals and sessions that ended before this.
    pub ended: SystemTime,
    /// Idempotency keys and usage from before this.
    pub recent: SystemTime,
    /// Changes from before this. The newest is always kept.
    pub changes: SystemTime,
}

/// Why a store did not do what it should.
#[derive(Debug, thiserror::Error)]
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
    /// Something in it cannot be read.
    #[error("the store holds something that cannot be read: {0}")]
    Damaged(String),
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
    /// The thread that writes has ended.
    #[error("the store is closed")]
    Closed,
}
