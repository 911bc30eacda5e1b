//! Serves the connections of a listener over HTTP: each in a task of its own, until its client or the server is done.
//!
//! A request that is one decision takes microseconds. Handing it to another thread, and the response back, costs more than
//! deciding it. So the task of a connection decides those itself, as [`ConnectionRequests`] says: all that came with one
//! read, whose records are then written at once, and whose responses leave together. Everything else has a task of its
//! own.
//!
//! Invariant: no request holds up a connection by waiting: its task goes on as soon as one of them can.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::adapters::transport::request::ReceivedRequest;
use crate::adapters::transport::response_body::ResponseBody;
use crate::authn::certificate::Peer;
use crate::config::limits::Limits;
use crate::domain::error_chain::with_causes;
use crate::server::connection_requests::{ConnectionRequests, RequestSlots};
use crate::server::connection_waker::{ConnectionWaker, Round};
use crate::server::listen::HasPeer;
use crate::server::round_time::{RoundTimer, in_round};

/// HTTP/2 flow-control windows of a stream and of a connection, in bytes.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Streams that a client may have reset before the server accepted them; one more ends its connection. After a stall, a
/// gateway whose own callers gave up may have hundreds; an unauthenticated connection is closed earlier
/// (`ConnectionState::note_cancelled`).
const MAX_PENDING_RESETS: usize = 1_024;

/// Time in which a client has to acknowledge an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/2 alone, as gRPC does.
    Http2,
    /// HTTP/1.1, or HTTP/2 if the client begins with it.
    Http,
}

/// What the connections of a listener have in common.
#[derive(Clone)]
pub(super) struct ConnectionSettings {
    protocol: Protocol,
    max_streams: u32,
    header_bytes: u32,
    keepalive: Duration,
}

impl ConnectionSettings {
    /// The settings under these limits.
    pub(super) fn new(limits: &Limits, protocol: Protocol) -> Self {
        Self {
            protocol,
            max_streams: limits.streams_per_connection,
            header_bytes: limits.header_bytes,
            keepalive: Duration::from_millis(limits.keepalive_ms.into()),
        }
    }

    fn builder(&self, requests: ConnectionRequests) -> Builder<ConnectionRequests> {
        let mut builder = Builder::new(requests);
        if self.protocol == Protocol::Http2 {
            builder = builder.http2_only();
        }
        // Without a timer the time for the headers of a request is not limited.
        builder.http1().timer(RoundTimer::default());
        builder
            .http2()
            .timer(RoundTimer::default())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(self.header_bytes)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .keep_alive_interval(self.keepalive)
            .keep_alive_timeout(PING_TIMEOUT);
        builder
    }
}

/// What answers requests.
pub(super) trait Answers:
    Service<
        ReceivedRequest<Incoming>,
        Response = Response<ResponseBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<
            ReceivedRequest<Incoming>,
            Response = Response<ResponseBody>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// What requests come over.
pub(super) trait Transport:
    AsyncRead + AsyncWrite + HasPeer + Unpin + Send + 'static
{
}

impl<C> Transport for C where C: AsyncRead + AsyncWrite + HasPeer + Unpin + Send + 'static {}

/// Serves connections until `stopped`, and then until those that are open have answered what they were asked.
///
/// `service` has to be ready at any time: it sheds load and never delays it. A connection that cannot be accepted is left
/// out.
pub(super) async fn serve<S: Answers, C: Transport>(
    settings: ConnectionSettings,
    service: S,
    incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
    stopped: CancellationToken,
) {
    let connections = TaskTracker::new();
    {
        // Dropped before the open connections are waited for, so that nobody connects meanwhile.
        let mut incoming = pin!(incoming);
        let mut stop = pin!(stopped.cancelled());
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = incoming.next() => accepted,
            };
            match accepted {
                Some(Ok(connection)) => {
                    let served = serve_one(
                        settings.clone(),
                        service.clone(),
                        connection,
                        stopped.clone(),
                    );
                    connections.spawn(served);
                }
                Some(Err(error)) => tracing::debug!(%error, "a connection was not accepted"),
                None => break,
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Serves one connection: writes what was answered, reads what is asked, and decides that.
async fn serve_one<S: Answers, C: Transport>(
    settings: ConnectionSettings,
    service: S,
    io: C,
    stopped: CancellationToken,
) {
    let requests = ConnectionRequests::default();
    let answering = ConnectionService {
        peer: io.peer(),
        service: Mutex::new(service),
        requests: requests.clone(),
    };
    let builder = settings.builder(requests.clone());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), answering));
    let mut stop = pin!(stopped.cancelled_owned());
    let mut is_stopping = false;
    let mut under_way = RequestSlots::new(requests);
    let mut go_on = |context: &mut Context<'_>| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        let mut has_worked = under_way.go_on();
        if let Poll::Ready(ended) = in_round(|| connection.as_mut().poll(context)) {
            if let Err(error) = ended {
                tracing::debug!(error = %with_causes(&*error), "a connection ended");
            }
            return Round::Ended(());
        }
        under_way.take_new(context.waker());
        has_worked |= under_way.go_on();
        match has_worked {
            true => Round::Worked,
            false => Round::Carried,
        }
    };
    let waker = Arc::<ConnectionWaker>::default();
    poll_fn(|context| waker.poll(context, &mut go_on)).await;
}

/// What answers the requests of one connection.
struct ConnectionService<S> {
    peer: Peer,
    /// Only the task of the connection locks it.
    service: Mutex<S>,
    requests: ConnectionRequests,
}

impl<S: Answers> hyper::service::Service<Request<Incoming>> for ConnectionService<S> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        self.requests.begin(request.uri().path());
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        service.call(ReceivedRequest {
            request,
            peer: self.peer.clone(),
        })
    }
}
