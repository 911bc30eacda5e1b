//! The running server: sockets, TLS, limits, health, reflection, and an end without lost answers.
//!
//! Start at [`serve`], which is *given* its listeners and the signal to stop. [`listen`] binds and
//! accepts, [`tls`] reads certificates, [`doors`] makes callers of the configuration, [`shield`] finds out who asks, sheds
//! load, keeps deadlines and catches panics. Before anybody is known, [`gate`] bounds connections and [`public`] what
//! strangers may call; [`body`] bounds what is read. `routes` and `health` are the services over gRPC. `front` turns
//! away what there is no time for before anything else is done for it. `http` reads the requests of the protocols over
//! plain HTTP, [`descriptors`] keeps some from connections, and `handshake` opens encrypted connections.
//!
//! Invariant: no decisions and no protocol. What a request says is the adapters' business.

pub mod connection_limiter;
mod early_load_shed;
pub mod file_descriptors;
mod handshake;
mod health;
mod http;
pub mod limited_body;
pub mod listen;
pub mod load_shed;
pub mod public_services;
pub mod reloadable;
mod routes;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::agentgateway::AgentgatewayConfig as ExtMcpSettings;
use crate::config::envoy::EnvoyConfig;
use crate::config::http::{AuthzenConfig, ToolhiveConfig};
use crate::config::limits::Limits;
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::early_load_shed::EarlyLoadShed;
use crate::server::health::Health;
use crate::server::listen::Listener;
use crate::server::tls::ServerTls;
use crate::service::decisions::Service;
use crate::service::server_load::ServerLoad;

/// How often the log tells what was turned away.
const REJECTION_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes that a client may send on one stream, and on one connection, before they are read.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Requests that a client may have taken back before the server came to look at them; one more ends its connection. After
/// a stall there may be hundreds of a gateway whose own callers have given up; a stranger's connection ends before
/// (`Standing::note_cancelled`).
const TAKEN_BACK: usize = 1_024;

/// How long a client may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the server offers, and under which limits.
#[derive(Clone)]
pub struct ServerParts {
    /// Who answers.
    pub service: Arc<Service>,
    /// Who may ask.
    pub doorkeeper: Arc<ReloadableAuthenticator>,
    /// The limits; a reload may swap them.
    pub limits: Arc<ArcSwap<Limits>>,
    /// How requests that Envoy asks about are read; a reload may swap it.
    pub envoy: Arc<ArcSwap<EnvoyConfig>>,
    /// How agentgateway's `ExtMcp` is read; a reload may swap it.
    pub ext_mcp: Arc<ArcSwap<ExtMcpSettings>>,
    /// Certificates for TCP listeners; without them they speak cleartext.
    pub tls: Option<ServerTls>,
    /// How AuthZEN is spoken.
    pub authzen: AuthzenConfig,
    /// How ToolHive is answered.
    pub toolhive: ToolhiveConfig,
    /// Whether the directory is as good as what is in service; `grpc.health.v1` tells under the name
    /// `callgate.bundle`.
    pub bundle_is_good: watch::Receiver<bool>,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service cannot be made.
    #[error("server reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A listener failed.
    #[error("a listener failed")]
    Transport(#[from] tonic::transport::Error),
    /// The task of a listener failed.
    #[error("the task of a listener failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Serves until `stop` completes, and then until every request under way is answered or
/// `limits.drain_ms` are over.
pub async fn serve(
    listeners: Vec<Listener>,
    setup: ServerParts,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = setup.limits.load_full();
    let draining = CancellationToken::new();
    let stopped = CancellationToken::new();
    let mut health = Health::new().await;
    let load = Arc::new(ServerLoad::default());
    let routes = routes::routes(&setup, &health, &limits, &load, draining.clone())?;
    let front = EarlyLoadShed::new(
        routes.prepare(),
        Arc::clone(&setup.limits),
        Arc::clone(&load),
        setup.service.recorder().clone(),
    );
    let http_doors = http::HttpService::new(&setup, &limits, Arc::clone(&load));
    let gate = ConnectionLimiter::new(&limits, Arc::clone(&load));
    let keepalive = Duration::from_millis(limits.keepalive_ms.into());
    let mut servers = JoinSet::new();
    for listener in listeners {
        let tls = setup.tls.as_ref().filter(|_| listener.is_tcp());
        let is_http = listener.is_http();
        let incoming = listener.incoming(gate.clone(), keepalive);
        let signal = stopped.clone().cancelled_owned();
        if is_http {
            let server = http_builder(&limits);
            let doors = http_doors.clone();
            match tls {
                None => servers.spawn(server.serve_with_incoming_shutdown(doors, incoming, signal)),
                Some(tls) => {
                    let incoming = handshake::accept_tls(incoming, &tls.http, tls.handshake);
                    servers.spawn(server.serve_with_incoming_shutdown(doors, incoming, signal))
                }
            };
            continue;
        }
        let (server, front) = (bounded(&limits), front.clone());
        match tls {
            None => servers.spawn(server.serve_with_incoming_shutdown(front, incoming, signal)),
            Some(tls) => {
                let incoming = handshake::accept_tls(incoming, &tls.grpc, tls.handshake);
                servers.spawn(server.serve_with_incoming_shutdown(front, incoming, signal))
            }
        };
    }
    tokio::select! {
        () = stop => {}
        never = health.follow(&setup.service, setup.bundle_is_good.clone()) => match never {},
        never = log_rejections(&load) => match never {},
        Some(ended) = servers.join_next() => {
            // Without a signal to stop no listener ends of its own accord.
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
    let drained = async {
        while let Some(ended) = servers.join_next().await {
            ended??;
        }
        Ok::<(), ServeError>(())
    };
    match tokio::time::timeout(Duration::from_millis(limits.drain_ms.into()), drained).await {
        Ok(result) => result,
        Err(_) => {
            let connections = gate.open();
            tracing::warn!(
                connections,
                "stopped with connections still open after `limits.drain_ms`"
            );
            Ok(())
        }
    }
}

/// Says once a minute what was turned away, if anything was: one line, however many strangers there are.
async fn log_rejections(load: &ServerLoad) -> std::convert::Infallible {
    let mut told = load.rejections();
    loop {
        tokio::time::sleep(REJECTION_LOG_INTERVAL).await;
        let now = load.rejections();
        let lately = now.since(told);
        told = now;
        // What silent connections cost is nothing, and gateways have them.
        if lately.is_notable() {
            tracing::warn!(
                not_entitled = lately.not_entitled,
                requests = lately.requests,
                shed = lately.shed,
                expired = lately.expired,
                bodies = lately.bodies,
                late_bodies = lately.late_bodies,
                connections = lately.connections,
                pushed_out = lately.pushed_out,
                silent = lately.silent,
                public_calls = lately.public_calls,
                "turned away in the last minute"
            );
        }
    }
}

/// What every listener is bounded by, whatever is spoken over it.
fn bounded(limits: &Limits) -> Server {
    Server::builder()
        .http2_max_pending_accept_reset_streams(Some(TAKEN_BACK))
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.header_bytes)
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(Duration::from_millis(limits.keepalive_ms.into())))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}

fn http_builder(limits: &Limits) -> Server {
    bounded(limits).accept_http1(true)
}
