//! A server in this process with a decision log, and `callgate replay` on it.

use std::path::Path;
use std::sync::Arc;

use callgate::audit::log::AuditLog;
use callgate::config::audit::AuditConfig;
use callgate::service::clock::SystemClock;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use tempfile::TempDir;

use crate::audit::log_reading::Contents;
use crate::support::command::{Ran, Workplace};
use crate::support::in_process::Running;
use crate::support::worlds;

/// The files of the directory besides those of the small world.
pub type Files<'f> = &'f [(&'f str, &'f str)];

/// A server with a log.
pub struct Stage {
    pub server: Running,
    pub log: AuditLog,
    pub folder: TempDir,
}

impl Stage {
    pub async fn new(config: &str, files: Files<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("capsule.key");
        let log = AuditLog::open(folder.path(), &key, &AuditConfig::default());
        let log = log.expect("a log").expect("it is on");
        let recorder = Recorder::new(RecorderParts {
            audit: Some(log.clone()),
            ..RecorderParts::default()
        });
        let world = worlds::small().files(files);
        let clock = Arc::new(SystemClock);
        let server = world.start_recorded(config, clock, recorder).await;
        Self {
            server,
            log,
            folder,
        }
    }

    /// What is in the log.
    pub fn contents(&self) -> Contents {
        Contents::read(self.folder.path())
    }

    /// Runs `callgate replay` on a directory with these files.
    pub fn replay(&self, files: Files<'_>, args: &[&str]) -> Ran {
        self.replay_in(worlds::small().files(files).write().path(), args)
    }

    /// Runs a verb with `--policies`, for a directory with these files, and `--log`.
    pub fn run(&self, args: &[&str], files: Files<'_>) -> Ran {
        let log = self.folder.path().to_str().expect("text");
        self.with_directory(&[args, &["--log", log]].concat(), files)
    }

    /// Runs a verb with `--policies`, for a directory with these files.
    pub fn with_directory(&self, args: &[&str], files: Files<'_>) -> Ran {
        let directory = worlds::small().files(files).write();
        let policies = directory.path().to_str().expect("text");
        Workplace::new(&[]).run(&[args, &["--policies", policies]].concat())
    }

    /// The same on a directory that is there.
    pub fn replay_in(&self, directory: &Path, args: &[&str]) -> Ran {
        let directory = directory.to_str().expect("text");
        let log = self.folder.path().to_str().expect("text");
        let start = ["replay", directory, "--log", log];
        Workplace::new(&[]).run(&[&start[..], args].concat())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.log.close();
    }
}
