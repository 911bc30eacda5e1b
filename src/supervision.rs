//! A panic ends no part of the server that nobody misses.
//!
//! What goes on as long as the server, threads and tasks alike, runs in one of these. [`caught`] and [`caught_task`] turn a
//! panic into an error, for what cannot begin again: its owner says that it has ended. [`kept_up`] and [`kept_up_task`]
//! begin again.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long a part that panicked rests before it begins again.
const REST: Duration = Duration::from_secs(1);

/// A panic that was caught, and logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(part: &'static str, payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "it says nothing".to_owned());
        tracing::error!(part, panic = text, "a part of the server panicked");
        Self(text)
    }
}

/// Does the work of a part. What it has changed has to be whole, or given up, after a panic.
///
/// # Errors
///
/// [`Panicked`] if it panicked.
pub fn caught<T>(part: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked::new(part, payload.as_ref()))
}

/// As [`caught`], for a task.
///
/// # Errors
///
/// [`Panicked`] if it panicked.
pub async fn caught_task<T>(
    part: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, Panicked> {
    let mut work = pin!(work);
    let polled = poll_fn(
        |context| match caught(part, || work.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        },
    );
    polled.await
}

/// Does the work of a part until it ends without a panic.
pub fn kept_up(part: &'static str, mut work: impl FnMut()) {
    while caught(part, &mut work).is_err() {
        std::thread::sleep(REST);
    }
}

/// As [`kept_up`], for a task.
pub async fn kept_up_task<F: Future<Output = ()>>(part: &'static str, mut work: impl FnMut() -> F) {
    while caught_task(part, work()).await.is_err() {
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
#[path = "supervision_tests.rs"]
mod tests;
