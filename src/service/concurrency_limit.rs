//! An adaptive limit of requests in flight, which shrinks once they wait too long for a thread.
//!
//! Controlled by queueing delay. How fast responses come depends on the machine, on its other load and on the policies, so no
//! fixed number suits every deployment, and too many requests in flight make all of them late. Measured is the share of its
//! deadline that a request uses, from when it could be read to its response, or until its client gives up, without what it
//! waited for elsewhere ([`crate::service::off_thread`]). The limit is multiplied by the square root of the wanted share over
//! that share, within bounds: far from it the limit moves fast, and near it hardly, so that it does not swing between too many,
//! of which some are late, and too few, with which the server waits.
//!
//! Nobody lowers the limit of all by what it asks: a deadline counts as no shorter than [`ConcurrencyLimit::weighed`] says, and
//! no more than the lowest limit under way are no queue, however long they take. What was measured holds for [`HOLDS`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::service::event_counter::EventCounter;

/// The window after which the limit is adjusted. Longer than the period in which the operating system's scheduler
/// hands out CPU time (100 ms under a quota), within which waiting says nothing.
const WINDOW: Duration = Duration::from_millis(200);

/// The fewest requests in a window to adjust the limit.
const SAMPLES: u64 = 8;

/// The share of its deadline, in thousandths, that a request is to use on average while there are too many.
const WANTED_PER_MILLE: u64 = 100;

/// By how much the limit falls and grows at most, in thousandths of it.
const LEAST_PER_MILLE: u64 = 500;
const MOST_PER_MILLE: u64 = 1_250;

/// The lowest limit.
const MIN_LIMIT: usize = 4;

/// For how long a reduced limit holds without a further measurement. After that it doubles each time: where nobody asks nothing is
/// measured, and so it is where a server answers nobody any more.
const HOLDS: Duration = Duration::from_secs(1);

/// The part of `limits.deadline_ms` that each request counts as given, if its client gives it less.
const SHORTEST_DIVISOR: u32 = 10;

/// After how long a rejected client should retry.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The limit of requests in flight, and how many it has rejected.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    since: Instant,
    limit: AtomicUsize,
    /// When the limit was last set, in microseconds since `since`.
    set_at: AtomicU64,
    /// How long requests are given on average, in microseconds; 0 before the first.
    given: AtomicU64,
    window: Window,
    /// Requests rejected by the limit.
    pub shed: EventCounter,
    /// Requests whose deadline passed before their response.
    pub expired: EventCounter,
}

/// Measurements since the last adjustment.
#[derive(Debug, Default)]
struct Window {
    /// The end of the window, in microseconds since `since`.
    end: AtomicU64,
    requests: AtomicU64,
    /// The sum of the shares of their deadlines that requests used, in thousandths.
    used: AtomicU64,
    most_under_way: AtomicUsize,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            limit: AtomicUsize::new(usize::MAX),
            set_at: AtomicU64::new(0),
            given: AtomicU64::new(0),
            window: Window::default(),
            shed: EventCounter::default(),
            expired: EventCounter::default(),
        }
    }
}

impl ConcurrencyLimit {
    /// What a request counts as given whose client gives it so long, where `longest` is configured: at least a tenth of that.
    /// A server that answers at once uses up most of a deadline of a few milliseconds, which says nothing of a queue.
    pub fn weighed(given: Duration, longest: Duration) -> Duration {
        given.min(longest).max(longest / SHORTEST_DIVISOR)
    }

    /// The limit in force under a configured maximum.
    pub fn limit(&self, configured: usize) -> usize {
        self.limit_at(configured, || self.since.elapsed())
    }

    /// The same, where the time is read only if it matters.
    fn limit_at(&self, configured: usize, now: impl FnOnce() -> Duration) -> usize {
        let reduced = self.limit.load(Ordering::Relaxed);
        if reduced >= configured {
            return configured;
        }
        let set_at = Duration::from_micros(self.set_at.load(Ordering::Relaxed));
        let unmeasured = now().saturating_sub(set_at).as_secs() / HOLDS.as_secs();
        let grown = u32::try_from(unmeasured).unwrap_or(u32::MAX);
        reduced
            .saturating_mul(2_usize.saturating_pow(grown))
            .min(configured)
    }

