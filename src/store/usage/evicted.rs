//! What had to be forgotten for want of room, so that nobody who may have been forgotten is counted too short.

use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::store::usage::Seconds;

/// How long what is counted in a minute, an hour and a day can count, the running bucket included.
const MINUTE: Seconds = 65;
const HOUR: Seconds = 65 * 60;
const DAY: Seconds = 25 * 3_600;

/// The most that anything that was forgotten had counted, and when it was.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EvictedUsage {
    at: Option<Seconds>,
    most: WindowCounts,
    distinct: u64,
}

impl EvictedUsage {
    /// This is forgotten now.
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

    /// What somebody had before that is only known since then, at most.
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

/// Both together.
pub(super) fn sum(one: WindowCounts, other: WindowCounts) -> WindowCounts {
    WindowCounts {
        minute: one.minute + other.minute,
        hour: one.hour + other.hour,
        day: one.day + other.day,
    }
}
