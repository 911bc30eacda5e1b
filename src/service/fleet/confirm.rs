//! The loop that confirms what this server decides from.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use crate::domain::ids::{BundleId, MemberId};
use crate::service::clock::MonotonicClock;
use crate::service::fleet::sessions::SessionHolder;
use crate::service::fleet::state::{
    Beginning, FleetState, FleetView, nanos, now_nanos, with_slack,
};
use crate::service::ledger::Ledger;
use crate::service::live_facts::LiveFacts;
use crate::service::published::Preparation;
use crate::store::backend::{StoreError, StoredState};
use crate::store::postgres::membership::{
    Applied, Confirmation, ReplicaName, ReplicaProgress, StagedBundle,
};
use crate::store::turned_back::{TurnedBack, TurnedBackHow};
use crate::supervision::caught_task;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause after one that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The pause after one that panicked.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);
/// The pause after a published bundle that does not compile.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
/// How often it is seen to whether a stored archive is compiled.
const STAGE_AGAIN: Duration = Duration::from_secs(2);
/// How long a published bundle is waited for at a time.
const COMPILE: Duration = Duration::from_secs(60);
/// How often the same failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// A beat is due after this part of the time that a confirmation lasts.
const BEATS: u32 = 4;

/// Confirms, as long as it runs.
pub struct Confirmer {
    state: Arc<FleetState>,
    ledger: Arc<Ledger>,
    facts: Arc<LiveFacts>,
    holder: Arc<SessionHolder>,
    name: ReplicaName,
    is_stopped: Arc<AtomicBool>,
    clock: MonotonicClock,
    /// The store and the history that it has loaded.
    store: Option<String>,
    /// When the question was begun with which the last beat was written.
    beat_at: Beginning,
    /// How often the database has noted that, as it says.
    beat: u64,
    /// The database has forgotten beats of this server, and not everything is loaded again since.
    has_forgotten: bool,
    /// The revision with which the store last went on, having turned back, as far as this server has it on record.
    told_to_turn: u64,
    /// What was said to be applied last.
    said: (u64, u64),
    /// The archives that were said to be compiled, and not to compile.
    said_compiled: (BundleId, BundleId),
    /// The archive that may be published, and when it was last seen to whether it is compiled.
    staged: Option<(BundleId, Instant)>,
    /// The beats of the others, and since when they stand still.
    beats: HashMap<MemberId, (u64, u64)>,
    /// When which kind of failure was logged.
    logged: Option<(Instant, Discriminant<StoreError>)>,
}

impl Confirmer {
    /// A loop that is not run yet.
    pub fn new(
        state: Arc<FleetState>,
        ledger: Arc<Ledger>,
        facts: Arc<LiveFacts>,
        holder: Arc<SessionHolder>,
        name: ReplicaName,
        is_stopped: Arc<AtomicBool>,
        (history, clock): (Option<SmolStr>, MonotonicClock),
    ) -> Self {
        Self {
            clock,
            state,
            ledger,
            facts,
            holder,
            name,
            is_stopped,
            store: history.map(String::from),
            beat_at: Beginning::default(),
            beat: 0,
            has_forgotten: false,
            told_to_turn: 0,
            said: (0, 0),
            said_compiled: Default::default(),
            staged: None,
            beats: HashMap::new(),
            logged: None,
        }
    }

    /// Runs until it is stopped.
    pub async fn run(mut self) {
        while !self.is_stopped.load(Ordering::Acquire) {
            let Ok(confirmed) = caught_task("confirming", self.confirm()).await else {
                // What it was about may be half done.
                self.state.invalidate();
                tokio::time::sleep(PAUSE_AFTER_PANIC).await;
                continue;
            };
            let pause = match confirmed {
                // More is there, or the others wait to hear that it is applied.
                Ok(false) => Duration::ZERO,
                Ok(true) => PAUSE,
                Err(StoreError::BundleNotPrepared(id)) => self.compile(&id).await,
                Err(error) => {
                    self.log(&error);
                    PAUSE_AFTER_FAILURE
                }
            };
            if !pause.is_zero() {
                // Whichever comes first.
                let _ = tokio::time::timeout(pause, self.state.woken()).await;
            }
        }
    }

