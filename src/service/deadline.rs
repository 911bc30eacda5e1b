//! When an answer has to be there.
//!
//! A decision never waits for anything but its revision and the store, so a timer around it says little: many decisions
//! in a row are over before the timer is looked at. Whoever makes many looks at the deadline between them.

use std::time::{Duration, Instant};

/// When an answer has to be there, if anybody has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(Option<Instant>);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Nothing is loaded, so nobody can answer.
    #[error("no policies are loaded")]
    NotReady,
    /// The deadline is over. What was decided until then is on record, and what it used up stays so.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
}

impl Deadline {
    /// There is time.
    pub const NONE: Self = Self(None);

    /// At this moment.
    pub fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    /// In so many milliseconds.
    pub fn in_millis(milliseconds: u32) -> Self {
        let after = Duration::from_millis(milliseconds.into());
        Self(Instant::now().checked_add(after))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.0.is_some_and(|moment| Instant::now() >= moment)
    }

    /// An error once it is over.
    pub fn check(self) -> Result<(), ServiceError> {
        match self.is_over() {
            true => Err(ServiceError::DeadlineExceeded),
            false => Ok(()),
        }
    }

    /// What comes in time.
    pub async fn within<F: Future>(self, coming: F) -> Result<F::Output, ServiceError> {
        match self.0 {
            None => Ok(coming.await),
            Some(moment) => tokio::time::timeout_at(moment.into(), coming)
                .await
                .map_err(|_| ServiceError::DeadlineExceeded),
        }
    }
}

#[cfg(test)]
#[path = "deadline_tests.rs"]
mod tests;
