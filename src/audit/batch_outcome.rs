//! Whether a batch of records is written, for all who wait for it: one allocation a batch, whoever waits.
//!
//! Invariant: each who waits is woken, whatever the others do: one that is not polled holds nobody up.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

const PENDING: u8 = 0;
const RECORDED: u8 = 1;
const FAILED: u8 = 2;

/// Tells the outcome of a batch. Dropping it untold means that nothing is recorded.
#[derive(Debug, Default)]
pub(super) struct BatchPromise(Arc<BatchOutcome>);

/// Waits for the outcome of a batch: whether its records are there, or need not be.
#[derive(Debug)]
#[must_use = "a response may leave only once its record is there"]
pub struct BatchReceipt {
    outcome: Arc<BatchOutcome>,
    /// The place of the waker, once there is one.
    place: Option<usize>,
}

#[derive(Debug, Default)]
struct BatchOutcome {
    state: AtomicU8,
    waiting: Mutex<BatchWaiters>,
}

/// Who waits. Dropping it wakes all of them.
#[derive(Debug, Default)]
struct BatchWaiters {
    wakers: Vec<Waker>,
    /// The runtime of the first of them, if there is one.
    runtime: Option<Handle>,
}

impl BatchPromise {
    /// A receipt for one record of the batch.
    pub(super) fn receipt(&self) -> BatchReceipt {
        BatchReceipt {
            outcome: Arc::clone(&self.0),
            place: None,
        }
    }

    /// Tells everyone who waits.
    pub(super) fn tell(self, is_recorded: bool) {
        self.0.settle(if is_recorded { RECORDED } else { FAILED });
    }
}

impl Drop for BatchPromise {
    fn drop(&mut self) {
        self.0.settle(FAILED);
    }
}

impl BatchOutcome {
    /// Settles it, unless it is.
    fn settle(&self, state: u8) {
        let (release, acquire) = (Ordering::AcqRel, Ordering::Acquire);
        let settled = self
            .state
            .compare_exchange(PENDING, state, release, acquire);
        if settled.is_ok() {
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.wake();
        }
    }

    fn told(&self) -> Poll<bool> {
        match self.state.load(Ordering::Acquire) {
            PENDING => Poll::Pending,
            state => Poll::Ready(state == RECORDED),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BatchWaiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchWaiters {
    /// Wakes all. Many are woken from a thread of their runtime: it puts them into its own queue, where they go on one after
    /// the other and their responses leave together. From outside each would cost a lock that all threads share, and often
    /// a call of the system.
    fn wake(mut self) {
        let is_here = |it: &Handle| Handle::try_current().is_ok_and(|here| here.id() == it.id());
        let runtime = self.runtime.take();
        let runtime = runtime.filter(|it| self.wakers.len() > 1 && !is_here(it));
        match runtime {
            // A runtime that is ending drops it, which wakes them as well.
            Some(runtime) => drop(runtime.spawn(async move { drop(self) })),
            None => drop(self),
        }
    }
}

impl Drop for BatchWaiters {
    fn drop(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl BatchReceipt {
    /// Whether the outcome is known.
    pub(super) fn is_told(&self) -> bool {
        self.outcome.told().is_ready()
    }
}

impl Future for BatchReceipt {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let told = self.outcome.told();
        if told.is_ready() {
            return told;
        }
        let this = &mut *self;
        let mut waiting = this.outcome.waiting();
        // Told before the lock was taken, its wakers are gone already.
        let told = this.outcome.told();
        if told.is_ready() {
            return told;
        }
        match this.place.and_then(|place| waiting.wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                this.place = Some(waiting.wakers.len());
                if waiting.wakers.is_empty() {
                    waiting.runtime = Handle::try_current().ok();
                }
                waiting.wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "batch_outcome_tests.rs"]
mod tests;
