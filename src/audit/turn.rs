//! How those who decide let others go first, so that what they leave behind is written at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

thread_local! {
    /// Whether this thread goes through several requests in turns.
    static HAS_TURNS: Cell<bool> = const { Cell::new(false) };
}

/// Runs what polls several requests one after the other, and polls those again that have let others go first.
pub fn in_turns<T>(poll_each: impl FnOnce() -> T) -> T {
    let before = HAS_TURNS.replace(true);
    // Also after a panic.
    let _restored = Restored(before);
    poll_each()
}

struct Restored(bool);

impl Drop for Restored {
    fn drop(&mut self) {
        HAS_TURNS.set(self.0);
    }
}

/// Waits until others have had their turn: those that are polled together with this request, or else whatever can go on in
/// this thread.
pub async fn others_turn() {
    let mut was_polled = false;
    let is_over = poll_fn(|context| {
        if !HAS_TURNS.get() {
            return Poll::Ready(was_polled);
        }
        if std::mem::replace(&mut was_polled, true) {
            return Poll::Ready(true);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    if !is_over.await {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
