//! The running server: sockets, TLS, limits, health, reflection, and graceful shutdown.
//!
//! Start at [`serve`], which is *given* its listeners and the signal to stop. A request passes, from the outside in:
//!
//! 1. [`listen`] accepts the connection within the limits of [`connection_limiter`], `handshake` does TLS with the
//!    certificates of [`tls`]; [`file_descriptors`] keeps some descriptors from connections. `connections` serves it:
//!    `connection_requests` says which requests its own task answers, `connection_waker` how that is woken;
//! 2. over gRPC, `frame_shed` refuses under overload before there is a request, and `early_load_shed` rejects what there is
//!    no time for, before routing;
//! 3. [`load_shed`] authenticates the caller, takes a permit, and enforces the deadline; health and reflection pass
//!    [`public_services`] instead, as they need no authentication; [`limited_body`] bounds what is read;
//! 4. `routes` and `http` hand it to its adapter.
//!
//! `admin` answers probes and scrapes, on a listener of its own, and [`starting`] before there is anything to serve.
//! [`refused_requests`] puts on record what callers have no right to. [`reloadable`] holds what a reload of the configuration
//! swaps, [`reloadable_tls`] the certificates.
//!
//! Invariant: no decisions and no protocol. What a request means is up to the adapters.

mod admin;
pub mod connection_limiter;
mod connection_requests;
mod connection_waker;
mod connections;
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
pub mod refused_requests;
pub mod reloadable;
pub mod reloadable_tls;
mod request_timing;
mod round_time;
mod routes;
pub mod starting;
pub mod stop_signal;
pub mod tls;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::authn::connection::ConnectionState;
use crate::config::limits::Limits;
use crate::server::admin::AdminService;
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::connections::{Answers, ConnectionSettings, Protocol, Transport};
use crate::server::early_load_shed::EarlyLoadShed;
use crate::server::frame_shed::{FrameShed, ShedContext};
use crate::server::health::Health;
use crate::server::http::HttpService;
use crate::server::listen::{Connection, Listener};
use crate::server::parts::{ServeError, ServerParts};
use crate::server::reloadable_tls::ReloadableTls;
use crate::server::routes::GrpcRoutes;
use crate::service::server_load::ServerLoad;
use crate::telemetry::record::recorder::Recorder;

