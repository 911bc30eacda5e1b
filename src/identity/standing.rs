//! How a connection stands: whether anybody known has asked through it, and since when it is silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::identity::places::Count;

const STRANGER: u8 = 0;
const KNOWN: u8 = 1;
const GONE: u8 = 2;

/// One connection. It is a stranger's until a request of a known caller has come through it.
#[derive(Debug)]
pub struct Standing {
    state: AtomicU8,
    connections: Count,
    strangers: Count,
    opened: Instant,
    /// Requests, and how many of them are under way.
    asked: AtomicU64,
    under_way: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    last: AtomicU64,
    public_calls: Count,
    closed: CancellationToken,
}

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Before its first request.
    pub first: Duration,
    /// After its last one.
    pub idle: Duration,
}

impl Default for Standing {
    fn default() -> Self {
        Self::new(&Count::default(), &Count::default())
    }
}

impl Standing {
    /// A connection that has just come, counted among these.
    pub fn new(connections: &Count, strangers: &Count) -> Self {
        connections.add(1);
        strangers.add(1);
        Self {
            state: AtomicU8::new(STRANGER),
            connections: connections.clone(),
            strangers: strangers.clone(),
            opened: Instant::now(),
            asked: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            public_calls: Count::default(),
            closed: CancellationToken::new(),
        }
    }

    /// A known caller has asked through it.
    pub fn prove(&self) {
        if self.state.load(Ordering::Acquire) != STRANGER {
            return;
        }
        let proved =
            self.state
                .compare_exchange(STRANGER, KNOWN, Ordering::AcqRel, Ordering::Acquire);
        if proved.is_ok() {
            self.strangers.sub(1);
        }
    }

    /// Whether nobody known has asked through it.
    pub fn is_stranger(&self) -> bool {
        self.state.load(Ordering::Acquire) == STRANGER
    }

    /// Counts it no longer.
    pub fn leave(&self) {
        match self.state.swap(GONE, Ordering::AcqRel) {
            STRANGER => {
                self.strangers.sub(1);
                self.connections.sub(1);
            }
            KNOWN => self.connections.sub(1),
            _ => {}
        }
    }

    /// Ends it.
    pub fn close(&self) {
        self.leave();
        self.closed.cancel();
    }

    /// Whether it is to end.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Completes once it is to end.
    pub fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Calls of health and reflection through it.
    pub fn public_calls(&self) -> &Count {
        &self.public_calls
    }

    /// When it will have been silent for too long; `None` if it has been.
    pub fn patient_until(&self, patience: Patience) -> Option<Instant> {
        let now = Instant::now();
        let until = if self.is_busy() {
            now.checked_add(patience.idle)
        } else if self.asked.load(Ordering::Acquire) == 0 {
            self.opened.checked_add(patience.first)
        } else {
            let last = Duration::from_millis(self.last.load(Ordering::Acquire));
            self.opened.checked_add(last + patience.idle)
        };
        until.filter(|until| *until > now)
    }

    fn note(&self) {
        let since = self.opened.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Release);
    }
}

/// A request under way through a connection, until this is dropped.
#[derive(Debug)]
pub struct Asked(Arc<Standing>);

impl Asked {
    /// A request has come.
    pub fn through(standing: &Arc<Standing>) -> Self {
        standing.under_way.fetch_add(1, Ordering::AcqRel);
        standing.asked.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(standing))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.note();
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
