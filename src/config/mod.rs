//! `callgate.toml`: listeners, callers, adapters and limits.
//!
//! Start at [`Config`]. [`Config::from_toml`] parses the text and reports every error with its place; a missing file is
//! [`Config::default`]. Each section has a module of its own and says whether a change takes effect on reload or on restart.
//!
//! Invariant: plain values with defaults and validation; it starts nothing.

pub mod agentgateway;
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
pub mod store;
pub mod telemetry;
mod toml_document;

use serde::Deserialize;

use crate::config::agentgateway::AgentgatewayConfig;
use crate::config::bundle::BundleConfig;
use crate::config::callers::CallerConfig;
use crate::config::claims::ClaimMapping;
use crate::config::envoy::EnvoyConfig;
use crate::config::error::ConfigError;
use crate::config::http::{AuthzenConfig, ToolhiveConfig};
use crate::config::limits::Limits;
use crate::config::listen::{ListenConfig, TlsConfig};
use crate::config::memory::MemoryConfig;
use crate::config::store::StoreConfig;
use crate::config::telemetry::TelemetryConfig;
use crate::config::toml_document::TomlDocument;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether each call has to name a person: as the one who acts, or at the root of the delegation. A caller may have
    /// a setting of its own. Reloaded.
    pub require_delegation: bool,
    /// Where to listen. Changes need a restart.
    pub listen: ListenConfig,
    /// The server's certificate, and whose client certificates it accepts. Changes need a restart.
    pub tls: Option<TlsConfig>,
    /// The enforcement points that may ask. Reloaded; but once there are callers, taking all of them
    /// away lets nobody in until a restart.
    pub callers: Vec<CallerConfig>,
    /// Says that there are to be no callers: whoever reaches the server on its machine may ask everything. A server
    /// that has neither does not start. Changes need a restart.
    pub without_callers: bool,
    /// Which claims become facts. Reloaded.
    pub claims: ClaimMapping,
    /// How requests that Envoy asks about are read. Reloaded.
    pub envoy: EnvoyConfig,
    /// How agentgateway's `ExtMcp` is read. Reloaded.
    pub ext_mcp: AgentgatewayConfig,
    /// OpenID AuthZEN. Changes need a restart.
    pub authzen: AuthzenConfig,
    /// The decision point of ToolHive. Changes need a restart.
    pub toolhive: ToolhiveConfig,
    /// Limits on everything that comes from outside. Each says when a change takes effect.
    pub limits: Limits,
    /// For how long what was read stays known. Changes need a restart.
    pub memory: MemoryConfig,
    /// Where live authority is kept, and for how long. Changes need a restart.
    pub state: StoreConfig,
    /// Whether the directory is watched. Changes need a restart.
    pub reload: ReloadConfig,
    /// Traces, metrics and the decision log. Changes need a restart.
    pub telemetry: TelemetryConfig,
    /// How policies are validated. Reloaded.
    pub schema: SchemaConfig,
    /// How much the directory may leave open. Reloaded.
    pub bundle: BundleConfig,
}

/// How changes of the directory are noticed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// Whether changed files are loaded by themselves; SIGHUP always loads them.
    pub watch: bool,
    /// How long the directory must be quiet before it is loaded.
    pub debounce_ms: u64,
    /// How long one load may take, from reading to compiling; it is given up then, and tried again later.
    pub deadline_ms: u64,
    /// MiB of address space that compiling may take, where it is tried first in a process of its own.
    pub memory_mib: u64,
}

/// How policies are validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaConfig {
    /// How many dereferences a policy may make (`principal.owner.manager` has two). Every one costs
    /// each decision a wider look at the entities.
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
    /// How long one load may take.
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
        if self.limits.fixed_at_start() != started_with.limits.fixed_at_start() {
            sections.push("limits");
        }
        sections
    }
}

#[cfg(test)]
mod tests;
