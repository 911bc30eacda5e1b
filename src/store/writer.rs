//! The thread that owns the store and makes all writes.
//!
//! A caller hands over writes and a callback. Whatever has been submitted in the meantime becomes one commit, so all
//! of it waits for the disk once, which makes many small durable writes cheap.
//!
//! Writes reach the store in the order of submission, and callbacks run in that order. Writes that may be lost for a
//! second have a queue of their own, [`Writer::submit_behind`], so that nobody waits for them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use crate::store::backend::{Pruned, Retention, Store, StoreError, StoreWrite};
use crate::supervision::caught;

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;

/// What panics are logged as.
const PART: &str = "store";
/// The most submissions in one commit.
pub(super) const GROUP: usize = 256;
/// The most submissions in the queue; one more is rejected.
const WAITING: usize = 65_536;
/// The most background writes in one commit: a few milliseconds.
const BEHIND: usize = 512;
/// The most background submissions in their queue.
const BEHIND_WAITING: usize = 16;

type WriteCallback<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;
type PruneCallback = Box<dyn FnMut(Result<Pruned, StoreError>) + Send>;
type StoreAccess = Box<dyn FnOnce(Result<&mut dyn Store, StoreError>) + Send>;

/// A handle to the thread that owns the store. Dropping it writes what is queued and ends the thread.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<ThreadQueues>,
    thread: Mutex<Option<JoinHandle<()>>>,
    health: watch::Receiver<Option<StoreError>>,
}

/// The queues of the thread.
#[derive(Default)]
struct ThreadQueues {
    waiting: Mutex<WriterQueues>,
    came: Condvar,
}

#[derive(Default)]
struct WriterQueues {
    jobs: VecDeque<Job>,
    /// Background writes.
    behind: VecDeque<BackgroundWrite>,
    /// No more submissions are accepted.
    is_closed: bool,
}

enum Job {
    Write(Submission),
    /// Other access to the store, after everything before it is written.
    Access(StoreAccess),
    /// Reading, after everything before it is written, and perhaps more.
    Read(StoreAccess),
    Prune(Retention, PruneCallback),
}

struct Submission {
    writes: Vec<StoreWrite>,
    /// Whether it may still be written, asked right before.
    is_current: Option<Box<dyn Fn() -> bool + Send>>,
    done: WriteCallback<()>,
}

impl Submission {
    /// The error, if it may not be written any more.
    fn outdated(&self) -> Option<StoreError> {
        let is_current = self.is_current.as_ref().is_none_or(|it| it());
        (!is_current).then_some(StoreError::OutOfOrder { last: 0, found: 0 })
    }
}

/// A background submission, as far as it is not written yet.
struct BackgroundWrite {
    writes: VecDeque<StoreWrite>,
    /// The first error, if any.
    result: Result<(), StoreError>,
    done: WriteCallback<()>,
}

/// The next work of the thread.
struct WriterBatch {
    jobs: VecDeque<Job>,
    behind: Option<BackgroundWrite>,
}

impl Writer {
    /// Starts the thread that owns the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if no thread can be started.
    pub fn start(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let queue = Arc::new(ThreadQueues::default());
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

    /// Writes all of it or nothing, in one commit with concurrent submissions. `done` runs on the store's thread, in
    /// the order of submission, so it should only pass the result on. Never waits.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if the queue is full and [`StoreError::Closed`] after [`Writer::close`]; `done` is not
    /// called then.
    pub fn submit(
        &self,
        writes: Vec<StoreWrite>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Write(Submission {
            writes,
            is_current: None,
            done: Box::new(done),
        }))
    }

    /// As [`Writer::submit`], unless `is_current` says right before the commit that what it was planned on is no longer
    /// so; then `done` gets [`StoreError::OutOfOrder`], perhaps after those of later submissions.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`].
    pub fn submit_if(
        &self,
        writes: Vec<StoreWrite>,
        is_current: impl Fn() -> bool + Send + 'static,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Write(Submission {
            writes,
            is_current: Some(Box::new(is_current)),
            done: Box::new(done),
        }))
    }

    /// Writes in the background what may be lost for a second: some of it after each commit of the other queue. It is
    /// not one transaction and has no order relative to other submissions; among themselves, background submissions
    /// keep their order. `done` gets the first error, if any.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`], with a queue of its own.
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

    /// Runs `work` with the store on its thread, after everything submitted before. Later submissions wait for it, so
    /// it should be short. It gets an error instead of the store if that has failed for good.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`].
    pub fn access(
        &self,
        work: impl FnOnce(Result<&mut dyn Store, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Access(Box::new(work)))
    }

    /// As [`Writer::access`], for work that writes nothing: it waits for the commit that is next, and others do not wait
    /// for it to be divided.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`].
    pub fn read(
        &self,
        work: impl FnOnce(Result<&mut dyn Store, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Read(Box::new(work)))
    }

    /// Prunes the store in small steps, with other writes between them. `each` gets what a step has removed, before
    /// anything else is read or written; the last step is not partial, unless the writer is closed meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`].
    pub fn prune(
        &self,
        before: Retention,
        each: impl FnMut(Result<Pruned, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.put(Job::Prune(before, Box::new(each)))
    }

    /// The error of the last commit; `None` if it succeeded. There is a commit every second.
    pub fn health(&self) -> watch::Receiver<Option<StoreError>> {
        self.health.clone()
    }

    /// The number of queued submissions.
    pub fn waiting(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Accepts no more submissions, writes what is queued, and returns once the store is closed.
    pub fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            // Called from a callback it would wait for itself; then the thread ends without being joined.
            if thread.thread().id() != thread::current().id() {
                // The thread catches panics of callbacks and has none of its own to report.
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

impl std::fmt::Debug for ThreadQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lock();
        f.debug_struct("Queue")
            .field("waiting", &waiting.jobs.len())
            .field("is_closed", &waiting.is_closed)
            .finish()
    }
}

impl ThreadQueues {
    fn lock(&self) -> MutexGuard<'_, WriterQueues> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job) -> Result<(), StoreError> {
        self.add(|waiting| {
            let is_full = waiting.jobs.len() >= WAITING;
            (!is_full).then(|| waiting.jobs.push_back(job))
        })
    }

    /// Adds work, unless the queue is closed or full.
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

    /// Waits for work; `None` once the queue is closed and empty.
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

/// The state of the thread.
struct Worker<'q> {
    store: Box<dyn Store>,
    queue: &'q ThreadQueues,
    told: watch::Sender<Option<StoreError>>,
    /// The store has panicked. Its state in memory is unknown, so it is not used again.
    is_broken: bool,
}

