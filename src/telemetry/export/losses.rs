//! Counts lost telemetry: every log line, span and export that did not reach its sink, by signal, kind and reason.
//!
//! Start at [`Losses::add`], called wherever a record is dropped. The counts are in the metrics, in `GetStatus`, and in one
//! log line a minute ([`LossReporter`]).
//!
//! Invariant: counts only grow, and their number is fixed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Least interval between log lines about losses.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostSignal {
    /// A log line.
    Log,
    /// A span.
    Span,
    /// An export of metrics. The next one contains the sums.
    Metrics,
    /// A log line on its way to a collector. It is on standard error all the same.
    LogRecord,
}

/// The subject of a lost record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A decision.
    Decision,
    /// A control write.
    Control,
    /// A rejected request.
    Rejection,
    /// An entry filtered out of a list.
    List,
    /// Anything else.
    Other,
}

/// The reason for a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// The queue was full.
    QueueFull,
    /// The collector could not be reached, was too slow, or refused the export.
    ExportFailed,
    /// The collector accepted the export and rejected this part of it.
    Rejected,
    /// The process ended before it was sent.
    Shutdown,
}

const SIGNALS: [LostSignal; 4] = [
    LostSignal::Log,
    LostSignal::Span,
    LostSignal::Metrics,
    LostSignal::LogRecord,
];
const REASONS: [LossReason; 4] = [
    LossReason::QueueFull,
    LossReason::ExportFailed,
    LossReason::Rejected,
    LossReason::Shutdown,
];
const COUNTS: usize = SIGNALS.len() * RecordKind::ALL.len() * REASONS.len();

/// The losses since the start.
#[derive(Debug)]
pub struct Losses([AtomicU64; COUNTS]);

impl Default for Losses {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// One nonzero count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The kind of telemetry.
    pub signal: LostSignal,
    /// The subject.
    pub kind: RecordKind,
    /// The reason.
    pub reason: LossReason,
    /// The number of lost records.
    pub count: u64,
}

impl LostSignal {
    /// The word for it in labels, log lines and `GetStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Span => "span",
            Self::Metrics => "metrics",
            Self::LogRecord => "log_record",
        }
    }
}

impl RecordKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] = [
        Self::Decision,
        Self::Control,
        Self::Rejection,
        Self::List,
        Self::Other,
    ];

    /// The word for it in labels, log lines and `GetStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Control => "control",
            Self::Rejection => "rejection",
            Self::List => "list",
            Self::Other => "other",
        }
    }
}

impl LossReason {
    /// The word for it in labels, log lines and `GetStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The index of a count.
fn counter_index(signal: LostSignal, kind: RecordKind, reason: LossReason) -> usize {
    (signal as usize * RecordKind::ALL.len() + kind as usize) * REASONS.len() + reason as usize
}

impl Losses {
    /// Adds `count` lost records.
    pub fn add(&self, signal: LostSignal, kind: RecordKind, reason: LossReason, count: u64) {
        if let Some(counted) = self.0.get(counter_index(signal, kind, reason)) {
            counted.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The count for this combination.
    pub(crate) fn count(&self, signal: LostSignal, kind: RecordKind, reason: LossReason) -> u64 {
        let counted = self.0.get(counter_index(signal, kind, reason));
        counted.map_or(0, |it| it.load(Ordering::Relaxed))
    }

    /// All nonzero counts.
    pub fn all(&self) -> Vec<Loss> {
        let mut found = Vec::new();
        for signal in SIGNALS {
            for kind in RecordKind::ALL {
                for reason in REASONS {
                    let count = self.count(signal, kind, reason);
                    if count > 0 {
                        found.push(Loss {
                            signal,
                            kind,
                            reason,
                            count,
                        });
                    }
                }
            }
        }
        found
    }
}

/// Logs losses, and remembers which were logged when.
#[derive(Debug, Default)]
pub(crate) struct LossReporter {
    told: Vec<Loss>,
    at: Option<Instant>,
}

impl LossReporter {
    /// Logs the losses since the last line, unless that was less than a minute ago and `at_once` is false.
    pub(crate) fn tell(&mut self, losses: &Losses, now: Instant, at_once: bool) {
        let is_early = self
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < REPORT_INTERVAL);
        if is_early && !at_once {
            return;
        }
        let all = losses.all();
        let (lost, count) = self.since(&all);
        if count == 0 {
            return;
        }
        let in_all: u64 = all.iter().map(|loss| loss.count).sum();
        tracing::warn!(target: "callgate::losses", lost, count, in_all, "telemetry was lost");
        self.told = all;
        self.at = Some(now);
    }

    /// The new losses as text, e.g. `log decision queue_full 12, …`, and their sum.
    fn since(&self, all: &[Loss]) -> (String, u64) {
        let (mut text, mut sum) = (String::new(), 0);
        for loss in all {
            let is_same = |it: &&Loss| {
                (it.signal, it.kind, it.reason) == (loss.signal, loss.kind, loss.reason)
            };
            let before = self.told.iter().find(is_same).map_or(0, |it| it.count);
            let new = loss.count.saturating_sub(before);
            if new == 0 {
                continue;
            }
            let separator = if text.is_empty() { "" } else { ", " };
            let [signal, kind, reason] = [
                loss.signal.as_str(),
                loss.kind.as_str(),
                loss.reason.as_str(),
            ];
            // Writing to a `String` does not fail.
            let _ = write!(text, "{separator}{signal} {kind} {reason} {new}");
            sum += new;
        }
        (text, sum)
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
