//! The running server: sockets, TLS, limits, health, reflection, and an end without lost answers.
//!
//! Start at [`serve`], which is *given* its listeners and the signal to stop. [`listen`] binds and
//! accepts, [`tls`] reads certificates, [`doors`] makes callers of the configuration, [`shield`] sheds
//! load, keeps deadlines and catches panics. `http` reads the requests of the protocols over plain HTTP, and
//! `handshake` opens encrypted connections.
//!
//! Invariant: no decisions and no protocol. What a request says is the adapters' business.

pub mod doors;
mod handshake;
mod http;
pub mod listen;
pub mod shield;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::adapters::envoy::ext_authz::{self, ExtAuthz};
use crate::adapters::envoy::ext_proc::{self, ExtProc};
use crate::adapters::ext_mcp::door::{ADAPTER as EXT_MCP, ExtMcp};
use crate::adapters::grpc::authorization::Authorization;
use crate::adapters::grpc::control::rpcs::ControlApi;
use crate::config::envoy::Envoy;
use crate::config::ext_mcp::ExtMcp as ExtMcpSettings;
use crate::config::http::{Authzen, Toolhive};
use crate::config::limits::Limits;
use crate::identity::doorkeeper::Doorkeeper;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcpServer;
use crate::proto::envoy::auth::authorization_server::AuthorizationServer as CheckServer;
use crate::proto::envoy::processing::external_processor_server::ExternalProcessorServer;
use crate::proto::v1;
use crate::proto::v1::authorization_server::AuthorizationServer;
use crate::proto::v1::control_server::ControlServer;
use crate::server::listen::{Gate, Listener};
use crate::server::shield::Shield;
use crate::server::tls::ServerTls;
use crate::service::decisions::Service;

/// What the server offers, and under which limits.
#[derive(Clone)]
pub struct Setup {
    /// Who answers.
    pub service: Arc<Service>,
    /// Who may ask.
    pub doorkeeper: Arc<Doorkeeper>,
    /// The limits; a reload may swap them.
    pub limits: Arc<ArcSwap<Limits>>,
    /// How requests that Envoy asks about are read; a reload may swap it.
    pub envoy: Arc<ArcSwap<Envoy>>,
    /// How agentgateway's `ExtMcp` is read; a reload may swap it.
    pub ext_mcp: Arc<ArcSwap<ExtMcpSettings>>,
    /// Certificates for TCP listeners; without them they speak cleartext.
    pub tls: Option<ServerTls>,
    /// How AuthZEN is spoken.
    pub authzen: Authzen,
    /// How ToolHive is answered.
    pub toolhive: Toolhive,
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
    setup: Setup,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = setup.limits.load_full();
    let draining = CancellationToken::new();
    let stopped = CancellationToken::new();
    let mut health = Health::new().await;
    let routes = routes(&setup, &health, &limits, draining.clone())?;
    let http_doors = http::Doors::new(&setup, &limits);
    let gate = Gate::new(limits.connections);
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
                    let incoming = handshake::encrypted(incoming, &tls.http, tls.handshake);
                    servers.spawn(server.serve_with_incoming_shutdown(doors, incoming, signal))
                }
            };
            continue;
        }
        let server = builder(&limits).add_routes(routes.clone());
        match tls {
            None => servers.spawn(server.serve_with_incoming_shutdown(incoming, signal)),
            Some(tls) => {
                let incoming = handshake::encrypted(incoming, &tls.grpc, tls.handshake);
                servers.spawn(server.serve_with_incoming_shutdown(incoming, signal))
            }
        };
    }
    tokio::select! {
        () = stop => {}
        never = health.follow(&setup.service, setup.bundle_is_good.clone()) => match never {},
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

fn http_builder(limits: &Limits) -> Server {
    builder(limits).accept_http1(true)
}

fn builder(limits: &Limits) -> Server {
    Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.header_bytes)
}

