//! Work that occupies a thread for long, one piece after the other.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::control::error::ControlError;

/// Runs work on a blocking thread, apart from the threads that decide: one piece at a time, so that it does not occupy more of
/// the machine than this. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct BlockingLane(Arc<Semaphore>);

impl Default for BlockingLane {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl BlockingLane {
    /// Waits for its turn and runs the work. Work that has begun ends also if nobody waits for it any more, and the next
    /// begins only then.
    ///
    /// # Errors
    ///
    /// [`ControlError::Internal`] if the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|_| ControlError::NotReady)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| ControlError::Internal)
    }
}

#[cfg(test)]
#[path = "blocking_lane_tests.rs"]
mod tests;
