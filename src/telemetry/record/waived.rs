//! What observe mode let pass since the start: as many as metrics and records tell.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::decision_record::DecisionRecord;

/// Counts denies and entries of lists that were not enforced.
#[derive(Debug, Default)]
pub(super) struct Waived {
    denies: AtomicU64,
    entries: AtomicU64,
}

/// What observe mode let pass since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaivedCounts {
    /// Denies.
    pub denies: u64,
    /// Entries of lists.
    pub entries: u64,
}

impl Waived {
    /// Counts what of a decision was not enforced.
    pub(super) fn note(&self, record: &DecisionRecord<'_>) {
        if record.is_enforced {
            return;
        }
        let (denies, entries) = (record.is_waived().into(), record.waived_entries() as u64);
        self.denies.fetch_add(denies, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> WaivedCounts {
        WaivedCounts {
            denies: self.denies.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
        }
    }
}
