//! `[state]`: the store of delegations, tasks, approvals and sessions, and retention.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The store of delegations, tasks, approvals, sessions and entities, and retention.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The database file, relative to the configuration file. It is created on the first start. Absent:
    /// [`StoreConfig::DEFAULT_FILE`] in the working directory.
    pub file: Option<PathBuf>,
    /// Hours for which ended delegations, tasks and approvals can still be listed; 1 to 87,600.
    pub keep_ended_hours: u32,
    /// Days for which changes are kept for `WatchChanges`; 1 to 3,650.
    pub keep_changes_days: u32,
    /// Idle hours after which a session may be evicted to make room for another; 1 to 8,760. After `keep_ended_hours`
    /// it is evicted in any case.
    pub session_idle_hours: u32,
}

impl StoreConfig {
    /// The default database file, in the working directory.
    pub const DEFAULT_FILE: &'static str = "./callgate.db";

    /// The path of the database file, for a configuration file in the directory `base`.
    pub fn path(&self, base: &Path) -> PathBuf {
        match &self.file {
            Some(file) => base.join(file),
            None => PathBuf::from(Self::DEFAULT_FILE),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            file: None,
            keep_ended_hours: 168,
            keep_changes_days: 90,
            session_idle_hours: 24,
        }
    }
}