    /// One question. Returns whether nothing is left to be applied or said.
    ///
    /// # Errors
    ///
    /// Any error of asking or applying: then nothing is confirmed.
    async fn confirm(&mut self) -> Result<bool, StoreError> {
        let Some(live) = self.ledger.live() else {
            return Ok(true);
        };
        let begun = Beginning::now();
        let applied = (live.revision(), self.state.facts());
        let term = self.state.max_staleness();
        let is_due = begun.nanos.saturating_sub(self.beat_at.nanos) >= nanos(term / BEATS);
        let compiled = self.compiled();
        let is_beat = is_due || applied != self.said || compiled != self.said_compiled;
        let question = Applied {
            revision: applied.0,
            facts: applied.1,
            is_beat,
            bundle_digest: live.policy_set_digest.to_string(),
            prepared: compiled.0.clone(),
            cannot: compiled.1.clone(),
            clock: self.clock.source_now(),
        };
        let membership = self.state.membership();
        let answer = membership
            .poll(&question, term.max(Duration::from_secs(1)))
            .await;
        let answered = self.clock.source_now();
        let confirmation = match answer {
            Err(StoreError::Fenced) => {
                self.join_again().await?;
                return Ok(false);
            }
            other => other?,
        };
        if is_beat {
            (self.beat_at, self.said) = (begun, applied);
            self.said_compiled = compiled;
        }
        if self.is_other_store(&confirmation.store) {
            self.state.invalidate();
            // Nothing of what it knows is written there.
            membership.leave(Duration::from_secs(1)).await?;
            return Err(StoreError::OtherStore);
        }
        self.state
            .set_staged(begun.nanos, confirmation.staged.clone());
        self.stage(confirmation.staged.as_ref());
        self.has_forgotten |= confirmation.beat < self.beat + u64::from(is_beat);
        self.beat = confirmation.beat;
        if self.has_turned_back(&confirmation, applied) {
            self.load_again(&confirmation, applied).await?;
            return Ok(false);
        }
        let judged = self
            .clock
            .compare(question.clock, confirmation.now, answered);
        self.state.set_clock_differs(judged.is_err());
        let view = self.see_others(&confirmation.replicas, begun.nanos).await;
        let is_whole = self.apply(confirmation)?;
        if judged.is_err() {
            // It hears what the others do, and decides nothing.
            self.state.invalidate();
            self.state.set_view(view);
        }
        judged?;
        if is_whole {
            // A beat is a write: a database that does not write confirms nothing.
            self.state.confirm(begun.min(self.beat_at));
            // Behind what it has brought: who waits for it goes on from there.
            self.state.set_view(view);
        }
        let now = (
            self.ledger.live().map_or(0, |it| it.revision()),
            self.state.facts(),
        );
        Ok(is_whole && now == self.said)
    }

    /// Applies what is new. Returns whether that is all there was when it was asked for.
    fn apply(&self, confirmation: Confirmation) -> Result<bool, StoreError> {
        let reached = self.ledger.apply_remote(confirmation.entries)?;
        self.facts.merge(
            confirmation.labels,
            confirmation.tools,
            &confirmation.usage,
            &confirmation.uses,
            &confirmation.spent,
        );
        self.state
            .set_facts(self.state.facts().max(confirmation.facts));
        for session in &confirmation.wanted {
            self.holder.give_up(session);
        }
        Ok(reached >= confirmation.revision)
    }

    /// Whether the database holds another store than this server has loaded: one that was begun anew, or somebody else's.
    fn is_other_store(&self, history: &str) -> bool {
        let store = |history: &str| history.split(' ').next().map(str::to_owned);
        self.store
            .as_ref()
            .is_some_and(|known| store(known) != store(history))
    }

    /// Whether the store is not as this server has applied changes of it: an older copy, which others may have changed since, or one
    /// that was promoted and may lack what this server knows.
    fn has_turned_back(&self, confirmation: &Confirmation, applied: (u64, u64)) -> bool {
        let is_other = self
            .store
            .as_ref()
            .is_some_and(|it| *it != confirmation.store);
        // Where no change has the next revision, they go on above others that were given out before.
        let first = confirmation.entries.first().map(|(it, _)| it.revision);
        let is_apart = confirmation.revision > applied.0 && first != Some(applied.0 + 1);
        let is_behind = confirmation.revision < applied.0 || confirmation.facts < applied.1;
        is_other || is_apart || is_behind || self.has_forgotten
    }

