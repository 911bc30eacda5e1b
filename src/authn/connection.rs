//! How a connection stands: whether anybody known has asked through it, and since when it is silent.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::authn::capacity::{CallerUsage, UsageCount};

const STRANGER: u8 = 0;
const KNOWN: u8 = 1;
const GONE: u8 = 2;

/// Requests that a stranger may take back before they are answered.
const TAKEN_BACK: u32 = 128;

/// One connection. It is a stranger's until a request of a known caller has come through it.
#[derive(Debug)]
pub struct ConnectionState {
    state: AtomicU8,
    connections: UsageCount,
    strangers: UsageCount,
    opened: Instant,
    /// Requests, and how many of them are under way.
    asked: AtomicU64,
    under_way: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    last: AtomicU64,
    public_calls: UsageCount,
    /// What the first known caller holds, and whether it was not the only one.
    held: OnceLock<CallerUsage>,
    has_several: AtomicBool,
    taken_back: AtomicU32,
    /// Microseconds from `opened` to when something was there to read, plus one; 0 while there is nothing.
    reading: AtomicU64,
    closed: CancellationToken,
}

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub struct IdleTimeouts {
    /// Before its first request.
    pub first: Duration,
    /// After its last one.
    pub idle: Duration,
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self::new(&UsageCount::default(), &UsageCount::default())
    }
}

impl ConnectionState {
    /// A connection that has just come, counted among these.
    pub fn new(connections: &UsageCount, strangers: &UsageCount) -> Self {
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
            public_calls: UsageCount::default(),
            held: OnceLock::new(),
            has_several: AtomicBool::new(false),
            taken_back: AtomicU32::new(0),
            reading: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }

    /// The caller that holds this has asked through it.
    pub fn mark_authenticated_as(&self, held: &CallerUsage) {
        let first = self.held.get_or_init(|| held.clone());
        if !first.requests.is_same(&held.requests) {
            self.has_several.store(true, Ordering::Release);
        }
        self.prove();
    }

    /// What its caller holds, if there is one and no other.
    pub fn held(&self) -> Option<&CallerUsage> {
        let has_several = self.has_several.load(Ordering::Acquire);
        self.held.get().filter(|_| !has_several)
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
    pub fn is_unauthenticated(&self) -> bool {
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
    pub fn public_calls(&self) -> &UsageCount {
        &self.public_calls
    }

    /// Something was there to read.
    pub fn note_read(&self) {
        if self.reading.load(Ordering::Acquire) == 0 {
            let since = self.since_opened().saturating_add(1);
            self.reading.store(since, Ordering::Release);
        }
    }

    /// Nothing more is there to read.
    pub fn note_all_read(&self) {
        self.reading.store(0, Ordering::Release);
    }

    /// For how long there was always something to read: what is read now may have come that long ago.
    pub fn behind(&self) -> Duration {
        match self.reading.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            since => Duration::from_micros(self.since_opened().saturating_sub(since - 1)),
        }
    }

    fn since_opened(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A request was taken back before it was answered. Known callers do that whenever their own callers give up; of a
    /// stranger it is an attack, and too many of them end the connection.
    pub fn note_cancelled(&self) {
        if self.is_unauthenticated() && self.taken_back.fetch_add(1, Ordering::AcqRel) >= TAKEN_BACK
        {
            self.close();
        }
    }

    /// When it will have been silent for too long; `None` if it has been.
    pub fn idle_deadline(&self, patience: IdleTimeouts) -> Option<Instant> {
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
pub struct ConnectionRequest(Arc<ConnectionState>);

impl ConnectionRequest {
    /// A request has come.
    pub fn through(standing: &Arc<ConnectionState>) -> Self {
        standing.under_way.fetch_add(1, Ordering::AcqRel);
        standing.asked.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(standing))
    }
}

impl Drop for ConnectionRequest {
    fn drop(&mut self) {
        self.0.note();
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
