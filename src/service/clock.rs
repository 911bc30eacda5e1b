//! The clock of the service, which never runs backwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::domain::authority::form;

/// A source of time.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> SystemTime;

    /// Whether it advances by itself, so that a jump forward is a fault.
    fn is_steady(&self) -> bool {
        false
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn is_steady(&self) -> bool {
        true
    }
}

/// What the clocks showed when a request was taken up: they are read once for it.
#[derive(Debug, Clone, Copy)]
pub struct ClockReading {
    /// By the clock that nobody sets.
    pub steady: Instant,
    /// By the clock of the service, which never runs backwards.
    pub now: SystemTime,
    /// By the system's clock, as it is.
    pub wall: SystemTime,
}

/// The largest jump forward that is trusted while the service runs.
const MAX_JUMP: Duration = Duration::from_secs(10 * 60);
/// The same at the start, after a time in which nothing ran.
const MAX_RESTART_GAP: Duration = Duration::from_secs(30 * 24 * 3_600);
/// After this time a clock that has jumped is trusted.
const ACCEPT_JUMP_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// The interval of log lines about a faulty clock.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How far ahead of now the lease is, where time starts after a crash. It is written every second.
const LEASE: Duration = Duration::from_secs(3);

/// A clock that never runs backwards: what has expired stays expired, whatever happens to the clock behind it, and,
/// with the moment that the store holds, across restarts.
///
/// A clock that suddenly jumps ahead is followed, as what may have expired must not count. But nothing is pruned by
/// it, and once it is set right, time continues as before ([`MonotonicClock::confirmed_now`]). After a day it is
/// trusted.
#[derive(Clone)]
pub struct MonotonicClock {
    source: Arc<dyn Clock>,
    /// The latest confirmed moment, in milliseconds since the epoch.
    furthest: Arc<AtomicU64>,
    jump: Arc<Mutex<ForwardJump>>,
}

#[derive(Debug, Default)]
struct ForwardJump {
    /// When the clock was found to be far ahead, and the confirmed moment then, from which time is measured.
    since: Option<(Instant, u64)>,
    logged: Option<Instant>,
}

impl MonotonicClock {
    /// A clock that starts no earlier than `furthest`.
    pub fn new(source: Arc<dyn Clock>, furthest: Option<SystemTime>) -> Self {
        let now = form::millis(source.now());
        let gap = match source.is_steady() {
            true => millis_of(MAX_RESTART_GAP),
            false => u64::MAX,
        };
        let furthest = match furthest.map(form::millis) {
            None => now,
            Some(furthest) if now <= furthest.saturating_add(gap) => furthest.max(now),
            Some(furthest) => furthest,
        };
        Self {
            source,
            furthest: Arc::new(AtomicU64::new(furthest)),
            jump: Arc::default(),
        }
    }

    /// The current time, or the latest moment returned before if that is later. Within one millisecond it may return a
    /// moment a little before another.
    pub fn now(&self) -> SystemTime {
        self.not_before_furthest(self.source.now())
    }

    /// All clocks at once.
    pub fn read(&self) -> ClockReading {
        let source = self.source.now();
        ClockReading {
            steady: Instant::now(),
            now: self.not_before_furthest(source),
            wall: match self.source.is_steady() {
                true => source,
                // It is set by hand.
                false => SystemTime::now(),
            },
        }
    }

    fn not_before_furthest(&self, now: SystemTime) -> SystemTime {
        let millis = form::millis(now);
        let furthest = self.furthest.load(Ordering::Relaxed);
        if millis < furthest {
            return form::from_millis(furthest).unwrap_or(now);
        }
        if millis > furthest && !self.is_doubtful(millis, furthest) {
            self.furthest.fetch_max(millis, Ordering::Relaxed);
        }
        now
    }

    /// The latest confirmed moment. If it differs from `now`, the clock is far ahead of it.
    pub fn confirmed_now(&self) -> SystemTime {
        let furthest = self.furthest.load(Ordering::Relaxed);
        form::from_millis(furthest).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Where time starts after a crash: not before any moment that is returned until the next lease.
    pub fn lease(&self) -> SystemTime {
        let sure = self.confirmed_now();
        let millis = form::millis(self.source.now());
        if millis > form::millis(sure).saturating_add(millis_of(LEASE)) {
            return sure;
        }
        let ahead = form::from_millis(millis.saturating_add(millis_of(LEASE)));
        ahead.map_or(sure, |ahead| ahead.max(sure))
    }

    /// Accepts `to` as the current time, whatever it was before.
    pub fn reset(&self, to: SystemTime) {
        self.furthest.store(form::millis(to), Ordering::Relaxed);
        *self.jump() = ForwardJump::default();
    }

    /// The time of the clock behind it.
    pub fn source_now(&self) -> SystemTime {
        self.source.now()
    }

    /// The fault of the clock, if any; logged once a minute. Called every second.
    pub fn check(&self) -> Option<String> {
        let now = self.now();
        let (wall, sure) = (
            form::millis(self.source.now()),
            form::millis(self.confirmed_now()),
        );
        let mut jump = self.jump();
        let why = if wall > sure.saturating_add(millis_of(MAX_JUMP)) {
            let ahead = Duration::from_millis(wall - sure);
            format!(
                "the clock is {} s ahead of where it was: it is followed, and believed after a day",
                ahead.as_secs()
            )
        } else {
            jump.since = None;
            let behind = Duration::from_millis(sure.saturating_sub(wall));
            if behind <= LEASE {
                jump.logged = None;
                return None;
            }
            format!(
                "the clock is {} s behind where it was: time stands still until it has caught up",
                behind.as_secs()
            )
        };
        let why = format!("{why}. If it is right now, say so with `callgate clock repair`");
        if jump.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            jump.logged = Some(Instant::now());
            tracing::error!(now = form::millis(now), "{why}");
        }
        Some(why)
    }

    fn is_doubtful(&self, millis: u64, furthest: u64) -> bool {
        let is_far = millis - furthest > millis_of(MAX_JUMP);
        if !is_far || !self.source.is_steady() {
            return false;
        }
        let mut jump = self.jump();
        let (since, sure) = *jump.since.get_or_insert_with(|| (Instant::now(), furthest));
        let passed = since.elapsed();
        if passed >= ACCEPT_JUMP_AFTER {
            tracing::warn!(
                millis,
                sure,
                "the clock has been far ahead for a day and is believed"
            );
            return false;
        }
        let sure = sure.saturating_add(millis_of(passed));
        self.furthest.fetch_max(sure, Ordering::Relaxed);
        true
    }

    fn jump(&self) -> MutexGuard<'_, ForwardJump> {
        self.jump.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
