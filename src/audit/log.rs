//! The decision log while it is written: a queue, who writes it, and what responses wait for.
//!
//! Start at [`AuditLog::append`]. Whoever decided hands over an encoded envelope and waits for it with
//! [`LogReceipt::recorded`]; whoever writes puts indices in and writes everything that has come meanwhile at once, so that all
//! who wait share one write, and one sync in mode `synced`.
//!
//! Invariant: what was reported as recorded is recorded as the mode promises. Whatever is not recorded is counted, and the
//! count is a record itself as soon as one can be written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::batch::push_unfinished;
use crate::audit::batch_outcome::BatchReceipt;
use crate::audit::capsule::CapsuleKey;
use crate::audit::envelope;
use crate::audit::log_files::{self, CAPSULES, SEGMENTS};
use crate::audit::log_queue::{Failure, Shared, Threads};
use crate::audit::log_writer::SharedWriter;
use crate::audit::lost_records::LostCounts;
use crate::audit::record::schema::{Notice, notice};
use crate::audit::tree::thread::TreeState;
use crate::audit::turn;
use crate::config::audit::LogMode;

/// Records in mode `written` that are written without waiting for more: as many as a connection decides in one turn.
const MANY: u64 = 64;
/// How long the end waits for whoever looks after files.
const ARCHIVE_ENDS: Duration = Duration::from_secs(1);

/// A handle to the log. Cloning is cheap. Nothing is written after [`AuditLog::close`].
#[derive(Debug, Clone)]
pub struct AuditLog {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Arc<SharedWriter>,
}

/// The state of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The mode.
    pub mode: LogMode,
    /// Records written, notices included: the index of the next one.
    pub records: u64,
    /// Bytes of the files of records.
    pub bytes: u64,
    /// Bytes of the files of capsules.
    pub capsule_bytes: u64,
    /// Requests without a record since the start: how blind the log is.
    pub unrecorded: u64,
    /// What was recorded and is there no more, as far as it was noticed since the start.
    pub lost: LostCounts,
    /// Key files that were not as they were since the start, or are not, and what was done about it: a sentence each.
    pub key_troubles: Vec<String>,
    /// Records that wait to be written.
    pub queued: u64,
    /// Since when it cannot be written.
    pub failure: Option<Failure>,
    /// How far the tree over the records is signed, and what is wrong with it.
    pub tree: TreeState,
}

/// What a response has to wait for.
#[derive(Debug)]
#[must_use = "a response may leave only once its record is there"]
pub enum LogReceipt {
    /// Nothing, in this mode.
    Done,
    /// The record cannot be written, and the configuration says that the call is denied.
    Failed,
    /// For it to be written.
    Waiting(Waiting),
}

/// A record that is queued.
#[derive(Debug)]
pub struct Waiting {
    receipt: BatchReceipt,
    /// For those who write it themselves, as in mode `written`.
    writer: Option<Arc<SharedWriter>>,
    /// Whether it is the last of so many that they are to be written now.
    is_due: bool,
}

/// A record is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the decision log cannot be written")]
pub struct NotRecordedError;

impl LogReceipt {
    /// What a response waits for whose record is not written.
    fn unwritten(goes_on: bool) -> Self {
        match goes_on {
            true => Self::Done,
            false => Self::Failed,
        }
    }

    /// Whether there is nothing to wait for.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Waits.
    ///
    /// # Errors
    ///
    /// [`NotRecordedError`] if the record is not there and the call must not go on.
    pub async fn recorded(self) -> Result<(), NotRecordedError> {
        match self {
            Self::Done => Ok(()),
            Self::Failed => Err(NotRecordedError),
            Self::Waiting(waiting) => match waiting.recorded().await {
                true => Ok(()),
                false => Err(NotRecordedError),
            },
        }
    }
}

