//! How a request says that it waits for something else than a thread that decides: work on a thread of its own, a revision,
//! a session, the store, the decision log, or other replicas.
//!
//! Such a wait says nothing about how long requests wait for a thread that decides, and so nothing about how many of those
//! are too many ([`crate::service::concurrency_limit`]).

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    /// Whether what was polled last on this thread waits so.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Waits for what goes on elsewhere.
pub async fn off_thread<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        WAITS.set(polled.is_pending());
        polled
    })
    .await
}

/// Forgets what was polled before, as another request is polled next.
pub fn begin_poll() {
    WAITS.set(false);
}

/// Whether what was polled waits in [`off_thread`].
pub fn waits_off_thread() -> bool {
    WAITS.get()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn only_who_waits_off_thread_is_noted() {
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = pin!(off_thread(std::future::pending::<()>()));
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        assert!(waits_off_thread());
        begin_poll();
        let mut other = pin!(std::future::pending::<()>());
        assert_eq!(other.as_mut().poll(&mut context), Poll::Pending);
        assert!(!waits_off_thread());
        let mut done = pin!(off_thread(std::future::ready(7)));
        assert_eq!(done.as_mut().poll(&mut context), Poll::Ready(7));
        assert!(!waits_off_thread());
    }
}