    /// Whether the limit is below the configured maximum.
    pub fn is_reduced(&self, configured: usize) -> bool {
        self.limit(configured) < configured
    }

    /// How long requests are given of late on average: `longest` before the first.
    pub fn usual_deadline(&self, longest: Duration) -> Duration {
        match self.given.load(Ordering::Relaxed) {
            0 => longest,
            given => longest.min(Duration::from_micros(given)),
        }
    }

    /// Records that a request found the configured number in flight. From then on the limit is one less, until it has been
    /// measured that so many are not too many, so that whatever else comes is rejected at the least cost.
    pub fn note_full(&self, configured: usize) {
        self.note_full_at(self.since.elapsed(), configured);
    }

    fn note_full_at(&self, now: Duration, configured: usize) {
        let below = configured.saturating_sub(1).max(MIN_LIMIT);
        if self.limit_at(configured, || now) >= configured {
            self.set(below, now);
        }
    }

    fn set(&self, limit: usize, now: Duration) {
        self.set_at.store(micros(now), Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Records a request that ends now: how long it took, how long it was given as it counts, and how many were in flight.
    pub fn record(
        &self,
        now: Instant,
        (took, given): (Duration, Duration),
        under_way: usize,
        configured: usize,
    ) {
        let now = now.saturating_duration_since(self.since);
        self.ended_at(now, took, given, under_way, configured);
    }

    fn ended_at(
        &self,
        now: Duration,
        took: Duration,
        given: Duration,
        under_way: usize,
        configured: usize,
    ) {
        // Of two that end at once one may not be counted.
        let usual = self.given.load(Ordering::Relaxed);
        let next = match usual {
            0 => micros(given),
            usual => (usual - usual / 16).saturating_add(micros(given) / 16),
        };
        self.given.store(next, Ordering::Relaxed);
        let window = &self.window;
        window.requests.fetch_add(1, Ordering::Relaxed);
        window
            .used
            .fetch_add(thousandths(took, given), Ordering::Relaxed);
        window
            .most_under_way
            .fetch_max(under_way, Ordering::Relaxed);
        let end = window.end.load(Ordering::Relaxed);
        if micros(now) < end || window.requests.load(Ordering::Relaxed) < SAMPLES {
            return;
        }
        let next = micros(now).saturating_add(micros(WINDOW));
        let is_ours = window
            .end
            .compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed);
        if is_ours.is_ok() {
            self.adjust(now, configured);
        }
    }

    /// Adjusts the limit to the measurements of the window, and starts a new one.
    fn adjust(&self, now: Duration, configured: usize) {
        let window = &self.window;
        let requests = window.requests.swap(0, Ordering::Relaxed).max(1);
        let used = window.used.swap(0, Ordering::Relaxed) / requests;
        let most = window.most_under_way.swap(0, Ordering::Relaxed);
        let limit = self.limit_at(configured, || now);
        let factor = (WANTED_PER_MILLE * 1_000_000 / used.max(1)).isqrt();
        let factor = factor.clamp(LEAST_PER_MILLE, MOST_PER_MILLE);
        let next = if used <= WANTED_PER_MILLE {
            scaled(limit, factor).max(limit.saturating_add(1))
        } else if most > MIN_LIMIT {
            // Only requests that were in flight can have caused the delay.
            scaled(limit.min(most), factor).max(MIN_LIMIT)
        } else {
            limit
        };
        let next = if next < configured { next } else { usize::MAX };
        self.set(next, now);
    }
}

fn scaled(number: usize, per_mille: u64) -> usize {
    let per_mille = usize::try_from(per_mille).unwrap_or(usize::MAX);
    number.saturating_mul(per_mille) / 1_000
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The share that was used, in thousandths, at most all of it.
fn thousandths(took: Duration, given: Duration) -> u64 {
    let part = micros(took).saturating_mul(1_000) / micros(given).max(1);
    part.min(1_000)
}

#[cfg(test)]
#[path = "concurrency_limit_tests.rs"]
mod tests;
