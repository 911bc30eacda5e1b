//! The one clock of the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::call::live::form;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that is never earlier than it has been: what has expired stays expired, whatever happens to
/// the clock behind it, and, with the moment that the store remembers, across restarts.
#[derive(Clone)]
pub struct Forward {
    source: Arc<dyn Clock>,
    /// The latest moment told, in milliseconds since the epoch.
    furthest: Arc<AtomicU64>,
}

impl Forward {
    /// A clock that starts no earlier than `furthest`.
    pub fn new(source: Arc<dyn Clock>, furthest: Option<SystemTime>) -> Self {
        let furthest = furthest.map_or(0, form::millis);
        Self {
            source,
            furthest: Arc::new(AtomicU64::new(furthest)),
        }
    }

    /// Now, or the latest moment told before if that is later. Within one millisecond it may tell a
    /// moment a little before another.
    pub fn now(&self) -> SystemTime {
        let now = self.source.now();
        let millis = form::millis(now);
        let furthest = self.furthest.load(Ordering::Relaxed);
        if millis > furthest {
            self.furthest.fetch_max(millis, Ordering::Relaxed);
        } else if millis < furthest {
            return form::from_millis(furthest).unwrap_or(now);
        }
        now
    }
}

#[cfg(test)]
mod tests;
