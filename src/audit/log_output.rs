//! The files that are written: the current segment, the current file of capsules, and when they change.
//!
//! Start at [`LogOutput::write`]: either all records of a batch and their capsules are in the files, or none is
//! acknowledged.
//!
//! Invariant: indices are dense. An index is used up only by a record that is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::batch::{self, BatchCapsules, DIGEST, FinishedFrames, finish};
use crate::audit::capsule::{self, CapsuleError, CapsuleKey, CapsuleSealer};
use crate::audit::frame::{self, Contents};
use crate::audit::log_files::{self, CAPSULES, SEGMENTS};
use crate::audit::log_lock::LogLock;
use crate::audit::log_tree::{LogTree, LogTreeError};
use crate::audit::lost_records::{LostCounts, LostRanges};
use crate::audit::reader::LogError;
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::audit::rolling::{Rolling, append_and_sync};
use crate::audit::segment::{AppendError, Segment};

mod notices;
mod recovery;
pub use notices::NoticeCounts;
pub use recovery::warn_of_what_is_gone;

/// How often it is looked for the lock while there is much to write.
const LOCK_LOOKED_EVERY: Duration = Duration::from_millis(500);

/// When files are changed, and whether each batch is synced.
#[derive(Debug, Clone, Copy)]
pub struct OutputSettings {
    /// Bytes after which a new file is begun.
    pub segment_bytes: u64,
    /// Age after which a new file is begun.
    pub segment_age: Duration,
    /// Whether a batch is on the disk before it is acknowledged.
    pub is_synced: bool,
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be made, read or repaired.
    #[error("the decision log in `{path}`: {error}", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// Another process writes it.
    #[error("the decision log in `{}` is written by another process; each server has one of its own: `[audit] directory`", .0.display())]
    Locked(PathBuf),
    /// A file has a name that no file of this log can have.
    #[error("`{path}` is no file of this decision log, which ends with record {end}, or a checkpoint would cover what is missing: move the file away", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The index after the last record that is known.
        end: u64,
    },
    /// Its last file cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key of the capsules.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
    /// The tree over the records.
    #[error(transparent)]
    Tree(#[from] LogTreeError),
}

/// Why a batch is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The files cannot be written.
    #[error("{0}")]
    Append(#[from] AppendError),
    /// A new file cannot be made.
    #[error("a new file: {0}")]
    Create(io::Error),
    /// A capsule cannot be encrypted.
    #[error("{0}")]
    Capsule(#[from] CapsuleError),
    /// Another process writes the log: this one does not know any more what is in it.
    #[error(
        "another process has the lock of the log, and this one writes no more until it is started anew"
    )]
    Locked,
}

/// The files of a log that is written.
pub struct LogOutput {
    directory: PathBuf,
    settings: OutputSettings,
    segments: Rolling,
    capsules: Rolling,
    key: Option<CapsuleKey>,
    sealer: Option<CapsuleSealer>,
    /// The index of the next record.
    next: u64,
    /// The index of the first record that is still there.
    first: u64,
    notices: Vec<(SystemTime, Notice)>,
    notices_written: u64,
    /// No record has a later time, in nanoseconds since 1970.
    latest: u64,
    lost: LostCounts,
    lost_records: LostRanges,
    /// Reused for frames of notices and capsules.
    scratch: Vec<u8>,
    /// Reused for what is known of the frames that are appended next.
    finished: FinishedFrames,
    /// The tree over the records; `None` in a log that goes on without one.
    tree: Option<LogTree>,
    /// Files to repair to which nothing more is written.
    closed: Vec<Segment>,
    lock: Arc<LogLock>,
    /// When it was looked for the lock.
    lock_looked: Instant,
}

