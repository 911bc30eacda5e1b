//! The write side of the service: one order of all changes, none of which is in service before it is durable.
//!
//! A change is planned against the newest state, changes in flight included, gets the next revision, and goes to the
//! writer. Once written it goes into service, in the same order. If its write fails, so does everything planned on top
//! of it; only restrictions are planned again, on what is in service, and take force nevertheless (`restrictions`).
//! Bundles go into service in `publishing`.
//!
//! A change carries the complete state of its subject. So it is applied to the state that it was planned on, or to that
//! with changes of other subjects, and never to a state that it does not know.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;
use tokio::sync::{broadcast, oneshot, watch};

use crate::domain::authority::change::{ChangeOrigin, ChangeRecord};
use crate::domain::authority::state::ExpiredRecord;
use crate::service::fleet::state::FleetState;
use crate::service::generation::Generation;
use crate::service::idempotency::{IdempotencyKeys, KeyLimits, KeyLookup};
use crate::service::live_facts::LiveFacts;
use crate::service::planning_queues::PlanningQueues;
use crate::service::published::PublishedBundles;
use crate::store::backend::{StoreError, StoreWrite, StoredKey, StoredState};
use crate::store::writer::Writer;
use crate::telemetry::record::recorder::Recorder;

mod change;
mod head;
mod publishing;
mod remote;
mod repeated;
mod restrictions;
mod unwritten;

pub use change::{CommittedChange, PlannedChange, RESTRICTIONS, WriteError};
use head::{Head, RestoredState};
use unwritten::{
    IfUnwritten, RESTRICTIONS_FIRST, RestrictionUnderWay, UnwrittenChange, UnwrittenChanges,
};

/// How many changes a watcher may lag behind before it has to read them from the store.
const CHANGES_KEPT: usize = 4_096;
/// The most ended records that are removed in one step: a millisecond or two, in which no write is planned.
const FORGOTTEN_AT_ONCE: usize = 512;
/// The attempts of one step while changes are in flight, and the pause between them.
const FORGET_ATTEMPTS: usize = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// The generation in service, and the order of its changes.
pub struct Ledger {
    live: ArcSwapOption<Generation>,
    revisions: watch::Sender<u64>,
    unwritten: UnwrittenChanges,
    changes: broadcast::Sender<Arc<ChangeRecord>>,
    head: Mutex<Head>,
    writer: Writer,
    facts: Arc<LiveFacts>,
    recorder: Recorder,
    turns: PlanningQueues,
    room: KeyLimits,
    /// What this server is to others that write to the same store.
    fleet: Option<Arc<FleetState>>,
    /// The attempt of the head, for submissions that wait.
    attempts: Arc<AtomicU64>,
    /// Held while a change goes into service and watchers are told.
    in_service: Mutex<()>,
    /// What published bundles were compiled to.
    bundles: Arc<PublishedBundles>,
}

/// The state of a write after planning.
enum PendingWrite {
    /// The request was carried out before, as of this attempt.
    Repeated(StoredKey, u64),
    /// The change is submitted to the store.
    Submitted(SubmittedChange),
    /// The change would change nothing since this attempt and revision.
    Unchanged(SmolStr, Arc<Generation>, u64),
    /// The change is in service and not written.
    InMemory(SmolStr, Arc<Generation>),
}

/// A change that is submitted to the store.
struct SubmittedChange {
    id: SmolStr,
    next: Arc<Generation>,
    is_restriction: bool,
    written: oneshot::Receiver<Result<(), StoreError>>,
}

