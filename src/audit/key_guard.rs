//! Whether the key files of a log hold the keys in use while it is written.
//!
//! Without them the next start is refused, or capsules are encrypted under a key that is nowhere. A file in the directory of the
//! log is put back from memory; what is found in its place is kept beside it, whatever was kept there before. One elsewhere is
//! its owner's: where it holds another key of capsules, that is used from then on, and whatever else is wrong with it is told.
//!
//! Invariant: nothing is written into the directory of a log that another process writes.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::audit::capsule::CapsuleKey;
use crate::audit::log_files;
use crate::audit::log_lock::LogLock;
use crate::audit::segment::sync_folder;
use crate::audit::tree::key_file;
use crate::audit::tree::note::MAX_NOTE_LEN;
use crate::audit::tree::tile_dir::read_text;

/// The end of the name of a file with what was found in the place of a key.
const FOUND: &str = "found";
/// How many such files there are of one key at most: `….found`, `….found.1` and so on.
const MOST_FOUND: usize = 16;
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
    /// Guards these files as long as the lock is this process's, and holds it meanwhile. What is no file now, as a pipe, is not
    /// guarded: to look at it would take what the next start reads.
    pub fn new(lock: Arc<LogLock>, mut files: Vec<KeyFile>) -> Self {
        let is_no_file = |it: &KeyFile| it.path.metadata().is_ok_and(|found| !found.is_file());
        files.retain(|it| !is_no_file(it));
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
        let is_up = |it: Component<'_>| it == Component::ParentDir;
        let is_below = path
            .strip_prefix(directory)
            .is_ok_and(|rest| !rest.components().any(is_up));
        Self {
            is_own: is_below && !path.is_symlink(),
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
        match is_another.then(|| CapsuleKey::read_own(&self.path)) {
            Some(Ok(key)) => {
                self.text = key.to_text();
                log.use_key(key);
                Mended::Used
            }
            _ => Mended::Not(None),
        }
    }

    fn put_back(&self, trouble: &Trouble) -> io::Result<Mended> {
        let folder = self.path.parent();
        if let Some(folder) = folder {
            log_files::create_folder(folder)?;
        }
        // First the key in use: if it cannot be written now, what is there stays where it is.
        let fresh = PathBuf::from(format!("{}.{FRESH}", self.path.display()));
        key_file::write(&fresh, &self.text, self.holds.mode())?;
        // The key in use that others could read is not left lying about.
        let is_same = || text_in(&self.path).is_ok_and(|text| text.trim() == self.text.trim());
        let mended = match matches!(trouble, Trouble::Gone) || is_same() {
            true => Mended::PutBack,
            false => Mended::Kept(self.keep_found()?),
        };
        fs::rename(&fresh, &self.path)?;
        folder.map_or(Ok(()), sync_folder)?;
        Ok(mended)
    }

    /// Keeps what is in the place of the key under another name, which nothing else has. It stays in its place as well, if it can
    /// have two names, so that the key in use replaces it in one step.
    fn keep_found(&self) -> io::Result<PathBuf> {
        let first = format!("{}.{FOUND}", self.path.display());
        let further = (1..MOST_FOUND).map(|number| format!("{first}.{number}"));
        for kept in [first.clone()].into_iter().chain(further) {
            let kept = PathBuf::from(kept);
            if fs::symlink_metadata(&kept).is_err() {
                fs::hard_link(&self.path, &kept).or_else(|_| fs::rename(&self.path, &kept))?;
                return Ok(kept);
            }
            if is_copy(&kept, &self.path) {
                return Ok(kept);
            }
        }
        Err(io::Error::other(format!(
            "{MOST_FOUND} files are kept beside it, `{first}` and others: move them away; the key in use is in `{}.{FRESH}`",
            self.path.display()
        )))
    }
}

/// Whether one file holds what another does, as far as a key can be long; a longer one is no copy of any. Links are not followed.
fn is_copy(kept: &Path, found: &Path) -> bool {
    let bytes_in = |path: &Path| -> io::Result<Option<Vec<u8>>> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(MAX_NOTE_LEN as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes).filter(|bytes| bytes.len() <= MAX_NOTE_LEN))
    };
    match (bytes_in(kept), bytes_in(found)) {
        (Ok(Some(kept)), Ok(Some(found))) => kept == found,
        // What cannot be read is kept beside it.
        _ => false,
    }
}

/// The text in a file. Of a pipe, for which nobody may ever write, or a device it is an error.
fn text_in(path: &Path) -> io::Result<String> {
    match fs::metadata(path)?.is_file() {
        true => read_text(path)?.ok_or_else(|| io::ErrorKind::NotFound.into()),
        false => Err(io::Error::other("it is no file")),
    }
}

impl KeyUse {
    /// The key in a file, as this program writes it; or why a start would not take it.
    fn read(self, path: &Path) -> Result<String, String> {
        text_in(path).map_err(|error| error.to_string())?;
        match self {
            Self::Capsules => CapsuleKey::read_own(path)
                .map(|key| key.to_text())
                .map_err(|error| error.to_string()),
            Self::Signing => key_file::read_signing_key(path)
                .map(|key| key.to_text())
                .map_err(|error| error.to_string()),
            Self::Verifying => key_file::read_verifying_key(path)
                .map(|key| key.to_text())
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