fn work(store: Box<dyn Store>, queue: &ThreadQueues, told: watch::Sender<Option<StoreError>>) {
    let mut worker = Worker {
        store,
        queue,
        told,
        is_broken: false,
    };
    while let Some(round) = queue.next() {
        let done = caught(PART, || {
            worker.work(round.jobs);
            if let Some(behind) = round.behind {
                worker.write_behind(behind);
            }
        });
        if done.is_err() {
            // What was under way is lost, and whoever waits for it hears so.
            worker.give_up();
        }
    }
}

impl Worker<'_> {
    fn work(&mut self, jobs: VecDeque<Job>) {
        let (mut group, mut reads) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Write(submission) => group.push(submission),
                Job::Read(work) => reads.push(work),
                Job::Access(work) => {
                    self.write(std::mem::take(&mut group));
                    self.access(work);
                }
                Job::Prune(before, each) => {
                    self.write(std::mem::take(&mut group));
                    self.prune(before, each);
                }
            }
        }
        self.write(group);
        for work in reads {
            self.access(work);
        }
    }

    /// Writes a part of a background submission; the rest goes back to the front of its queue.
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

    /// Makes one commit of all submissions. If it fails, each is committed by itself, so that none fails because of
    /// another.
    fn write(&mut self, group: Vec<Submission>) {
        let (mut current, mut outdated) = (Vec::with_capacity(group.len()), Vec::new());
        for submission in group {
            match submission.outdated() {
                None => current.push(submission),
                Some(error) => outdated.push((submission.done, error)),
            }
        }
        match current.len() {
            0 => {}
            1 => {
                for submission in current {
                    let result = self.commit(&submission.writes);
                    tell(submission.done, result);
                }
            }
            _ => self.write_together(current),
        }
        for (done, error) in outdated {
            tell(done, Err(error));
        }
    }

    fn write_together(&mut self, group: Vec<Submission>) {
        let writes: Vec<StoreWrite> = group.iter().flat_map(|it| it.writes.clone()).collect();
        if self.commit(&writes).is_ok() {
            for submission in group {
                tell(submission.done, Ok(()));
            }
            return;
        }
        for submission in group {
            // The callback of the one before may have made it outdated.
            let result = match submission.outdated() {
                None => self.commit(&submission.writes),
                Some(error) => Err(error),
            };
            tell(submission.done, result);
        }
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if writes.is_empty() && !self.is_broken {
            return Ok(());
        }
        let result = self.guarded(|store| store.commit(writes));
        // A write that does not fit what is there is no fault of the store.
        let fault = match &result {
            Err(error) if error.is_conflict() => return result,
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
        // The panic may have come from the store. Callers see that their channel is closed.
        let _ = self.guarded(|store| {
            work(Ok(store));
            Ok(())
        });
    }

    fn prune(&mut self, before: Retention, mut each: PruneCallback) {
        let step = self.guarded(|store| store.prune(&before));
        let is_partial = step.as_ref().is_ok_and(|step| step.is_partial);
        tell_caught(|| each(step));
        // The rest is pruned after the next start.
        if is_partial && !self.queue.is_closed() {
            // It was accepted before, so it is queued again however full the queue is.
            let rest = Job::Prune(before, each);
            self.queue.lock().jobs.push_back(rest);
        }
    }

    /// Uses the store no more.
    fn give_up(&mut self) {
        tracing::error!("nothing more is written until a restart");
        self.is_broken = true;
        self.told.send_replace(Some(StoreError::Closed));
    }

    /// Runs `work` and turns a panic of the store into an error. The store is not used after that.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.is_broken {
            return Err(StoreError::Closed);
        }
        let store = self.store.as_mut();
        caught(PART, || work(store)).unwrap_or_else(|_| {
            self.give_up();
            Err(StoreError::Closed)
        })
    }
}

fn tell<T>(done: WriteCallback<T>, result: Result<T, StoreError>) {
    tell_caught(|| done(result));
}

/// Runs a callback. A panic in it must not keep others from running.
fn tell_caught(tell: impl FnOnce()) {
    // Logged, and nobody's but its own.
    let _ = caught("what follows a write", tell);
}
