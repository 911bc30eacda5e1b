//! The use case: pin one generation, decide, commit the side effects, record, respond.
//!
//! Start at [`Service`] and [`decisions`]. [`request`] is what requests and responses have in common, [`generation`]
//! everything of one revision, [`ledger`] the order of revisions, [`live_facts`] what changes with every call,
//! [`side_effects`] what allowed calls use up and leave behind, [`call_carriers`] which tasks, delegations and pairs carry
//! the labels of a call, [`maintenance`] background writes and pruning, [`replaced_tasks`] how long a closed task keeps its
//! labels, [`clock`] the one clock, [`deadline`] the deadline of a request. `recording` puts decisions on record, `listing`
//! filters lists, [`pending`] are responses that have to wait, `unsettled` puts on record what nobody waits for any more,
//! `turned_back` is where revisions go on if the store holds an older state than before,
//! [`fleet`] is what changes when several servers decide from one database. `session_loader` reads sessions that are not in
//! memory, one at a time by [`one_at_a_time`]. [`search`] asks Cedar about many entities, [`batch`] decides several requests
//! from one generation, `in_turn` one after the other. [`observe`] lets pass what is only observed, [`published`] compiles
//! bundles that are published. [`server_load`] counts what the server carries, [`concurrency_limit`] adapts how much it
//! accepts, [`off_thread`] says what it must not measure, and [`bundle_status`] is the state of the bundle on disk.
//!
//! Invariant: no wire formats. Adapters parse before and encode after.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

pub mod bundle_status;
pub mod call_carriers;
pub mod clock;
pub mod deadline;
pub mod decisions;
pub mod event_counter;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod fleet;
pub mod generation;
pub mod idempotency;
pub mod ledger;
pub mod live_facts;
pub mod maintenance;
pub mod observe;
pub mod published;
pub mod side_effects;

pub mod batch;
mod claim_warnings;
pub mod concurrency_limit;
mod in_flight;
mod in_turn;
mod inspect;
mod listing;
pub mod off_thread;
mod once_a_minute;
pub mod one_at_a_time;
pub mod pending;
mod planning_queues;
mod recording;
pub mod replaced_tasks;
pub mod request;
pub mod search;
pub mod server_load;
pub mod session_loader;
pub mod settings;
mod turned_back;
mod unsettled;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio_util::task::TaskTracker;

use crate::domain::authority::task::Task;
use crate::domain::ids::BudgetId;
use crate::service::bundle_status::BundleStatus;
use crate::service::clock::{Clock, MonotonicClock, SystemClock};
use crate::service::fleet::Fleet;
use crate::service::fleet::state::FleetState;
use crate::service::generation::{Generation, LoadedBundle};
use crate::service::ledger::{Ledger, WriteError};
use crate::service::live_facts::LiveFacts;
use crate::service::observe::ObserveState;
use crate::service::once_a_minute::OnceAMinute;
use crate::service::session_loader::SessionLoader;
use crate::service::settings::ServiceSettings;
use crate::store::backend::{Store, StoreError, StoreWrite};
use crate::store::postgres::membership::{Membership, ReplicaName};
use crate::store::sqlite::SqliteStore;
use crate::store::writer::Writer;
use crate::telemetry::record::recorder::Recorder;

/// The service that every adapter asks: decides from the live generation and records every response.
pub struct Service {
    ledger: Arc<Ledger>,
    facts: Arc<LiveFacts>,
    clock: MonotonicClock,
    settings: ServiceSettings,
    recorder: Recorder,
    bundle_status: ArcSwapOption<BundleStatus>,
    observe: ObserveState,
    fleet: Option<Fleet>,
    /// Reads sessions from the store, if there are no other servers.
    loader: SessionLoader,
    /// Work that goes on whether or not somebody waits for it.
    tasks: TaskTracker,
    /// That background writes fail.
    background_error: Arc<OnceAMinute>,
    /// Whether the clock was at fault when that was last looked at, which is on record.
    was_clock_faulty: AtomicBool,
}

impl Service {
    /// A service over a store, with nothing loaded: it fails with [`ServiceError::NotReady`] until the first
    /// [`Service::publish`].
    ///
    /// # Errors
    ///
    /// Any error of reading the store or of starting its writer.
    pub fn open(
        settings: ServiceSettings,
        recorder: Recorder,
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_as(settings, recorder, store, clock, None)
    }

    /// A service over a store that other servers write to as well, as whose member it was joined before. See
    /// [`crate::service::fleet`].
    ///
    /// # Errors
    ///
    /// As [`Service::open`].
    pub fn open_shared(
        settings: ServiceSettings,
        recorder: Recorder,
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
        member: (Membership, ReplicaName),
    ) -> Result<Self, StoreError> {
        Self::open_as(settings, recorder, store, clock, Some(member))
    }

