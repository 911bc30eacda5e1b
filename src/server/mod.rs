//! The running server: sockets, TLS, limits, health, reflection, and graceful shutdown.
//!
//! Start at [`serve`], which is *given* its listeners and the signal to stop. A request passes, from the outside in:
//!
//! 1. [`listen`] accepts the connection within the limits of [`connection_limiter`], `handshake` does TLS with the
//!    certificates of [`tls`]; [`file_descriptors`] keeps some descriptors from connections;
//! 2. over gRPC, `frame_shed` refuses under overload before there is a request, and `early_load_shed` rejects what there is
//!    no time for, before routing;
//! 3. [`load_shed`] authenticates the caller, takes a permit, and enforces the deadline; health and reflection pass
//!    [`public_services`] instead, as they need no authentication; [`limited_body`] bounds what is read;
//! 4. `routes` and `http` hand it to its adapter.
//!
//! `admin` answers probes and scrapes, on a listener of its own. [`reloadable`] holds what a reload of the configuration
//! swaps, [`reloadable_tls`] the certificates.
//!
//! Invariant: no decisions and no protocol. What a request means is up to the adapters.

mod admin;
pub mod connection_limiter;
mod early_load_shed;
pub mod error_format;
pub mod file_descriptors;
mod frame_shed;
mod handshake;
mod health;
mod http;
pub mod limited_body;
pub mod listen;
pub mod load_shed;
pub mod parts;
pub mod public_services;
pub mod reloadable;
pub mod reloadable_tls;
mod routes;
pub mod stop_signal;
pub mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tower::Service;

use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::config::limits::Limits;
use crate::server::admin::AdminService;
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::early_load_shed::EarlyLoadShed;
use crate::server::frame_shed::{FrameShed, ShedContext};
use crate::server::health::Health;
use crate::server::http::HttpService;
use crate::server::listen::{Incoming, Listener};
use crate::server::parts::{ServeError, ServerParts};
use crate::server::reloadable_tls::ReloadableTls;
use crate::service::server_load::ServerLoad;

/// Interval of the log line that sums up rejected requests.
const REJECTION_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// HTTP/2 flow-control windows of a stream and of a connection, in bytes.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Streams that a client may have reset before the server accepted them; one more ends its connection. After a stall, a
/// gateway whose own callers gave up may have hundreds; an unauthenticated connection is closed earlier
/// (`ConnectionState::note_cancelled`).
const MAX_PENDING_RESETS: usize = 1_024;

/// Time in which a client has to acknowledge an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop` completes, then until all requests in flight are answered or `limits.drain_ms` have passed.
///
/// # Errors
///
/// [`ServeError`] if reflection cannot be built or a listener fails. Connections that are open after `limits.drain_ms` are
/// logged and are no error.
pub async fn serve(
    listeners: Vec<Listener>,
    parts: ServerParts,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = parts.limits.load_full();
    let draining = CancellationToken::new();
    let stopped = CancellationToken::new();
    let mut health = Health::new().await;
    let load = Arc::new(ServerLoad::default());
    let control = ControlApi::new(
        Arc::clone(&parts.service),
        Arc::clone(&parts.limits),
        draining.clone(),
    );
    let control = control.carrying(Arc::clone(&load));
    let admin = AdminService::new(&parts, control.clone(), draining.clone());
    let routes = routes::routes(&parts, &health, &limits, &load, draining.clone(), control)?;
    let grpc = EarlyLoadShed::new(
        routes.prepare(),
        Arc::clone(&parts.limits),
        Arc::clone(&load),
        parts.service.recorder().clone(),
    );
    let shed = ShedContext {
        limits: Arc::clone(&parts.limits),
        load: Arc::clone(&load),
        recorder: parts.service.recorder().clone(),
    };
    let http = HttpService::new(&parts, &limits, Arc::clone(&load));
    let limiter = ConnectionLimiter::new(&limits, Arc::clone(&load));
    let keepalive = Duration::from_millis(limits.keepalive_ms.into());
    let admin_limiter = admin::limiter(&limits);
    // Probes are answered until everything else has ended.
    let (mut admins, admin_ended) = (JoinSet::new(), CancellationToken::new());
    let _ends_admin = admin_ended.clone().drop_guard();
    let mut servers = JoinSet::new();
    for listener in listeners {
        let tls = parts.tls.clone().filter(|_| listener.may_have_tls());
        let is_http = listener.is_http();
        if listener.is_admin() {
            let incoming = listener.incoming(admin_limiter.clone(), keepalive);
            let builder = limited_builder(&limits).accept_http1(true);
            let (service, ended) = (admin.clone(), admin_ended.clone());
            spawn(&mut admins, builder, service, incoming, None, ended);
            continue;
        }
        let incoming = listener.incoming(limiter.clone(), keepalive);
        let stopped = stopped.clone();
        if is_http {
            let builder = limited_builder(&limits).accept_http1(true);
            spawn(&mut servers, builder, http.clone(), incoming, tls, stopped);
        } else {
            let (builder, shed) = (limited_builder(&limits), shed.clone());
            spawn_grpc(
                &mut servers,
                builder,
                grpc.clone(),
                (incoming, shed),
                tls,
                stopped,
            );
        }
    }
    tokio::select! {
        () = stop => {}
        never = health.follow(&parts.service, parts.bundle_is_good.clone()) => match never {},
        never = log_rejections(&load) => match never {},
        never = follow_certificates(parts.tls.as_ref()) => match never {},
        Some(ended) = admins.join_next() => {
            stopped.cancel();
            draining.cancel();
            ended??;
        }
        Some(ended) = servers.join_next() => {
            // A listener that ends without the signal to stop has failed.
            stopped.cancel();
            draining.cancel();
            ended??;
        }
    }
    tracing::info!("stopping: requests under way are answered, new ones refused");
    health.set(ServingStatus::NotServing).await;
    draining.cancel();
    stopped.cancel();
    health.end_watches().await;
    drain(servers, &limits, &limiter).await
}

