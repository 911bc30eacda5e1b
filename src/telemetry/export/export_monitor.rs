//! Notes how exports end, and logs what an operator has to know.
//!
//! Start at [`ExportMonitor::note`]. A collector that cannot be reached is logged once a minute instead of at every batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::OTelSdkResult;

use crate::telemetry::env::ExportSignal;
use crate::telemetry::export::live_gauges::LiveGauges;

/// Interval of the log line about a collector that cannot be reached.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Watches the exports of one signal.
#[derive(Debug)]
pub(super) struct ExportMonitor {
    signal: ExportSignal,
    live: Arc<LiveGauges>,
    started: Instant,
    /// Seconds from `started` to the last logged failure, plus one; 0 after a success.
    failure_logged_at: AtomicU64,
    failures: AtomicU64,
}

impl ExportMonitor {
    pub(super) fn new(signal: ExportSignal, live: &Arc<LiveGauges>) -> Self {
        Self {
            signal,
            live: Arc::clone(live),
            started: Instant::now(),
            failure_logged_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Notes how an export ended, and logs a failure or a recovery, if one is due. Whether it logged.
    pub(super) fn note(&self, result: &OTelSdkResult) -> bool {
        self.live.exporters.note(self.signal, result);
        let now = self.started.elapsed().as_secs() + 1;
        let last = self.failure_logged_at.load(Ordering::Relaxed);
        let what = self.signal.what();
        match result {
            Ok(()) if last == 0 => false,
            Ok(()) => {
                let failures = self.failures.swap(0, Ordering::Relaxed);
                self.failure_logged_at.store(0, Ordering::Relaxed);
                tracing::info!(what, failures, "the telemetry collector is back");
                true
            }
            Err(error) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if last != 0 && now < last + FAILURE_LOG_INTERVAL.as_secs() {
                    return false;
                }
                self.failure_logged_at.store(now, Ordering::Relaxed);
                tracing::warn!(
                    what,
                    failures,
                    %error,
                    "the telemetry collector takes nothing, or cannot be reached; decisions go on without it"
                );
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn a_collector_that_is_down_is_mentioned_once_and_its_return_too() {
        let live = Arc::new(LiveGauges::default());
        let states = &live.exporters;
        assert_eq!(states.get(ExportSignal::Logs), None);
        states.start(ExportSignal::Logs, "http://c:4317".to_owned(), "grpc");
        let monitor = ExportMonitor::new(ExportSignal::Logs, &live);
        let down = Err(OTelSdkError::InternalFailure("down".to_owned()));
        assert!(monitor.note(&down));
        // Within the minute only the first failure is worth a line.
        assert!(!monitor.note(&down) && !monitor.note(&down));
        let state = states.get(ExportSignal::Logs).unwrap();
        assert_eq!(state.exported_at, None);
        let failing = state.failing.unwrap();
        assert_eq!(failing.count, 3);
        assert!(failing.error.contains("down"), "{failing:?}");
        assert!(monitor.note(&Ok(())));
        assert!(!monitor.note(&Ok(())), "all is well: nothing to say");
        let state = states.get(ExportSignal::Logs).unwrap();
        assert!(state.failing.is_none() && state.exported_at.is_some());
        assert!(monitor.note(&down), "a new outage");
    }
}
