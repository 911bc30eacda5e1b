//! The lock of a log: one process writes it.
//!
//! What is locked is a file, not its name. Where the name is gone, or is another file's, a second process locks that one, and
//! both write. So whoever writes looks after the name.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::audit::log_files;

/// The file that is locked.
pub const LOCK: &str = "lock";
/// How often a file is locked whose name is taken away meanwhile.
const ATTEMPTS: usize = 3;

/// Why a log is not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be made or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("another process has it")]
    Held,
}

/// The lock of a log that is written.
#[derive(Debug)]
pub struct LogLock {
    path: PathBuf,
    held: Mutex<File>,
    /// Another process has a lock of this log: what it wrote is not known here, so this one never writes again.
    is_taken: AtomicBool,
    /// The name is gone and could not be put back.
    is_missed: AtomicBool,
}

impl LogLock {
    /// Locks the log of a directory.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK);
        for _ in 0..ATTEMPTS {
            let file = options().create(true).truncate(false).open(&path)?;
            lock(&file)?;
            // Between the two another process may have put a file of its own there.
            if fs::metadata(&path).is_ok_and(|named| is_file(&named, &file)) {
                return Ok(Self {
                    path,
                    held: Mutex::new(file),
                    is_taken: AtomicBool::new(false),
                    is_missed: AtomicBool::new(false),
                });
            }
        }
        Err(LockError::Held)
    }

    /// Whether another process has a lock of this log.
    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Acquire)
    }

    /// Looks after the name of the file, and makes it anew where it is gone. Returns whether this process still is the one
    /// that writes.
    pub fn look(&self) -> bool {
        if self.is_taken() {
            return false;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match fs::metadata(&self.path) {
            Ok(named) if is_file(&named, &held) => {
                self.is_missed.store(false, Ordering::Relaxed);
                return true;
            }
            Ok(_) => Err(LockError::Held),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_anew(),
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(file) => {
                tracing::error!(file = %self.path.display(), "the lock of the decision log was gone, and is made anew");
                *held = file;
                true
            }
            Err(LockError::Held) => {
                if !self.is_taken.swap(true, Ordering::AcqRel) {
                    tracing::error!(file = %self.path.display(), "another process has the lock of the decision log: this one writes it no more");
                }
                false
            }
            Err(LockError::Io(error)) => {
                if !self.is_missed.swap(true, Ordering::Relaxed) {
                    tracing::error!(file = %self.path.display(), %error, "the lock of the decision log is gone, and cannot be made anew");
                }
                true
            }
        }
    }

    fn make_anew(&self) -> Result<File, LockError> {
        if let Some(directory) = self.path.parent() {
            log_files::create_folder(directory)?;
        }
        match options().create_new(true).open(&self.path) {
            Ok(file) => lock(&file).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(LockError::Held),
            Err(error) => Err(error.into()),
        }
    }
}

fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true);
    options
}

fn lock(file: &File) -> Result<(), LockError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LockError::Held),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn is_file(named: &Metadata, file: &File) -> bool {
    let identity = |it: &Metadata| (it.dev(), it.ino());
    file.metadata()
        .is_ok_and(|found| identity(&found) == identity(named))
}

#[cfg(test)]
#[path = "log_lock_tests.rs"]
mod tests;