impl LogOutput {
    /// Opens the log of a directory, which is locked, and finds out what the last process left behind. What is to be repaired becomes
    /// notices, which the next batch writes first; it is repaired by [`LogOutput::repair`], and until then no file of
    /// records or capsules is changed.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(
        directory: &Path,
        settings: OutputSettings,
        key: Option<CapsuleKey>,
        lock: LogLock,
    ) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Io {
            path: directory.to_owned(),
            error,
        };
        let (segments, capsules) = (directory.join(SEGMENTS), directory.join(CAPSULES));
        for folder in [&segments, &capsules] {
            log_files::create_folder(folder).map_err(failed)?;
        }
        let mut output = Self {
            directory: directory.to_owned(),
            settings,
            segments: Rolling::new(segments, Contents::Records),
            capsules: Rolling::new(capsules, Contents::CapsuleGroups),
            key,
            sealer: None,
            next: 0,
            first: 0,
            notices: Vec::new(),
            notices_written: 0,
            latest: 0,
            lost: LostCounts::default(),
            lost_records: LostRanges::default(),
            scratch: Vec::new(),
            finished: FinishedFrames::default(),
            tree: None,
            closed: Vec::new(),
            lock: Arc::new(lock),
            lock_looked: Instant::now(),
        };
        output.recover_segments()?;
        output.recover_capsules().map_err(failed)?;
        Ok(output)
    }

    /// Cuts off incomplete ends. Has to come before anything is written.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`].
    pub fn repair(&mut self) -> Result<(), OpenError> {
        let current = [&mut self.segments.current, &mut self.capsules.current];
        let files = current.into_iter().flatten().chain(&mut self.closed);
        for file in files {
            file.repair().map_err(|error| OpenError::Io {
                path: file.path().to_owned(),
                error,
            })?;
        }
        self.closed.clear();
        Ok(())
    }

    /// The index of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The index of the first record that is still there.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Encrypts capsules under another key from here on.
    pub fn set_key(&mut self, key: CapsuleKey) {
        (self.key, self.sealer) = (Some(key), None);
    }

    /// The lock, which others look after as well.
    pub fn lock(&self) -> Arc<LogLock> {
        Arc::clone(&self.lock)
    }

    /// Looks after the lock, now and then.
    pub fn look_after_lock(&mut self) {
        if self.lock_looked.elapsed() >= LOCK_LOOKED_EVERY {
            self.lock_looked = Instant::now();
            self.lock.look();
        }
    }

    /// What was lost, as far as it was noticed since the start.
    pub fn lost(&self) -> LostCounts {
        self.lost
    }

    /// Writes notices that wait, and then a batch: frames of so many records with room for their headers and indices, as
    /// [`batch::push_unfinished`] leaves them, and their capsules.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: nothing of the batch counts as written. Notices wait for the next one.
    pub fn write(
        &mut self,
        frames: &mut [u8],
        records: u64,
        capsules: &BatchCapsules,
    ) -> Result<(), WriteError> {
        if self.lock.is_taken() {
            return Err(WriteError::Locked);
        }
        let written = self.try_write(frames, records, capsules);
        match written {
            // Given up: what is gone of it, or was found in it, is told before what goes on in the next one, with other indices.
            Err(WriteError::Append(AppendError::Replaced(_)))
                if self.segments.current.is_none() =>
            {
                self.try_write(frames, records, capsules)
            }
            other => other,
        }
    }

    fn try_write(
        &mut self,
        frames: &mut [u8],
        records: u64,
        capsules: &BatchCapsules,
    ) -> Result<(), WriteError> {
        self.begin_files()?;
        self.write_notices(frames)?;
        if frames.is_empty() {
            return Ok(());
        }
        let digests = match capsules.is_empty() {
            true => Vec::new(),
            false => self.write_capsules(capsules, records)?,
        };
        let of_group = |(group, digest)| {
            let found = batch::capsules_of(group).flatten();
            found.map(move |(position, _)| (position, digest))
        };
        let digests = capsules.groups().zip(digests).flat_map(of_group);
        finish(frames, self.next, digests, &mut self.finished);
        self.append(frames)
    }

    /// Whether the next batch is no more than appended to the files that are open: neither is one to be begun, nor waits a
    /// notice, nor has the tree to catch up.
    pub fn only_appends(&self, capsules: &BatchCapsules, now: Instant) -> bool {
        let is_current =
            |rolling: &Rolling| rolling.current.is_some() && !self.is_to_be_rolled(rolling, now);
        let is_ready = capsules.is_empty() || is_current(&self.capsules);
        let has_room = self.tree.as_ref().is_none_or(LogTree::has_room);
        let is_own = !self.lock.is_taken();
        is_own && self.notices.is_empty() && is_current(&self.segments) && is_ready && has_room
    }

    /// What is due while there is nothing to write: checks that the segment is still what was written, writes notices that
    /// wait, and begins new files.
    ///
    /// # Errors
    ///
    /// As [`LogOutput::write`].
    pub fn tick(&mut self) -> Result<(), WriteError> {
        let checked = self.segments.current.as_ref().map(Segment::check);
        if let Some(Err(AppendError::Replaced(why))) = checked {
            self.abandon_segment(why)?;
        }
        self.write(&mut [], 0, &BatchCapsules::default())
    }

    /// Makes everything survive a loss of power.
    pub fn sync(&self) {
        for rolling in [&self.capsules, &self.segments] {
            if let Some(Err(error)) = rolling.current.as_ref().map(Segment::sync) {
                tracing::error!(%error, "the decision log was not synced at the end");
            }
        }
    }

    /// Appends frames that were finished last. If the file is not what was written any more, it is given up.
    fn append(&mut self, frames: &[u8]) -> Result<(), WriteError> {
        let is_synced = self.settings.is_synced;
        let Some(segment) = &mut self.segments.current else {
            return Err(AppendError::Replaced("there is no file").into());
        };
        if let Err(error) = append_and_sync(segment, frames, is_synced) {
            if let AppendError::Replaced(why) = error {
                self.abandon_segment(why)?;
            }
            return Err(error.into());
        }
        let FinishedFrames { leaves, latest } = &self.finished;
        self.latest = self.latest.max(*latest);
        let first = self.next;
        self.next += leaves.len() as u64;
        if let Some(tree) = &mut self.tree
            && let Err(error) = tree.append(first, leaves)
        {
            tracing::error!(%error, "the decision log goes on without its tree until the next start");
            self.tree = None;
        }
        Ok(())
    }

    /// Writes the capsules of so many records, and returns the digest of each group's frame.
    fn write_capsules(
        &mut self,
        capsules: &BatchCapsules,
        records: u64,
    ) -> Result<Vec<[u8; DIGEST]>, WriteError> {
        let Some(key) = &self.key else {
            return Ok(Vec::new());
        };
        if self.capsules.current.is_none() {
            self.capsules.begin(self.next).map_err(WriteError::Create)?;
            self.sealer = None;
        }
        let sealer = match &mut self.sealer {
            Some(sealer) => sealer,
            none => none.insert(CapsuleSealer::new(key)?),
        };
        let mut frames = std::mem::take(&mut self.scratch);
        frames.clear();
        let mut digests = Vec::new();
        for group in capsules.groups() {
            let sealed = sealer.seal(self.next, records, group)?;
            frame::push(&mut frames, sealed);
            digests.push(capsule::frame_digest(sealed));
        }
        let is_synced = self.settings.is_synced;
        let appended = match &mut self.capsules.current {
            Some(file) => append_and_sync(file, &frames, is_synced),
            None => Err(AppendError::Replaced("there is no file")),
        };
        let appended = match appended {
            Err(AppendError::Replaced(why)) => {
                tracing::error!(
                    why,
                    "a file of capsules is given up, and a new one is begun"
                );
                let first = self.capsules.current.take().map_or(0, |file| file.first());
                let last = self.next.saturating_sub(1);
                self.lost.capsules += self.next.saturating_sub(first);
                let text = format!("capsules: {why}");
                self.notice_of(Kind::Lost, &text, 0, (first, last));
                let file = self.capsules.begin(self.next).map_err(WriteError::Create)?;
                append_and_sync(file, &frames, is_synced)
            }
            other => other,
        };
        self.scratch = frames;
        appended?;
        Ok(digests)
    }

    /// Begins new files where there is none, or where the current one is too large or too old.
    fn begin_files(&mut self) -> Result<(), WriteError> {
        if self.segments.current.is_none() {
            self.segments.begin(self.next).map_err(WriteError::Create)?;
        }
        let now = Instant::now();
        let due = [&self.segments, &self.capsules].map(|it| self.is_to_be_rolled(it, now));
        let rolled = [&mut self.segments, &mut self.capsules]
            .into_iter()
            .zip(due);
        for (rolling, _) in rolled.filter(|(_, is_due)| *is_due) {
            rolling.roll(self.next);
            self.sealer = None;
        }
        Ok(())
    }

    /// Whether there is a file with records that is too large or too old to be appended to.
    fn is_to_be_rolled(&self, rolling: &Rolling, now: Instant) -> bool {
        let age = now.saturating_duration_since(rolling.opened);
        let is_old = age >= self.settings.segment_age;
        rolling.current.as_ref().is_some_and(|current| {
            let is_large = current.length() >= self.settings.segment_bytes;
            (is_large || is_old) && current.first() != self.next
        })
    }
}
