//! Log lines for entries that were removed from a list for another reason than a policy.
//!
//! Start at [`FilteredEntryLog::note`]. A client may ask for a list as often as it likes, so the lines of a minute are
//! limited and the others are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::domain::request::visible::shown;
use crate::telemetry::export::log_queue::with_record_count;
use crate::telemetry::record::line_window::LineWindow;

/// Lines in one minute.
const LINES: u32 = 30;

/// An entry that was removed from a list, and not by a policy.
#[derive(Debug, Clone, Copy)]
pub struct FilteredEntry<'a> {
    /// The adapter the list passed through.
    pub adapter: &'static str,
    /// The gateway that asked.
    pub gateway: &'a str,
    /// The server, if it is known.
    pub server: Option<&'a str>,
    /// The entry's name, if it could be read.
    pub name: &'a str,
    /// Why it was removed.
    pub why: &'a str,
    /// The parts of the definition that differ from what is pinned, if that is why and it is known.
    pub fields: &'a [&'static str],
}

/// Logs filtered entries, at most [`LINES`] of them in a minute.
#[derive(Debug, Default)]
pub(super) struct FilteredEntryLog(Mutex<LineWindow>);

impl FilteredEntryLog {
    /// Logs one entry, unless the lines of this minute are used up. The first line of a minute says how many entries
    /// had none in the one before.
    pub(super) fn note(&self, entry: &FilteredEntry<'_>, now: Instant) {
        let Some(unsaid) = self.admit(now) else {
            return;
        };
        with_record_count(unsaid.saturating_add(1), || {
            tracing::warn!(
                target: "callgate::list",
                adapter = entry.adapter,
                gateway = entry.gateway,
                server = entry.server,
                name = shown(entry.name),
                why = entry.why,
                fields = (!entry.fields.is_empty()).then(|| entry.fields.join(",")),
                unsaid = (unsaid > 0).then_some(unsaid),
                "an entry was left out of a list"
            );
        });
    }

    /// Logs how many entries had no line, once their minute is over, or at once if `is_end`.
    pub(super) fn flush(&self, now: Instant, is_end: bool) {
        let unsaid = {
            let mut window = self.window();
            match is_end || window.is_over(now) {
                true => window.end(),
                false => 0,
            }
        };
        if unsaid == 0 {
            return;
        }
        with_record_count(unsaid, || {
            tracing::warn!(target: "callgate::list", unsaid, "more entries were left out of lists");
        });
    }

    /// Whether there is room for a line, and how many entries had none in the minute before.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window();
        let unsaid = match window.is_over(now) {
            true => window.end(),
            false => 0,
        };
        window.admit(LINES, now).then_some(unsaid)
    }

    fn window(&self) -> MutexGuard<'_, LineWindow> {
        // The counts are valid also after a panic while they were locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "filtered_entries_tests.rs"]
mod tests;
