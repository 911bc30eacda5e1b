//! `[audit]`: the decision log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The decision log: what it promises, where it is, and how long records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// What a response waits for.
    pub mode: LogMode,
    /// The directory, relative to the configuration file. Absent: `audit` beside the database. It is created on the first
    /// start.
    pub directory: Option<PathBuf>,
    /// What becomes of a call whose record cannot be written.
    pub on_failure: OnLogFailure,
    /// MiB after which a file is closed and the next one begun; 1 to 1,024.
    pub segment_mib: u32,
    /// Minutes after which the same happens; 1 to 10,080.
    pub segment_minutes: u32,
    /// Days for which records are kept; 1 to 36,500.
    pub keep_days: u32,
    /// MiB of records that are kept, compressed as they are; 64 to 16,777,216.
    pub keep_mib: u32,
    /// Whether the exact Cedar requests of each decision are kept beside its record, encrypted.
    pub capsules: bool,
    /// Days for which these are kept; 1 to 36,500.
    pub keep_capsules_days: u32,
    /// MiB of them that are kept; 64 to 16,777,216.
    pub keep_capsules_mib: u32,
    /// The file with the key that encrypts them: 64 hexadecimal digits. Relative to the configuration file; absent:
    /// `capsule.key` in the directory of the log. It is made, for its owner alone, if it is not there.
    pub capsule_key_file: Option<PathBuf>,
    /// MiB of records that may wait to be written; 1 to 1,024.
    pub queue_mib: u32,
}

/// What a response waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogMode {
    /// Its record is handed to the operating system: it survives the end of the process, and no loss of power.
    #[default]
    Written,
    /// Its record is on the disk: it survives a loss of power.
    Synced,
    /// Nothing. What does not fit into the queue is dropped and counted.
    Async,
    /// There is no log.
    Off,
}

/// What becomes of a call whose record cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLogFailure {
    /// It is denied.
    #[default]
    Deny,
    /// The decision holds without a record. It is counted, and the status, the log and a metric say so.
    Degrade,
}

impl LogMode {
    /// The word in the configuration, the log and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Synced => "synced",
            Self::Async => "async",
            Self::Off => "off",
        }
    }
}

impl AuditConfig {
    /// The directory of the log, for a configuration file in `base` and a database at `database`.
    pub fn path(&self, base: &Path, database: &Path) -> PathBuf {
        match &self.directory {
            Some(directory) => base.join(directory),
            None => {
                let beside = database.parent().unwrap_or(Path::new(""));
                beside.join("audit")
            }
        }
    }

    /// The key file, for a configuration file in `base` and a log in `directory`.
    pub fn key_path(&self, base: &Path, directory: &Path) -> PathBuf {
        match &self.capsule_key_file {
            Some(file) => base.join(file),
            None => directory.join("capsule.key"),
        }
    }

    /// Bytes after which a file is closed.
    pub fn segment_bytes(&self) -> u64 {
        mib(self.segment_mib)
    }

    /// The age at which a file is closed.
    pub fn segment_age(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.segment_minutes))
    }

    /// How long records are kept, and how many bytes of them.
    pub fn keep(&self) -> (Duration, u64) {
        (days(self.keep_days), mib(self.keep_mib))
    }

    /// The same of capsules.
    pub fn keep_capsules(&self) -> (Duration, u64) {
        (days(self.keep_capsules_days), mib(self.keep_capsules_mib))
    }

    /// Bytes that may wait to be written.
    pub fn queue_bytes(&self) -> usize {
        usize::try_from(mib(self.queue_mib)).unwrap_or(usize::MAX)
    }
}

fn mib(count: u32) -> u64 {
    u64::from(count) << 20
}

fn days(count: u32) -> Duration {
    Duration::from_secs(86_400 * u64::from(count))
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            mode: LogMode::default(),
            directory: None,
            on_failure: OnLogFailure::default(),
            segment_mib: 64,
            segment_minutes: 60,
            keep_days: 365,
            keep_mib: 20_480,
            capsules: true,
            keep_capsules_days: 30,
            keep_capsules_mib: 20_480,
            capsule_key_file: None,
            queue_mib: 32,
        }
    }
}
