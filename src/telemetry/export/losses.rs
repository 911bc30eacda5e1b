//! What telemetry lost: every line, span and export that did not reach its sink, counted by signal, kind and reason.
//!
//! Start at [`Losses::add`], which everything that gives up a record calls. The counts are in the metrics, in `GetStatus`,
//! and in one log line a minute ([`Teller`]).
//!
//! Invariant: counts only grow, and there are as many of them as there are words for them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often losses are told in the log, at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostSignal {
    /// A log line.
    Log,
    /// A span.
    Span,
    /// An export of the metrics. Their sums are in the next one.
    Metrics,
}

/// What it was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A decision.
    Decision,
    /// A write, or an attempt at one.
    Control,
    /// A request that was turned away.
    Refusal,
    /// An entry that was left out of a list.
    List,
    /// Anything else.
    Other,
}

/// Why it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// As many as may wait were waiting.
    QueueFull,
    /// The collector could not be reached, was too slow, or refused them all.
    ExportFailed,
    /// The collector took the export, and said that it dropped some of it.
    Rejected,
    /// The program ended before it was sent.
    Shutdown,
}

const SIGNALS: [LostSignal; 3] = [LostSignal::Log, LostSignal::Span, LostSignal::Metrics];
const REASONS: [LossReason; 4] = [
    LossReason::QueueFull,
    LossReason::ExportFailed,
    LossReason::Rejected,
    LossReason::Shutdown,
];
const COUNTS: usize = SIGNALS.len() * RecordKind::ALL.len() * REASONS.len();

/// How much was lost since the start.
#[derive(Debug)]
pub struct Losses([AtomicU64; COUNTS]);

impl Default for Losses {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// One count that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// What was to be sent.
    pub signal: LostSignal,
    /// What it was about.
    pub kind: RecordKind,
    /// Why it was lost.
    pub reason: LossReason,
    /// How many.
    pub count: u64,
}

impl LostSignal {
    /// The word for it in labels, log lines and `GetStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Span => "span",
            Self::Metrics => "metrics",
        }
    }
}

impl RecordKind {
    /// Every one.
    pub(crate) const ALL: [Self; 5] = [
        Self::Decision,
        Self::Control,
        Self::Refusal,
        Self::List,
        Self::Other,
    ];

    /// The word for it in labels, log lines and `GetStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Control => "control",
            Self::Refusal => "refusal",
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

/// Where a count is.
fn place(signal: LostSignal, kind: RecordKind, reason: LossReason) -> usize {
    (signal as usize * RecordKind::ALL.len() + kind as usize) * REASONS.len() + reason as usize
}

impl Losses {
    /// Counts some that were lost. None are no loss.
    pub fn add(&self, signal: LostSignal, kind: RecordKind, reason: LossReason, count: u64) {
        if let Some(counted) = self.0.get(place(signal, kind, reason)) {
            counted.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many were lost of these.
    pub(crate) fn count(&self, signal: LostSignal, kind: RecordKind, reason: LossReason) -> u64 {
        let counted = self.0.get(place(signal, kind, reason));
        counted.map_or(0, |it| it.load(Ordering::Relaxed))
    }

    /// Every count that is not zero.
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

/// Remembers what was told of losses, and when.
#[derive(Debug, Default)]
pub(crate) struct LossReporter {
    told: Vec<Loss>,
    at: Option<Instant>,
}

impl LossReporter {
    /// Logs what was lost since the last time, unless that was less than a minute ago; `at_once` does not wait for that.
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

    /// What is new: `log decision queue_full 12, …`, and its sum.
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
            // Writing to a text does not fail.
            let _ = write!(text, "{separator}{signal} {kind} {reason} {new}");
            sum += new;
        }
        (text, sum)
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
