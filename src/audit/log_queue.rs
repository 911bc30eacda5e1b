//! What the handle of the decision log and those who write it share: the queue between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::archive::WrittenLog;
use crate::audit::batch::BatchCapsules;
use crate::audit::batch_outcome::BatchPromise;
use crate::audit::capsule::CapsuleKey;
use crate::audit::key_guard::KeyedLog;
use crate::audit::log_lock::LogLock;
use crate::audit::lost_records::LostCounts;
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::audit::tree::thread::TreeWatch;
use crate::config::audit::{LogMode, OnLogFailure};

/// How long the thread waits to be called before it looks after its files and writes what nobody waits for.
const TICK: Duration = Duration::from_millis(500);
/// How long records of mode `async` are gathered for one write, unless the queue fills up.
const GATHERED: Duration = Duration::from_millis(10);
/// The part of the queue that is gathered at most.
const GATHERED_PART: usize = 8;
/// How long it is waited for a notice to be signed, which takes a second as long as all is well. A disk that is full has to be freed
/// all the same.
const SIGNED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it is.
const SIGNED_LOOKED_EVERY: Duration = Duration::from_millis(50);

/// What handle and thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mode: LogMode,
    pub(super) on_failure: OnLogFailure,
    pub(super) directory: PathBuf,
    pub(super) max_queue: usize,
    /// Whether capsules are kept.
    pub(super) has_capsules: bool,
    /// The key of the capsules: another one from the moment on that its file is replaced by its owner.
    pub(super) key: Mutex<Option<CapsuleKey>>,
    /// What is told of key files, by file.
    pub(super) key_troubles: Mutex<BTreeMap<PathBuf, String>>,
    pub(super) tree: TreeWatch,
    pub(super) queue: Mutex<Queue>,
    pub(super) called: Condvar,
    /// The threads': it is given back when they end, and not when the last handle is dropped.
    pub(super) lock: Weak<LogLock>,
    pub(super) next: AtomicU64,
    /// The newest revision that it knew when it was opened.
    pub(super) newest_revision: u64,
    /// Notices that were queued and are written.
    pub(super) told: AtomicU64,
    pub(super) unrecorded: AtomicU64,
    pub(super) lost: Mutex<LostCounts>,
    pub(super) failure: Mutex<Option<Failure>>,
    /// Whether there is one: every call asks that.
    pub(super) is_failing: AtomicBool,
    /// Whether there is one, or was until a moment ago. A disk that is full may have room for a notice and not for what follows it.
    pub(super) is_doubtful: AtomicBool,
    pub(super) threads: Mutex<Threads>,
}

/// The threads of a log, once they are started.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub(super) writing: Option<JoinHandle<()>>,
    pub(super) archiving: Option<JoinHandle<()>>,
    /// Ends the thread that looks after files when it is dropped.
    pub(super) done: Option<Sender<()>>,
}

/// What waits to be written, and who is to write it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) batch: Batch,
    /// When the first record came of what is being written.
    pub(super) in_hand: Option<Instant>,
    /// Whether whoever has the writer has to look again once it is free.
    is_left: bool,
    /// Whether the thread has something to do.
    is_called: bool,
    /// Whether the thread waits to be called.
    is_idle: bool,
    /// Notices that were queued since the start.
    notices: u64,
    pub(super) is_closed: bool,
}

/// Records that are written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Frames with room for their headers and indices.
    pub(super) frames: Vec<u8>,
    pub(super) records: u64,
    pub(super) capsules: BatchCapsules,
    /// Who waits for these records, if somebody does.
    pub(super) waiting: Option<BatchPromise>,
    pub(super) notices: Vec<(SystemTime, Notice)>,
    /// Under which key capsules are encrypted from these on, if that changes.
    pub(super) new_key: Option<CapsuleKey>,
    /// Records that found no room.
    pub(super) dropped: u64,
    /// When the first of them came.
    pub(super) oldest: Option<Instant>,
}

/// Since when the log cannot be written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it was noticed.
    pub since: SystemTime,
    /// The first error.
    pub error: String,
}

impl Shared {
    /// Leaves what waits to whoever has the writer. Returns whether it was left already.
    pub(super) fn leave(&self) -> bool {
        std::mem::replace(&mut self.lock().is_left, true)
    }

    /// Whether something was left to whoever had the writer.
    pub(super) fn take_left(&self) -> bool {
        std::mem::take(&mut self.lock().is_left)
    }

    /// Has the thread write what waits.
    pub(super) fn call(&self, queue: &mut Queue) {
        queue.is_called = true;
        if std::mem::take(&mut queue.is_idle) {
            self.called.notify_one();
        }
    }

    /// A record was queued: has the thread write if it is for the thread to do.
    pub(super) fn note_record(&self, queue: &mut Queue) {
        let is_first = queue.batch.records == 1;
        match self.mode {
            LogMode::Written | LogMode::Off => {}
            LogMode::Synced if is_first => self.call(queue),
            LogMode::Async if is_first || self.is_much(queue) => self.call(queue),
            LogMode::Synced | LogMode::Async => {}
        }
    }

    /// Waits until there is something to do for the thread. Returns whether the log is closed; nothing comes after that.
    pub(super) fn wait(&self) -> bool {
        let mut queue = self.lock();
        if !queue.is_called {
            queue = self.wait_for_call(queue, TICK);
        }
        if self.mode == LogMode::Async && queue.batch.records > 0 && !self.is_much(&queue) {
            queue.is_called = false;
            queue = self.wait_for_call(queue, GATHERED);
        }
        queue.is_called = false;
        queue.is_closed
    }

