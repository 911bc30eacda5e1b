//! What a database has to do for Callgate.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::authority::change::{ChangeOrigin, ChangeRecord};
use crate::domain::authority::form;
use crate::domain::authority::labels::LabelCarrier;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::ids::{
    ApprovalId, BudgetId, BundleId, DelegationId, MemberId, SessionId, TaskId,
};

pub use crate::store::error::StoreError;
use crate::store::turned_back::TurnedBack;

/// A database, owned by one writer. Decisions never wait for it to read.
///
/// Only as wide as a second implementation needs: everything but sessions is loaded at once, written in order, and read
/// again by revision. `tests/it/store/suite.rs` holds the cases that every store must pass.
pub trait Store: Send {
    /// Everything in the store but sessions that have begun. The store must have made sure before that no other server
    /// writes to it.
    fn load(&mut self) -> Result<StoredState, StoreError>;

    /// Calls `each` with the id of every session, in any order.
    ///
    /// # Errors
    ///
    /// Any error of reading; `each` may have been called before.
    fn session_ids(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), StoreError>;

    /// One session as it is written; `None` if there is none of this id.
    ///
    /// # Errors
    ///
    /// Any error of reading.
    fn session(&mut self, id: &SessionId) -> Result<Option<StoredSession>, StoreError>;

    /// Writes all of it or nothing. After `Ok` it survives a crash of the process and of the machine.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfOrder`] for a [`StoreWrite::Entry`] whose revision is not the next one, and any error of
    /// writing.
    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError>;

    /// Checks that writes go to what the next start will read. Cheap; called once a second.
    fn check(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Goes on with the revision after the last one that was given out before the store turned back. Nothing is changed but that.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    fn go_on_above(&mut self, turned: &TurnedBack) -> Result<(), StoreError>;

    /// At most `limit` entries after a revision, in order. Old ones may have been pruned: then the first is not the
    /// next one, and the reader has to load everything again.
    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError>;

    /// Removes some of what ended before these moments, see [`Retention`]: as much as takes a few milliseconds, so
    /// that writes do not wait long. Call it again until nothing is left.
    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError>;

    /// The archive of a published bundle by its id; `None` if it is not stored.
    fn bundle(&mut self, id: &BundleId) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = id;
        Err(StoreError::Read(NO_BUNDLES.to_owned()))
    }

    /// The last revisions at which published bundles went into service, the newest first; at most [`PUBLISHED_KEPT`].
    fn published(&mut self) -> Result<Vec<PublishedRevision>, StoreError> {
        Err(StoreError::Read(NO_BUNDLES.to_owned()))
    }
}

/// The error of a store that keeps no archives.
const NO_BUNDLES: &str = "this store keeps no bundles";

/// How many revisions of published bundles are kept, with their archives.
pub const PUBLISHED_KEPT: usize = 50;

/// How long an archive is kept that was stored and is not published, in milliseconds.
pub(super) const ORPHAN_MILLIS: u64 = 3_600_000;

/// A revision at which a published bundle went into service.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRevision {
    /// The revision.
    pub revision: u64,
    /// When.
    pub at: SystemTime,
    /// `PublishBundle` or `RollbackBundle`.
    pub verb: SmolStr,
    /// The configured name of the caller.
    pub caller: SmolStr,
    /// The principal of the Cedar request.
    pub principal: Option<EntityUID>,
    /// The bundle.
    pub bundle: PublishedBundle,
}

