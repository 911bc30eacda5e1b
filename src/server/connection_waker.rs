//! Wakes the task of a connection, unless it is at it anyway.
//!
//! What the task of a connection does for one request often wakes itself: a response that is ready wakes the connection
//! that has to write it. A task that wakes itself goes to the end of its queue, and another thread is woken to help, which
//! costs more than the work. So such a task looks again instead.
//!
//! Not so if it only carries what other tasks have: what those have ready when it is its turn leaves together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How often a task looks again before others have their turn.
const MOST_ROUNDS: usize = 8;

/// What a task found when it looked.
pub(super) enum Round<T> {
    /// It is done.
    Ended(T),
    /// It worked itself: if it was woken meanwhile, it looks again at once.
    Worked,
    /// It had nothing of its own to do: if it was woken meanwhile, it waits for its turn.
    Carried,
}

/// The waker of one task.
#[derive(Default)]
pub(super) struct ConnectionWaker {
    /// Whether the task runs, and looks at `is_woken` before it ends.
    is_running: AtomicBool,
    is_woken: AtomicBool,
    /// The waker of the runtime.
    task: Mutex<Option<Waker>>,
}

impl ConnectionWaker {
    /// Runs rounds with this waker until the task is done, or has to wait.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        context: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Round<T>,
    ) -> Poll<T> {
        self.note_task(context.waker());
        self.is_running.store(true, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(self));
        for _ in 0..MOST_ROUNDS {
            self.is_woken.store(false, Ordering::SeqCst);
            match round(&mut Context::from_waker(&waker)) {
                Round::Ended(with) => return Poll::Ready(with),
                Round::Worked if self.is_woken.load(Ordering::SeqCst) => {}
                Round::Worked | Round::Carried => break,
            }
        }
        self.end();
        Poll::Pending
    }

    /// The task has run. Whoever woke it before it said so relies on it.
    fn end(&self) {
        self.is_running.store(false, Ordering::SeqCst);
        if self.is_woken.load(Ordering::SeqCst) {
            self.wake_task();
        }
    }

    fn note_task(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wake_task(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_running.load(Ordering::SeqCst) {
            self.wake_task();
        }
    }
}

#[cfg(test)]
#[path = "connection_waker_tests.rs"]
mod tests;
