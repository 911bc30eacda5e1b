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
    /// A PostgreSQL database that several servers share, in the place of the file, as libpq writes it:
    /// `postgres://user@host/database?sslrootcert=FILE`. Relative paths in it start at the configuration file.
    pub url: Option<String>,
    /// The file with the password of the database, if it is not in the URL.
    pub password_file: Option<PathBuf>,
    /// With `url`: the name by which people know this server; absent: the machine's and the process id.
    pub replica: Option<String>,
    /// With `url`: milliseconds for which this server decides without having heard from the database; 500 to 60,000.
    /// What is taken away is in force on all servers after this time at the latest.
    pub max_staleness_ms: u32,
    /// With `url`: seconds for which a start waits for a database that is away; 0 to 3,600.
    pub wait_seconds: u32,
    /// Hours for which ended delegations, tasks and approvals can still be listed; 1 to 87,600.
    pub keep_ended_hours: u32,
    /// Days for which changes are kept for `WatchChanges`; 1 to 3,650.
    pub keep_changes_days: u32,
    /// Hours without a call for which a session is kept at least; 1 to 8,760. After these and `keep_ended_hours` it is
    /// forgotten.
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
            url: None,
            password_file: None,
            replica: None,
            max_staleness_ms: 2_000,
            wait_seconds: 60,
            keep_ended_hours: 168,
            keep_changes_days: 90,
            session_idle_hours: 24,
        }
    }
}