/// Interval of the log line that sums up rejected requests.
const REJECTION_LOG_INTERVAL: Duration = Duration::from_secs(60);

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
    )
    .carrying(Arc::clone(&load));
    let admin = AdminService::new(&parts, control.clone(), draining.clone());
    let routes = routes::routes(&parts, &health, &limits, &load, draining.clone(), control)?;
    let services = Services::new(&parts, &limits, &load, routes, admin);
    let limiter = ConnectionLimiter::new(&limits, Arc::clone(&load));
    // Probes are answered until everything else has ended.
    let (mut admins, admin_ended) = (Servers::default(), CancellationToken::new());
    let _ends_admin = admin_ended.clone().drop_guard();
    let mut servers = Servers::default();
    let admin_limiter = admin::limiter(&limits);
    for listener in listeners {
        if listener.is_admin() {
            let limiter = admin_limiter.clone();
            services.start(&mut admins, listener, limiter, &limits, None, &admin_ended);
        } else {
            let tls = parts.tls.clone().filter(|_| listener.may_have_tls());
            let limiter = limiter.clone();
            services.start(&mut servers, listener, limiter, &limits, tls, &stopped);
        }
    }
    tokio::select! {
        () = stop => {}
        never = health.follow(&parts.service, parts.bundle_is_good.clone()) => match never {},
        never = log_rejections(&load) => match never {},
        never = follow_certificates(parts.tls.as_ref(), parts.service.recorder()) => match never {},
        Some(ended) = admins.join_next() => {
            stopped.cancel();
            draining.cancel();
            ended?;
        }
        Some(ended) = servers.join_next() => {
            // A listener that ends without the signal to stop has failed.
            stopped.cancel();
            draining.cancel();
            ended?;
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
async fn follow_certificates(tls: Option<&ReloadableTls>, recorder: &Recorder) -> Infallible {
    match tls {
        Some(tls) => tls.follow(recorder).await,
        None => std::future::pending().await,
    }
}

/// The listeners that are served, each in a task of its own.
type Servers = JoinSet<()>;

/// What listeners serve.
struct Services {
    grpc: EarlyLoadShed<GrpcRoutes>,
    /// What refuses requests of gRPC before they are requests.
    shed: ShedContext,
    http: HttpService,
    admin: AdminService,
}

impl Services {
    fn new(
        parts: &ServerParts,
        limits: &Limits,
        load: &Arc<ServerLoad>,
        routes: GrpcRoutes,
        admin: AdminService,
    ) -> Self {
        let recorder = parts.service.recorder();
        Self {
            grpc: EarlyLoadShed::new(
                routes,
                Arc::clone(&parts.limits),
                Arc::clone(load),
                recorder.clone(),
            ),
            shed: ShedContext {
                limits: Arc::clone(&parts.limits),
                load: Arc::clone(load),
                recorder: recorder.clone(),
            },
            http: HttpService::new(parts, limits, Arc::clone(load)),
            admin,
        }
    }

    /// Serves a listener until `stopped`.
    fn start(
        &self,
        servers: &mut Servers,
        listener: Listener,
        limiter: ConnectionLimiter,
        limits: &Limits,
        tls: Option<ReloadableTls>,
        stopped: &CancellationToken,
    ) {
        let (is_admin, is_http) = (listener.is_admin(), listener.is_http());
        let incoming = listener.incoming(limiter, keepalive(limits));
        let http = ConnectionSettings::new(limits, Protocol::Http);
        let grpc = ConnectionSettings::new(limits, Protocol::Http2);
        match tls {
            _ if is_admin => spawn(servers, http, self.admin.clone(), incoming, stopped),
            None if is_http => spawn(servers, http, self.http.clone(), incoming, stopped),
            Some(tls) if is_http => {
                let incoming = handshake::accept_tls(incoming, tls, true);
                spawn(servers, http, self.http.clone(), incoming, stopped);
            }
            None => {
                let incoming = self.shedding(incoming, Connection::state);
                spawn(servers, grpc, self.grpc.clone(), incoming, stopped);
            }
            Some(tls) => {
                let incoming = handshake::accept_tls(incoming, tls, false);
                let incoming = self.shedding(incoming, |it| it.get_ref().0.state());
                spawn(servers, grpc, self.grpc.clone(), incoming, stopped);
            }
        }
    }

    /// The connections with what may refuse their requests.
    fn shedding<C, I>(
        &self,
        incoming: I,
        state: fn(&C) -> &Arc<ConnectionState>,
    ) -> impl Stream<Item = io::Result<FrameShed<C>>> + use<C, I>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        I: Stream<Item = io::Result<C>>,
    {
        let shed = self.shed.clone();
        incoming.map(move |connection| {
            connection.map(|it| {
                let state = Arc::clone(state(&it));
                FrameShed::new(it, state, shed.clone())
            })
        })
    }
}

/// After how long of silence a connection is probed.
fn keepalive(limits: &Limits) -> Duration {
    Duration::from_millis(limits.keepalive_ms.into())
}

/// Serves connections in a task of its own until `stopped`.
fn spawn<C: Transport>(
    servers: &mut Servers,
    settings: ConnectionSettings,
    service: impl Answers,
    incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
    stopped: &CancellationToken,
) {
    let served = connections::serve(settings, service, incoming, stopped.clone());
    servers.spawn(served);
}

/// Waits until all listeners have ended, for no longer than `limits.drain_ms`.
async fn drain(
    mut servers: Servers,
    limits: &Limits,
    limiter: &ConnectionLimiter,
) -> Result<(), ServeError> {
    let drained = async {
        while let Some(ended) = servers.join_next().await {
            ended?;
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
