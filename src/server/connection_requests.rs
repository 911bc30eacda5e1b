//! Where the requests of a connection are answered: by its own task, or each in a task of its own.
//!
//! The task of the connection goes through those it answers in turns: first each is decided, then the first of them writes
//! the records of all, and then all are answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use hyper::rt::Executor;

use crate::adapters::transport::grpc_admission;
use crate::audit::turn::in_turns;

/// Requests that the task of a connection answers at once. A connection with more under way has work for several threads,
/// so the others get tasks.
const MOST: usize = 64;

/// The requests of one connection, as the HTTP implementation hands them over. Clones are of the same connection, and only
/// its task uses them.
#[derive(Clone, Default)]
pub(super) struct ConnectionRequests(Arc<Placed>);

#[derive(Default)]
struct Placed {
    /// Whether the request that was begun last is one decision.
    is_short: AtomicBool,
    /// Requests that the task of the connection answers.
    under_way: AtomicUsize,
    /// Those of them that it has not taken yet.
    untaken: Mutex<Vec<Answer>>,
}

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

impl ConnectionRequests {
    /// A request begins at this path; what is executed next is its answer.
    pub(super) fn begin(&self, path: &str) {
        let is_short = grpc_admission::is_one_decision(path);
        self.0.is_short.store(is_short, Ordering::Relaxed);
    }

    fn untaken(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.0
            .untaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for ConnectionRequests
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, answer: F) {
        let placed = &*self.0;
        let is_short = placed.is_short.swap(false, Ordering::Relaxed);
        if !is_short || placed.under_way.load(Ordering::Relaxed) >= MOST {
            tokio::spawn(answer);
            return;
        }
        placed.under_way.fetch_add(1, Ordering::Relaxed);
        self.untaken().push(Box::pin(answer));
    }
}

/// The requests that the task of a connection answers.
pub(super) struct RequestSlots {
    requests: ConnectionRequests,
    slots: Vec<Slot>,
    /// Slots without a request.
    free: Vec<usize>,
}

/// A place for one request after the other, with a waker that all of them use: who wakes one that is gone makes the task
/// look at the next in vain.
struct Slot {
    answer: Option<Answer>,
    woken: Arc<SlotWaker>,
    waker: Waker,
}

struct SlotWaker {
    is_woken: AtomicBool,
    connection: Waker,
}

impl RequestSlots {
    /// Slots for these requests.
    pub(super) fn new(requests: ConnectionRequests) -> Self {
        Self {
            requests,
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes what has come since. `connection` wakes the task.
    pub(super) fn take_new(&mut self, connection: &Waker) {
        let mut new = self.requests.untaken();
        for answer in new.drain(..) {
            let place = self.free.pop().unwrap_or(self.slots.len());
            if place == self.slots.len() {
                self.slots.push(Slot::new(connection));
            }
            let slot = &mut self.slots[place];
            slot.woken.is_woken.store(true, Ordering::SeqCst);
            slot.answer = Some(answer);
        }
    }

    /// Lets each of those go on once that can. Returns whether there are any.
    pub(super) fn go_on(&mut self) -> bool {
        if self.free.len() == self.slots.len() {
            return false;
        }
        let free = &mut self.free;
        let under_way = &self.requests.0.under_way;
        in_turns(|| {
            for (place, slot) in self.slots.iter_mut().enumerate() {
                if slot.has_ended() {
                    slot.answer = None;
                    free.push(place);
                    under_way.fetch_sub(1, Ordering::Relaxed);
                }
            }
        });
        true
    }

    /// Requests that are not answered yet.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Slot {
    fn new(connection: &Waker) -> Self {
        let woken = Arc::new(SlotWaker {
            is_woken: AtomicBool::new(false),
            connection: connection.clone(),
        });
        Self {
            answer: None,
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// Polls the request if it was woken. A panic ends this request alone, as it would in a task of its own.
    fn has_ended(&mut self) -> bool {
        let Some(answer) = &mut self.answer else {
            return false;
        };
        if !self.woken.is_woken.swap(false, Ordering::SeqCst) {
            return false;
        }
        let mut context = Context::from_waker(&self.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(&mut context)));
        polled.is_err() || polled.is_ok_and(|it| it.is_ready())
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::SeqCst) {
            self.connection.wake_by_ref();
        }
    }
}

#[cfg(test)]
#[path = "connection_requests_tests.rs"]
mod tests;
