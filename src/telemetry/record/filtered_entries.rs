//! What lists lose on their way to a client, in the log: so many lines a minute, and then how many more there were.
//!
//! Start at [`Log::note`]. A list comes as often as a client asks for it, so a server whose tools have changed would fill
//! the log otherwise.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::domain::request::visible::shown;
use crate::telemetry::export::log_queue::with_record_count;

/// Lines within one [`WINDOW`].
const LINES: u32 = 30;
/// How long those are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// One entry that a list lost, not by policy.
#[derive(Debug, Clone, Copy)]
pub struct FilteredEntry<'a> {
    /// The front door.
    pub adapter: &'static str,
    /// The gateway that asked.
    pub gateway: &'a str,
    /// The server, if it is known.
    pub server: Option<&'a str>,
    /// The entry's name, if it could be read.
    pub name: &'a str,
    /// Why.
    pub why: &'a str,
    /// The parts of the definition that differ from what is pinned, if that is why and it is known.
    pub fields: &'a [&'static str],
}

/// Writes them, within bounds.
#[derive(Debug, Default)]
pub(crate) struct FilteredEntryLog(Mutex<FilteredEntryWindow>);

#[derive(Debug, Default)]
struct FilteredEntryWindow {
    since: Option<SystemTime>,
    lines: u32,
    unsaid: u64,
}

impl FilteredEntryLog {
    /// Logs one, unless the minute is full.
    pub(crate) fn note(&self, left: &FilteredEntry<'_>, now: SystemTime) {
        let Some(unsaid) = self.may_say(now) else {
            return;
        };
        with_record_count(unsaid.saturating_add(1), || {
            tracing::warn!(
                target: "callgate::list",
                adapter = left.adapter,
                gateway = left.gateway,
                server = left.server,
                name = shown(left.name),
                why = left.why,
                fields = (!left.fields.is_empty()).then(|| left.fields.join(",")),
                unsaid = (unsaid > 0).then_some(unsaid),
                "an entry was left out of a list"
            );
        });
    }

    /// Logs how many had no line in a minute that is over, or so far if there is no later.
    pub(crate) fn tell(&self, now: SystemTime, is_end: bool) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.unsaid == 0 || !(is_end || counted.is_over(now)) {
            return;
        }
        let unsaid = std::mem::take(&mut counted.unsaid);
        drop(counted);
        with_record_count(unsaid, || {
            tracing::warn!(target: "callgate::list", unsaid, "more entries were left out of lists");
        });
    }

    /// Whether there is room for a line, and how many had none since the last one.
    fn may_say(&self, now: SystemTime) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_over(now) {
            counted.since = Some(now);
            counted.lines = 0;
        }
        if counted.lines == LINES {
            counted.unsaid = counted.unsaid.saturating_add(1);
            return None;
        }
        counted.lines += 1;
        Some(std::mem::take(&mut counted.unsaid))
    }
}

impl FilteredEntryWindow {
    fn is_over(&self, now: SystemTime) -> bool {
        match self.since.map(|since| now.duration_since(since)) {
            Some(Ok(age)) => age >= WINDOW,
            // A clock that was put back begins anew.
            None | Some(Err(_)) => true,
        }
    }
}

#[cfg(test)]
#[path = "filtered_entries_tests.rs"]
mod tests;