impl Waiting {
    /// Waits, and in mode `written` writes what is queued, unless somebody does: as the last of many, or once whatever else can
    /// go on here has had its turn ([`turn::others_turn`]), so that its records are written with this one.
    async fn recorded(mut self) -> bool {
        if let Some(writer) = self.writer.take() {
            if !self.is_due {
                turn::others_turn().await;
            }
            if !self.receipt.is_told() {
                writer.write_here();
            }
        }
        self.receipt.await
    }
}

impl AuditLog {
    /// Whether capsules are kept.
    pub fn keeps_capsules(&self) -> bool {
        self.shared.has_capsules
    }

    /// The key of the capsules, if they are kept.
    pub fn capsule_key(&self) -> Option<CapsuleKey> {
        self.shared.key().clone()
    }

    /// Hands over a record: an envelope of at most [`crate::audit::frame::MAX_RECORD`] bytes with index 0, 34 less with a capsule,
    /// and the capsule that goes with it. Copies both and waits for nothing.
    pub fn append(&self, envelope: &[u8], capsule: Option<&[u8]>) -> LogReceipt {
        let shared = &*self.shared;
        let mut queue = shared.lock();
        let is_full = queue.batch.bytes() >= shared.max_queue;
        if queue.is_closed || is_full {
            // A closed log is no longer there to count; requests are over by then.
            queue.batch.dropped += 1;
            drop(queue);
            return LogReceipt::unwritten(shared.goes_on() || !shared.is_waited_for());
        }
        let batch = &mut queue.batch;
        let capsule = capsule.filter(|_| shared.has_capsules);
        push_unfinished(&mut batch.frames, envelope, capsule.is_some());
        let position = batch.records;
        batch.records += 1;
        if position == 0 {
            batch.oldest = Some(Instant::now());
        }
        if let Some(bytes) = capsule {
            batch.capsules.push(position, bytes);
        }
        let receipt = match shared.is_waited_for() {
            true => LogReceipt::Waiting(Waiting {
                receipt: batch.waiting.get_or_insert_default().receipt(),
                writer: (shared.mode == LogMode::Written).then(|| Arc::clone(&self.writer)),
                is_due: position + 1 >= MANY,
            }),
            false => LogReceipt::Done,
        };
        shared.note_record(&mut queue);
        receipt
    }

    /// Whether the log was broken at the last attempt to write, and calls without a record are denied.
    pub fn must_deny(&self) -> bool {
        self.shared.must_deny()
    }

    /// The state of the log. Reads the sizes of its files: not for a request's thread.
    pub fn status(&self) -> LogStatus {
        let shared = &*self.shared;
        let size = |folder: &str| {
            let files = log_files::list(&shared.directory.join(folder)).unwrap_or_default();
            let sizes = files.iter().filter_map(|file| file.path.metadata().ok());
            sizes.map(|it| it.len()).sum()
        };
        LogStatus {
            mode: shared.mode,
            records: self.records(),
            bytes: size(SEGMENTS),
            capsule_bytes: size(CAPSULES),
            unrecorded: self.unrecorded(),
            lost: self.lost(),
            key_troubles: self.key_troubles(),
            queued: shared.lock().batch.records,
            failure: shared.failure(),
            tree: shared.tree.state(),
        }
    }

    /// Records written, notices included.
    pub fn records(&self) -> u64 {
        self.shared.next.load(Ordering::Acquire)
    }

    /// Requests without a record since the start.
    pub fn unrecorded(&self) -> u64 {
        let dropped = self.shared.lock().batch.dropped;
        dropped + self.shared.unrecorded.load(Ordering::Relaxed)
    }

    /// The newest revision that was given out, as far as the log knew when it was opened.
    pub fn newest_revision(&self) -> u64 {
        self.shared.newest_revision
    }

    /// Puts on record that the store holds the state of an older revision, `from`, though revisions up to `last` were given out.
    /// On a log that is not started yet: once it is.
    pub fn turned_back(&self, how: &str, from: u64, last: u64) {
        self.shared.notice(Notice {
            kind: notice::Kind::TurnedBack.into(),
            text: how.to_owned(),
            first: from,
            last,
            ..Notice::default()
        });
    }

