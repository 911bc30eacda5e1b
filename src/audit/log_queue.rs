//! What the handle of the decision log and its thread share: the queue between them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::batch::BatchCapsules;
use crate::audit::batch_outcome::BatchPromise;
use crate::audit::capsule::CapsuleKey;
use crate::audit::record::schema::Notice;
use crate::audit::tree::thread::TreeWatch;
use crate::config::audit::{LogMode, OnLogFailure};

/// How long the thread waits for records before it looks after its files.
const TICK: Duration = Duration::from_millis(500);

/// What handle and thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mode: LogMode,
    pub(super) on_failure: OnLogFailure,
    pub(super) directory: PathBuf,
    pub(super) max_queue: usize,
    pub(super) key: Option<CapsuleKey>,
    pub(super) tree: TreeWatch,
    pub(super) queue: Mutex<Queue>,
    pub(super) came: Condvar,
    pub(super) next: AtomicU64,
    pub(super) unrecorded: AtomicU64,
    pub(super) failure: Mutex<Option<Failure>>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Frames with room for their headers and indices.
    pub(super) frames: Vec<u8>,
    pub(super) records: u64,
    pub(super) capsules: BatchCapsules,
    /// Who waits for these records, if somebody does.
    pub(super) waiting: Option<BatchPromise>,
    pub(super) notices: Vec<(SystemTime, Notice)>,
    /// Records that found no room.
    pub(super) dropped: u64,
    /// When the first of them came.
    pub(super) oldest: Option<Instant>,
    /// The same of what is being written.
    pub(super) in_hand: Option<Instant>,
    pub(super) is_closed: bool,
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
    /// Waits for something to write, and takes it. Returns whether the log is closed; nothing comes after that.
    pub(super) fn take(&self, batch: &mut Queue) -> bool {
        let mut queue = self.lock();
        queue.in_hand = None;
        if queue.records == 0 && queue.notices.is_empty() && !queue.is_closed {
            let waited = self.came.wait_timeout(queue, TICK);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let is_closed = queue.is_closed;
        std::mem::swap(&mut *queue, batch);
        queue.is_closed = is_closed;
        queue.in_hand = batch.oldest;
        is_closed
    }

    /// Nothing more is taken, and whoever waits hears so.
    pub(super) fn end(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        queue.waiting = None;
    }

    pub(super) fn notice(&self, notice: Notice) {
        self.lock().notices.push((SystemTime::now(), notice));
        self.came.notify_one();
    }

    pub(super) fn mode(&self) -> LogMode {
        self.mode
    }

    pub(super) fn key_id(&self) -> Option<String> {
        self.key.as_ref().map(CapsuleKey::id)
    }

    /// Whether a call goes on without its record.
    pub(super) fn goes_on(&self) -> bool {
        self.mode == LogMode::Async || self.on_failure == OnLogFailure::Degrade
    }

    pub(super) fn wrote(&self, next: u64) {
        self.next.store(next, Ordering::Release);
    }

    pub(super) fn add_unrecorded(&self, count: u64) {
        self.unrecorded.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Empties it, and keeps its buffers.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.capsules.clear();
        self.waiting = None;
        self.notices.clear();
        (self.records, self.dropped) = (0, 0);
        (self.oldest, self.in_hand) = (None, None);
    }
}
