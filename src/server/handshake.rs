//! TLS for the protocols over plain HTTP: handshakes, several at once, each within its time.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::server::listen::{Connection, Incoming};
use crate::server::tls::ServerTls;

/// Encrypted connections that wait to be served.
const WAITING: usize = 64;

/// The connections of a listener after their handshakes. A handshake that fails or takes too long ends
/// its connection and nothing else.
pub(super) fn encrypted(
    mut incoming: Incoming,
    tls: &ServerTls,
) -> ReceiverStream<io::Result<TlsStream<Connection>>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.http));
    let longest = tls.handshake;
    let (ready, connections) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        loop {
            let next = tokio::select! {
                // The server has stopped accepting: the listener is dropped with this task.
                () = ready.closed() => return,
                Some(_) = handshakes.join_next(), if !handshakes.is_empty() => continue,
                next = incoming.next() => next,
            };
            let Some(Ok(connection)) = next else { return };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            handshakes.spawn(async move {
                match tokio::time::timeout(longest, acceptor.accept(connection)).await {
                    Ok(Ok(stream)) => {
                        // Nobody waits for it if the server has stopped.
                        let _ = ready.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}