    /// Puts on record by which policies is decided from here on: their digest, that of those before, if there were any, where they are
    /// from, and the revision at which they are in service.
    pub fn policies(&self, digest: &str, before: Option<&str>, source: &str, revision: u64) {
        self.shared.notice(Notice {
            kind: notice::Kind::Policies.into(),
            text: digest.to_owned(),
            before: before.unwrap_or_default().to_owned(),
            source: source.to_owned(),
            revision,
            ..Notice::default()
        });
    }

    /// Puts on record how many requests of a caller were rejected since it has no right to this RPC, and when the first was.
    pub fn refused(&self, caller: &str, right: &str, count: u64, since: SystemTime) {
        self.shared.notice(Notice {
            kind: notice::Kind::Refused.into(),
            text: caller.to_owned(),
            source: right.to_owned(),
            count,
            since: envelope::nanos(since),
            ..Notice::default()
        });
    }

    /// Puts on record what is only observed from here on, and what was before.
    pub fn observed(&self, what: String, before: Option<String>) {
        self.shared.notice(Notice {
            kind: notice::Kind::Observed.into(),
            text: what,
            before: before.unwrap_or_default(),
            ..Notice::default()
        });
    }

    /// Puts on record how the machine's clock and the time by which things expire are apart from here on; `None` once they agree.
    pub fn clock(&self, fault: Option<String>) {
        self.shared.notice(Notice {
            kind: notice::Kind::Clock.into(),
            text: fault.unwrap_or_else(|| "in order".to_owned()),
            ..Notice::default()
        });
    }

    /// What was recorded and is there no more, as far as it was noticed since the start.
    pub fn lost(&self) -> LostCounts {
        *self.shared.lost()
    }

    /// Key files that were not as they were since the start, or are not: a sentence each.
    pub fn key_troubles(&self) -> Vec<String> {
        self.shared.key_troubles().values().cloned().collect()
    }

    /// Records that wait to be written, and how long the oldest of those has waited that are not written yet.
    pub fn backlog(&self) -> (u64, Duration) {
        let queue = self.shared.lock();
        let oldest = queue.in_hand.or(queue.batch.oldest);
        (
            queue.batch.records,
            oldest.map(|at| at.elapsed()).unwrap_or_default(),
        )
    }

    /// Records that no signed checkpoint covers yet; those of a second at most while all is well.
    pub fn unsigned(&self) -> u64 {
        // Read first: the tree goes on meanwhile.
        let signed = self.shared.tree.state().signed;
        self.records().saturating_sub(signed)
    }

    /// Whether the log cannot be written now.
    pub fn is_failing(&self) -> bool {
        self.shared.is_failing()
    }

    /// The mode.
    pub fn mode(&self) -> LogMode {
        self.shared.mode()
    }

    /// Where the log is.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Writes what waits, and a notice of the end. Waits for the threads, and for no file that is being compressed before that.
    pub fn close(&self) {
        let Threads {
            writing,
            archiving,
            done,
        } = std::mem::take(&mut *self.shared.threads());
        // Who looks after files ends first, if it can: what it still finds is recorded.
        drop(done);
        let until = Instant::now() + ARCHIVE_ENDS;
        let is_busy = || archiving.as_ref().is_some_and(|it| !it.is_finished());
        while is_busy() && Instant::now() < until {
            std::thread::sleep(ARCHIVE_ENDS / 200);
        }
        {
            let mut queue = self.shared.lock();
            queue.is_closed = true;
            self.shared.call(&mut queue);
        }
        joined(writing);
        joined(archiving);
    }
}

/// Waits for the end of a thread.
fn joined(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|it| it.join().is_err()) {
        tracing::error!("a thread of the decision log panicked");
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
