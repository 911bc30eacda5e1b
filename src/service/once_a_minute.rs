//! Lets a line about what goes wrong every second into the log once a minute: its disk may be the one that is full.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// When something was told last.
#[derive(Debug, Default)]
pub struct OnceAMinute(Mutex<Option<Instant>>);

impl OnceAMinute {
    /// Whether it is to be told, as it was not within a minute. It counts as told then.
    pub fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut told = self.lock();
        let is_due = told.is_none_or(|at| now.saturating_duration_since(at) >= EVERY);
        if is_due {
            *told = Some(now);
        }
        is_due
    }

    /// It has gone well: the next time it does not is told at once.
    pub fn reset(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recurs_is_told_once_a_minute_and_at_once_after_it_went_well() {
        let told = OnceAMinute::default();
        let begun = Instant::now();
        let at = |seconds| told.is_due_at(begun + Duration::from_secs(seconds));
        assert!(at(0));
        assert!(!at(1));
        assert!(!at(59));
        assert!(at(60));
        assert!(!at(61));
        told.reset();
        assert!(at(62));
    }
}