fn routes(
    setup: &Setup,
    health: &Health,
    limits: &Limits,
    draining: CancellationToken,
) -> Result<Routes, ServeError> {
    let authorization = Authorization::new(
        Arc::clone(&setup.service),
        Arc::clone(&setup.doorkeeper),
        Arc::clone(&setup.limits),
        draining.clone(),
    );
    let authorization = AuthorizationServer::new(authorization)
        .max_decoding_message_size(limits.message_bytes as usize);
    let control = ControlApi::new(
        Arc::clone(&setup.service),
        Arc::clone(&setup.doorkeeper),
        Arc::clone(&setup.limits),
        draining.clone(),
    );
    let control =
        ControlServer::new(control).max_decoding_message_size(limits.message_bytes as usize);
    let check = ExtAuthz::new(
        Arc::clone(&setup.service),
        Arc::clone(&setup.doorkeeper),
        Arc::clone(&setup.limits),
        Arc::clone(&setup.envoy),
    );
    let check = CheckServer::new(check).max_decoding_message_size(limits.message_bytes as usize);
    let process = ExtProc::new(
        Arc::clone(&setup.service),
        Arc::clone(&setup.doorkeeper),
        Arc::clone(&setup.limits),
        Arc::clone(&setup.envoy),
        draining,
    );
    let process = ExternalProcessorServer::new(process)
        .max_decoding_message_size(limits.message_bytes as usize);
    let ext_mcp = ExtMcp::new(
        Arc::clone(&setup.service),
        Arc::clone(&setup.doorkeeper),
        Arc::clone(&setup.limits),
        Arc::clone(&setup.ext_mcp),
    );
    let ext_mcp =
        ExtMcpServer::new(ext_mcp).max_decoding_message_size(limits.message_bytes as usize);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    routes
        .add_service(
            Shield::new(authorization, Arc::clone(&setup.limits))
                .recording(setup.service.recorder().clone()),
        )
        .add_service(
            Shield::new(control, Arc::clone(&setup.limits))
                .recording(setup.service.recorder().clone()),
        )
        .add_service(
            Shield::new(check, Arc::clone(&setup.limits))
                .of_door(ext_authz::ADAPTER)
                .recording(setup.service.recorder().clone()),
        )
        .add_service(
            Shield::new(process, Arc::clone(&setup.limits))
                .of_door(ext_proc::ADAPTER)
                .recording(setup.service.recorder().clone()),
        )
        .add_service(
            Shield::new(ext_mcp, Arc::clone(&setup.limits))
                .of_door(EXT_MCP)
                .recording(setup.service.recorder().clone()),
        )
        .add_service(health.service())
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.routes())
}

/// What `grpc.health.v1` says, of the server as a whole and of the services by their names.
struct Health {
    reporter: HealthReporter,
}

impl Health {
    const NAMES: [&'static str; 6] = [
        "",
        AuthorizationServer::<Authorization>::NAME,
        ControlServer::<ControlApi>::NAME,
        CheckServer::<ExtAuthz>::NAME,
        ExternalProcessorServer::<ExtProc>::NAME,
        ExtMcpServer::<ExtMcp>::NAME,
    ];
    /// Fails while the directory has faults and an older generation is in service: a matter for those
    /// who watch, and no reason to take the server out of service.
    const BUNDLE: &'static str = "callgate.bundle";

    async fn new() -> Self {
        let this = Self {
            reporter: HealthReporter::new(),
        };
        this.set(ServingStatus::NotServing).await;
        this.set_bundle(false).await;
        this
    }

    fn service(&self) -> tonic_health::pb::health_server::HealthServer<HealthService> {
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(
            self.reporter.clone(),
        ))
    }

    async fn set(&self, status: ServingStatus) {
        for name in Self::NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    async fn set_bundle(&self, is_good: bool) {
        let status = match is_good {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.reporter.set_service_status(Self::BUNDLE, status).await;
    }

    /// Says SERVING once something is live; what is live once stays so.
    async fn follow(
        &self,
        service: &Service,
        mut bundle_is_good: watch::Receiver<bool>,
    ) -> std::convert::Infallible {
        service.ready().await;
        self.set(ServingStatus::Serving).await;
        loop {
            let is_good = *bundle_is_good.borrow_and_update();
            self.set_bundle(is_good).await;
            if bundle_is_good.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the streams of those who watch, after they have heard the last status.
    async fn end_watches(&mut self) {
        for name in Self::NAMES.into_iter().chain([Self::BUNDLE]) {
            self.reporter.clear_service_status(name).await;
        }
    }
}
