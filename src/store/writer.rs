//! The one thread that writes.
//!
//! Whoever writes hands over what is to be written and a function to be told. What has piled up
//! meanwhile becomes one commit: the disk is waited for once for all of it, which is what makes many
//! small durable writes cheap.
//!
//! Order is everything here: writes reach the store in the order in which they were submitted, and their
//! callers are told in that order. What may be lost for a second has a queue of its own,
//! [`Writer::submit_behind`], so that nobody waits for it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use crate::store::store::{Pruned, Retention, Store, StoreError, StoreWrite};

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;

/// The most submissions in one commit.
const GROUP: usize = 256;
/// The most that wait; one more is refused.
const WAITING: usize = 65_536;
/// The most writes of those that nobody waits for in one commit: a few milliseconds.
const BEHIND: usize = 512;
/// The most submissions of those that wait.
const BEHIND_WAITING: usize = 16;

type WriteCallback<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;
type StoreAccess = Box<dyn FnOnce(Result<&mut dyn Store, StoreError>) + Send>;

/// The way to the thread that owns the store. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    health: watch::Receiver<Option<StoreError>>,
}

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    waiting: Mutex<WriterQueues>,
    came: Condvar,
}

#[derive(Default)]
struct WriterQueues {
    jobs: VecDeque<Job>,
    /// What nobody waits for.
    behind: VecDeque<BackgroundWrite>,
    /// Nothing more is taken.
    is_closed: bool,
}

enum Job {
    Write(Submission),
    /// Something else to do with the store, once everything before it is written.
    Access(StoreAccess),
    Prune(Retention, Pruned, WriteCallback<Pruned>),
}

struct Submission {
    writes: Vec<StoreWrite>,
    done: WriteCallback<()>,
}

/// Writes without hurry, as far as they are not written yet.
struct BackgroundWrite {
    writes: VecDeque<StoreWrite>,
    /// How it went so far.
    result: Result<(), StoreError>,
    done: WriteCallback<()>,
}

/// What the thread does next.
struct WriterBatch {
    jobs: VecDeque<Job>,
    behind: Option<BackgroundWrite>,
}

