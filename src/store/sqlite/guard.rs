//! Checks that the files being written are the ones that the next start will read.
//!
//! A file that was removed, replaced or truncated accepts writes as before: they succeed and are lost. So the paths
//! are looked up before and after each commit. After a loss the store stays failed until a restart, as the content of
//! the files at those paths is unknown.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::backend::StoreError;
use crate::store::sqlite::marker::{MarkerFile, StoreMark, beside};

/// Watches the files of an open store.
#[derive(Debug)]
pub(super) struct FileGuard {
    path: PathBuf,
    store: WatchedFile,
    log: WatchedFile,
    marker: MarkerFile,
    /// The loss that was found.
    lost: Option<String>,
}

/// A file, as last seen.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    what: &'static str,
    /// Device and inode; `None` until the file exists for the first time.
    is: Option<(u64, u64)>,
    /// The size when last seen. Neither file ever shrinks while a server has it open.
    bytes: u64,
}

impl FileGuard {
    /// Starts to watch a store that is open and has been written to.
    ///
    /// # Errors
    ///
    /// Any error of reading the files' metadata or of writing the marker.
    pub(super) fn start(path: &Path, mark: &StoreMark) -> std::io::Result<Self> {
        let marker = MarkerFile::put(path, mark)?;
        let mut guard = Self {
            path: path.to_owned(),
            store: WatchedFile::new(path.to_owned(), "the file"),
            log: WatchedFile::new(beside(path, "-wal"), "its log"),
            marker,
            lost: None,
        };
        if let Err(why) = guard.look() {
            return Err(std::io::Error::other(why));
        }
        Ok(guard)
    }

    /// Compares the files with those that were opened.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if they differ.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        if self.lost.is_none()
            && let Err(why) = self.look()
        {
            tracing::error!(
                store = %self.path.display(),
                why,
                "STORE_LOST: nothing more is written until a restart, as it would be lost; what was taken away stays so in memory"
            );
            self.lost = Some(why);
        }
        match &self.lost {
            None => Ok(()),
            Some(why) => Err(StoreError::Lost(why.clone())),
        }
    }

    /// Notes how many commits are on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] if they went to files that are gone.
    pub(super) fn committed(&mut self, commits: u64) -> Result<(), StoreError> {
        self.check()?;
        // The commit is durable. A marker that lags behind only detects less.
        if let Err(error) = self.marker.note(&self.path, commits) {
            tracing::error!(%error, "the marker of the store is not written");
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        self.store.look()?;
        self.log.look()
    }
}

impl WatchedFile {
    fn new(path: PathBuf, what: &'static str) -> Self {
        Self {
            path,
            what,
            is: None,
            bytes: 0,
        }
    }

    fn look(&mut self) -> Result<(), String> {
        let (what, path) = (self.what, self.path.display());
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            // A log that was never written does not exist yet.
            Err(_) if self.is.is_none() && what != "the file" => return Ok(()),
            Err(error) => return Err(format!("{what} `{path}` is gone: {error}")),
        };
        let is = (found.dev(), found.ino());
        if self.is.is_some_and(|known| known != is) {
            return Err(format!("{what} `{path}` was replaced by another"));
        }
        if found.len() < self.bytes {
            let (had, has) = (self.bytes, found.len());
            return Err(format!("{what} `{path}` was cut from {had} bytes to {has}"));
        }
        self.is = Some(is);
        self.bytes = found.len();
        Ok(())
    }
}
