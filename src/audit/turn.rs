//! How those who decide let others go first, so that what they leave behind is written at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

thread_local! {
    /// Whether this thread goes through several requests in turns.
    static HAS_TURNS: Cell<bool> = const { Cell::new(false) };
    /// How often a request of this thread has let others go first.
    static LET_GO: Cell<u64> = const { Cell::new(0) };
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

/// Polls, and says besides whether that let others go first: what is pending then is polled again soon without anything that
/// would have to wake it, a timer for instance.
pub fn poll_noting_turns<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let before = LET_GO.get();
    let polled = poll();
    (polled, LET_GO.get() != before)
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
        note_let_go();
        Poll::Pending
    });
    if !is_over.await {
        note_let_go();
        tokio::task::yield_now().await;
    }
}

fn note_let_go() {
    LET_GO.set(LET_GO.get().wrapping_add(1));
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
