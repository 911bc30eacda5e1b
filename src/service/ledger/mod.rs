//! The write side of the service: one order for all changes, and none in service before it is durable.
//!
//! A change is planned against the newest state, changes under way included, gets the next revision, and
//! goes to the writer. Once written it goes into service, in the same order. If writing fails, what
//! was planned on top of it fails as well; only what takes something away is in service nevertheless (`unwritten`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;
use tokio::sync::{broadcast, oneshot, watch};

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::domain::authority::state::{Authority, ExpiredRecord};
use crate::service::generation::{Generation, LoadedBundle, StoredEntityError};
use crate::service::idempotency::{IdempotencyKeys, KeyLimits, KeyLookup};
use crate::service::planning_queues::PlanningQueues;
use crate::service::side_effects::LiveFacts;
use crate::store::store::{StoreError, StoreWrite, StoredKey, StoredState};
use crate::store::writer::Writer;
use crate::telemetry::record::recorder::Recorder;

/// How many changes a watcher may lag behind before it has to read them from the store.
const CHANGES_KEPT: usize = 4_096;
/// How much of what is over is taken away in one step: a millisecond or two, in which no write begins.
const FORGOTTEN_AT_ONCE: usize = 512;
/// How often a step is tried while changes are under way, and how long apart.
const FORGET_ATTEMPTS: usize = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// A change, planned.
#[derive(Debug, Clone)]
pub struct PlannedChange {
    /// What was asked for, e.g. `GrantDelegation`.
    pub verb: &'static str,
    /// What changes.
    pub change: Change,
    /// What it makes or changes, for the answer of a repeated request.
    pub id: SmolStr,
}

/// A change that is durable and in service.
#[derive(Debug, Clone)]
pub struct CommittedChange {
    /// Its revision.
    pub revision: u64,
    /// What it made or changed.
    pub id: SmolStr,
    /// A generation that has it.
    pub generation: Arc<Generation>,
    /// Whether it survives a crash. What takes something away is in service at once, even if it cannot be written; then
    /// it is written as soon as it can be, under a later revision.
    pub is_durable: bool,
}

/// Why a change was not made. Nothing of it is in service.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError<E> {
    /// No directory is loaded.
    #[error("no policies are loaded")]
    NotReady,
    /// It was planned and found wrong.
    #[error("the change is refused")]
    Rejected(E),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// No more idempotency keys can be remembered.
    #[error("{0}")]
    TooManyKeys(String),
    /// An entity that does not fit.
    #[error(transparent)]
    StoredEntity(#[from] StoredEntityError),
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is in service, and the order in which it changes.
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
}

/// What became of a request at first sight.
enum PendingWrite {
    /// It was carried out before.
    Repeated(StoredKey),
    /// It is on its way to the store.
    Submitted(
        SmolStr,
        Arc<Generation>,
        oneshot::Receiver<Result<WriteResult, StoreError>>,
    ),
    /// It is so already, since this attempt and revision at the latest.
    Unchanged(SmolStr, Arc<Generation>, u64),
    /// It is in service, and not written.
    InMemory(SmolStr, Arc<Generation>),
}

/// The newest state, changes under way included.
struct Head {
    generation: Option<Arc<Generation>>,
    revision: u64,
    /// Goes up whenever the newest state falls back to what is in service.
    attempt: u64,
    /// What the store held at the start; of use until the first directory is in service.
    loaded: Option<RestoredState>,
    keys: IdempotencyKeys,
}

/// What the store held at the start, as far as generations are made of it.
struct RestoredState {
    revision: u64,
    authority: Authority,
    entities: Vec<(callgate_engine::cedar::EntityUID, Arc<str>)>,
    digest: Option<SmolStr>,
}

impl Ledger {
    /// A ledger over what a store held.
    pub fn new(
        loaded: &mut StoredState,
        writer: Writer,
        facts: Arc<LiveFacts>,
        recorder: Recorder,
        room: KeyLimits,
    ) -> Self {
        Self {
            live: ArcSwapOption::empty(),
            revisions: watch::Sender::new(0),
            unwritten: UnwrittenChanges::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            head: Mutex::new(Head {
                generation: None,
                revision: loaded.revision,
                attempt: 0,
                loaded: Some(RestoredState {
                    revision: loaded.revision,
                    authority: std::mem::take(&mut loaded.authority),
                    entities: std::mem::take(&mut loaded.entities),
                    digest: loaded.bundle_digest.take(),
                }),
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

    /// The newest revision in service, now and whenever it changes; 0 before the first.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Every change from now on, in order.
    pub fn changes(&self) -> broadcast::Receiver<Arc<ChangeRecord>> {
        self.changes.subscribe()
    }

    /// Forgets keys, and what of authority has been over since before a moment. Looks through everything, and then takes
    /// away a little at a time, between changes; where changes never rest, the rest is left until the next time. Never
    /// call it on a request.
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
                self.forget_some(some, before)
            });
            if !is_done {
                return;
            }
        }
    }

