//! What the server carries, and what it has rejected: counted where it happens, reported by `GetStatus` and once a
//! minute in the log.

use crate::authn::capacity::UsageCount;
use crate::service::concurrency_limit::ConcurrencyLimit;
use crate::service::event_counter::EventCounter;

/// What the server carries.
#[derive(Debug, Default)]
pub struct ServerLoad {
    /// Requests in flight.
    pub requests: UsageCount,
    /// Requests that passed the filter below HTTP/2 and have not begun, as far as their connections know.
    pub passed_on: UsageCount,
    /// The adaptive limit of requests in flight.
    pub pressure: ConcurrencyLimit,
    /// Bytes of request bodies in memory.
    pub body_bytes: UsageCount,
    /// Connections.
    pub connections: UsageCount,
    /// Connections on which no known caller has sent a request.
    pub strangers: UsageCount,
    /// Health watches.
    pub health_watches: UsageCount,
    /// Requests of known callers that exceeded a limit.
    pub requests_refused: EventCounter,
    /// Requests of callers without the right to the RPC.
    pub not_entitled: EventCounter,
    /// Messages whose bytes exceeded the budget.
    pub bodies_refused: EventCounter,
    /// Messages that did not arrive in time.
    pub bodies_late: EventCounter,
    /// Connections that exceeded the limit.
    pub connections_refused: EventCounter,
    /// Connections of unknown callers that were closed to make room.
    pub connections_pushed_out: EventCounter,
    /// Connections that were closed for inactivity.
    pub connections_silent: EventCounter,
    /// Calls of health and reflection that were refused or ended to make room.
    pub public_calls_refused: EventCounter,
}

/// The numbers of everything rejected so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RejectionCounts {
    /// Requests of known callers that found no place.
    pub requests: u64,
    /// Requests of known callers that the adaptive limit rejected.
    pub shed: u64,
    /// Requests whose deadline passed before they were decided.
    pub expired: u64,
    /// Requests of those who may not ask.
    pub not_entitled: u64,
    /// Messages for whose bytes there was no room.
    pub bodies: u64,
    /// Messages that did not arrive in time.
    pub late_bodies: u64,
    /// Connections for which there was no room.
    pub connections: u64,
    /// Strangers' connections that were closed to make room.
    pub pushed_out: u64,
    /// Connections that were silent for too long.
    pub silent: u64,
    /// Calls of health and reflection.
    pub public_calls: u64,
}

impl ServerLoad {
    /// The numbers of rejections so far.
    pub fn rejections(&self) -> RejectionCounts {
        RejectionCounts {
            requests: self.requests_refused.get(),
            shed: self.pressure.shed.get(),
            expired: self.pressure.expired.get(),
            not_entitled: self.not_entitled.get(),
            bodies: self.bodies_refused.get(),
            late_bodies: self.bodies_late.get(),
            connections: self.connections_refused.get(),
            pushed_out: self.connections_pushed_out.get(),
            silent: self.connections_silent.get(),
            public_calls: self.public_calls_refused.get(),
        }
    }
}

impl RejectionCounts {
    /// Whether it is worth a log line. Inactive connections end every day and are not.
    pub fn is_notable(self) -> bool {
        let silent = self.silent;
        self != Self {
            silent,
            ..Self::default()
        }
    }

    /// The rejections since an earlier count.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            shed: self.shed.saturating_sub(earlier.shed),
            expired: self.expired.saturating_sub(earlier.expired),
            not_entitled: self.not_entitled.saturating_sub(earlier.not_entitled),
            bodies: self.bodies.saturating_sub(earlier.bodies),
            late_bodies: self.late_bodies.saturating_sub(earlier.late_bodies),
            connections: self.connections.saturating_sub(earlier.connections),
            pushed_out: self.pushed_out.saturating_sub(earlier.pushed_out),
            silent: self.silent.saturating_sub(earlier.silent),
            public_calls: self.public_calls.saturating_sub(earlier.public_calls),
        }
    }
}
