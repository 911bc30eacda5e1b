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

use crate::call::live::authority::{Authority, Ended};
use crate::call::live::change::{Asked, Change, Entry};
use crate::service::effects::LiveFacts;
use crate::service::generation::{Generation, Load, Misfit};
use crate::service::keys::{KeyRoom, Keys, Known};
use crate::service::turns::Turns;
use crate::state::store::{KnownKey, Loaded, StoreError, Write};
use crate::state::writer::Writer;
use crate::telemetry::recorder::Recorder;

/// How many changes a watcher may lag behind before it has to read them from the store.
const CHANGES_KEPT: usize = 4_096;
/// How much of what is over is taken away in one step: a millisecond or two, in which no write begins.
const FORGOTTEN_AT_ONCE: usize = 512;
/// How often a step is tried while changes are under way, and how long apart.
const FORGET_ATTEMPTS: usize = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// A change, planned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was asked for, e.g. `GrantDelegation`.
    pub verb: &'static str,
    /// What changes.
    pub change: Change,
    /// What it makes or changes, for the answer of a repeated request.
    pub id: SmolStr,
}

/// A change that is durable and in service.
#[derive(Debug, Clone)]
pub struct Written {
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
    Refused(E),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// No more idempotency keys can be remembered.
    #[error("{0}")]
    ManyKeys(String),
    /// An entity that does not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is in service, and the order in which it changes.
pub struct Ledger {
    live: ArcSwapOption<Generation>,
    revisions: watch::Sender<u64>,
    unwritten: Unwritten,
    changes: broadcast::Sender<Arc<Entry>>,
    head: Mutex<Head>,
    writer: Writer,
    facts: Arc<LiveFacts>,
    recorder: Recorder,
    turns: Turns,
}

/// What became of a request at first sight.
enum Begun {
    /// It was carried out before.
    Repeated(KnownKey),
    /// It is on its way to the store.
    Submitted(
        SmolStr,
        Arc<Generation>,
        oneshot::Receiver<Result<Kept, StoreError>>,
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
    loaded: Option<Restored>,
    keys: Keys,
}

/// What the store held at the start, as far as generations are made of it.
struct Restored {
    revision: u64,
    authority: Authority,
    entities: Vec<(callgate_engine::cedar::EntityUID, Arc<str>)>,
    digest: Option<SmolStr>,
}

impl Ledger {
    /// A ledger over what a store held.
    pub fn new(
        loaded: &mut Loaded,
        writer: Writer,
        facts: Arc<LiveFacts>,
        recorder: Recorder,
        room: KeyRoom,
    ) -> Self {
        Self {
            live: ArcSwapOption::empty(),
            revisions: watch::Sender::new(0),
            unwritten: Unwritten::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            head: Mutex::new(Head {
                generation: None,
                revision: loaded.revision,
                attempt: 0,
                loaded: Some(Restored {
                    revision: loaded.revision,
                    authority: std::mem::take(&mut loaded.authority),
                    entities: std::mem::take(&mut loaded.entities),
                    digest: loaded.bundle_digest.take(),
                }),
                keys: Keys::new(std::mem::take(&mut loaded.keys), room),
            }),
            writer,
            facts,
            recorder,
            turns: Turns::default(),
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
    pub fn changes(&self) -> broadcast::Receiver<Arc<Entry>> {
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
    fn forget_some(&self, ended: &[Ended], before: SystemTime) -> bool {
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
    pub fn publish(self: &Arc<Self>, load: Load, now: SystemTime) -> Result<u64, WriteError<()>> {
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
            let entry = Entry {
                revision,
                at: now,
                verb: SmolStr::new_static("LoadDirectory"),
                change: Change::Bundle {
                    digest: digest.clone(),
                },
                asker: Asked {
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
        asked: Asked,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<Plan, E>,
    ) -> Result<Written, WriteError<E>> {
        let turn = self.turns.usual.lock().await;
        let begun = self.begin(asked, now, plan);
        drop(turn);
        self.finish(begun?).await
    }

    /// The same for what takes something away, ahead of everything else that waits.
    pub async fn write_first<E>(
        self: &Arc<Self>,
        asked: Asked,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<Plan, E>,
    ) -> Result<Written, WriteError<E>> {
        let turn = self.turns.first.lock().await;
        let begun = self.begin(asked, now, plan);
        drop(turn);
        self.finish(begun?).await
    }

    async fn finish<E>(&self, begun: Begun) -> Result<Written, WriteError<E>> {
        let (id, next, written) = match begun {
            Begun::Repeated(known) => return self.repeat(known).await,
            Begun::Unchanged(id, next, attempt) => return self.unchanged(id, next, attempt).await,
            Begun::Submitted(id, next, written) => (id, next, written),
            Begun::InMemory(id, generation) => return Ok(Written::in_memory(id, generation)),
        };
        match written.await.map_err(|_| StoreError::Closed)?? {
            Kept::InMemory(generation) => Ok(Written::in_memory(id, generation)),
            Kept::Written => Ok(Written {
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
        asked: Asked,
        now: SystemTime,
        plan: impl FnOnce(&Generation) -> Result<Plan, E>,
    ) -> Result<Begun, WriteError<E>> {
        let (done, written) = oneshot::channel();
        let mut head = self.head();
        let generation = head.generation.clone().ok_or(WriteError::NotReady)?;
        match head.keys.look(&asked) {
            Known::New => {}
            Known::Same(known) => return Ok(Begun::Repeated(known)),
            Known::Other => return Err(WriteError::KeyReused),
            Known::Full(message) => return Err(WriteError::ManyKeys(message)),
        }
        let plan = plan(&generation).map_err(WriteError::Refused)?;
        // Under a key it is written nevertheless, so that the key is known.
        if asked.key.is_none() && self.is_so(&generation, &plan.change) {
            return Ok(match self.unwritten.is_empty() {
                true => Begun::Unchanged(plan.id, generation, head.attempt),
                false => Begun::InMemory(plan.id, generation),
            });
        }
        if !self.unwritten.is_empty() {
            if !plan.takes_away() {
                return Err(StoreError::Write(WAITS.to_owned()).into());
            }
            let waiting = Waiting::of(plan, asked, now);
            let id = waiting.id.clone();
            let generation = self.take_away(&mut head, waiting)?;
            return Ok(Begun::InMemory(id, generation));
        }
        let takes_away = plan.takes_away();
        let revision = head.revision + 1;
        let next = Arc::new(generation.after(&plan.change, revision)?);
        let key = asked.key.clone().map(|key| (asked.caller.clone(), key));
        let entry = Entry {
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
        if let Some((caller, key)) = key {
            head.keys.remember(KnownKey {
                caller,
                text: key.text,
                request: key.request,
                revision,
                id: plan.id.clone(),
                at: now,
            });
        }
        Ok(Begun::Submitted(plan.id, next, written))
    }

    fn submit(
        self: &Arc<Self>,
        next: &Arc<Generation>,
        entry: Entry,
        id: SmolStr,
        attempt: u64,
        takes_away: bool,
        done: impl FnOnce(Result<Kept, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (ledger, next) = (Arc::clone(self), Arc::clone(next));
        let (written, named) = (entry.clone(), id.clone());
        self.writer
            .submit(vec![Write::Entry { entry, id }], move |result| {
                let kept = match result {
                    Ok(()) => {
                        ledger.put_changed(&next, written);
                        Ok(Kept::Written)
                    }
                    Err(error) => {
                        ledger.fall_back(&error, attempt);
                        let waiting = Waiting::again(written, named);
                        match takes_away {
                            true => {
                                let taken = ledger.take_away(&mut ledger.head(), waiting);
                                taken.map(Kept::InMemory)
                            }
                            false => Err(error),
                        }
                    }
                };
                done(kept);
            })
    }

    /// A change is written: into service with it.
    fn put_changed(&self, next: &Arc<Generation>, entry: Entry) {
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

    fn with(&self, load: Load, revision: u64) -> Result<Generation, Misfit> {
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

pub use unwritten::TAKE_AWAY;
use unwritten::{Kept, Unwritten, WAITS, Waiting};

#[cfg(test)]
mod tests;