    /// Whether no change was under way, so that it could be done.
    fn forget_some(&self, ended: &[ExpiredRecord], before: SystemTime) -> bool {
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
        // The writer puts changes into service, and none is under way.
        self.live.store(Some(Arc::clone(&next)));
        head.generation = Some(next);
        true
    }

    /// The thread that writes.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Puts a directory into service and returns its revision. One that is what the store says was in
    /// service last keeps the revision. Waits for the store; never call it on a request.
    pub fn publish(
        self: &Arc<Self>,
        load: LoadedBundle,
        now: SystemTime,
    ) -> Result<u64, WriteError<()>> {
        let digest = SmolStr::new(&load.policy_set_digest);
        let (done, written) = std::sync::mpsc::sync_channel(1);
        let revision = {
            let mut head = self.head();
            let is_known = head.generation.is_none()
                && head
                    .loaded
                    .as_ref()
                    .is_some_and(|loaded| loaded.digest.as_ref() == Some(&digest));
            let revision = head.revision + u64::from(!is_known);
            let next = Arc::new(head.with(load, revision)?);
            next.warn_of_shadowed();
            if is_known {
                head.take(&next);
                self.put(&next);
                return Ok(revision);
            }
            let entry = ChangeRecord {
                revision,
                at: now,
                verb: SmolStr::new_static("LoadDirectory"),
                change: Change::Bundle {
                    digest: digest.clone(),
                },
                asker: ChangeOrigin {
                    caller: SmolStr::new_static("callgate"),
                    principal: None,
                    key: None,
                },
            };
            self.submit(&next, entry, digest, head.attempt, false, move |result| {
                // Nobody waits any more only if the publisher is gone.
                let _ = done.send(result.map(|_| ()));
            })?;
            head.take(&next);
            revision
        };
        written.recv().map_err(|_| StoreError::Closed)??;
        Ok(revision)
    }

    /// Plans a change against the newest state, writes it and puts it into service. `plan` runs while
    /// no other change is planned, so it must not wait for anything.
    pub async fn write<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<CommittedChange, WriteError<E>> {
        let turn = self.turns.usual.lock().await;
        let begun = self.begin(asked, now, plan);
        drop(turn);
        self.finish(begun?).await
    }

    /// The same for what takes something away, ahead of everything else that waits.
    pub async fn write_restriction<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<CommittedChange, WriteError<E>> {
        let turn = self.turns.first.lock().await;
        let begun = self.begin(asked, now, plan);
        drop(turn);
        self.finish(begun?).await
    }

    async fn finish<E>(&self, begun: PendingWrite) -> Result<CommittedChange, WriteError<E>> {
        let (id, next, written) = match begun {
            PendingWrite::Repeated(known) => return self.repeat(known).await,
            PendingWrite::Unchanged(id, next, attempt) => {
                return self.unchanged(id, next, attempt).await;
            }
            PendingWrite::Submitted(id, next, written) => (id, next, written),
            PendingWrite::InMemory(id, generation) => {
                return Ok(CommittedChange::in_memory(id, generation));
            }
        };
        match written.await.map_err(|_| StoreError::Closed)?? {
            WriteResult::InMemory(generation) => Ok(CommittedChange::in_memory(id, generation)),
            WriteResult::Written => Ok(CommittedChange {
                revision: next.revision(),
                id,
                generation: next,
                is_durable: true,
            }),
        }
    }

