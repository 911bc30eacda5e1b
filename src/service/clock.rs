//! The clock of the service, which does not run backwards, but from a moment that was never believed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::domain::authority::form;
use crate::store::backend::StoreError;
use crate::store::postgres::MAX_DIFFERENCE;

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
    /// By the clock of the service, [`MonotonicClock`].
    pub now: SystemTime,
    /// By the system's clock, as it is.
    pub wall: SystemTime,
    /// By the clock behind that of the service, wherever it is set: when records say that the request arrived.
    pub shown: SystemTime,
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
/// How far the times of two servers that decide may be apart: each differs that little from their database's.
pub const MAX_APART: Duration = MAX_DIFFERENCE.saturating_mul(2);

/// A clock that does not run backwards: what has expired by a time that it believes stays expired, whatever happens to the
/// clock behind it, and, with the moment that the store holds, across restarts.
///
/// A clock that suddenly jumps ahead is followed, as what may have expired must not count. But nothing is pruned by
/// it, and once it is set right, time continues as before ([`MonotonicClock::confirmed_now`]): what had expired only by the
/// jump holds again. After a day it is trusted.
///
/// Where several servers share a database, its clock is the judge ([`MonotonicClock::compare`]): time goes on only while
/// both agree, and a jump is trusted once they do.
#[derive(Clone)]
pub struct MonotonicClock {
    source: Arc<dyn Clock>,
    /// Whether it is held against the clock of a database.
    is_shared: bool,
    /// Whether the two did not agree when they were last compared.
    differs: Arc<AtomicBool>,
    /// The latest confirmed moment, in milliseconds since the epoch.
    furthest: Arc<AtomicU64>,
    jump: Arc<Mutex<ForwardJump>>,
}

#[derive(Debug, Default)]
struct ForwardJump {
    /// When the clock was found to be far ahead, and the confirmed moment then, from which time is measured.
    since: Option<(Instant, u64)>,
    /// How the clock differs from the database's.
    difference: Option<String>,
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
            is_shared: false,
            differs: Arc::default(),
            furthest: Arc::new(AtomicU64::new(furthest)),
            jump: Arc::default(),
        }
    }

    /// A clock beside that of a database, which showed `database` after this one showed `asked`. It starts no earlier than
    /// `furthest`, unless both clocks say that this has not come.
    ///
    /// # Errors
    ///
    /// [`StoreError::ClockDiffers`] if the two clocks do not agree: either may be wrong.
    pub fn beside(
        source: Arc<dyn Clock>,
        furthest: Option<SystemTime>,
        (asked, database): (SystemTime, SystemTime),
    ) -> Result<Self, StoreError> {
        let answered = source.now();
        let differs = difference(asked, database, answered).filter(|_| source.is_steady());
        if let Some(difference) = differs {
            return Err(StoreError::ClockDiffers(difference));
        }
        let latest = database + MAX_DIFFERENCE;
        let furthest = match furthest.filter(|it| source.is_steady() && *it > latest) {
            Some(wrong) => {
                let ahead = wrong.duration_since(latest).unwrap_or_default().as_secs();
                tracing::warn!(
                    ahead,
                    "the last time in the database has not come, by its clock and by this one: it is not believed"
                );
                Some(latest)
            }
            None => furthest,
        };
        let clock = Self {
            is_shared: true,
            ..Self::new(source, furthest)
        };
        clock.compare(asked, database, answered)?;
        Ok(clock)
    }

    /// Holds the clock against that of the database, which showed `database` between two moments of this one. While they
    /// agree, time goes on from the earlier of both. Otherwise it stands still for whatever is forgotten or written down.
    ///
    /// # Errors
    ///
    /// [`StoreError::ClockDiffers`] if they are more than [`MAX_DIFFERENCE`] apart.
    pub fn compare(
        &self,
        asked: SystemTime,
        database: SystemTime,
        answered: SystemTime,
    ) -> Result<(), StoreError> {
        if !self.source.is_steady() {
            return Ok(());
        }
        let difference = difference(asked, database, answered);
        let mut jump = self.jump();
        self.differs.store(difference.is_some(), Ordering::Release);
        jump.difference.clone_from(&difference);
        if let Some(difference) = difference {
            return Err(StoreError::ClockDiffers(difference));
        }
        jump.since = None;
        let sure = form::millis(asked.min(database));
        self.furthest.fetch_max(sure, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it did not agree with the database's clock when they were last compared.
    pub fn differs(&self) -> bool {
        self.differs.load(Ordering::Acquire)
    }

    /// How it differs from the database's clock, if it does.
    pub fn difference(&self) -> Option<String> {
        self.jump().difference.clone()
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
            shown: source,
        }
    }

    fn not_before_furthest(&self, now: SystemTime) -> SystemTime {
        let millis = form::millis(now);
        let furthest = self.furthest.load(Ordering::Relaxed);
        if millis < furthest {
            return form::from_millis(furthest).unwrap_or(now);
        }
        if millis > furthest && !self.differs() && !self.is_doubtful(millis, furthest) {
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
        let why = if let Some(difference) = &jump.difference {
            difference.clone()
        } else if wall > sure.saturating_add(millis_of(self.max_jump())) {
            let ahead = Duration::from_millis(wall - sure);
            let until = match self.is_shared {
                true => "once the database's clock agrees",
                false => "after a day",
            };
            format!(
                "the clock is {} s ahead of where it was: it is followed, and believed {until}",
                ahead.as_secs()
            )
        } else {
            jump.since = None;
            let behind = Duration::from_millis(sure.saturating_sub(wall));
            let is_usual = match self.is_shared {
                true => MAX_DIFFERENCE,
                false => LEASE,
            };
            if behind <= is_usual {
                jump.logged = None;
                return None;
            }
            format!(
                "the clock is {} s behind where it was: time stands still until it has caught up",
                behind.as_secs()
            )
        };
        let is_repairable = jump.difference.is_none() && !(self.is_shared && wall > sure);
        let why = match is_repairable {
            true => format!("{why}. If it is right now, say so with `callgate clock repair`"),
            false => why,
        };
        if jump.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            jump.logged = Some(Instant::now());
            tracing::error!(now = form::millis(now), "{why}");
        }
        Some(why)
    }

    fn is_doubtful(&self, millis: u64, furthest: u64) -> bool {
        let is_far = millis - furthest > millis_of(self.max_jump());
        if !is_far || !self.source.is_steady() {
            return false;
        }
        let mut jump = self.jump();
        let (since, sure) = *jump.since.get_or_insert_with(|| (Instant::now(), furthest));
        let passed = since.elapsed();
        if passed >= ACCEPT_JUMP_AFTER && !self.is_shared {
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

    fn max_jump(&self) -> Duration {
        match self.is_shared {
            true => MAX_DIFFERENCE,
            false => MAX_JUMP,
        }
    }

    fn jump(&self) -> MutexGuard<'_, ForwardJump> {
        self.jump.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a clock differs from another one, which showed `other` between two moments of it; `None` if that is little.
fn difference(asked: SystemTime, other: SystemTime, answered: SystemTime) -> Option<String> {
    let (by, how) = match (asked.duration_since(other), other.duration_since(answered)) {
        (Ok(ahead), _) if ahead > MAX_DIFFERENCE => (ahead, "ahead of"),
        (_, Ok(behind)) if behind > MAX_DIFFERENCE => (behind, "behind"),
        _ => return None,
    };
    Some(format!(
        "the clock of this machine is {} s {how} the database's: this replica decides nothing until they agree to {} s. \
         Set the one right that is wrong",
        by.as_secs(),
        MAX_DIFFERENCE.as_secs()
    ))
}

fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