/// One write.
#[derive(Debug, Clone)]
pub enum StoreWrite {
    /// A change with its revision, and the id that was returned for it.
    Entry {
        /// The change and its record.
        entry: ChangeRecord,
        /// The id of what it made or changed, which a repeated request gets again.
        id: SmolStr,
    },
    /// The archive of a bundle, before it is published under its id. It goes again if it is not published within the hour.
    Bundle {
        /// The id.
        id: BundleId,
        /// The archive.
        archive: Arc<[u8]>,
        /// The time.
        at: SystemTime,
    },
    /// The number of uses of an approval. A smaller number never replaces a greater one.
    ApprovalUsed {
        /// The id.
        id: ApprovalId,
        /// The total number of uses.
        uses: u32,
    },
    /// One more use of an approval, if it has been used fewer than `most` times; otherwise nothing of the commit is
    /// written.
    ApprovalTaken {
        /// The id.
        id: ApprovalId,
        /// How often it may be used.
        most: u32,
    },
    /// Calls of a budget for this server alone, if that many are left of it; otherwise nothing of the commit is written.
    BudgetTaken {
        /// The id.
        id: BudgetId,
        /// How many.
        calls: u64,
        /// The budget.
        most: u64,
    },
    /// Calls of [`StoreWrite::BudgetTaken`] that are not used.
    BudgetReturned {
        /// The id.
        id: BudgetId,
        /// How many.
        calls: u64,
    },
    /// Nothing is written if the others have taken this membership, under which the rest was decided, for dead.
    DecidedAs(MemberId),
    /// Nothing is written if one of these carriers has got a label from another server after a fact.
    LabelsSeen {
        /// The number of the last fact that the decision has seen.
        fact: u64,
        /// What it has looked up.
        carriers: Vec<LabelCarrier>,
    },
    /// The session is left to whoever asks for it next, in this state. Nothing is written if another server has it.
    SessionReleased {
        /// The id.
        id: SessionId,
        /// Its state.
        session: Session,
        /// The turn in which this server had it.
        turn: u64,
        /// The time.
        at: SystemTime,
    },
    /// What this server has counted since it last said so, for the others to add.
    UsageCounted(Vec<UsageCount>),
    /// The most calls of a task's budget that may have been used. A smaller number never replaces a greater one,
    /// unless `is_exact`: then it is the number used, and no more are reserved.
    TaskSpent {
        /// The id.
        id: BudgetId,
        /// The total number of calls.
        spent: u64,
        /// Whether it replaces any earlier number.
        is_exact: bool,
        /// How many of them crashes may have lost, at most.
        lost: u64,
    },
    /// Labels that are new to a session.
    SessionLabels {
        /// The id.
        id: SessionId,
        /// The new ones.
        labels: Vec<SmolStr>,
        /// The time.
        at: SystemTime,
    },
    /// Labels of another carrier than a session. Earlier moments never replace later ones.
    Labels {
        /// The carrier.
        carrier: LabelCarrier,
        /// The id.
        labels: Vec<LabelTimes>,
        /// The time.
        at: SystemTime,
    },
    /// The state of a session except its labels.
    Session {
        /// The id.
        id: SessionId,
        /// Allowed calls.
        calls: u64,
        /// Tools called.
        tools: Vec<EntityUID>,
        /// The last of them, the latest last.
        last: Vec<EntityUID>,
        /// The time.
        at: SystemTime,
    },
    /// Usage of one tool by one actor, or denials of an actor for one root; `None` for the actor's own counts.
    Usage {
        /// The actor.
        actor: EntityUID,
        /// The tool, or the root it was denied for.
        tool: Option<EntityUID>,
        /// The counters, as `usage` encodes them.
        counters: Vec<u8>,
        /// The time.
        at: SystemTime,
    },
    /// The time of the service. An earlier one never replaces a later one.
    Clock(SystemTime),
    /// The time lease: no later moment is used before the next lease is written, so time starts here after a crash. An
    /// earlier one replaces a later one.
    Lease(SystemTime),
    /// A list has shown a tool with another definition than the pinned one, or with the pinned one again (`None`).
    ToolShown {
        /// Through which gateway.
        gateway: SmolStr,
        /// The id.
        tool: EntityUID,
        /// What it was shown as.
        shown: Option<StoredDefinition>,
    },
}

impl StoreWrite {
    /// The moment of the event, if the write has one. Time has come at least this far.
    pub fn at(&self) -> Option<SystemTime> {
        match self {
            Self::Entry { entry, .. } => Some(entry.at),
            Self::SessionLabels { at, .. }
            | Self::Labels { at, .. }
            | Self::Bundle { at, .. }
            | Self::Session { at, .. }
            | Self::Usage { at, .. } => Some(*at),
            Self::Clock(at) => Some(*at),
            Self::SessionReleased { at, .. } => Some(*at),
            Self::ApprovalUsed { .. }
            | Self::ApprovalTaken { .. }
            | Self::BudgetTaken { .. }
            | Self::BudgetReturned { .. }
            | Self::DecidedAs(_)
            | Self::LabelsSeen { .. }
            | Self::UsageCounted(_)
            | Self::TaskSpent { .. }
            | Self::Lease(_)
            | Self::ToolShown { .. } => None,
        }
    }
}

/// Calls or denials that were counted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCount {
    /// The actor.
    #[serde(with = "form::uid")]
    pub actor: EntityUID,
    /// The tool that was called, or the root for whom a call was denied.
    #[serde(with = "form::maybe_uid")]
    pub about: Option<EntityUID>,
    /// Whether they were denied.
    pub is_denied: bool,
    /// When, to the second.
    #[serde(with = "form::moment")]
    pub at: SystemTime,
    /// How many.
    pub calls: u32,
}

