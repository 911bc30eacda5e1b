//! The decision log while it is written: a queue, who writes it, and what responses wait for.
//!
//! Start at [`AuditLog::append`]. Whoever decided hands over an encoded envelope and waits for it with
//! [`LogReceipt::recorded`]; whoever writes puts indices in and writes everything that has come meanwhile at once, so that all
//! who wait share one write, and one sync in mode `synced`.
//!
//! Invariant: what was reported as recorded is recorded as the mode promises. Whatever is not recorded is counted, and the
//! count is a record itself as soon as one can be written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::archive::{self, Retention};
use crate::audit::batch::push_unfinished;
use crate::audit::batch_outcome::BatchReceipt;
use crate::audit::capsule::CapsuleKey;
use crate::audit::envelope;
use crate::audit::key_guard::KeyFile;
use crate::audit::log_files::{self, CAPSULES, SEGMENTS};
use crate::audit::log_output::{self, LogOutput, OpenError, OutputSettings};
use crate::audit::log_queue::{Failure, Shared};
use crate::audit::log_tree;
use crate::audit::log_writer::{LogWriter, SharedWriter};
use crate::audit::lost_records::LostCounts;
use crate::audit::newest_revision::newest_revision;
use crate::audit::record::schema::{Notice, notice};
use crate::audit::tree::thread::{TreeState, TreeWatch};
use crate::audit::turn;
use crate::config::audit::{AuditConfig, LogMode, OnLogFailure};
use crate::supervision::kept_up;

/// Records in mode `written` that are written without waiting for more: as many as a connection decides in one turn.
const MANY: u64 = 64;

