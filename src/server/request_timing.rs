//! How long a request takes of the time that it is given, without what it waits for elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::authn::connection::ConnectionRequest;
use crate::service::off_thread;
use crate::service::server_load::ServerLoad;

/// Measures a request, and reports its time when it is answered, rejected or dropped.
pub(super) struct RequestTiming {
    /// When it began to be read, and the longest time for which it may have waited unread before.
    arrived: Instant,
    behind: Duration,
    given: Duration,
    /// What it counts as given.
    weighed: Duration,
    configured: usize,
    load: Arc<ServerLoad>,
    was_polled: bool,
    /// How long it has waited for something else than a thread that decides, and since when it does.
    elsewhere: Duration,
    waits_since: Option<Instant>,
    /// On its connection.
    asked: ConnectionRequest,
}

impl RequestTiming {
    /// Of a request that arrived then, after so long unread; with the time that it is given, and what it counts as given; where
    /// so many requests are configured.
    pub(super) fn new(
        (arrived, behind): (Instant, Duration),
        (given, weighed): (Duration, Duration),
        configured: usize,
        (load, asked): (&Arc<ServerLoad>, ConnectionRequest),
    ) -> Self {
        Self {
            arrived,
            behind,
            given,
            weighed,
            configured,
            load: Arc::clone(load),
            was_polled: false,
            elsewhere: Duration::ZERO,
            waits_since: None,
            asked,
        }
    }

    /// Whether this is the first poll and its time has passed already, so that it need not be processed.
    pub(super) fn is_expired_on_first_poll(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.was_polled, true);
        let is_late = is_first && self.arrived.elapsed() >= self.given;
        if is_late {
            self.load.pressure.expired.add();
        }
        is_late
    }

    /// Notes that it waits, after it was polled.
    pub(super) fn note_pending(&mut self) {
        self.waits_since = off_thread::waits_off_thread().then(Instant::now);
    }

    /// Notes that it is polled again, or over.
    pub(super) fn end_wait(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.elsewhere += since.elapsed();
        }
    }
}

impl Drop for RequestTiming {
    fn drop(&mut self) {
        self.end_wait();
        let now = Instant::now();
        let took = (now - self.arrived).saturating_sub(self.elsewhere);
        let times = (self.behind + took, self.weighed);
        let in_flight = self.load.requests.get();
        let (now, pressure) = (now.into_std(), &self.load.pressure);
        pressure.record(now, times, in_flight, self.configured);
        self.asked.end_at(now);
    }
}