impl Ledger {
    /// A ledger over the content of a store.
    pub fn new(
        loaded: &mut StoredState,
        writer: Writer,
        facts: Arc<LiveFacts>,
        recorder: Recorder,
        room: KeyLimits,
        fleet: Option<Arc<FleetState>>,
    ) -> Self {
        Self {
            fleet,
            attempts: Arc::default(),
            in_service: Mutex::default(),
            bundles: Arc::default(),
            room,
            live: ArcSwapOption::empty(),
            revisions: watch::Sender::new(0),
            unwritten: UnwrittenChanges::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            head: Mutex::new(Head {
                generation: None,
                revision: loaded.revision,
                attempt: 0,
                stored_digest: loaded.bundle_digest.clone().map(|it| (loaded.revision, it)),
                loaded: Some(RestoredState::take_from(loaded)),
                submitted: VecDeque::new(),
                restrictions: Vec::new(),
                keys: IdempotencyKeys::new(std::mem::take(&mut loaded.keys), room),
            }),
            writer,
            facts,
            recorder,
            turns: PlanningQueues::default(),
        }
    }

    /// The generation in service.
    pub fn live(&self) -> Option<Arc<Generation>> {
        self.live.load_full()
    }

    /// The newest revision in service, and each later one; 0 before the first.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// All changes from now on, in order.
    pub fn changes(&self) -> broadcast::Receiver<Arc<ChangeRecord>> {
        self.changes.subscribe()
    }

    /// Drops keys and ended records of authority from before a moment. Scans everything, then removes a little at a
    /// time, between changes; if changes never pause, the rest is left for the next time. Never call it on a request.
    pub fn forget(&self, before: SystemTime) {
        self.head().keys.forget(before);
        let Some(live) = self.live() else { return };
        let ended = live.authority.ended_before(before);
        drop(live);
        for some in ended.chunks(FORGOTTEN_AT_ONCE) {
            let is_done = (0..FORGET_ATTEMPTS).any(|attempt| {
                if attempt > 0 {
                    std::thread::sleep(FORGET_PAUSE);
                }
                self.remove_ended(some, before)
            });
            if !is_done {
                return;
            }
        }
    }

    /// Removes some records, unless changes are in flight. Returns whether it is done.
    fn remove_ended(&self, ended: &[ExpiredRecord], before: SystemTime) -> bool {
        let mut head = self.head();
        let (Some(newest), Some(live)) = (head.generation.clone(), self.live()) else {
            return true;
        };
        if !Arc::ptr_eq(&newest, &live) {
            return false;
        }
        let next = Arc::new(Generation {
            authority: newest.authority.without(ended, before),
            ..Generation::clone(&newest)
        });
        // Only the writer puts changes into service, and none is in flight.
        self.live.store(Some(Arc::clone(&next)));
        head.generation = Some(next);
        true
    }

