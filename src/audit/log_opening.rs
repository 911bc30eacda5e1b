//! Opens the decision log of a directory, and starts its threads.
//!
//! Start at [`AuditLog::prepare`]. Invariant: nothing is written into the directory, its lock apart, before this process has that
//! lock: the log may be another process's.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::audit::archive::{self, Retention};
use crate::audit::capsule::CapsuleKey;
use crate::audit::capsule_reader;
use crate::audit::key_guard::{KeyFile, KeyGuard, KeyUse};
use crate::audit::log::AuditLog;
use crate::audit::log_files;
use crate::audit::log_lock::{LOCK, LockError, LogLock};
use crate::audit::log_output::{self, LogOutput, OpenError, OutputSettings};
use crate::audit::log_queue::{Shared, Threads};
use crate::audit::log_tree;
use crate::audit::log_writer::{LogWriter, SharedWriter};
use crate::audit::newest_revision::newest_revision;
use crate::audit::tree::thread::TreeWatch;
use crate::config::audit::{AuditConfig, LogMode, OnLogFailure};
use crate::supervision::kept_up;

/// A log that is open, and of which nothing is changed yet. Its handle takes records, which wait until it is started.
pub struct PreparedLog {
    log: AuditLog,
    output: LogOutput,
    retention: Retention,
    keys: KeyGuard,
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
        let was_begun = directory.join(LOCK).exists();
        let lock = lock(directory)?;
        log_output::warn_of_what_is_gone(directory, key_file, was_begun, config.capsules);
        let key = match config.capsules {
            true => Some(capsule_key(directory, key_file)?),
            false => None,
        };
        let of_capsules = |key: &CapsuleKey| {
            let path = key_file.to_owned();
            KeyFile::new(directory, path, KeyUse::Capsules, key.to_text())
        };
        let mut keys: Vec<_> = key.iter().map(of_capsules).collect();
        let settings = OutputSettings {
            segment_bytes: config.segment_bytes(),
            segment_age: config.segment_age(),
            is_synced: config.mode == LogMode::Synced,
        };
        let mut output = LogOutput::open(directory, settings, key.clone(), lock)?;
        let tree = continue_tree(&mut output, &mut keys, directory, config)?;
        let keys = KeyGuard::new(output.lock(), keys);
        let shared = Arc::new(Shared {
            mode: config.mode,
            on_failure: config.on_failure,
            directory: directory.to_owned(),
            max_queue: config.queue_bytes(),
            has_capsules: key.is_some(),
            key: Mutex::new(key),
            key_troubles: Mutex::default(),
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
            is_doubtful: AtomicBool::new(false),
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
        mut keys: KeyGuard,
    ) -> std::io::Result<()> {
        let (done, is_done) = std::sync::mpsc::channel();
        let mut writer = LogWriter::new(output);
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
                    let mut look_after_keys = || keys.look(&*shared);
                    archive::run(
                        &shared.directory,
                        retention,
                        &mut look_after_keys,
                        &is_done,
                        &*shared,
                    );
                });
            })?;
        *self.shared.threads() = Threads {
            writing: Some(writing),
            archiving: Some(archiving),
            done: Some(done),
        };
        Ok(())
    }
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

/// Makes the directory, unless it is there, and locks the log in it.
fn lock(directory: &Path) -> Result<LogLock, OpenError> {
    let failed = |error| OpenError::Io {
        path: directory.to_owned(),
        error,
    };
    // Its parent has to be there: a name that is mistyped makes no log elsewhere.
    match log_files::folder_builder().create(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    LogLock::acquire(directory).map_err(|error| match error {
        LockError::Held => OpenError::Locked(directory.to_owned()),
        LockError::Io(error) => failed(error),
    })
}

/// The key in a file, which is made if it is not there. Warns if it is not that of the capsules that are there.
fn capsule_key(directory: &Path, key_file: &Path) -> Result<CapsuleKey, OpenError> {
    let is_there = key_file.exists();
    let key = CapsuleKey::read_or_create(key_file)?;
    if is_there && capsule_reader::newest_open_with(directory, &key) == Some(false) {
        tracing::warn!(
            file = %key_file.display(),
            "the newest capsules were encrypted under another key: the decisions that they belong to cannot be replayed without it"
        );
    }
    Ok(key)
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
#[path = "log_opening_tests.rs"]
mod tests;