    fn open_as(
        settings: ServiceSettings,
        recorder: Recorder,
        mut store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
        member: Option<(Membership, ReplicaName)>,
    ) -> Result<Self, StoreError> {
        let asked = clock.now();
        let mut loaded = store.load()?;
        turned_back::go_on(&mut *store, &mut loaded, &recorder)?;
        let state = member.as_ref().map(|(membership, name)| {
            let facts = loaded.facts;
            Arc::new(FleetState::new(
                membership.clone(),
                name.max_staleness,
                facts,
            ))
        });
        let history = loaded.history.take();
        let clock = match (&member, loaded.now) {
            // The lease of another server that runs is ahead of its time.
            (Some(_), Some(now)) => MonotonicClock::beside(clock, loaded.clock, (asked, now))?,
            _ => MonotonicClock::new(clock, loaded.lease.or(loaded.clock)),
        };
        if member.is_none() {
            // The lease is written before the clock is read for a decision.
            store.commit(&[StoreWrite::Lease(clock.lease())])?;
        }
        let facts = Arc::new(LiveFacts::restore(&settings, &mut loaded, state.clone())?);
        if state.is_none() {
            store.session_ids(&mut |id| facts.sessions.note_stored(id))?;
        }
        let sessions = Arc::clone(&facts);
        let writer = Writer::start(store)?;
        let ledger = Ledger::new(
            &mut loaded,
            writer,
            sessions,
            recorder.clone(),
            settings.idempotency_keys,
            state.clone(),
        );
        let ledger = Arc::new(ledger);
        let fleet = state.zip(member).map(|(state, (_, name))| {
            Fleet::new(state, &ledger, &facts, name, (history, clock.clone()))
        });
        Ok(Self {
            loader: SessionLoader::new(&ledger, &facts),
            fleet,
            ledger,
            facts,
            clock,
            settings,
            recorder,
            bundle_status: ArcSwapOption::empty(),
            observe: ObserveState::default(),
            tasks: TaskTracker::new(),
            background_error: Arc::default(),
            was_clock_faulty: AtomicBool::default(),
        })
    }

    /// A service that keeps nothing beyond its own end.
    ///
    /// # Errors
    ///
    /// Any error of creating the store in memory.
    pub fn in_memory(settings: ServiceSettings, recorder: Recorder) -> Result<Self, StoreError> {
        let store = Box::new(SqliteStore::in_memory()?);
        Self::open(settings, recorder, store, Arc::new(SystemClock))
    }

    /// The recorder of decisions.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The write side.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The live facts: sessions, labels, usage, quotas and shown definitions.
    pub fn facts(&self) -> &Arc<LiveFacts> {
        &self.facts
    }

    /// The current time, as decisions see it.
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &MonotonicClock {
        &self.clock
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Puts a bundle into service and returns its revision. Calls in flight keep the generation they have pinned.
    /// Waits for the store; never call it on a request.
    ///
    /// # Errors
    ///
    /// As [`Ledger::publish`].
    pub fn publish(&self, load: LoadedBundle) -> Result<u64, WriteError<()>> {
        let Some(fleet) = &self.fleet else {
            return self.ledger.publish(load, self.now());
        };
        fleet.publish(&self.ledger, &self.facts, load, || self.now())
    }

    /// Reads sessions from the store, if there are no other servers.
    fn session_loader(&self) -> &SessionLoader {
        &self.loader
    }

    /// Tasks that carry on what is under way whether or not somebody waits for it, until it is on record.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// What this server is to others on the same store; `None` if it is alone.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Waits for the first generation.
    pub async fn ready(&self) {
        // The sender lives as long as the service, so waiting cannot fail.
        let _ = self.ledger.revisions().wait_for(|newest| *newest > 0).await;
    }

    /// The generation in service.
    pub fn live(&self) -> Option<Arc<Generation>> {
        self.ledger.live()
    }

    /// Sets the status of the bundle on disk.
    pub fn set_bundle_status(&self, directory: BundleStatus) {
        self.bundle_status.store(Some(Arc::new(directory)));
    }

    /// The status of the bundle on disk; `None` if nothing reloads it.
    pub fn bundle_status(&self) -> Option<Arc<BundleStatus>> {
        self.bundle_status.load_full()
    }

    /// The calls left of a task's budget; `None` if it has none.
    pub fn calls_left(&self, task: &Task) -> Option<u64> {
        let (budget, most) = task.budget()?;
        Some(self.facts().calls_left(&budget, most))
    }

    /// The calls left of each tool that a task's terms name, in their order; `None` where they have no limit.
    pub fn tool_calls_left(&self, task: &Task) -> Vec<Option<u64>> {
        let left = |(budget, most): (BudgetId, u64)| self.facts.calls_left(&budget, most);
        let uses = task.terms.uses.iter();
        uses.map(|it| task.tool_budget(&it.tool).map(left))
            .collect()
    }
}
