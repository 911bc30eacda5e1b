//! Who may connect: a limit on connections, of which strangers have a part and no more.
//!
//! A connection is a stranger's until a request of a known caller has come through it. A new one is let in as long as
//! there is any stranger to close for it, the oldest silent one first: whoever holds connections and asks nothing
//! cannot keep a gateway out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::authn::certificate::Peer;
use crate::authn::connection::{ConnectionState, IdleTimeouts};
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// What part of the strangers' connections may come from one address of another machine.
const ADDRESSES: usize = 4;

/// Counts the connections of all listeners. Its clones count together.
#[derive(Clone)]
pub struct ConnectionLimiter(Arc<ConnectionLimiterInner>);

struct ConnectionLimiterInner {
    most: usize,
    most_strangers: usize,
    patience: IdleTimeouts,
    load: Arc<ServerLoad>,
    strangers: Mutex<UnauthenticatedConnections>,
}

/// Connections that were strangers' when last looked at, by the order in which they came.
#[derive(Default)]
struct UnauthenticatedConnections {
    next: u64,
    waiting: BTreeMap<u64, UnauthenticatedConnection>,
}

struct UnauthenticatedConnection {
    address: Option<IpAddr>,
    standing: Arc<ConnectionState>,
}

/// The room that one connection takes.
pub struct ConnectionPermit {
    number: u64,
    standing: Arc<ConnectionState>,
    gate: ConnectionLimiter,
}

impl ConnectionLimiter {
    /// A gate for so many connections as the limits say.
    pub fn new(limits: &Limits, load: Arc<ServerLoad>) -> Self {
        Self(Arc::new(ConnectionLimiterInner {
            most: limits.connections as usize,
            most_strangers: limits.stranger_connections(),
            patience: IdleTimeouts {
                first: Duration::from_millis(limits.first_request_ms.into()),
                idle: Duration::from_millis(limits.idle_ms.into()),
            },
            load,
            strangers: Mutex::default(),
        }))
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.0.load.connections.get()
    }

    /// How long a connection may be silent.
    pub fn patience(&self) -> IdleTimeouts {
        self.0.patience
    }

    /// Lets a connection in, if there is room or a stranger to close for it.
    pub fn enter(&self, address: Option<IpAddr>) -> Option<ConnectionPermit> {
        let load = &self.0.load;
        let address = address.filter(|it| !it.to_canonical().is_loopback());
        let mut strangers = self.strangers();
        if let Some(address) = address {
            self.limit_address(&mut strangers, address);
        }
        while load.strangers.get() >= self.0.most_strangers || load.connections.get() >= self.0.most
        {
            let is_full = load.connections.get() >= self.0.most;
            if !self.evict(&mut strangers, |_| true) {
                if is_full {
                    load.connections_refused.add();
                    return None;
                }
                break;
            }
        }
        let standing = Arc::new(ConnectionState::new(&load.connections, &load.strangers));
        let number = strangers.next;
        strangers.next += 1;
        let stranger = UnauthenticatedConnection {
            address,
            standing: Arc::clone(&standing),
        };
        strangers.waiting.insert(number, stranger);
        Some(ConnectionPermit {
            number,
            standing,
            gate: self.clone(),
        })
    }

    /// Counts a connection that was silent for too long.
    pub(super) fn count_idle(&self) {
        self.0.load.connections_silent.add();
    }

    /// Closes a stranger from an address that has its part, once strangers are many.
    fn limit_address(&self, strangers: &mut UnauthenticatedConnections, address: IpAddr) {
        let most = (self.0.most_strangers / ADDRESSES).max(1);
        if self.0.load.strangers.get() < most {
            return;
        }
        let is_from_there = |it: &UnauthenticatedConnection| it.address == Some(address);
        let from_there = strangers
            .waiting
            .values()
            .filter(|it| is_from_there(it) && it.standing.is_unauthenticated());
        if from_there.count() >= most {
            self.evict(strangers, is_from_there);
        }
    }

    /// Closes the oldest of these strangers that has nothing under way, or else the oldest of them.
    fn evict(
        &self,
        strangers: &mut UnauthenticatedConnections,
        is_meant: impl Fn(&UnauthenticatedConnection) -> bool,
    ) -> bool {
        let is_known = |it: &UnauthenticatedConnection| !it.standing.is_unauthenticated();
        while let Some(first) = strangers.waiting.first_entry() {
            if !is_known(first.get()) {
                break;
            }
            first.remove();
        }
        let of_kind = || {
            let all = strangers.waiting.iter();
            all.filter(|(_, it)| is_meant(it) && !is_known(it))
        };
        let silent = of_kind().find(|(_, it)| !it.standing.is_busy());
        let Some(number) = silent
            .or_else(|| of_kind().next())
            .map(|(number, _)| *number)
        else {
            return false;
        };
        if let Some(stranger) = strangers.waiting.remove(&number) {
            stranger.standing.close();
            self.0.load.connections_pushed_out.add();
        }
        true
    }

    fn strangers(&self) -> std::sync::MutexGuard<'_, UnauthenticatedConnections> {
        let strangers = self.0.strangers.lock();
        strangers.unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// The other end, as requests will find it.
    pub fn peer(&self) -> Peer {
        Peer::new(Arc::clone(&self.standing))
    }

    /// How the connection stands.
    pub fn standing(&self) -> &Arc<ConnectionState> {
        &self.standing
    }

    /// The gate that it came through.
    pub fn gate(&self) -> &ConnectionLimiter {
        &self.gate
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.standing.leave();
        self.gate.strangers().waiting.remove(&self.number);
    }
}

#[cfg(test)]
#[path = "connection_limiter_tests.rs"]
mod tests;
