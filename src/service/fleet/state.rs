//! How far this server may be believed, and how far the others are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use smol_str::SmolStr;
use tokio::sync::{Notify, watch};

use crate::domain::authority::form;
use crate::domain::decide::verdict::{Reason, ReasonCode};
use crate::domain::ids::{BundleId, MemberId};
use crate::store::backend::StoreError;
use crate::store::postgres::membership::{Membership, StagedBundle};

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;

/// How much longer than its term somebody else's lease is taken to run: clocks do not run equally fast.
const SLACK: Duration = Duration::from_millis(100);
/// The same, as one part of this many of the term.
const SLACK_PART: u32 = 20;
/// How long it may take until a view of the others is there.
const SEEN: Duration = Duration::from_millis(500);
/// How long a write waits for a view of the others, beyond the longest lease, before it is said to be unconfirmed.
const VIEW: Duration = Duration::from_secs(10);

/// Nanoseconds on a clock that nobody sets, and that goes on while the process is paused. It may stand still while the
/// machine sleeps.
pub fn now_nanos() -> u64 {
    nanos_at(Instant::now())
}

/// The same at another moment.
fn nanos_at(moment: Instant) -> u64 {
    // A second, so that nothing is as early as 0.
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    nanos(moment.saturating_duration_since(*BEGINNING)).saturating_add(1_000_000_000)
}

/// When something was begun, by both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// In nanoseconds of [`now_nanos`].
    pub(super) nanos: u64,
    /// In milliseconds since the epoch, by the wall clock.
    wall: u64,
}

impl Beginning {
    pub(super) fn now() -> Self {
        Self {
            nanos: now_nanos(),
            wall: form::millis(SystemTime::now()),
        }
    }

    /// The earlier of both, by each clock.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.min(other.nanos),
            wall: self.wall.min(other.wall),
        }
    }

    #[cfg(test)]
    fn ago(time: Duration) -> Self {
        let now = Self::now();
        Self {
            nanos: now.nanos - nanos(time),
            wall: now.wall - u64::try_from(time.as_millis()).unwrap_or_default(),
        }
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A term, and the slack for clocks that run at another speed.
pub(super) fn with_slack(term: Duration) -> Duration {
    term + term / SLACK_PART + SLACK
}

/// What this server knows of the fleet. Shared by decisions, writes and the loop that confirms.
pub struct FleetState {
    /// How long it decides without a confirmation.
    max_staleness: Duration,
    /// Until when it decides, in nanoseconds of [`now_nanos`]; 0 if it does not.
    valid_until: AtomicU64,
    /// The same by the wall clock, in milliseconds since the epoch: it goes on while the machine sleeps.
    valid_until_wall: AtomicU64,
    /// Whether this machine's clock and that of the database do not agree, so that it is not confirmed.
    clock_differs: AtomicBool,
    /// The number of the last fact that it decides from.
    facts: AtomicU64,
    /// The membership under which it decides.
    membership: ArcSwap<Membership>,
    member: ArcSwap<MemberId>,
    view: watch::Sender<FleetView>,
    /// The archive that may be published, and when that was asked, in nanoseconds of [`now_nanos`].
    staged: watch::Sender<(u64, Option<StagedBundle>)>,
    /// Asks the loop for a confirmation at once.
    wake: Notify,
}

/// How far the other servers were, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetView {
    /// When the question was asked, in nanoseconds of [`now_nanos`]. Who has joined later has loaded what was written
    /// before.
    pub asked_at: u64,
    /// The lowest revision that one of them decides from.
    pub lowest_revision: u64,
    /// The lowest number of a fact.
    pub lowest_facts: u64,
    /// The longest time that one of them decides without a confirmation.
    pub longest_staleness: Duration,
}

impl FleetState {
    /// A server that has not been confirmed yet, and has loaded the facts up to a number.
    pub fn new(membership: Membership, max_staleness: Duration, facts: u64) -> Self {
        let member = membership.id().clone();
        Self {
            max_staleness,
            valid_until: AtomicU64::new(0),
            valid_until_wall: AtomicU64::new(0),
            clock_differs: AtomicBool::new(false),
            facts: AtomicU64::new(facts),
            membership: ArcSwap::from_pointee(membership),
            member: ArcSwap::from_pointee(member),
            view: watch::Sender::new(FleetView::default()),
            staged: watch::Sender::default(),
            wake: Notify::new(),
        }
    }

    /// How long it decides without a confirmation.
    pub fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// The reason to deny what was taken up at a moment of both clocks, if this server has not been confirmed in time. To
    /// be asked before anything is read that the decision depends on: what is confirmed is applied before.
    pub fn stale_at(&self, steady: Instant, wall: SystemTime) -> Option<Reason> {
        let is_over = nanos_at(steady) >= self.valid_until.load(Ordering::Acquire);
        // A wall clock that jumps ahead costs one confirmation; one that is set back changes nothing.
        let is_over =
            is_over || form::millis(wall) >= self.valid_until_wall.load(Ordering::Acquire);
        is_over.then(|| {
            let message = match self.clock_differs.load(Ordering::Acquire) {
                true => "the clocks of this replica and of the database do not agree",
                false => "this replica has not heard from the database in time",
            };
            Reason::new(ReasonCode::Stale, message)
        })
    }