    /// Plans a change and hands it over, or finds that it was asked for before.
    fn begin<E>(
        self: &Arc<Self>,
        asked: ChangeOrigin,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<PendingWrite, WriteError<E>> {
        let (done, written) = oneshot::channel();
        let mut head = self.head();
        let generation = head.generation.clone().ok_or(WriteError::NotReady)?;
        match head.keys.look(&asked) {
            KeyLookup::New => {}
            KeyLookup::Repeated(known) => return Ok(PendingWrite::Repeated(known)),
            KeyLookup::Reused => return Err(WriteError::KeyReused),
            KeyLookup::Full(message) => return Err(WriteError::TooManyKeys(message)),
        }
        let plan = plan(&generation).map_err(WriteError::Rejected)?;
        // Under a key it is written nevertheless, so that the key is known.
        if asked.key.is_none() && self.is_so(&generation, &plan.change) {
            return Ok(match self.unwritten.is_empty() {
                true => PendingWrite::Unchanged(plan.id, generation, head.attempt),
                false => PendingWrite::InMemory(plan.id, generation),
            });
        }
        if !self.unwritten.is_empty() {
            if !plan.takes_away() {
                return Err(StoreError::Write(RESTRICTIONS_FIRST.to_owned()).into());
            }
            let waiting = UnwrittenChange::of(plan, asked, now);
            let id = waiting.id.clone();
            let generation = self.take_away(&mut head, waiting)?;
            return Ok(PendingWrite::InMemory(id, generation));
        }
        let takes_away = plan.takes_away();
        let revision = head.revision + 1;
        let next = Arc::new(generation.after(&plan.change, revision)?);
        let known = StoredKey::of(&asked, revision, plan.id.clone(), now);
        let entry = ChangeRecord {
            revision,
            at: now,
            verb: SmolStr::new_static(plan.verb),
            change: plan.change,
            asker: asked,
        };
        // Handed over under the lock, so that the order of revisions is the order of writing.
        let attempt = head.attempt;
        self.submit(
            &next,
            entry,
            plan.id.clone(),
            attempt,
            takes_away,
            move |result| {
                // Nobody waits any more if the request is gone; the change is made all the same.
                let _ = done.send(result);
            },
        )?;
        head.take(&next);
        if let Some(known) = known {
            head.keys.remember(known);
        }
        Ok(PendingWrite::Submitted(plan.id, next, written))
    }

    fn submit(
        self: &Arc<Self>,
        next: &Arc<Generation>,
        entry: ChangeRecord,
        id: SmolStr,
        attempt: u64,
        takes_away: bool,
        done: impl FnOnce(Result<WriteResult, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (ledger, next) = (Arc::clone(self), Arc::clone(next));
        let (written, named) = (entry.clone(), id.clone());
        self.writer
            .submit(vec![StoreWrite::Entry { entry, id }], move |result| {
                let kept = match result {
                    Ok(()) => {
                        ledger.apply_written(&next, written);
                        Ok(WriteResult::Written)
                    }
                    Err(error) => {
                        ledger.fall_back(&error, attempt);
                        let waiting = UnwrittenChange::again(written, named);
                        match takes_away {
                            true => {
                                let taken = ledger.take_away(&mut ledger.head(), waiting);
                                taken.map(WriteResult::InMemory)
                            }
                            false => Err(error),
                        }
                    }
                };
                done(kept);
            })
    }

    /// A change is written: into service with it.
    fn apply_written(&self, next: &Arc<Generation>, entry: ChangeRecord) {
        self.facts.changed(&entry.change, entry.at);
        self.put(next);
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(entry));
    }

    fn put(&self, next: &Arc<Generation>) {
        let snapshot = &next.snapshot;
        self.revisions.send_modify(|newest| {
            // Written in order, so this is always the newer one; were it not, the newer one stays.
            if next.revision() >= *newest {
                self.live.store(Some(self.unwritten.applied_to(next)));
                *newest = next.revision();
            }
        });
        self.recorder.published(
            next.revision(),
            snapshot.policy_count(),
            snapshot.entity_count(),
        );
    }

    /// A change was not written: what was planned on top of it is not to be built on.
    ///
    /// What was planned on top of it is on its way already and will fail for its revision, behind what is
    /// planned anew. Only the first failure of an attempt turns back; the others must not undo the next.
    fn fall_back(&self, error: &StoreError, attempt: u64) {
        tracing::error!(%error, "a change could not be written and is not made");
        let mut head = self.head();
        if head.attempt != attempt {
            return;
        }
        head.attempt += 1;
        head.generation = self.live();
        head.revision = match (&head.generation, &head.loaded) {
            (Some(live), _) => live.revision(),
            (None, Some(restored)) => restored.revision,
            (None, None) => 0,
        };
        let newest = head.revision;
        head.keys.fall_back(newest);
    }

    fn head(&self) -> std::sync::MutexGuard<'_, Head> {
        // What a panic left behind was never handed to the writer.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    /// This is the newest state now.
    fn take(&mut self, next: &Arc<Generation>) {
        self.revision = next.revision();
        self.generation = Some(Arc::clone(next));
    }

    fn with(&self, load: LoadedBundle, revision: u64) -> Result<Generation, StoredEntityError> {
        match (&self.generation, &self.loaded) {
            (Some(generation), _) => generation.with(load, revision),
            (None, Some(restored)) => {
                let entities = restored.entities.iter().cloned().collect();
                Generation::new(load, restored.authority.clone(), entities, revision)
            }
            (None, None) => {
                Generation::new(load, Authority::default(), Default::default(), revision)
            }
        }
    }
}

mod repeated;
mod unwritten;

pub use unwritten::RESTRICTIONS;
use unwritten::{RESTRICTIONS_FIRST, UnwrittenChange, UnwrittenChanges, WriteResult};

#[cfg(test)]
mod tests;
