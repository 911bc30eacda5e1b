//! The files of a directory with their metadata, to detect changes without reading contents.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The files of a bundle by path, and the resolved path of its directory. Two listings are equal if nothing was
/// written, replaced, added or removed between them.
#[derive(Debug, Clone)]
pub struct DirectoryListing {
    root: PathBuf,
    files: BTreeMap<String, FileStamp>,
    /// Latest change in the directory according to the file system.
    newest: Option<SystemTime>,
}

/// Metadata that changes when a file is written or replaced; `ctime` cannot be set by users.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    resolved: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl PartialEq for DirectoryListing {
    /// Ignores the change times of directories: files outside of the bundle may come and go.
    fn eq(&self, other: &Self) -> bool {
        (&self.root, &self.files) == (&other.root, &other.files)
    }
}

impl DirectoryListing {
    /// An empty listing of the directory at this resolved path.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            newest: None,
        }
    }

    /// Adds a file of the bundle by its path in the directory, with its resolved path.
    pub fn file(&mut self, name: &str, resolved: &Path, metadata: &Metadata) {
        self.time_of(metadata);
        let stamp = FileStamp {
            resolved: resolved.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        self.files.insert(name.to_owned(), stamp);
    }

    /// Takes the change time of a visited file or directory into account.
    pub fn time_of(&mut self, metadata: &Metadata) {
        let seconds = u64::try_from(metadata.ctime()).ok();
        let changed = seconds.and_then(|seconds| {
            let nanos = u32::try_from(metadata.ctime_nsec()).unwrap_or_default();
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
        });
        self.newest = self.newest.max(changed);
    }

    /// Time since the last change; zero if the file system's clock is ahead of `now`.
    pub fn rested_for(&self, now: SystemTime) -> Duration {
        let since = self.newest.map(|newest| now.duration_since(newest));
        since.and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
