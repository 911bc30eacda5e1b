//! The maximum of everything that was evicted, so that no evicted actor or tool is counted too low.

use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::store::usage::counters::Seconds;

/// How long a count in a minute, an hour or a day can last in its window, the running bucket included, in seconds.
const MINUTE: Seconds = 65;
const HOUR: Seconds = 65 * 60;
const DAY: Seconds = 25 * 3_600;

/// The highest counts of anything evicted, and the time of the last eviction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EvictedUsage {
    at: Option<Seconds>,
    most: WindowCounts,
    distinct: u64,
}

impl EvictedUsage {
    /// Adds an entry that is evicted now.
    pub(super) fn add(&mut self, counted: WindowCounts, distinct: u64, now: Seconds) {
        let before = self.counted(now);
        self.most = WindowCounts {
            minute: before.minute.max(counted.minute),
            hour: before.hour.max(counted.hour),
            day: before.day.max(counted.day),
        };
        self.distinct = self.distinct_tools(now).max(distinct);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    /// The most that an entry first seen at `known_since` may have had before it was evicted.
    pub(super) fn before(&self, known_since: Option<Seconds>, now: Seconds) -> Option<Usage> {
        let at = self.at?;
        (known_since.is_none_or(|since| since >= at)).then(|| Usage {
            actor: self.counted(now),
            tool: self.counted(now),
            distinct_tools: self.distinct_tools(now),
            ..Usage::default()
        })
    }

    fn counted(&self, now: Seconds) -> WindowCounts {
        let within = |window, count| {
            if self.is_within(window, now) {
                count
            } else {
                0
            }
        };
        WindowCounts {
            minute: within(MINUTE, self.most.minute),
            hour: within(HOUR, self.most.hour),
            day: within(DAY, self.most.day),
        }
    }

    fn distinct_tools(&self, now: Seconds) -> u64 {
        if self.is_within(DAY, now) {
            self.distinct
        } else {
            0
        }
    }

    fn is_within(&self, window: Seconds, now: Seconds) -> bool {
        self.at.is_some_and(|at| now.saturating_sub(at) <= window)
    }
}

/// The sum of two counts, by window.
pub(super) fn sum(one: WindowCounts, other: WindowCounts) -> WindowCounts {
    WindowCounts {
        minute: one.minute + other.minute,
        hour: one.hour + other.hour,
        day: one.day + other.day,
    }
}
