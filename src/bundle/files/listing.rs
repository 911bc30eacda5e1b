//! What a directory holds at one moment, without what its files say: enough to tell whether it has changed since.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The files of a bundle by their names, and where its directory really is. Two listings are equal if nothing was
/// written, replaced, added or taken away between them.
#[derive(Debug, Clone)]
pub struct DirectoryListing {
    root: PathBuf,
    files: BTreeMap<String, Stamp>,
    /// When something in the directory was last changed, as far as the file system says.
    newest: Option<SystemTime>,
}

/// What changes when a file is written or replaced. The time of the last change of its inode (`ctime`) cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    resolved: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl PartialEq for DirectoryListing {
    /// When a directory was changed does not count: what is not part of the bundle may come and go.
    fn eq(&self, other: &Self) -> bool {
        (&self.root, &self.files) == (&other.root, &other.files)
    }
}

impl DirectoryListing {
    /// Nothing yet of a directory that is really here.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            newest: None,
        }
    }

    /// A file of the bundle, by its name in the directory, and where it really is.
    pub fn file(&mut self, name: &str, resolved: &Path, metadata: &Metadata) {
        self.time_of(metadata);
        let stamp = Stamp {
            resolved: resolved.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        self.files.insert(name.to_owned(), stamp);
    }

    /// A file or a directory that was looked at.
    pub fn time_of(&mut self, metadata: &Metadata) {
        let seconds = u64::try_from(metadata.ctime()).ok();
        let changed = seconds.and_then(|seconds| {
            let nanos = u32::try_from(metadata.ctime_nsec()).unwrap_or_default();
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
        });
        self.newest = self.newest.max(changed);
    }

    /// For how long nothing has changed; nothing if the file system's clock is ahead.
    pub fn rested_for(&self, now: SystemTime) -> Duration {
        let since = self.newest.map(|newest| now.duration_since(newest));
        since.and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
