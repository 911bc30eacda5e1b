//! How many requests may be under way: fewer once they wait too long for their turn.
//!
//! Additive increase, multiplicative decrease, steered by queueing delay. How fast answers come depends on the machine,
//! on who else uses it and on the policies, so no fixed number is right everywhere: too many under way answer all of
//! them late. What is measured is the part of its time that a request takes, from when it was there to be read to its
//! answer, or until its client gives up. While that part is small on average the limit grows, and once it is
//! not the limit is cut below what was under way.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::service::server_load::EventCounter;

/// How long requests are watched before the limit moves. Longer than the period in which the scheduler of the
/// operating system hands out CPU time (100 ms under a quota), within which waiting says nothing.
const WINDOW: Duration = Duration::from_millis(200);

/// Requests without which a window says nothing.
const SAMPLES: u64 = 8;

/// The part of its time, in thousandths, that a request may take on average.
const MAX_USED_PER_MILLE: u64 = 250;

/// The least that the limit becomes.
const MIN_LIMIT: usize = 4;

/// After how long a client that is refused should ask again.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The limit on requests under way that is in force, and what it has turned away.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    since: Instant,
    limit: AtomicUsize,
    window: Window,
    /// Requests that found the limit reached.
    pub shed: EventCounter,
    /// Requests whose deadline was over before they were answered.
    pub expired: EventCounter,
}

/// What was seen since the limit was last looked at.
#[derive(Debug, Default)]
struct Window {
    /// Microseconds from `since` to its end.
    end: AtomicU64,
    requests: AtomicU64,
    /// The sum of the parts of their time that they had used up, in thousandths.
    used: AtomicU64,
    most_under_way: AtomicUsize,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            limit: AtomicUsize::new(usize::MAX),
            window: Window::default(),
            shed: EventCounter::default(),
            expired: EventCounter::default(),
        }
    }
}

impl ConcurrencyLimit {
    /// How many may be under way where so many are configured.
    pub fn limit(&self, configured: usize) -> usize {
        self.limit.load(Ordering::Relaxed).min(configured)
    }

    /// Whether fewer may be under way than configured.
    pub fn is_reduced(&self, configured: usize) -> bool {
        self.limit(configured) < configured
    }

    /// A request has ended that took so long, of the time that it was given, while so many were under way.
    pub fn ended(&self, took: Duration, given: Duration, under_way: usize, configured: usize) {
        self.ended_at(self.since.elapsed(), took, given, under_way, configured);
    }

    fn ended_at(
        &self,
        now: Duration,
        took: Duration,
        given: Duration,
        under_way: usize,
        configured: usize,
    ) {
        let window = &self.window;
        window.requests.fetch_add(1, Ordering::Relaxed);
        window
            .used
            .fetch_add(thousandths(took, given), Ordering::Relaxed);
        window
            .most_under_way
            .fetch_max(under_way, Ordering::Relaxed);
        let now = micros(now);
        let end = window.end.load(Ordering::Relaxed);
        if now < end || window.requests.load(Ordering::Relaxed) < SAMPLES {
            return;
        }
        let next = now.saturating_add(micros(WINDOW));
        let is_ours = window
            .end
            .compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed);
        if is_ours.is_ok() {
            self.adjust(configured);
        }
    }

    /// Moves the limit by what the window has shown, and begins another one.
    fn adjust(&self, configured: usize) {
        let window = &self.window;
        let requests = window.requests.swap(0, Ordering::Relaxed).max(1);
        let used = window.used.swap(0, Ordering::Relaxed) / requests;
        let most = window.most_under_way.swap(0, Ordering::Relaxed);
        let limit = self.limit(configured);
        let next = if used > MAX_USED_PER_MILLE {
            // What was allowed and not under way cannot have been the cause.
            (limit.min(most).saturating_mul(7) / 10).max(MIN_LIMIT)
        } else {
            limit.saturating_add((limit / 8).max(1))
        };
        let next = if next < configured { next } else { usize::MAX };
        self.limit.store(next, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The part that was used up, which is never more than all of it.
fn thousandths(took: Duration, given: Duration) -> u64 {
    let part = micros(took).saturating_mul(1_000) / micros(given).max(1);
    part.min(1_000)
}

#[cfg(test)]
#[path = "concurrency_limit_tests.rs"]
mod tests;
