//! Limits the number of connections, and how many of them may be unauthenticated.
//!
//! A connection is unauthenticated until a request of a known caller arrives on it. At the limit, a new connection is
//! admitted if an unauthenticated one can be evicted for it, the oldest idle one first: a peer that holds connections and
//! sends nothing cannot keep a gateway out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::authn::connection::{ConnectionState, IdleTimeouts};
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// One remote address may hold one part in this many of the unauthenticated connections.
const ADDRESSES: usize = 4;

/// Counts the connections of all listeners. Clones share the counts.
#[derive(Clone)]
pub struct ConnectionLimiter(Arc<ConnectionLimiterInner>);

struct ConnectionLimiterInner {
    max: usize,
    max_unauthenticated: usize,
    idle_timeouts: IdleTimeouts,
    load: Arc<ServerLoad>,
    unauthenticated: Mutex<UnauthenticatedConnections>,
}

/// Connections that were unauthenticated when last checked, in the order in which they arrived.
#[derive(Default)]
struct UnauthenticatedConnections {
    next: u64,
    waiting: BTreeMap<u64, UnauthenticatedConnection>,
}

struct UnauthenticatedConnection {
    address: Option<IpAddr>,
    connection: Arc<ConnectionState>,
}

/// The permit of one connection; dropping it frees the place.
pub struct ConnectionPermit {
    number: u64,
    connection: Arc<ConnectionState>,
    limiter: ConnectionLimiter,
}

impl ConnectionLimiter {
    /// A limiter with `limits.connections` and its parts.
    pub fn new(limits: &Limits, load: Arc<ServerLoad>) -> Self {
        Self(Arc::new(ConnectionLimiterInner {
            max: limits.connections as usize,
            max_unauthenticated: limits.stranger_connections(),
            idle_timeouts: IdleTimeouts {
                first: Duration::from_millis(limits.first_request_ms.into()),
                idle: Duration::from_millis(limits.idle_ms.into()),
            },
            load,
            unauthenticated: Mutex::default(),
        }))
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.0.load.connections.get()
    }

    /// How long a connection may be idle.
    pub fn idle_timeouts(&self) -> IdleTimeouts {
        self.0.idle_timeouts
    }

    /// Admits a connection if there is room or an unauthenticated one can be evicted. `None` otherwise.
    pub fn enter(&self, address: Option<IpAddr>) -> Option<ConnectionPermit> {
        let load = &self.0.load;
        let address = address.filter(|it| !it.to_canonical().is_loopback());
        let mut unauthenticated = self.unauthenticated();
        if let Some(address) = address {
            self.limit_address(&mut unauthenticated, address);
        }
        while load.strangers.get() >= self.0.max_unauthenticated
            || load.connections.get() >= self.0.max
        {
            let is_full = load.connections.get() >= self.0.max;
            if !self.evict(&mut unauthenticated, |_| true) {
                if is_full {
                    load.connections_refused.add();
                    return None;
                }
                break;
            }
        }
        let connection = Arc::new(ConnectionState::new(&load.connections, &load.strangers));
        let number = unauthenticated.next;
        unauthenticated.next += 1;
        let entry = UnauthenticatedConnection {
            address,
            connection: Arc::clone(&connection),
        };
        unauthenticated.waiting.insert(number, entry);
        Some(ConnectionPermit {
            number,
            connection,
            limiter: self.clone(),
        })
    }

    /// Counts a connection that was idle for too long.
    pub(super) fn count_idle(&self) {
        self.0.load.connections_silent.add();
    }

    /// Evicts an unauthenticated connection of an address that holds its part of them.
    fn limit_address(&self, unauthenticated: &mut UnauthenticatedConnections, address: IpAddr) {
        let most = (self.0.max_unauthenticated / ADDRESSES).max(1);
        if self.0.load.strangers.get() < most {
            return;
        }
        let is_from_there = |it: &UnauthenticatedConnection| it.address == Some(address);
        let from_there = unauthenticated
            .waiting
            .values()
            .filter(|it| is_from_there(it) && it.connection.is_unauthenticated());
        if from_there.count() >= most {
            self.evict(unauthenticated, is_from_there);
        }
    }

    /// Evicts the oldest matching connection without a request in flight, or else the oldest matching one. Whether there
    /// was one.
    fn evict(
        &self,
        unauthenticated: &mut UnauthenticatedConnections,
        matches: impl Fn(&UnauthenticatedConnection) -> bool,
    ) -> bool {
        let is_authenticated = |it: &UnauthenticatedConnection| !it.connection.is_unauthenticated();
        while let Some(first) = unauthenticated.waiting.first_entry() {
            if !is_authenticated(first.get()) {
                break;
            }
            first.remove();
        }
        let candidates = || {
            let all = unauthenticated.waiting.iter();
            all.filter(|(_, it)| matches(it) && !is_authenticated(it))
        };
        let idle = candidates().find(|(_, it)| !it.connection.is_busy());
        let Some(number) = idle
            .or_else(|| candidates().next())
            .map(|(number, _)| *number)
        else {
            return false;
        };
        if let Some(evicted) = unauthenticated.waiting.remove(&number) {
            evicted.connection.close();
            self.0.load.connections_pushed_out.add();
        }
        true
    }

    fn unauthenticated(&self) -> std::sync::MutexGuard<'_, UnauthenticatedConnections> {
        let unauthenticated = self.0.unauthenticated.lock();
        unauthenticated.unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// The state of the connection.
    pub fn connection(&self) -> &Arc<ConnectionState> {
        &self.connection
    }

    /// The limiter that admitted it.
    pub fn limiter(&self) -> &ConnectionLimiter {
        &self.limiter
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connection.leave();
        self.limiter.unauthenticated().waiting.remove(&self.number);
    }
}

#[cfg(test)]
#[path = "connection_limiter_tests.rs"]
mod tests;