    /// Forgets everything and loads it again, after the database has turned back. Nothing is decided meanwhile.
    async fn load_again(
        &mut self,
        confirmation: &Confirmation,
        (last, facts): (u64, u64),
    ) -> Result<(), StoreError> {
        self.state.invalidate();
        tracing::error!(
            was = self.store.as_deref().unwrap_or_default(),
            is = confirmation.store,
            "the database is another one, or has lost something: everything is loaded again"
        );
        let mut loaded = load(&self.ledger).await?;
        let mut news = loaded.turned_back.clone();
        let mut known = last;
        // It may have lost what made the last revision, and no more; or others have made later ones since.
        let has_lost = self.has_forgotten || confirmation.facts < facts;
        let is_noted = news.as_ref().is_some_and(|it| it.revision() > last);
        if !is_noted && (has_lost || loaded.revision < last) {
            let from = loaded.revision;
            known = last.max(from);
            let turned = TurnedBack {
                how: TurnedBackHow::Older,
                from,
                last: known,
            };
            let revision = turned.revision();
            self.ledger.go_on_above(turned).await?;
            self.told_to_turn = revision;
            loaded = load(&self.ledger).await?;
            news = loaded.turned_back.clone().filter(|it| it.last > known);
        }
        // Another replica has gone on above what is known here, or above more than this one has just done.
        // It is told once, however often what is loaded cannot be taken over.
        if let Some(turned) = news.filter(|it| it.revision() > known.max(self.told_to_turn)) {
            self.ledger.note_turned_back(&turned);
            self.told_to_turn = turned.revision();
        }
        self.holder.forget_all();
        self.facts.reload(&mut loaded)?;
        self.state.set_facts(loaded.facts);
        let history = loaded.history.take().map(String::from);
        // Last: if a bundle has to be compiled first, all of it is done again.
        self.ledger.reload(loaded)?;
        self.store = history;
        self.has_forgotten = false;
        Ok(())
    }

    /// Joins under a new name after the others have taken this server for dead, and its sessions with it.
    async fn join_again(&mut self) -> Result<(), StoreError> {
        self.state.invalidate();
        if self.is_stopped.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let limit = Duration::from_secs(1);
        let history = self.state.membership().history(limit).await?;
        if self.is_other_store(&history) {
            return Err(StoreError::OtherStore);
        }
        let left_at = self.state.membership().left_at(limit).await?;
        self.has_forgotten |= left_at.is_none_or(|beat| beat < self.beat);
        tracing::warn!("the other replicas have taken this one for dead: it joins again");
        let membership = self.state.membership().renewed();
        membership.join(&self.name, Duration::from_secs(5)).await?;
        // Behind all writes that were decided before.
        let writes = membership.clone();
        self.ledger.writer().access(move |_| writes.write_as())?;
        self.state.set_membership(membership);
        self.holder.forget_all();
        (self.beat_at, self.said) = (Beginning::default(), (0, 0));
        self.beat = 0;
        Ok(())
    }

    /// Notes how far the others are. Who has not been confirmed for longer than it may decide is dead.
    async fn see_others(&mut self, others: &[ReplicaProgress], begun: u64) -> FleetView {
        let now = now_nanos();
        self.beats
            .retain(|id, _| others.iter().any(|it| it.id == *id));
        let mut dead = Vec::new();
        for other in others {
            let seen = self
                .beats
                .entry(other.id.clone())
                .or_insert((other.beat, now));
            if seen.0 != other.beat {
                *seen = (other.beat, now);
            } else if now.saturating_sub(seen.1) >= nanos(with_slack(other.max_staleness)) {
                dead.push(other);
            }
        }
        let view = FleetView {
            asked_at: begun,
            lowest_revision: others
                .iter()
                .map(|it| it.revision)
                .min()
                .unwrap_or(u64::MAX),
            lowest_facts: others.iter().map(|it| it.facts).min().unwrap_or(u64::MAX),
            longest_staleness: others
                .iter()
                .map(|it| it.max_staleness)
                .max()
                .unwrap_or_default(),
        };
        for other in dead {
            tracing::warn!(
                replica = other.id.as_str(),
                "a replica is silent and taken for dead"
            );
            let limit = Duration::from_secs(1);
            if let Err(error) = self.state.membership().expel(other, limit).await {
                self.log(&error);
            }
        }
        view
    }

