//! The time while the task of a connection reads and writes: read once for a round of that, whatever comes in it.
//!
//! A round takes as long as what it reads and writes takes the processor. Requests over HTTP/2 are decided outside of it, where
//! the clock is read.

use std::cell::Cell;
use std::pin::Pin;
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

thread_local! {
    /// When the round began that this thread is at.
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs one round.
pub(super) fn in_round<T>(round: impl FnOnce() -> T) -> T {
    let before = BEGUN.replace(Some(Instant::now()));
    // Also after a panic.
    let _restored = Restored(before);
    round()
}

/// When the round began, or else the time.
pub(super) fn now() -> Instant {
    BEGUN.get().unwrap_or_else(Instant::now)
}

struct Restored(Option<Instant>);

impl Drop for Restored {
    fn drop(&mut self) {
        BEGUN.set(self.0);
    }
}

/// The timer of a connection, which is asked for the time with every frame.
#[derive(Debug, Clone, Default)]
pub(super) struct RoundTimer(TokioTimer);

impl Timer for RoundTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.sleep(duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.0.sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        self.0.reset(sleep, deadline);
    }

    fn now(&self) -> std::time::Instant {
        now().into()
    }
}

#[cfg(test)]
#[path = "round_time_tests.rs"]
mod tests;
