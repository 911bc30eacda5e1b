//! The end of a server: what is under way goes on record, store and log are closed, and the last signals are exported.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::log::AuditLog;
use crate::service::Service;
use crate::telemetry::setup::{Logging, Telemetry};

/// Time limit for each step of the end: closing store and log, and exporting pending spans and metrics.
pub(super) const FLUSH: Duration = Duration::from_secs(5);
/// Time limit for putting on record what is under way; part of [`FLUSH`].
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Closes the store and the decision log, unless that takes longer than [`FLUSH`].
pub(super) async fn close(service: Arc<Service>, audit: Option<AuditLog>) -> anyhow::Result<()> {
    let tasks = service.tasks().clone();
    let closing = async {
        tokio::task::spawn_blocking(move || service.close()).await?;
        // What the store has written for those who have left is put on record before the log ends.
        tasks.close();
        let recorded = tokio::time::timeout(LAST_RECORDS, tasks.wait()).await;
        if recorded.is_err() {
            tracing::error!(
                under_way = tasks.len(),
                "not all that is under way is put on record"
            );
        }
        match audit {
            Some(audit) => tokio::task::spawn_blocking(move || audit.close()).await,
            None => Ok(()),
        }
    };
    match tokio::time::timeout(FLUSH, closing).await {
        Ok(closed) => Ok(closed?),
        Err(_) => {
            tracing::error!(
                "the disk does not answer; store and decision log are left as they are"
            );
            Ok(())
        }
    }
}

/// Exports what waits, and returns the number of log lines that could not be written.
pub(super) async fn end_telemetry(telemetry: Telemetry, logging: &Logging) -> usize {
    telemetry.recorder().finish();
    // Before the last export of metrics, which includes the number of lost log lines.
    let given_up = tokio::task::block_in_place(|| logging.drain());
    telemetry.shutdown(FLUSH).await;
    tracing::info!("stopped");
    given_up
}