    fn wait_for_call<'q>(
        &self,
        mut queue: MutexGuard<'q, Queue>,
        limit: Duration,
    ) -> MutexGuard<'q, Queue> {
        if queue.is_closed {
            return queue;
        }
        queue.is_idle = true;
        let waited = self.called.wait_timeout(queue, limit);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_idle = false;
        queue
    }

    fn is_much(&self, queue: &Queue) -> bool {
        queue.batch.bytes() >= self.max_queue / GATHERED_PART
    }

    /// What was taken is dealt with.
    pub(super) fn note_batch_done(&self) {
        self.lock().in_hand = None;
    }

    /// The writer has panicked: nothing is written until a restart.
    pub(super) fn end_by_panic(&self) {
        if self.failure().is_none() {
            tracing::error!(
                "a writer of the decision log panicked; nothing is written until a restart"
            );
        }
        self.set_failure(Some(Failure {
            since: SystemTime::now(),
            error: "a writer of the decision log panicked; it is written again after a restart"
                .to_owned(),
        }));
        self.end();
    }

    /// Nothing more is taken, and whoever waits hears so.
    pub(super) fn end(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        queue.batch.waiting = None;
        drop(queue);
        self.threads().done = None;
    }

    /// Queues a notice, and returns how many were queued with it.
    pub(super) fn notice(&self, notice: Notice) -> u64 {
        let mut queue = self.lock();
        queue.batch.notices.push((SystemTime::now(), notice));
        queue.notices += 1;
        self.call(&mut queue);
        queue.notices
    }

    /// So many notices more are written.
    pub(super) fn note_told(&self, count: u64) {
        self.told.fetch_add(count, Ordering::AcqRel);
    }

    pub(super) fn mode(&self) -> LogMode {
        self.mode
    }

    pub(super) fn key_id(&self) -> Option<String> {
        self.key().as_ref().map(CapsuleKey::id)
    }

    pub(super) fn key(&self) -> MutexGuard<'_, Option<CapsuleKey>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn key_troubles(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        let troubles = self.key_troubles.lock();
        troubles.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call goes on whose record cannot be written.
    pub(super) fn goes_on(&self) -> bool {
        self.on_failure == OnLogFailure::Degrade
    }

    /// Whether calls are denied now, since the log is known to be broken.
    pub(super) fn must_deny(&self) -> bool {
        !self.goes_on() && self.is_failing()
    }

    /// Whether a response waits for its record: in mode `async` only while it is doubtful that it can be written, and calls are
    /// denied without one.
    pub(super) fn is_waited_for(&self) -> bool {
        match self.mode {
            LogMode::Written | LogMode::Synced => true,
            LogMode::Async => !self.goes_on() && self.is_doubtful.load(Ordering::Acquire),
            LogMode::Off => false,
        }
    }

    /// The log has been written for long enough since it could not be.
    pub(super) fn trust(&self) {
        self.is_doubtful.store(false, Ordering::Release);
    }

    pub(super) fn wrote(&self, next: u64, lost: LostCounts) {
        self.next.store(next, Ordering::Release);
        *self.lost() = lost;
    }

    pub(super) fn lost(&self) -> MutexGuard<'_, LostCounts> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_unrecorded(&self, count: u64) {
        self.unrecorded.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        if !self.is_failing() {
            return None;
        }
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_failure(&self, failure: Option<Failure>) {
        let mut known = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(failure.is_some(), Ordering::Release);
        if failure.is_some() {
            self.is_doubtful.store(true, Ordering::Release);
        }
        *known = failure;
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes what waits, into a batch that is empty. Only for whoever has the writer.
    pub(super) fn take(&mut self, batch: &mut Batch) {
        std::mem::swap(&mut self.batch, batch);
        self.in_hand = batch.oldest;
    }
}

impl WrittenLog for Shared {
    fn end(&self) -> Option<u64> {
        let lock = self.lock.upgrade().filter(|lock| !lock.is_taken());
        lock.map(|_| self.next.load(Ordering::Acquire))
    }

    fn tell(&self, notice: Notice, done: &Receiver<()>) -> bool {
        let number = self.notice(notice);
        let until = Instant::now() + SIGNED_WITHIN;
        let mut end = None;
        while Instant::now() < until {
            if self.told.load(Ordering::Acquire) >= number {
                let end = *end.get_or_insert_with(|| self.next.load(Ordering::Acquire));
                let tree = self.tree.state();
                if tree.signed >= end || tree.fault.is_some() {
                    return WrittenLog::end(self).is_some();
                }
            }
            match done.recv_timeout(SIGNED_LOOKED_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return false,
            }
        }
        // Nothing of a log that another process writes by now.
        WrittenLog::end(self).is_some()
    }
}

impl KeyedLog for Shared {
    fn key_trouble(&self, file: &Path, told: String) {
        self.notice(Notice {
            kind: Kind::KeyFile.into(),
            text: told.clone(),
            ..Notice::default()
        });
        self.key_troubles().insert(file.to_owned(), told);
    }

    fn key_is_back(&self, file: &Path) {
        self.key_troubles().remove(file);
    }

    fn use_key(&self, key: CapsuleKey) {
        *self.key() = Some(key.clone());
        self.lock().batch.new_key = Some(key);
    }
}

impl Batch {
    /// Bytes of the records and their capsules.
    pub(super) fn bytes(&self) -> usize {
        self.frames.len() + self.capsules.len()
    }

    /// Whether there is nothing but records in it.
    pub(super) fn is_plain(&self) -> bool {
        self.notices.is_empty() && self.dropped == 0 && self.new_key.is_none()
    }

    /// Empties it, and keeps its buffers.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.capsules.clear();
        self.waiting = None;
        self.notices.clear();
        self.new_key = None;
        (self.records, self.dropped) = (0, 0);
        self.oldest = None;
    }
}