    /// The writer.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Plans a change against the newest state, writes it and puts it into service. `plan` runs while no other change
    /// is planned, so it must not block. It runs again if another server was faster, and for a restriction if the store
    /// does not write.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing of the change is in service then.
    pub async fn write<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        plan: impl FnMut(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<CommittedChange, WriteError<E>> {
        self.write_in(false, asked, now, plan).await
    }

    /// The same for a restriction, ahead of all other waiting writes.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing of the change is in service then.
    pub async fn write_restriction<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        plan: impl FnMut(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<CommittedChange, WriteError<E>> {
        self.write_in(true, asked, now, plan).await
    }

    /// The result of a write; `None` if it has to be planned again.
    async fn finish<E>(
        &self,
        begun: PendingWrite,
    ) -> Result<Option<CommittedChange>, WriteError<E>> {
        let SubmittedChange {
            id,
            next,
            is_restriction,
            written,
        } = match begun {
            PendingWrite::Repeated(known, attempt) => return self.repeat(known, attempt).await,
            PendingWrite::Unchanged(id, next, attempt) => {
                return self.unchanged(id, next, attempt).await;
            }
            PendingWrite::Submitted(submitted) => submitted,
            PendingWrite::InMemory(id, generation) => {
                return Ok(Some(CommittedChange::in_memory(id, generation)));
            }
        };
        match written.await.unwrap_or(Err(StoreError::Closed)) {
            Ok(()) => Ok(Some(CommittedChange {
                revision: next.revision(),
                id,
                generation: next,
                is_durable: true,
                is_recorded: true,
                is_repeated: false,
            })),
            // With other servers, what only this one knows is no restriction.
            Err(error) => match self.fleet.is_some() {
                true if matches!(error, StoreError::OutOfOrder { .. }) => Ok(None),
                false if is_restriction => Ok(None),
                _ => Err(error.into()),
            },
        }
    }

    /// Plans a change and submits it, or finds that it was requested before. If restrictions wait to be written, it puts
    /// another one into service and refuses everything else.
    fn begin<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        under_way: &RestrictionUnderWay,
        plan: &mut impl FnMut(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<PendingWrite, WriteError<E>> {
        let mut head = self.head();
        let newest = head.generation.clone().ok_or(WriteError::NotReady)?;
        match head.keys.lookup(&asked) {
            KeyLookup::New => {}
            KeyLookup::Repeated(known) => return Ok(PendingWrite::Repeated(known, head.attempt)),
            KeyLookup::Reused => return Err(WriteError::KeyReused),
            KeyLookup::Full(message) => return Err(WriteError::TooManyKeys(message)),
        }
        let come_first = self.unwritten.come_first();
        let generation = match come_first {
            // Nothing is in flight then but bundles, and what is in service already.
            true => self.live().ok_or(WriteError::NotReady)?,
            false => newest,
        };
        let plan = plan(&generation).map_err(WriteError::Rejected)?;
        // With an idempotency key it is written nevertheless, so that the key is stored.
        if asked.key.is_none() && self.is_unchanged(&generation, &plan.change) {
            return Ok(match come_first {
                false => PendingWrite::Unchanged(plan.id, generation, head.attempt),
                true => PendingWrite::InMemory(plan.id, generation),
            });
        }
        if !come_first {
            let submitted = self.submit_planned(&mut head, plan, asked, now, under_way)?;
            return Ok(PendingWrite::Submitted(submitted));
        }
        if !plan.is_restriction() {
            return Err(StoreError::Write(RESTRICTIONS_FIRST.to_owned()).into());
        }
        let waiting = UnwrittenChange::new(plan, asked, now);
        let id = waiting.id.clone();
        let generation = self.apply_restriction(&mut head, waiting)?;
        Ok(PendingWrite::InMemory(id, generation))
    }

    /// Submits a change that was planned on the head.
    fn submit_planned<E>(
        self: &Arc<Self>,
        head: &mut Head,
        plan: PlannedChange,
        asked: ChangeOrigin,
        now: SystemTime,
        under_way: &RestrictionUnderWay,
    ) -> Result<SubmittedChange, WriteError<E>> {
        let (done, written) = oneshot::channel();
        let is_restriction = plan.is_restriction();
        let generation = head.generation.clone().ok_or(WriteError::NotReady)?;
        let revision = head.revision + 1;
        let next = Arc::new(self.after(&generation, &plan.change, revision)?);
        let known = StoredKey::of(&asked, revision, plan.id.clone(), now);
        let entry = ChangeRecord {
            revision,
            at: now,
            verb: SmolStr::new_static(plan.verb),
            change: plan.change,
            asker: asked,
        };
        // Submitted under the lock, so that the order of revisions is the order of writes.
        let attempt = head.attempt;
        let submitted = entry.clone();
        let if_unwritten = match is_restriction && self.fleet.is_none() {
            true => IfUnwritten::PlanAgain,
            false => IfUnwritten::Undo,
        };
        self.submit(
            &next,
            entry,
            plan.id.clone(),
            attempt,
            if_unwritten,
            move |result| {
                // The receiver is gone if the request is; the change is made all the same.
                let _ = done.send(result);
            },
        )?;
        self.note_submitted(head, submitted);
        if if_unwritten == IfUnwritten::PlanAgain {
            let live = self.live().map_or(0, |live| live.revision());
            head.restrictions.retain(|(revision, _)| *revision > live);
            head.restrictions.push((revision, under_way.place()));
        }
        head.advance(&next);
        if let Some(known) = known {
            head.keys.remember(known);
        }
        Ok(SubmittedChange {
            id: plan.id,
            next,
            is_restriction,
            written,
        })
    }

    fn submit(
        self: &Arc<Self>,
        next: &Arc<Generation>,
        entry: ChangeRecord,
        id: SmolStr,
        attempt: u64,
        if_unwritten: IfUnwritten,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (ledger, next) = (Arc::clone(self), Arc::clone(next));
        let written = entry.clone();
        let attempts = Arc::clone(&self.attempts);
        // What was planned on a change that is not made must not be written, whatever revision it would get.
        let is_current = move || attempts.load(Ordering::Acquire) == attempt;
        let writes = vec![StoreWrite::Entry { entry, id }];
        self.writer.submit_if(writes, is_current, move |result| {
            let result = result.and_then(|()| ledger.apply_written(&next, written, attempt));
            match &result {
                Err(error) if error.is_conflict() => {
                    tracing::debug!(%error, "a change is planned again");
                }
                Err(error) if error.is_outcome_unknown() => {
                    tracing::error!(%error, "nobody knows whether a change is made");
                }
                Err(error) if if_unwritten == IfUnwritten::Undo => {
                    tracing::error!(%error, "a change could not be written and is not made");
                }
                _ => {}
            }
            if result.is_err() {
                ledger.roll_back(attempt);
            }
            done(result);
        })
    }

    /// Puts a written change into service.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutcomeUnknown`] if everything was loaded again since it was planned: then it comes from the store, if
    /// that has it.
    fn apply_written(
        &self,
        next: &Arc<Generation>,
        entry: ChangeRecord,
        attempt: u64,
    ) -> Result<(), StoreError> {
        self.unwritten.take_written(&entry);
        let _in_service = self
            .in_service
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.fleet.is_some() {
            if next.revision() <= *self.revisions.borrow() {
                // It came back from the database before the answer did.
                return Ok(());
            }
            if self.attempts.load(Ordering::Acquire) != attempt {
                let why = "everything was loaded again meanwhile";
                return Err(StoreError::OutcomeUnknown(why.to_owned()));
            }
        }
        let live = self.live();
        let before = live.as_ref().map(|live| &live.authority);
        self.facts.apply_change(&entry.change, entry.at, before);
        self.publish_generation(next);
        // There may be no watcher.
        let _ = self.changes.send(Arc::new(entry));
        Ok(())
    }

    fn publish_generation(&self, next: &Arc<Generation>) {
        self.revisions.send_modify(|newest| {
            // Writes are in order, so this is always newer; were it not, the newer one would stay.
            if next.revision() >= *newest {
                self.record_policies(next);
                self.live.store(Some(self.unwritten.applied_to(next)));
                *newest = next.revision();
            }
        });
        self.recorder.published(&next.snapshot);
    }

    /// Rolls planning back to the generation in service after a failed write.
    ///
    /// Changes planned on top of it are already submitted and will fail for their revision, behind what is planned
    /// anew. Only the first failure of an attempt rolls back; later ones must not undo the next attempt. The restrictions
    /// among them come before all other changes from here on, until they are planned again.
    fn roll_back(&self, attempt: u64) {
        let mut head = self.head();
        if head.attempt != attempt {
            return;
        }
        self.plan_anew(&mut head);
        let newest = head.revision;
        let failed = head.restrictions.drain(..);
        let failed = failed.filter(|(revision, _)| *revision > newest);
        if self.fleet.is_none() {
            self.unwritten.keep_places(failed.map(|(_, place)| place));
        }
    }

    /// Plans from what is in service. Nothing that is submitted will be written.
    fn plan_anew(&self, head: &mut Head) {
        head.attempt += 1;
        self.attempts.store(head.attempt, Ordering::Release);
        head.submitted.clear();
        head.generation = self.live();
        head.revision = match (&head.generation, &head.loaded) {
            (Some(live), _) => live.revision(),
            (None, Some(restored)) => restored.revision,
            (None, None) => 0,
        };
        let newest = head.revision;
        head.keys.roll_back(newest);
        // Whoever waits for what is not made looks again.
        self.revisions.send_modify(|_| {});
    }

    fn head(&self) -> std::sync::MutexGuard<'_, Head> {
        // State left by a panic was never submitted to the writer.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod restrictions_tests;