/// Everything that a store holds.
#[derive(Debug, Default)]
pub struct StoredState {
    /// The last revision; 0 before the first.
    pub revision: u64,
    /// When it turned back last, as far as it keeps that.
    pub turned_back: Option<TurnedBack>,
    /// The number of the last fact, in a store that several servers write to.
    pub facts: u64,
    /// Names the store and the history that it is in, if several servers write to it: another one after a failover.
    pub history: Option<SmolStr>,
    /// The time by the clock of the database, if several servers write to it.
    pub now: Option<SystemTime>,
    /// The latest moment of anything written. `None` before the first write.
    pub clock: Option<SystemTime>,
    /// The time lease, see [`StoreWrite::Lease`].
    pub lease: Option<SystemTime>,
    /// The digest of the bundle that was in service last.
    pub bundle_digest: Option<SmolStr>,
    /// The published bundle that was in service last.
    pub published: Option<Arc<PublishedBundle>>,
    /// Entities that were put over the control API, in Cedar's JSON form.
    pub entities: Vec<(EntityUID, Arc<str>)>,
    /// Delegations, tasks and approvals.
    pub authority: Authority,
    /// Idempotency keys of earlier requests.
    pub keys: Vec<StoredKey>,
    /// The number of uses of each approval.
    pub approval_uses: Vec<(ApprovalId, u32)>,
    /// The most calls that each budget may have used.
    pub task_spent: Vec<(BudgetId, u64)>,
    /// The most calls that crashes may have lost of each budget.
    pub task_lost: Vec<(BudgetId, u64)>,
    /// Sessions that were ended before their first call. All others are read one by one, [`Store::session`].
    pub unbegun: Vec<StoredSession>,
    /// Ended sessions, also those of which nothing else is kept.
    pub ended_sessions: Vec<SessionId>,
    /// Tools whose shown definition differs from the pinned one, by gateway.
    pub shown_tools: Vec<(SmolStr, EntityUID, StoredDefinition)>,
    /// Labels of other carriers than sessions.
    pub labels: Vec<StoredLabel>,
    /// Usage, as it was written.
    pub usage: Vec<StoredUsage>,
}

/// A definition that differs from the pinned one, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDefinition {
    /// The digest of its pinned parts.
    pub pinned: SmolStr,
    /// The digest of the whole definition.
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
    /// The caller that used the key.
    pub caller: SmolStr,
    /// The key.
    pub text: SmolStr,
    /// SHA-256 of the request.
    pub request: [u8; 32],
    /// The revision it got.
    pub revision: u64,
    /// What it made or changed.
    pub id: SmolStr,
    /// The time.
    pub at: SystemTime,
}

impl StoredKey {
    /// The key of a request with its result; `None` if the request had no key.
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

/// A session, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
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

/// When a label was last added to a carrier, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelTimes {
    /// The label.
    pub label: SmolStr,
    /// By any call: not later than this.
    pub through: SystemTime,
    /// By a call outside of any vouched session: not later than this. `None` if there was none.
    pub loose_through: Option<SystemTime>,
}

/// One label of one carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLabel {
    /// The carrier.
    pub carrier: LabelCarrier,
    /// The label and its times.
    pub brought: LabelTimes,
}

/// Usage, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUsage {
    /// The actor.
    pub actor: EntityUID,
    /// What, or for whom; `None` for what is counted of the actor alone.
    pub tool: Option<EntityUID>,
    /// The counters.
    pub counters: Vec<u8>,
    /// When they were last written.
    pub at: SystemTime,
}

/// Until when ended records are kept. Ended means: a delegation revoked or expired, a task closed or overdue, an
/// approval rejected or expired, a session ended or silent, all before `ended`. Delegations and approvals of a task
/// also end with it. A task is removed last, so that nothing outlives its task.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Delegations, tasks, approvals and sessions that ended before this are removed. It must be longer ago than the
    /// idle time of a session, which would lose its labels too soon otherwise.
    pub ended: SystemTime,
    /// Idempotency keys, usage and labels of pairs from before this are removed. It must be more than a day ago, or
    /// usage would be counted too low.
    pub recent: SystemTime,
    /// Labels of resources that were last added before this are removed: no longer ago than they count.
    pub places: SystemTime,
    /// Changes from before this are removed. The newest is always kept.
    pub changes: SystemTime,
}

/// What one step of pruning removed, so that memory can forget the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Delegations.
    pub delegations: Vec<DelegationId>,
    /// Tasks.
    pub tasks: Vec<TaskId>,
    /// Approvals.
    pub approvals: Vec<ApprovalId>,
    /// Sessions, where one server alone uses the store.
    pub sessions: Vec<SessionId>,
    /// Whether there may be more to remove.
    pub is_partial: bool,
}
