//! When to look at the directory without being told that it changed.

use std::time::{Duration, Instant};

use crate::reload::loading::LoadResult;

/// The first wait before another try, and the longest.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A try that took long is not repeated before so many times its duration: what overruns must not take a processor.
const REST: u32 = 4;
/// How often the directory is looked at if the system tells of no changes, and if it does: it does not tell of all of
/// them everywhere.
const LOOK_UNTOLD: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(30);

/// What is left to do.
#[derive(Debug, Default)]
enum RetryState {
    #[default]
    Idle,
    /// The files did not rest.
    Changing,
    /// The last load did not get to the end. The next one comes after this time.
    Failed(Duration),
}

/// When to look without being told to.
#[derive(Debug, Default)]
pub(super) struct RetrySchedule {
    left: RetryState,
    /// Whether changes are looked for.
    pub(super) is_looking: bool,
}

impl RetrySchedule {
    /// Notes how an attempt ended that began then.
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

    /// Nothing is left.
    pub(super) fn done(&mut self) {
        self.left = RetryState::Idle;
    }

    /// Has the load tried again, later from time to time.
    pub(super) fn try_again(&mut self) {
        let wait = match self.left {
            RetryState::Failed(wait) => (wait * 2).min(LONGEST),
            _ => SHORTEST,
        };
        self.left = RetryState::Failed(wait);
    }

    /// Whether the last load has to be repeated.
    pub(super) fn is_due(&self) -> bool {
        !matches!(self.left, RetryState::Idle)
    }

    /// How long to wait, if at all.
    pub(super) fn wait(&self, debounce: Duration, is_told: bool) -> Option<Duration> {
        match self.left {
            RetryState::Changing => Some(debounce),
            RetryState::Failed(wait) => Some(wait),
            RetryState::Idle if !self.is_looking => None,
            RetryState::Idle if is_told => Some(LOOK),
            RetryState::Idle => Some(LOOK_UNTOLD),
        }
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