    fn log(&mut self, error: &StoreError) {
        let kind = std::mem::discriminant(error);
        let is_known = |(at, known): (Instant, _)| known == kind && at.elapsed() < LOG_EVERY;
        if !self.logged.is_some_and(is_known) {
            self.logged = Some((Instant::now(), kind));
            tracing::error!(%error, "this replica is not confirmed");
        }
    }
}

/// Published bundles: compiled when they are stored, so that no replica waits for its compiler when one is published.
impl Confirmer {
    /// The archive that may be published, if this server has compiled it, and the same if it cannot; empty otherwise.
    fn compiled(&self) -> (BundleId, BundleId) {
        let none = BundleId::default;
        let Some((id, _)) = &self.staged else {
            return (none(), none());
        };
        let bundles = self.ledger.bundles();
        if bundles.preparer().is_none() {
            // Its bundle comes from elsewhere, so it would not follow.
            return (none(), id.clone());
        }
        match bundles.state(id) {
            Preparation::Ready(_) => (id.clone(), none()),
            Preparation::Faulty(_) => (none(), id.clone()),
            Preparation::UnderWay | Preparation::Unknown => (none(), none()),
        }
    }

    /// Has an archive compiled that may be published.
    fn stage(&mut self, staged: Option<&StagedBundle>) {
        let Some(id) = staged.map(|it| it.id.clone()) else {
            return;
        };
        let before = self.staged.as_ref().filter(|(known, _)| *known == id);
        if before.is_some_and(|(_, at)| at.elapsed() < STAGE_AGAIN) {
            return;
        }
        self.staged = Some((id.clone(), Instant::now()));
        let ledger = Arc::clone(&self.ledger);
        let is_known = !matches!(ledger.bundles().state(&id), Preparation::Unknown);
        if is_known || ledger.bundles().preparer().is_none() {
            return;
        }
        if let Some(runtime) = self.state.membership().runtime() {
            runtime.spawn(async move {
                match ledger.archive(&id).await {
                    Ok(archive) => ledger.bundles().begin(&id, archive),
                    Err(error) => tracing::warn!(%error, "a stored bundle is not compiled"),
                }
            });
        }
    }

    /// Compiles a bundle that is published already. Nothing is confirmed meanwhile. Returns how long to pause.
    async fn compile(&mut self, id: &BundleId) -> Duration {
        let bundles = Arc::clone(self.ledger.bundles());
        match self.ledger.archive(id).await {
            Ok(archive) => bundles.begin(id, archive),
            Err(error) => {
                self.log(&error);
                return PAUSE_AFTER_FAILURE;
            }
        }
        match bundles.wait(id, COMPILE).await {
            Preparation::Ready(_) => Duration::ZERO,
            Preparation::Faulty(faults) => {
                tracing::error!(%id, "a bundle that is published cannot be compiled here: this replica denies everything\n{faults}");
                bundles.forget_fault(id);
                PAUSE_AFTER_FAULT
            }
            Preparation::UnderWay => PAUSE,
            Preparation::Unknown => {
                tracing::error!(%id, "bundles are published to this replica, and `[bundle] published` is not set: it denies everything");
                PAUSE_AFTER_FAULT
            }
        }
    }
}

/// Everything in the store, after all that was submitted before.
pub(super) async fn load(ledger: &Ledger) -> Result<StoredState, StoreError> {
    let (done, loaded) = tokio::sync::oneshot::channel();
    ledger.writer().access(move |store| {
        // The receiver is gone only if the loop is.
        let _ = done.send(store.and_then(|store| store.load()));
    })?;
    loaded.await.map_err(|_| StoreError::Closed)?
}

/// Names a replica for people: what the configuration says, or else the machine and the process.
pub fn default_name() -> SmolStr {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "callgate",
        host => host,
    };
    smol_str::format_smolstr!("{host}/{}", std::process::id())
}
