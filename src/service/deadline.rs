//! The deadline of a request.
//!
//! A decision waits for nothing but its revision and the store, so a timer around it is not enough: many decisions in
//! a row are over before the timer is polled. Code that makes many decisions checks the deadline between them.

use std::time::{Duration, Instant};

/// A deadline, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(Option<Instant>);

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Nothing is loaded yet.
    #[error("no policies are loaded")]
    NotReady,
    /// The deadline has passed. What was decided until then is on record, and what it used up stays used up.
    #[error("no answer within the deadline")]
    DeadlineExceeded,
}

impl Deadline {
    /// No deadline.
    pub const NONE: Self = Self(None);

    /// A deadline at this moment.
    pub fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    /// A deadline in this many milliseconds.
    pub fn in_millis(milliseconds: u32) -> Self {
        let after = Duration::from_millis(milliseconds.into());
        Self(Instant::now().checked_add(after))
    }

    /// Whether it has passed.
    pub fn is_over(self) -> bool {
        self.0.is_some_and(|moment| Instant::now() >= moment)
    }

    /// The time that is left at a moment, zero once it has passed; `None` without a deadline.
    pub fn left(self, now: Instant) -> Option<Duration> {
        self.0.map(|moment| moment.saturating_duration_since(now))
    }

    /// Checks the deadline.
    ///
    /// # Errors
    ///
    /// [`ServiceError::DeadlineExceeded`] once it has passed.
    pub fn check(self) -> Result<(), ServiceError> {
        match self.0 {
            Some(_) => self.check_at(Instant::now()),
            None => Ok(()),
        }
    }

    /// Checks the deadline at a moment.
    ///
    /// # Errors
    ///
    /// [`ServiceError::DeadlineExceeded`] from the deadline on.
    pub fn check_at(self, now: Instant) -> Result<(), ServiceError> {
        match self.0.is_some_and(|moment| now >= moment) {
            true => Err(ServiceError::DeadlineExceeded),
            false => Ok(()),
        }
    }

    /// Waits for a future until the deadline.
    ///
    /// # Errors
    ///
    /// [`ServiceError::DeadlineExceeded`] if it does not complete in time.
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
