//! A clock that stands still until a test sets it.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use callgate::service::clock::Clock;

/// Where it stands at first, in seconds: 15 January 2027, 08:00:00 UTC.
pub const BEGINNING: u64 = 1_800_000_000;

/// A clock that is set by hand.
pub struct HandClock(Mutex<SystemTime>);

impl HandClock {
    /// A clock at [`BEGINNING`].
    pub fn new() -> Self {
        Self::at(SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING))
    }

    /// A clock at this moment.
    pub fn at(moment: SystemTime) -> Self {
        Self(Mutex::new(moment))
    }

    /// Sets it on.
    pub fn pass(&self, time: Duration) {
        *self.0.lock().expect("a moment") += time;
    }

    /// Sets it back.
    pub fn turn_back(&self, time: Duration) {
        *self.0.lock().expect("a moment") -= time;
    }
}

impl Clock for HandClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("a moment")
    }
}
