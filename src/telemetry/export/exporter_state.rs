//! The state of each exporter: when the last export went out, and since when none does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry_sdk::error::OTelSdkResult;

use crate::telemetry::env::ExportSignal;

/// How the exporter of one signal fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExporterState {
    /// Where it sends, without credentials.
    pub endpoint: String,
    /// `grpc` or `http/protobuf`.
    pub protocol: &'static str,
    /// When the last export was accepted.
    pub exported_at: Option<SystemTime>,
    /// Since when exports fail, and the last error; `None` after a success.
    pub failing: Option<FailingExport>,
}

/// Exports that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingExport {
    /// Since when.
    pub since: SystemTime,
    /// Exports that failed since.
    pub count: u64,
    /// The last error.
    pub error: String,
}

/// The states of all exporters that run.
#[derive(Debug, Default)]
pub(crate) struct ExporterStates([Mutex<Option<ExporterState>>; ExportSignal::ALL.len()]);

impl ExporterStates {
    fn of(&self, signal: ExportSignal) -> MutexGuard<'_, Option<ExporterState>> {
        let state = &self.0[signal as usize];
        // It is replaced as a whole.
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an exporter runs.
    pub(super) fn start(&self, signal: ExportSignal, endpoint: String, protocol: &'static str) {
        *self.of(signal) = Some(ExporterState {
            endpoint,
            protocol,
            ..ExporterState::default()
        });
    }

    /// The state of an exporter; `None` if the signal is not exported.
    pub(crate) fn get(&self, signal: ExportSignal) -> Option<ExporterState> {
        self.of(signal).clone()
    }

    /// Notes how an export ended.
    pub(super) fn note(&self, signal: ExportSignal, result: &OTelSdkResult) {
        let now = SystemTime::now();
        let mut state = self.of(signal);
        let Some(state) = state.as_mut() else {
            return;
        };
        match result {
            Ok(()) => {
                state.exported_at = Some(now);
                state.failing = None;
            }
            Err(error) => {
                let before = state.failing.take();
                state.failing = Some(FailingExport {
                    since: before.as_ref().map_or(now, |it| it.since),
                    count: before.map_or(0, |it| it.count) + 1,
                    error: error.to_string(),
                });
            }
        }
    }
}
