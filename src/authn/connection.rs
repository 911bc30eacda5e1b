//! State of a connection: whether a caller has authenticated on it, and how long it has been idle.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::authn::capacity::{CallerUsage, UsageCount};

const UNAUTHENTICATED: u8 = 0;
const AUTHENTICATED: u8 = 1;
const CLOSED: u8 = 2;

/// Requests that an unauthenticated client may cancel on one connection.
const MAX_CANCELLED_REQUESTS: u32 = 128;

/// One connection, unauthenticated until a caller authenticates a request on it.
#[derive(Debug)]
pub struct ConnectionState {
    state: AtomicU8,
    connections: UsageCount,
    unauthenticated: UsageCount,
    opened: Instant,
    /// Requests in total, and in flight.
    asked: AtomicU64,
    under_way: AtomicUsize,
    begun: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    last: AtomicU64,
    public_calls: UsageCount,
    /// Usage of the first authenticated caller, and whether there were several callers.
    held: OnceLock<CallerUsage>,
    has_several: AtomicBool,
    cancelled: AtomicU32,
    /// Microseconds from `opened` to when unread input arrived, plus one; 0 without unread input.
    reading: AtomicU64,
    closed: CancellationToken,
}

/// Idle timeouts of a connection.
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
    /// A new connection, counted in `connections` and `unauthenticated`.
    pub fn new(connections: &UsageCount, unauthenticated: &UsageCount) -> Self {
        connections.add(1);
        unauthenticated.add(1);
        Self {
            state: AtomicU8::new(UNAUTHENTICATED),
            connections: connections.clone(),
            unauthenticated: unauthenticated.clone(),
            opened: Instant::now(),
            asked: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            public_calls: UsageCount::default(),
            held: OnceLock::new(),
            has_several: AtomicBool::new(false),
            cancelled: AtomicU32::new(0),
            reading: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }

    /// Marks the connection as authenticated by the caller with this usage.
    pub fn mark_authenticated_as(&self, held: &CallerUsage) {
        let first = self.held.get_or_init(|| held.clone());
        if !first.requests.is_same(&held.requests) {
            self.has_several.store(true, Ordering::Release);
        }
        self.mark_authenticated();
    }

    /// The usage of its caller, if there is exactly one.
    pub fn held(&self) -> Option<&CallerUsage> {
        let has_several = self.has_several.load(Ordering::Acquire);
        self.held.get().filter(|_| !has_several)
    }

    /// Marks the connection as authenticated.
    pub fn mark_authenticated(&self) {
        if self.state.load(Ordering::Acquire) != UNAUTHENTICATED {
            return;
        }
        let proved = self.state.compare_exchange(
            UNAUTHENTICATED,
            AUTHENTICATED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if proved.is_ok() {
            self.unauthenticated.sub(1);
        }
    }

    /// Whether no caller has authenticated on it.
    pub fn is_unauthenticated(&self) -> bool {
        self.state.load(Ordering::Acquire) == UNAUTHENTICATED
    }

    /// Removes it from the counts.
    pub fn leave(&self) {
        match self.state.swap(CLOSED, Ordering::AcqRel) {
            UNAUTHENTICATED => {
                self.unauthenticated.sub(1);
                self.connections.sub(1);
            }
            AUTHENTICATED => self.connections.sub(1),
            _ => {}
        }
    }

    /// Closes it.
    pub fn close(&self) {
        self.leave();
        self.closed.cancel();
    }

    /// Whether it is being closed.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Completes once it is being closed.
    pub fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    /// How many requests have begun on it, wrapping around.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Acquire)
    }

    /// Records that a request has begun.
    pub fn note_begun(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a request is in flight.
    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Number of health and reflection calls on it.
    pub fn public_calls(&self) -> &UsageCount {
        &self.public_calls
    }

    /// Records that input is available.
    pub fn note_read(&self) {
        if self.reading.load(Ordering::Acquire) == 0 {
            let since = self.since_opened(Instant::now()).saturating_add(1);
            self.reading.store(since, Ordering::Release);
        }
    }

    /// Records that all input has been read.
    pub fn note_all_read(&self) {
        self.reading.store(0, Ordering::Release);
    }

    /// Time for which unread input has been available: an upper bound of the age of what is read now.
    pub fn behind(&self) -> Duration {
        self.behind_at(Instant::now())
    }

    /// The same at a moment; none if the input came later.
    pub fn behind_at(&self, moment: Instant) -> Duration {
        match self.reading.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            since => {
                let now = self.since_opened(moment);
                Duration::from_micros(now.saturating_sub(since - 1))
            }
        }
    }

    fn since_opened(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.opened);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Records a cancelled request. Authenticated callers cancel whenever their own clients do; more than
    /// `MAX_CANCELLED_REQUESTS` of an unauthenticated client are an attack and close the connection.
    pub fn note_cancelled(&self) {
        if self.is_unauthenticated()
            && self.cancelled.fetch_add(1, Ordering::AcqRel) >= MAX_CANCELLED_REQUESTS
        {
            self.close();
        }
    }

    /// Records that a request was answered that never came to be one in flight.
    pub fn note_answered(&self) {
        self.note_at(Instant::now());
    }

    /// When the idle timeout expires; `None` if it has expired.
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

    fn note_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Release);
    }
}

/// A request in flight on a connection, until this is dropped.
#[derive(Debug)]
pub struct ConnectionRequest {
    connection: Arc<ConnectionState>,
    ended: Option<Instant>,
}

impl ConnectionRequest {
    /// Counts a request.
    pub fn new(standing: &Arc<ConnectionState>) -> Self {
        standing.under_way.fetch_add(1, Ordering::AcqRel);
        standing.asked.fetch_add(1, Ordering::AcqRel);
        Self {
            connection: Arc::clone(standing),
            ended: None,
        }
    }

    /// It is about to be dropped, now: a moment that whoever drops it has read already.
    pub fn end_at(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

impl Drop for ConnectionRequest {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or_else(Instant::now);
        self.connection.note_at(ended);
        self.connection.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
