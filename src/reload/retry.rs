//! When to look at the directory without an event of the file system.

use std::time::{Duration, Instant};

use crate::reload::loading::LoadResult;

/// The first pause before another attempt, and the longest; what is polled waits no longer than between two looks.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A slow attempt is repeated only after this many times its duration, so that overruns do not occupy a CPU.
const REST: u32 = 4;
/// How often to look at the directory without file events, and with them, as they are not reliable everywhere.
const LOOK_UNTOLD: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(30);

/// What is left to do.
#[derive(Debug, Default)]
enum RetryState {
    #[default]
    Idle,
    /// The files kept changing.
    Changing,
    /// The last load failed before its end. The next one starts after this time.
    Failed(Duration),
}

/// When to look without an event.
#[derive(Debug, Default)]
pub(super) struct RetrySchedule {
    left: RetryState,
    /// Whether to look for changes at all.
    pub(super) is_looking: bool,
    /// How often to look at what no events are told of; `None` for a directory.
    pub(super) poll: Option<Duration>,
}

impl RetrySchedule {
    /// Notes the result of an attempt that started at `begun`.
    pub(super) fn note(&mut self, found: &LoadResult, begun: Instant) {
        match found {
            LoadResult::Changing(_) => self.left = RetryState::Changing,
            LoadResult::Failed(_)
            | LoadResult::Faulty {
                is_whole: false, ..
            }
            | LoadResult::KnownFault { is_whole: false } => {
                self.try_again();
                if let RetryState::Failed(wait) = &mut self.left {
                    *wait = (*wait).max(begun.elapsed() * REST);
                }
            }
            // It is done once it is in service.
            LoadResult::Loaded(_) => {}
            LoadResult::Unchanged | LoadResult::Faulty { .. } | LoadResult::KnownFault { .. } => {
                self.done()
            }
        }
    }

    /// Nothing is left to do.
    pub(super) fn done(&mut self) {
        self.left = RetryState::Idle;
    }

    /// Schedules another attempt, with a growing pause.
    pub(super) fn try_again(&mut self) {
        let wait = match self.left {
            RetryState::Failed(wait) => {
                (wait * 2).min(self.poll.map_or(LONGEST, |poll| poll.min(LONGEST)))
            }
            _ => SHORTEST,
        };
        self.left = RetryState::Failed(wait);
    }

    /// Whether the last load has to be repeated.
    pub(super) fn is_due(&self) -> bool {
        !matches!(self.left, RetryState::Idle)
    }

    /// How long to wait for the next look; `None` for no limit.
    pub(super) fn wait(&self, debounce: Duration, is_told: bool) -> Option<Duration> {
        match self.left {
            RetryState::Changing => Some(debounce),
            RetryState::Failed(wait) => Some(wait),
            RetryState::Idle if !self.is_looking => None,
            RetryState::Idle if self.poll.is_some() => self.poll,
            RetryState::Idle if is_told => Some(LOOK),
            RetryState::Idle => Some(LOOK_UNTOLD),
        }
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
