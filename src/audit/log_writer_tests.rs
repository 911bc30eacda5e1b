use std::path::Path;

use super::*;
use crate::audit::envelope;
use crate::audit::log::{AuditLog, LogReceipt};
use crate::config::audit::{AuditConfig, LogMode, OnLogFailure};

/// A log that nobody waits for, and its writer, which its thread has no more.
fn log_and_writer(directory: &Path) -> (AuditLog, LogWriter) {
    let config = AuditConfig {
        mode: LogMode::Async,
        on_failure: OnLogFailure::Deny,
        ..AuditConfig::default()
    };
    let log = AuditLog::open(directory, &directory.join("capsule.key"), &config);
    let log = log.expect("opened").expect("not off");
    let writer = log.writer.lock().take();
    (log, writer.expect("started"))
}

fn append(log: &AuditLog) -> LogReceipt {
    let mut bytes = Vec::new();
    envelope::notice(&mut bytes, SystemTime::now(), &Notice::default());
    log.append(&bytes, None)
}

#[test]
fn only_records_that_are_written_end_the_doubt_about_a_log() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (log, mut writer) = log_and_writer(temporary.path());
    let shared = &*log.shared;
    shared.set_failure(Some(Failure {
        since: SystemTime::now(),
        error: "full".to_owned(),
    }));
    writer.failed_at = Instant::now().checked_sub(TRUSTED_AFTER);
    // What tells of the failure finds room, and time goes by with nothing to write.
    for _ in 0..3 {
        writer.write_queued(shared);
    }
    assert!(!log.is_failing());
    let waiting = append(&log);
    assert!(matches!(waiting, LogReceipt::Waiting(_)));
    writer.write_queued(shared);
    assert!(append(&log).is_done());
    drop(writer);
    log.close();
}
