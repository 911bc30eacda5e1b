//! `callgate.toml`: listeners, callers, adapters and limits.
//!
//! Start at [`Config`]. [`Config::from_toml`] parses the text and reports every error with its place; a missing file is
//! [`Config::default`]. Each section has a module of its own and says whether a change takes effect on reload or on restart.
//!
//! Invariant: plain values with defaults and validation; it starts nothing.

pub mod agentgateway;
pub mod audit;
pub mod bundle;
pub mod callers;
mod check;
pub mod claims;
pub mod coaz;
pub mod envoy;
pub mod error;
pub mod http;
pub mod http_routes;
pub mod limits;
pub mod listen;
pub mod memory;
pub mod observe;
pub mod request_host;
pub mod store;
pub mod telemetry;
mod toml_document;

use serde::Deserialize;

use crate::config::agentgateway::AgentgatewayConfig;
use crate::config::audit::AuditConfig;
use crate::config::bundle::BundleConfig;
use crate::config::callers::CallerConfig;
use crate::config::claims::ClaimMapping;
use crate::config::envoy::EnvoyConfig;
use crate::config::error::ConfigError;
use crate::config::http::{AuthzenConfig, ToolhiveConfig};
use crate::config::limits::Limits;
use crate::config::listen::{ListenConfig, TlsConfig};
use crate::config::memory::MemoryConfig;
use crate::config::observe::ObserveConfig;
use crate::config::store::StoreConfig;
use crate::config::telemetry::TelemetryConfig;
use crate::config::toml_document::TomlDocument;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether each call must name a user, as the actor or as the root of the delegation. Callers can override it.
    /// Reloaded.
    pub require_delegation: bool,
    /// Listeners. Restart.
    pub listen: ListenConfig,
    /// TLS. Restart.
    pub tls: Option<TlsConfig>,
    /// The enforcement points. Reloaded; but if all are removed, every request is rejected until a restart.
    pub callers: Vec<CallerConfig>,
    /// Whether to serve without callers: every client on the machine has all rights. A server with neither this nor
    /// callers does not start. Restart.
    pub without_callers: bool,
    /// Which claims become facts. Reloaded.
    pub claims: ClaimMapping,
    /// How to read requests of Envoy. Reloaded.
    pub envoy: EnvoyConfig,
    /// How to read requests of agentgateway's `ExtMcp`. Reloaded.
    pub ext_mcp: AgentgatewayConfig,
    /// OpenID AuthZEN. Changes need a restart.
    pub authzen: AuthzenConfig,
    /// The decision point of ToolHive. Changes need a restart.
    pub toolhive: ToolhiveConfig,
    /// Limits on everything that comes from outside. Each says when a change takes effect.
    pub limits: Limits,
    /// Retention of labels. Restart.
    pub memory: MemoryConfig,
    /// The store, and retention. Restart.
    pub state: StoreConfig,
    /// The decision log. Changes need a restart.
    pub audit: AuditConfig,
    /// What is decided and recorded, but not enforced. Reloaded.
    pub observe: ObserveConfig,
    /// Whether the directory is watched. Changes need a restart.
    pub reload: ReloadConfig,
    /// Traces, metrics and log lines. Changes need a restart.
    pub telemetry: TelemetryConfig,
    /// How policies are validated. Reloaded.
    pub schema: SchemaConfig,
    /// Where the bundle comes from: restart. Strictness, and names defined outside of it: reloaded.
    pub bundle: BundleConfig,
}

/// Reloading of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// Whether changes are loaded automatically; SIGHUP always reloads.
    pub watch: bool,
    /// How long the directory must be unchanged before it is loaded.
    pub debounce_ms: u64,
    /// Time limit of one load, from reading to compiling; it is retried later.
    pub deadline_ms: u64,
    /// MiB of address space of the trial process that compiles first.
    pub memory_mib: u64,
}

/// How policies are validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaConfig {
    /// Dereferences that a policy may make (`principal.owner.manager` has two). Each level makes every decision visit
    /// more entities.
    pub max_dereference_level: u32,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        Self {
            watch: true,
            debounce_ms: 200,
            deadline_ms: 60_000,
            memory_mib: 4_096,
        }
    }
}

impl ReloadConfig {
    /// Time limit of one load.
    pub fn deadline(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.deadline_ms)
    }
}

impl Default for SchemaConfig {
    fn default() -> Self {
        Self {
            max_dereference_level: 3,
        }
    }
}

impl Config {
    /// The name of the file in a policy directory.
    pub const FILE_NAME: &'static str = "callgate.toml";

    /// Reads the text of a configuration file. `file_name` is for the messages only.
    ///
    /// A text that is not TOML, or does not have the shape of [`Config`], has one fault. Otherwise
    /// every value is checked and every fault reported.
    ///
    /// # Errors
    ///
    /// All errors of the configuration.
    pub fn from_toml(text: &str, file_name: &str) -> Result<Self, Vec<ConfigError>> {
        let document = TomlDocument::new(text, file_name);
        let config: Self = match toml::from_str(text) {
            Ok(config) => config,
            Err(error) => return Err(vec![document.syntax_fault(&error)]),
        };
        let faults = check::faults(&config, &document);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults)
        }
    }

    /// An error or warning about the setting at a path, located in the text of a configuration.
    pub fn place(text: &str, file_name: &str, field: &str, said: &str) -> ConfigError {
        TomlDocument::new(text, file_name).fault(field, said)
    }

    /// The agents of ToolHive requests, each with the path of its setting.
    pub fn toolhive_agents(&self) -> impl Iterator<Item = (String, &str)> {
        let agent = self.toolhive.agent.as_deref();
        let of_all = agent.map(|agent| ("toolhive.agent".to_owned(), agent));
        let of_callers = self.callers.iter().enumerate().filter_map(|(index, it)| {
            let agent = it.toolhive_agent.as_deref()?;
            Some((format!("callers[{index}].toolhive_agent"), agent))
        });
        of_all.into_iter().chain(of_callers)
    }

    /// The sections of a reloaded configuration that differ from what the server started with and do
    /// not take effect before a restart.
    pub fn needs_restart(&self, started_with: &Self) -> Vec<&'static str> {
        let mut sections = Vec::new();
        if self.without_callers != started_with.without_callers {
            sections.push("without_callers");
        }
        if self.listen != started_with.listen {
            sections.push("listen");
        }
        if self.tls != started_with.tls {
            sections.push("tls");
        }
        if self.authzen != started_with.authzen {
            sections.push("authzen");
        }
        if self.toolhive != started_with.toolhive {
            sections.push("toolhive");
        }
        if self.telemetry != started_with.telemetry {
            sections.push("telemetry");
        }
        if self.reload != started_with.reload {
            sections.push("reload");
        }
        if self.memory != started_with.memory {
            sections.push("memory");
        }
        if self.state != started_with.state {
            sections.push("state");
        }
        if self.audit != started_with.audit {
            sections.push("audit");
        }
        if self.bundle.with_reloaded(&started_with.bundle) != started_with.bundle {
            sections.push("bundle");
        }
        if self.limits.fixed_at_start() != started_with.limits.fixed_at_start() {
            sections.push("limits");
        }
        sections
    }
}

#[cfg(test)]
mod tests;