/// A handle to the log. Cloning is cheap. Nothing is written after [`AuditLog::close`].
#[derive(Debug, Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
    writer: Arc<SharedWriter>,
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
    /// Opens the log in a directory and starts its threads. `None` in mode `off`.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(
        directory: &Path,
        key_file: &Path,
        config: &AuditConfig,
    ) -> Result<Option<Self>, OpenError> {
        let prepared = Self::prepare(directory, key_file, config)?;
        prepared.map(PreparedLog::start).transpose()
    }

    /// Opens the log in a directory without changing its records: what the last process left incomplete is cut off only by
    /// [`PreparedLog::start`]. `None` in mode `off`.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn prepare(
        directory: &Path,
        key_file: &Path,
        config: &AuditConfig,
    ) -> Result<Option<PreparedLog>, OpenError> {
        if config.mode == LogMode::Off {
            return Ok(None);
        }
        let failed = |error| OpenError::Io {
            path: directory.to_owned(),
            error,
        };
        // Its parent has to be there: a name that is mistyped makes no log elsewhere.
        match log_files::folder_builder().create(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        log_output::warn_of_what_is_gone(directory, key_file, config.capsules);
        let key = match config.capsules {
            true => Some(CapsuleKey::read_or_create(key_file)?),
            false => None,
        };
        let mut keys: Vec<_> = key
            .iter()
            .map(|key| KeyFile::new(directory, key_file.to_owned(), key.to_text(), 0o600))
            .collect();
        let settings = OutputSettings {
            segment_bytes: config.segment_bytes(),
            segment_age: config.segment_age(),
            is_synced: config.mode == LogMode::Synced,
        };
        let mut output = LogOutput::open(directory, settings, key.clone())?;
        let tree = continue_tree(&mut output, &mut keys, directory, config)?;
        let shared = Arc::new(Shared {
            mode: config.mode,
            on_failure: config.on_failure,
            directory: directory.to_owned(),
            max_queue: config.queue_bytes(),
            key,
            tree,
            queue: Mutex::default(),
            called: Condvar::new(),
            lock: Arc::downgrade(&output.lock()),
            next: AtomicU64::new(output.next()),
            newest_revision: newest_revision(directory)?,
            told: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
            lost: Mutex::default(),
            failure: Mutex::default(),
            is_failing: AtomicBool::new(false),
            threads: Mutex::default(),
        });
        Ok(Some(PreparedLog {
            log: Self {
                writer: Arc::new(SharedWriter::new(Arc::clone(&shared))),
                shared,
            },
            output,
            retention: Retention::from_config(config),
            keys,
        }))
    }

    fn start(
        &self,
        output: LogOutput,
        retention: Retention,
        mut keys: Vec<KeyFile>,
    ) -> std::io::Result<()> {
        let (done, is_done) = std::sync::mpsc::channel();
        let mut writer = LogWriter::new(output, done);
        writer.started(&self.shared);
        *self.writer.lock() = Some(writer);
        let writer = Arc::clone(&self.writer);
        let writing = thread::Builder::new()
            .name("callgate-audit".to_owned())
            .spawn(move || writer.run())?;
        let shared = Arc::clone(&self.shared);
        let archiving = thread::Builder::new()
            .name("callgate-archive".to_owned())
            .spawn(move || {
                kept_up("files of the decision log", || {
                    archive::run(&shared.directory, retention, &mut keys, &is_done, &*shared);
                });
            })?;
        self.shared.threads().extend([writing, archiving]);
        Ok(())
    }

    /// The key of the capsules, if they are kept.
    pub fn capsule_key(&self) -> Option<&CapsuleKey> {
        self.shared.key.as_ref()
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
            return LogReceipt::unwritten(shared.goes_on());
        }
        let batch = &mut queue.batch;
        let capsule = capsule.filter(|_| shared.key.is_some());
        push_unfinished(&mut batch.frames, envelope, capsule.is_some());
        let position = batch.records;
        batch.records += 1;
        if position == 0 {
            batch.oldest = Some(Instant::now());
        }
        if let Some(bytes) = capsule {
            batch.capsules.push(position, bytes);
        }
        let receipt = match shared.mode {
            LogMode::Written | LogMode::Synced => LogReceipt::Waiting(Waiting {
                receipt: batch.waiting.get_or_insert_default().receipt(),
                writer: (shared.mode == LogMode::Written).then(|| Arc::clone(&self.writer)),
                is_due: position + 1 >= MANY,
            }),
            LogMode::Async | LogMode::Off => LogReceipt::Done,
        };
        shared.note_record(&mut queue);
        receipt
    }

    /// Whether the log was broken at the last attempt to write, and calls without a record are denied.
    pub fn must_deny(&self) -> bool {
        !self.shared.goes_on() && self.is_failing()
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

    /// What was recorded and is there no more, as far as it was noticed since the start.
    pub fn lost(&self) -> LostCounts {
        *self.shared.lost()
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

    /// Writes what waits, and a notice of the end. Waits for the threads.
    pub fn close(&self) {
        {
            let mut queue = self.shared.lock();
            queue.is_closed = true;
            self.shared.call(&mut queue);
        }
        let threads = std::mem::take(&mut *self.shared.threads());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the decision log panicked");
            }
        }
    }
}

/// A log that is open, and of which nothing is changed yet. Its handle takes records, which wait until it is started.
pub struct PreparedLog {
    log: AuditLog,
    output: LogOutput,
    retention: Retention,
    keys: Vec<KeyFile>,
}

impl PreparedLog {
    /// The handle.
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// Repairs what the last process left behind, and starts the threads.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn start(self) -> Result<AuditLog, OpenError> {
        let Self {
            log,
            mut output,
            retention,
            keys,
        } = self;
        output.repair()?;
        let failed = |error| OpenError::Io {
            path: log.directory().to_owned(),
            error,
        };
        log.start(output, retention, keys).map_err(failed)?;
        Ok(log)
    }
}

/// Continues the tree over the records. If log and tree do not belong together, the log goes on without one or not at all, as
/// configured.
fn continue_tree(
    output: &mut LogOutput,
    keys: &mut Vec<KeyFile>,
    directory: &Path,
    config: &AuditConfig,
) -> Result<TreeWatch, OpenError> {
    match log_tree::start(
        directory,
        config,
        (output.first(), output.next()),
        output.lock(),
    ) {
        Ok(started) => {
            let watch = started.tree.watch();
            output.set_tree(started.tree);
            keys.extend(started.keys);
            Ok(watch)
        }
        Err(error) if config.on_failure == OnLogFailure::Degrade => {
            tracing::error!(%error, "the decision log goes on without its tree: nothing proves its records");
            Ok(TreeWatch::without_tree(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
