//! What a server is made of, and why it fails.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::agentgateway::AgentgatewayConfig as ExtMcpSettings;
use crate::config::envoy::EnvoyConfig;
use crate::config::http::{AuthzenConfig, ToolhiveConfig};
use crate::config::limits::Limits;
use crate::server::reloadable_tls::ReloadableTls;
use crate::service::Service;
use crate::telemetry::export::prometheus::MetricsScraper;

/// What a server is made of.
#[derive(Clone)]
pub struct ServerParts {
    /// Decides.
    pub service: Arc<Service>,
    /// Authenticates callers; a reload may swap its callers.
    pub authenticator: Arc<ReloadableAuthenticator>,
    /// The limits; a reload may swap them.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Settings of the Envoy adapters; a reload may swap them.
    pub envoy: Arc<ArcSwap<EnvoyConfig>>,
    /// Settings of the agentgateway adapter; a reload may swap them.
    pub ext_mcp: Arc<ArcSwap<ExtMcpSettings>>,
    /// Certificates for TCP listeners; without them they speak cleartext.
    pub tls: Option<ReloadableTls>,
    /// Reads the metrics for `/metrics`; without it there are none.
    pub metrics: Option<MetricsScraper>,
    /// Settings of the AuthZEN adapter.
    pub authzen: AuthzenConfig,
    /// Settings of the ToolHive adapter.
    pub toolhive: ToolhiveConfig,
    /// Whether the bundle on disk loaded without faults; `grpc.health.v1` reports it as `callgate.bundle`.
    pub bundle_is_good: watch::Receiver<bool>,
}

/// The server cannot start or failed while it ran.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service cannot be built.
    #[error("server reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The task of a listener failed.
    #[error("the task of a listener failed")]
    Task(#[from] tokio::task::JoinError),
}
