//! The directory on disk, as whoever loads it tells: whether it is good, and what the last load changed.

use std::sync::Arc;
use std::time::SystemTime;

use crate::service::decisions::Service;

/// How the directory stands. What it brought when it was last good stays in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleStatus {
    /// When it was last found good.
    pub valid_at: SystemTime,
    /// What is wrong with it; `None` if nothing.
    pub fault: Option<BundleFailure>,
    /// The revision at which what it brought went into service.
    pub revision: u64,
    /// Whether its changes are noticed.
    pub is_watched: bool,
    /// What the last load that went into service changed.
    pub last: FileChanges,
}

/// What is wrong with the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFailure {
    /// When that was found last.
    pub at: SystemTime,
    /// The first faults, with their places.
    pub told: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// How many attempts in a row have failed.
    pub attempts: u64,
}

/// Names of files: which came, changed and went. The first of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// New ones.
    pub came: Vec<Arc<str>>,
    /// Other ones than before.
    pub changed: Vec<Arc<str>>,
    /// Those that are no longer there.
    pub went: Vec<Arc<str>>,
}

impl Service {
    /// Notes how the directory on disk stands.
    pub fn set_bundle_status(&self, directory: BundleStatus) {
        self.directory.store(Some(Arc::new(directory)));
    }

    /// How the directory on disk stands; `None` if nobody loads it again.
    pub fn directory(&self) -> Option<Arc<BundleStatus>> {
        self.directory.load_full()
    }
}