    /// The same now.
    pub fn stale(&self) -> Option<Reason> {
        self.stale_at(Instant::now(), SystemTime::now())
    }

    /// Whether it decides now.
    pub fn is_valid(&self) -> bool {
        self.stale().is_none()
    }

    /// It decides nothing until it is confirmed again.
    pub fn invalidate(&self) {
        self.valid_until.store(0, Ordering::Release);
    }

    /// Says whether the clocks of this machine and of the database do not agree.
    pub(super) fn set_clock_differs(&self, differs: bool) {
        self.clock_differs.store(differs, Ordering::Release);
    }

    /// It is confirmed by a question that was begun then.
    pub(super) fn confirm(&self, begun: Beginning) {
        let until = begun.nanos.saturating_add(nanos(self.max_staleness));
        let term = u64::try_from(self.max_staleness.as_millis()).unwrap_or(u64::MAX);
        let wall = begun.wall.saturating_add(term);
        self.valid_until_wall.store(wall, Ordering::Release);
        self.valid_until.store(until, Ordering::Release);
    }

    /// The number of the last fact that it decides from.
    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Acquire)
    }

    pub(super) fn set_facts(&self, facts: u64) {
        self.facts.store(facts, Ordering::Release);
    }

    /// The membership.
    pub fn membership(&self) -> Arc<Membership> {
        self.membership.load_full()
    }

    /// The id of the membership.
    pub fn member(&self) -> MemberId {
        MemberId::clone(&self.member.load())
    }

    pub(super) fn set_membership(&self, membership: Membership) {
        self.member.store(Arc::new(membership.id().clone()));
        self.membership.store(Arc::new(membership));
    }

    pub(super) fn set_view(&self, view: FleetView) {
        self.view.send_replace(view);
    }

    /// How far the others are.
    pub fn view(&self) -> FleetView {
        *self.view.borrow()
    }

    pub(super) fn set_staged(&self, asked_at: u64, staged: Option<StagedBundle>) {
        self.staged.send_replace((asked_at, staged));
    }

    /// Waits until every other server has said whether it can compile an archive that is stored, at most so long. Returns
    /// the names of those that cannot; `None` if not all have said.
    pub async fn staged(&self, id: &BundleId, limit: Duration) -> Option<Vec<SmolStr>> {
        let from = now_nanos();
        let mut staged = self.staged.subscribe();
        self.wake();
        let is_said = |(asked_at, staged): &(u64, Option<StagedBundle>)| {
            let staged = staged.as_ref().filter(|it| it.id == *id);
            *asked_at >= from && staged.is_some_and(|it| it.unprepared == 0)
        };
        let said = tokio::time::timeout(limit, staged.wait_for(is_said)).await;
        let said = said.ok()?.ok()?;
        said.1.as_ref().map(|staged| staged.cannot.clone())
    }

    /// Asks for a confirmation at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits for a confirmation that is begun from now on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if none comes in time.
    pub async fn refreshed(&self, limit: Duration) -> Result<(), StoreError> {
        let from = now_nanos();
        let mut views = self.view.subscribe();
        self.wake();
        let newer = views.wait_for(|view| view.asked_at >= from);
        match tokio::time::timeout(limit, newer).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::Read("no confirmation in time".to_owned())),
        }
    }

    /// How long [`FleetState::settled`] waits while the database is reached: at most the time for which a server that is not heard
    /// of may decide, and that for a view of the others after it.
    pub fn settles_within(&self) -> Duration {
        let longest = self.view().longest_staleness.max(self.max_staleness);
        with_slack(longest) + SEEN
    }

    /// Waits until no other server decides without what has just been written: all of them have applied it, or may not
    /// decide any more unless they have. To be called after the write has returned.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be told, because the database is not reached.
    pub async fn settled(&self, revision: u64, facts: u64) -> Result<(), StoreError> {
        let from = now_nanos();
        let mut views = self.view.subscribe();
        self.wake();
        loop {
            let view = *views.borrow_and_update();
            let is_known = view.asked_at >= from;
            if is_known && view.lowest_revision >= revision && view.lowest_facts >= facts {
                return Ok(());
            }
            // Who was there then has the longest of these terms. Who was not has loaded it.
            let term = with_slack(view.longest_staleness.max(self.max_staleness));
            let passed = now_nanos().saturating_sub(from);
            if is_known && passed >= nanos(term) {
                return Ok(());
            }
            if passed >= nanos(term + VIEW) {
                let why = "it is written, but whether every replica knows it cannot be told";
                return Err(StoreError::Write(why.to_owned()));
            }
            let end = match is_known {
                true => nanos(term),
                false => nanos(term + VIEW),
            };
            let rest = Duration::from_nanos(end.saturating_sub(passed));
            // The sender lives as long as this does.
            let _ = tokio::time::timeout(rest, views.changed()).await;
        }
    }
}