/// Reloads the certificates when their files change.
async fn follow_certificates(tls: Option<&ReloadableTls>) -> Infallible {
    match tls {
        Some(tls) => tls.follow().await,
        None => std::future::pending().await,
    }
}

/// Serves one gRPC listener in a task of its own until `stopped`.
fn spawn_grpc<S>(
    servers: &mut JoinSet<Result<(), tonic::transport::Error>>,
    builder: Server,
    service: S,
    (incoming, shed): (Incoming, ShedContext),
    tls: Option<ReloadableTls>,
    stopped: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let signal = stopped.cancelled_owned();
    match tls {
        None => servers.spawn(async move {
            let incoming = incoming.map(move |connection| {
                connection.map(|it| {
                    let state = Arc::clone(it.state());
                    FrameShed::new(it, state, shed.clone())
                })
            });
            builder
                .serve_with_incoming_shutdown(service, incoming, signal)
                .await
        }),
        Some(tls) => servers.spawn(async move {
            let incoming = handshake::accept_tls(incoming, tls, false).map(move |connection| {
                connection.map(|it| {
                    let state = Arc::clone(it.get_ref().0.state());
                    FrameShed::new(it, state, shed.clone())
                })
            });
            builder
                .serve_with_incoming_shutdown(service, incoming, signal)
                .await
        }),
    };
}

/// Serves one listener of HTTP in a task of its own until `stopped`.
fn spawn<S>(
    servers: &mut JoinSet<Result<(), tonic::transport::Error>>,
    builder: Server,
    service: S,
    incoming: Incoming,
    tls: Option<ReloadableTls>,
    stopped: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let signal = stopped.cancelled_owned();
    match tls {
        None => servers.spawn(async move {
            builder
                .serve_with_incoming_shutdown(service, incoming, signal)
                .await
        }),
        Some(tls) => servers.spawn(async move {
            let incoming = handshake::accept_tls(incoming, tls, true);
            builder
                .serve_with_incoming_shutdown(service, incoming, signal)
                .await
        }),
    };
}

/// Waits until all listeners have ended, for no longer than `limits.drain_ms`.
async fn drain(
    mut servers: JoinSet<Result<(), tonic::transport::Error>>,
    limits: &Limits,
    limiter: &ConnectionLimiter,
) -> Result<(), ServeError> {
    let drained = async {
        while let Some(ended) = servers.join_next().await {
            ended??;
        }
        Ok::<(), ServeError>(())
    };
    match tokio::time::timeout(Duration::from_millis(limits.drain_ms.into()), drained).await {
        Ok(result) => result,
        Err(_) => {
            let connections = limiter.open();
            tracing::warn!(
                connections,
                "stopped with connections still open after `limits.drain_ms`"
            );
            Ok(())
        }
    }
}

/// Logs one line a minute that counts the rejected requests and connections, if there were any.
async fn log_rejections(load: &ServerLoad) -> Infallible {
    let mut logged = load.rejections();
    loop {
        tokio::time::sleep(REJECTION_LOG_INTERVAL).await;
        let now = load.rejections();
        let recent = now.since(logged);
        logged = now;
        // Idle connections alone cost nothing, and gateways keep some.
        if recent.is_notable() {
            tracing::warn!(
                not_entitled = recent.not_entitled,
                requests = recent.requests,
                shed = recent.shed,
                expired = recent.expired,
                bodies = recent.bodies,
                late_bodies = recent.late_bodies,
                connections = recent.connections,
                pushed_out = recent.pushed_out,
                silent = recent.silent,
                public_calls = recent.public_calls,
                "requests rejected in the last minute"
            );
        }
    }
}

/// A builder with the limits that hold for every listener.
fn limited_builder(limits: &Limits) -> Server {
    Server::builder()
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.header_bytes)
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(Duration::from_millis(limits.keepalive_ms.into())))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}
