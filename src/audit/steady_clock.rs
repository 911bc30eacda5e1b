//! The wall clock as of the start, and what has passed since: files of the log age by it, whatever the wall clock does.

use std::time::{Duration, Instant, SystemTime};

/// A clock that does not jump.
#[derive(Debug, Clone)]
pub(super) struct SteadyClock {
    started_at: SystemTime,
    started: Instant,
}

impl SteadyClock {
    /// A clock that starts with the wall clock.
    pub(super) fn start() -> Self {
        Self::start_at(SystemTime::now())
    }

    /// A clock that starts at this time.
    pub(super) fn start_at(started_at: SystemTime) -> Self {
        Self {
            started_at,
            started: Instant::now(),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> SystemTime {
        let passed: Duration = self.started.elapsed();
        self.started_at
            .checked_add(passed)
            .unwrap_or(self.started_at)
    }
}
