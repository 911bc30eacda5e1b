//! When to look at the directory without being told that it changed.

use std::time::{Duration, Instant};

use crate::reload::loading::Found;

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
enum Left {
    #[default]
    Nothing,
    /// The files did not rest.
    Changing,
    /// The last load did not get to the end. The next one comes after this time.
    Broken(Duration),
}

/// When to look without being told to.
#[derive(Debug, Default)]
pub(super) struct Again {
    left: Left,
    /// Whether changes are looked for.
    pub(super) is_looking: bool,
}

impl Again {
    /// Notes how an attempt ended that began then.
    pub(super) fn note(&mut self, found: &Found, begun: Instant) {
        match found {
            Found::Changing(_) => self.left = Left::Changing,
            Found::Broken(_)
            | Found::Faulty {
                is_whole: false, ..
            }
            | Found::KnownFault { is_whole: false } => {
                self.try_again();
                if let Left::Broken(wait) = &mut self.left {
                    *wait = (*wait).max(begun.elapsed() * REST);
                }
            }
            // It is done once it is in service.
            Found::Good(_) => {}
            Found::Unchanged | Found::Faulty { .. } | Found::KnownFault { .. } => self.done(),
        }
    }

    /// Nothing is left.
    pub(super) fn done(&mut self) {
        self.left = Left::Nothing;
    }

    /// Has the load tried again, later from time to time.
    pub(super) fn try_again(&mut self) {
        let wait = match self.left {
            Left::Broken(wait) => (wait * 2).min(LONGEST),
            _ => SHORTEST,
        };
        self.left = Left::Broken(wait);
    }

    /// Whether the last load has to be repeated.
    pub(super) fn is_due(&self) -> bool {
        !matches!(self.left, Left::Nothing)
    }

    /// How long to wait, if at all.
    pub(super) fn wait(&self, debounce: Duration, is_told: bool) -> Option<Duration> {
        match self.left {
            Left::Changing => Some(debounce),
            Left::Broken(wait) => Some(wait),
            Left::Nothing if !self.is_looking => None,
            Left::Nothing if is_told => Some(LOOK),
            Left::Nothing => Some(LOOK_UNTOLD),
        }
    }
}

#[cfg(test)]
mod tests;
