//! Whether a batch of records is written, for all who wait for it: one allocation a batch, whoever waits.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

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
    wakers: Mutex<Vec<Waker>>,
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
            let wakers = std::mem::take(&mut *self.wakers());
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn told(&self) -> Poll<bool> {
        match self.state.load(Ordering::Acquire) {
            PENDING => Poll::Pending,
            state => Poll::Ready(state == RECORDED),
        }
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut wakers = this.outcome.wakers();
        // Told before the lock was taken, its wakers are gone already.
        let told = this.outcome.told();
        if told.is_ready() {
            return told;
        }
        match this.place.and_then(|place| wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                this.place = Some(wakers.len());
                wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "batch_outcome_tests.rs"]
mod tests;
