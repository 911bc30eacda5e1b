//! The status of the bundle on disk, as the reloader reports it.

use std::sync::Arc;
use std::time::SystemTime;

/// The status of the bundle. Its last valid content stays in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleStatus {
    /// When it was last found valid.
    pub valid_at: SystemTime,
    /// The last failure; `None` if it is valid.
    pub failure: Option<BundleFailure>,
    /// The revision at which its content went into service.
    pub revision: u64,
    /// Whether the file system reports its changes.
    pub is_watched: bool,
    /// The file changes of the last load that went into service.
    pub last: FileChanges,
}

/// A failure to load the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFailure {
    /// When it was last found.
    pub at: SystemTime,
    /// The first diagnostics, with their locations.
    pub diagnostics: Vec<String>,
    /// The total number of diagnostics.
    pub count: usize,
    /// The number of failed attempts in a row.
    pub attempts: u64,
}

/// Names of files that were added, changed and removed; the first of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// Added files.
    pub added: Vec<Arc<str>>,
    /// Changed files.
    pub changed: Vec<Arc<str>>,
    /// Removed files.
    pub removed: Vec<Arc<str>>,
}