impl Writer {
    /// Hands the store to a thread of its own.
    pub fn start(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let mine = Arc::clone(&queue);
        let (told, health) = watch::channel(None);
        let thread = thread::Builder::new()
            .name("callgate-store".to_owned())
            .spawn(move || work(store, &mine, told))
            .map_err(|error| StoreError::Write(error.to_string()))?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
            health,
        })
    }

    /// Writes all of it or nothing, together with what others write at the same time. `done` is told on
    /// the store's thread, so it should only pass the word on; in the order of submission.
    ///
    /// Never waits. Refuses, and does not call `done`, if too much waits ([`StoreError::Busy`]) or the
    /// writer was closed.
    pub fn submit(
        &self,
        writes: Vec<StoreWrite>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let done = Box::new(done);
        self.queue.put(Job::Write(Submission { writes, done }))
    }

    /// Writes what may be lost for a second: some of it after each commit of what is submitted, so that
    /// nobody waits long for it. It is not one transaction, and comes before or after anything else;
    /// among themselves, such submissions keep their order. `done` gets the first error, if any.
    ///
    /// Refuses like [`Writer::submit`], if many such submissions wait.
    pub fn submit_behind(
        &self,
        writes: Vec<StoreWrite>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let behind = BackgroundWrite {
            writes: writes.into(),
            result: Ok(()),
            done: Box::new(done),
        };
        self.queue.add(|waiting| {
            let is_full = waiting.behind.len() >= BEHIND_WAITING;
            (!is_full).then(|| waiting.behind.push_back(behind))
        })
    }

    /// Does something with the store on its thread, after everything submitted before. What is submitted
    /// later waits for it, so it should be short. It gets an error instead of the store if that broke.
    ///
    /// Refuses like [`Writer::submit`].
    pub fn access(
        &self,
        work: impl FnOnce(Result<&mut dyn Store, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Access(Box::new(work)))
    }

    /// Prunes the store in small steps, with other writes between them. `done` gets all that went;
    /// if the writer is closed meanwhile, what went until then.
    ///
    /// Refuses like [`Writer::submit`].
    pub fn prune(
        &self,
        before: Retention,
        done: impl FnOnce(Result<Pruned, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let done = Box::new(done);
        self.queue.put(Job::Prune(before, Pruned::default(), done))
    }

    /// Why the last commit failed; `None` if it did not. Something is committed every second.
    pub fn health(&self) -> watch::Receiver<Option<StoreError>> {
        self.health.clone()
    }

    /// How many submissions wait.
    pub fn waiting(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Takes no more, writes what waits, and returns once the store is closed.
    pub fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            // From a `done` it would wait for itself; the thread ends without being waited for.
            if thread.thread().id() != thread::current().id() {
                // It catches the panics of others, and has none of its own to tell.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lock();
        f.debug_struct("Queue")
            .field("waiting", &waiting.jobs.len())
            .field("is_closed", &waiting.is_closed)
            .finish()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, WriterQueues> {
        // Nothing can panic while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job) -> Result<(), StoreError> {
        self.add(|waiting| {
            let is_full = waiting.jobs.len() >= WAITING;
            (!is_full).then(|| waiting.jobs.push_back(job))
        })
    }

    /// Adds something, unless it is closed or there is no room.
    fn add(&self, add: impl FnOnce(&mut WriterQueues) -> Option<()>) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        add(&mut waiting).ok_or(StoreError::Busy)?;
        drop(waiting);
        self.came.notify_one();
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.came.notify_one();
    }

    /// Waits for something to do; nothing once it is closed and empty.
    fn next(&self) -> Option<WriterBatch> {
        let mut waiting = self.lock();
        loop {
            if !waiting.jobs.is_empty() || !waiting.behind.is_empty() {
                let count = waiting.jobs.len().min(GROUP);
                return Some(WriterBatch {
                    jobs: waiting.jobs.drain(..count).collect(),
                    behind: waiting.behind.pop_front(),
                });
            }
            if waiting.is_closed {
                return None;
            }
            let woken = self.came.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The store on its thread.
struct Worker<'q> {
    store: Box<dyn Store>,
    queue: &'q Queue,
    told: watch::Sender<Option<StoreError>>,
    /// The store panicked. Nothing is known of what it holds in memory, so it is not asked again.
    is_broken: bool,
}

fn work(store: Box<dyn Store>, queue: &Queue, told: watch::Sender<Option<StoreError>>) {
    let mut worker = Worker {
        store,
        queue,
        told,
        is_broken: false,
    };
    while let Some(round) = queue.next() {
        worker.work(round.jobs);
        if let Some(behind) = round.behind {
            worker.write_behind(behind);
        }
    }
}

impl Worker<'_> {
    fn work(&mut self, jobs: VecDeque<Job>) {
        let mut group = Vec::new();
        for job in jobs {
            match job {
                Job::Write(submission) => group.push(submission),
                Job::Access(work) => {
                    self.write(std::mem::take(&mut group));
                    self.access(work);
                }
                Job::Prune(before, gone, done) => {
                    self.write(std::mem::take(&mut group));
                    self.prune(before, gone, done);
                }
            }
        }
        self.write(group);
    }

    /// Some of it; the rest is next in its queue.
    fn write_behind(&mut self, mut behind: BackgroundWrite) {
        let count = behind.writes.len().min(BEHIND);
        let writes: Vec<StoreWrite> = behind.writes.drain(..count).collect();
        let result = self.commit(&writes);
        behind.result = behind.result.and(result);
        if behind.writes.is_empty() {
            tell(behind.done, behind.result);
        } else {
            self.queue.lock().behind.push_front(behind);
        }
    }

    /// One commit for all; if that fails, each by itself, so that none suffers from another.
    fn write(&mut self, group: Vec<Submission>) {
        match group.len() {
            0 => {}
            1 => {
                for submission in group {
                    let result = self.commit(&submission.writes);
                    tell(submission.done, result);
                }
            }
            _ => self.write_together(group),
        }
    }

    fn write_together(&mut self, group: Vec<Submission>) {
        let mut writes = Vec::with_capacity(group.len());
        let parts: Vec<_> = group
            .into_iter()
            .map(|submission| {
                let from = writes.len();
                writes.extend(submission.writes);
                (from..writes.len(), submission.done)
            })
            .collect();
        let together = self.commit(&writes);
        for (part, done) in parts {
            let result = match &together {
                Ok(()) => Ok(()),
                Err(_) => self.commit(&writes[part]),
            };
            tell(done, result);
        }
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if writes.is_empty() && !self.is_broken {
            return Ok(());
        }
        let result = self.guarded(|store| store.commit(writes));
        // Out of order is a matter of what was planned, not of the store.
        let fault = match &result {
            Err(StoreError::OutOfOrder { .. }) => return result,
            other => other.as_ref().err(),
        };
        self.told.send_if_modified(|told| {
            let is_new = told.as_ref() != fault;
            if is_new {
                *told = fault.cloned();
            }
            is_new
        });
        result
    }

    fn access(&mut self, work: StoreAccess) {
        if self.is_broken {
            return tell_caught(|| work(Err(StoreError::Closed)));
        }
        // A panic in here may have been the store's. Whoever waits finds its channel closed.
        let _ = self.guarded(|store| {
            work(Ok(store));
            Ok(())
        });
    }

    fn prune(&mut self, before: Retention, mut gone: Pruned, done: WriteCallback<Pruned>) {
        let step = match self.guarded(|store| store.prune(&before)) {
            Ok(step) => step,
            Err(error) => return tell(done, Err(error)),
        };
        gone.delegations.extend(step.delegations);
        gone.tasks.extend(step.tasks);
        gone.approvals.extend(step.approvals);
        gone.is_partial = step.is_partial;
        // The rest can wait for the next start.
        if !step.is_partial || self.queue.is_closed() {
            return tell(done, Ok(gone));
        }
        // Accepted once, so it has a place however many wait.
        let rest = Job::Prune(before, gone, done);
        self.queue.lock().jobs.push_back(rest);
    }

    /// A panic of the store is its end, not that of whoever waits for an answer.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.is_broken {
            return Err(StoreError::Closed);
        }
        let store = self.store.as_mut();
        catch_unwind(AssertUnwindSafe(|| work(store))).unwrap_or_else(|_| {
            tracing::error!("the store panicked; nothing more is written until a restart");
            self.is_broken = true;
            Err(StoreError::Closed)
        })
    }
}

fn tell<T>(done: WriteCallback<T>, result: Result<T, StoreError>) {
    tell_caught(|| done(result));
}

/// A panic of one who is told must not keep the others from being told.
fn tell_caught(tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        tracing::error!("a panic after a write");
    }
}
