//! Whether the key files of a log hold the keys in use while it is written.
//!
//! Without them the next start is refused, or capsules are encrypted under a key that is nowhere. A file in the directory of the
//! log is put back from memory; what is found in its place is kept beside it. One elsewhere is its owner's: where it holds another
//! key of capsules, that is used from then on, and whatever else is wrong with it is told.
//!
//! Invariant: nothing is written into the directory of a log that another process writes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::capsule::CapsuleKey;
use crate::audit::log_files;
use crate::audit::log_lock::LogLock;
use crate::audit::tree::key_file;

/// The end of the name of a file with what was found in the place of a key.
const FOUND: &str = "found";
/// What the name of a key file is followed by while it is written.
const FRESH: &str = "new";

/// Which key of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Encrypts capsules.
    Capsules,
    /// Signs checkpoints.
    Signing,
    /// Verifies them.
    Verifying,
}

/// The log whose keys these are.
pub trait KeyedLog {
    /// A key file is not as it was, as this says. It replaces what was told of the same file before.
    fn key_trouble(&self, file: &Path, told: String);

    /// Of a file that could not be put back: it is as it was.
    fn key_is_back(&self, file: &Path);

    /// Capsules are encrypted under another key from now on.
    fn use_key(&self, key: CapsuleKey);
}

/// A key file of a log that is written.
pub struct KeyFile {
    path: PathBuf,
    holds: KeyUse,
    /// The key in use, as this program writes it.
    text: String,
    /// Whether it is the log's own, and put back.
    is_own: bool,
    /// Whether it is told that it is not as it was, and could not be mended.
    is_told: bool,
}

/// The key files of a log, and its lock.
pub struct KeyGuard {
    lock: Arc<LogLock>,
    files: Vec<KeyFile>,
}

/// What is wrong with a key file.
enum Trouble {
    Gone,
    Another,
    Unreadable(String),
}

/// What was done about it.
enum Mended {
    PutBack,
    /// The same, and what was found is in this file.
    Kept(PathBuf),
    Used,
    Not(Option<io::Error>),
}

impl KeyGuard {
    /// Guards these files as long as the lock is this process's, and holds it meanwhile.
    pub fn new(lock: Arc<LogLock>, files: Vec<KeyFile>) -> Self {
        Self { lock, files }
    }

    /// Looks after each file, unless the log is another process's by now.
    pub fn look(&mut self, log: &dyn KeyedLog) {
        if self.lock.look() {
            self.files.iter_mut().for_each(|file| file.look(log));
        }
    }
}

impl KeyFile {
    /// A file with this key, as this program writes it. Below `directory`, and no link, it is put back.
    pub fn new(directory: &Path, path: PathBuf, holds: KeyUse, text: String) -> Self {
        Self {
            is_own: path.starts_with(directory) && !path.is_symlink(),
            path,
            holds,
            text,
            is_told: false,
        }
    }

    /// Looks whether the next start would read the key in use, and mends it if it would not.
    fn look(&mut self, log: &dyn KeyedLog) {
        let Err(trouble) = self.check() else {
            if std::mem::take(&mut self.is_told) {
                log.key_is_back(&self.path);
            }
            return;
        };
        let mended = self.mend(&trouble, log);
        let is_mended = !matches!(mended, Mended::Not(_));
        if is_mended || !self.is_told {
            let told = format!("`{}` {trouble}{mended}", self.path.display());
            tracing::error!(
                target: "callgate::audit",
                file = %self.path.display(),
                "a key of the decision log is not what it was: {told}"
            );
            log.key_trouble(&self.path, told);
        }
        self.is_told = !is_mended;
    }

    fn check(&self) -> Result<(), Trouble> {
        match self.holds.read(&self.path) {
            Ok(text) if text == self.text => Ok(()),
            Ok(_) => Err(Trouble::Another),
            Err(error) => match fs::symlink_metadata(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Trouble::Gone),
                _ => Err(Trouble::Unreadable(error)),
            },
        }
    }

    fn mend(&mut self, trouble: &Trouble, log: &dyn KeyedLog) -> Mended {
        if self.is_own {
            return self
                .put_back(trouble)
                .unwrap_or_else(|error| Mended::Not(Some(error)));
        }
        let is_another = matches!(trouble, Trouble::Another) && self.holds == KeyUse::Capsules;
        match CapsuleKey::read_own(&self.path) {
            Ok(key) if is_another => {
                self.text = key.to_text();
                log.use_key(key);
                Mended::Used
            }
            _ => Mended::Not(None),
        }
    }

    fn put_back(&self, trouble: &Trouble) -> io::Result<Mended> {
        if let Some(folder) = self.path.parent() {
            log_files::create_folder(folder)?;
        }
        let mut mended = Mended::PutBack;
        // First the key in use: if it cannot be written now, what is there stays where it is.
        let fresh = PathBuf::from(format!("{}.{FRESH}", self.path.display()));
        key_file::write(&fresh, &self.text, self.holds.mode())?;
        // The key in use that others could read is not left lying about.
        let holds_it = |text: String| text.trim() == self.text.trim();
        let is_same = || fs::read_to_string(&self.path).is_ok_and(holds_it);
        if !matches!(trouble, Trouble::Gone) && !is_same() {
            let kept = PathBuf::from(format!("{}.{FOUND}", self.path.display()));
            fs::rename(&self.path, &kept)?;
            mended = Mended::Kept(kept);
        }
        fs::rename(&fresh, &self.path)?;
        Ok(mended)
    }
}

impl KeyUse {
    /// The key in a file, as this program writes it; or why a start would not take it.
    fn read(self, path: &Path) -> Result<String, String> {
        match self {
            Self::Capsules => CapsuleKey::read_own(path)
                .map(|key| key.to_text())
                .map_err(|error| error.to_string()),
            Self::Signing => key_file::read_signing_key(path)
                .map(|key| format!("{}\n", key.encode()))
                .map_err(|error| error.to_string()),
            Self::Verifying => key_file::read_verifying_key(path)
                .map(|key| format!("{}\n", key.encode()))
                .map_err(|error| error.to_string()),
        }
    }

    fn mode(self) -> u32 {
        match self {
            Self::Capsules | Self::Signing => 0o600,
            Self::Verifying => 0o644,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("was gone"),
            Self::Another => f.write_str("held another key"),
            Self::Unreadable(error) => write!(f, "could not be used ({error})"),
        }
    }
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutBack => f.write_str(", and is put back"),
            Self::Kept(file) => write!(
                f,
                ", and is put back; what was there is kept as `{}`",
                file.display()
            ),
            Self::Used => f.write_str(
                ", which is used from here on: capsules of before need the one that it held",
            ),
            Self::Not(Some(error)) => write!(f, ", and cannot be put back: {error}"),
            Self::Not(None) => f.write_str(": put it back before the next start"),
        }
    }
}

#[cfg(test)]
#[path = "key_guard_tests.rs"]
mod tests;
