//! TLS handshakes: several at once, each within its time, and a line in the log for those that fail.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::domain::error_chain::with_causes;
use crate::domain::request::visible::shown;
use crate::server::listen::{Connection, Incoming};
use crate::server::reloadable_tls::ReloadableTls;
use crate::telemetry::record::line_window::LineWindow;

/// Encrypted connections that wait to be served.
const WAITING: usize = 64;
/// One failure is logged in this time, and the others are counted.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The connections of a listener after their handshakes. A handshake that fails or takes too long ends
/// its connection and nothing else.
pub(super) fn accept_tls(
    mut incoming: Incoming,
    tls: ReloadableTls,
    is_http: bool,
) -> ReceiverStream<io::Result<TlsStream<Connection>>> {
    let longest = tls.handshake();
    let (ready, connections) = mpsc::channel(WAITING);
    let failures = Arc::new(HandshakeFailures::of(incoming.address()));
    tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        let mut minute = interval_at(Instant::now() + TOLD_EVERY, TOLD_EVERY);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                // The server has stopped accepting: the listener is dropped with this task.
                () = ready.closed() => return,
                Some(_) = handshakes.join_next(), if !handshakes.is_empty() => continue,
                _ = minute.tick() => {
                    failures.start_new_window();
                    continue;
                }
                next = incoming.next() => next,
            };
            let Some(Ok(connection)) = next else { return };
            let acceptor = TlsAcceptor::from(tls.config(is_http));
            let ready = ready.clone();
            let failures = Arc::clone(&failures);
            handshakes.spawn(async move {
                let peer = connection.peer_address();
                match tokio::time::timeout(longest, acceptor.accept(connection)).await {
                    Ok(Ok(stream)) => {
                        // Nobody waits for it if the server has stopped.
                        let _ = ready.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => {
                        failures.tell(&peer, &with_causes(&error));
                    }
                    Err(_) => {
                        failures.tell(&peer, "it took longer than `limits.handshake_ms`");
                    }
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

/// Logs failed handshakes of one listener: the first of each minute, and the number of the others.
struct HandshakeFailures {
    listener: String,
    minute: Mutex<LineWindow>,
}

impl HandshakeFailures {
    fn of(listener: String) -> Self {
        Self {
            listener,
            minute: Mutex::default(),
        }
    }

    /// Logs a failure as a warning if it is the first in this minute, and counts it otherwise. Returns whether it was the
    /// first.
    fn tell(&self, peer: &str, reason: &str) -> bool {
        let is_first = self.minute().admit(1, std::time::Instant::now());
        // The reason may hold what the other end has sent.
        let reason = shown(reason);
        let listener = &self.listener;
        if is_first {
            tracing::warn!(peer, %reason, listener, "a TLS handshake failed");
        } else {
            tracing::debug!(peer, %reason, listener, "a TLS handshake failed");
        }
        is_first
    }

    /// Starts a new minute. Returns how many handshakes failed in the last one besides the one that was logged.
    fn start_new_window(&self) -> u64 {
        let others = self.minute().end();
        if others > 0 {
            let listener = &self.listener;
            tracing::warn!(
                others,
                listener,
                "more TLS handshakes failed in this minute"
            );
        }
        others
    }

    fn minute(&self) -> std::sync::MutexGuard<'_, LineWindow> {
        // The counts are valid also after a panic while they were locked.
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
