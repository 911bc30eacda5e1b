//! How many requests may pass on a connection, and how long it is not read.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::authn::capacity::CapacityLimit;
use crate::authn::connection::ConnectionState;
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;
use crate::telemetry::record::recorder::Recorder;

/// Under overload, the share of its deadline that a request may wait so that more are read at once, and the longest pause.
const PAUSE_DIVISOR: u32 = 50;
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(10);

/// The share of the concurrent requests that are under way when the server is busy.
const BUSY_DIVISOR: usize = 8;

/// What the connections of a server share.
#[derive(Clone)]
pub struct ShedContext {
    /// The limits in force.
    pub limits: Arc<ArcSwap<Limits>>,
    /// What the server carries.
    pub load: Arc<ServerLoad>,
    /// Counts what is refused.
    pub recorder: Recorder,
}

/// How many more requests may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// The limit of concurrent requests.
    pub(super) limit: usize,
    /// Requests that may pass.
    pub(super) left: usize,
    /// Whether the server is overloaded.
    pub(super) is_overloaded: bool,
}

impl ShedContext {
    /// How many requests may pass on a connection; `None` unless the server is overloaded, or requests are filtered, and the
    /// connection is that of a known caller.
    pub(super) fn room(
        &self,
        connection: &ConnectionState,
        passed: usize,
        is_filtering: bool,
    ) -> Option<Room> {
        let pressure = &self.load.pressure;
        let limits = self.limits.load();
        let configured = limits.concurrent_requests as usize;
        let limit = pressure.limit(configured);
        let is_overloaded = limit < configured;
        if !(is_overloaded || is_filtering) || connection.is_unauthenticated() {
            return None;
        }
        let room = |left| Room {
            limit,
            left,
            is_overloaded,
        };
        if connection.behind() > self.usual_deadline(&limits) / 2 {
            return Some(room(0));
        }
        let all = limit.saturating_sub(self.load.requests.get());
        let own = connection.held().map_or(all, |held| {
            let bound = CapacityLimit::new(limit, limits.caller_share_percent, held);
            bound.share.saturating_sub(held.requests.get())
        });
        let others = self.load.passed_on.get().saturating_sub(passed);
        Some(room(all.min(own).saturating_sub(others)))
    }

    /// Whether many requests are under way. Few are while each is answered in the turn in which it is read, however many
    /// come at once.
    pub(super) fn is_busy(&self) -> bool {
        let configured = self.limits.load().concurrent_requests as usize;
        self.load.requests.get() >= configured / BUSY_DIVISOR
    }

    /// How long to pause between reads under overload.
    pub(super) fn pause(&self) -> Duration {
        (self.usual_deadline(&self.limits.load()) / PAUSE_DIVISOR).min(MAX_PAUSE)
    }

    fn usual_deadline(&self, limits: &Limits) -> Duration {
        let longest = Duration::from_millis(limits.deadline_ms.into());
        self.load.pressure.usual_deadline(longest)
    }
}
