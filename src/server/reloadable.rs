//! The parts of the configuration that a reload swaps, and how callers are built from it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::authn::authenticate::{Authenticator, CallerCredentials, TokenDigest};
use crate::authn::caller::{Caller, Rights};
use crate::authn::capacity::CallerUsage;
use crate::authn::certificate::PeerName;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::Config;
use crate::config::agentgateway::AgentgatewayConfig;
use crate::config::callers::{CallerConfig, RightsConfig, parse_sha256};
use crate::config::envoy::EnvoyConfig;
use crate::config::limits::Limits;

/// The parts of a running server that a reload swaps.
#[derive(Clone)]
pub struct ReloadableConfig {
    /// Authenticates callers; a reload may swap its callers.
    pub authenticator: Arc<ReloadableAuthenticator>,
    /// The limits.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Settings of the Envoy adapters.
    pub envoy: Arc<ArcSwap<EnvoyConfig>>,
    /// Settings of the agentgateway adapter.
    pub ext_mcp: Arc<ArcSwap<AgentgatewayConfig>>,
}

impl ReloadableConfig {
    /// The parts for a server that starts with this configuration. Without callers, every peer is the local caller;
    /// `Config` allows that on loopback and Unix sockets only.
    pub fn new(config: &Config) -> Self {
        let authenticator = match config.callers.as_slice() {
            [] => local(config),
            _ => authenticator(config),
        };
        Self {
            authenticator: Arc::new(ReloadableAuthenticator::new(authenticator)),
            limits: Arc::new(ArcSwap::from_pointee(config.limits.clone())),
            envoy: Arc::new(ArcSwap::from_pointee(config.envoy.clone())),
            ext_mcp: Arc::new(ArcSwap::from_pointee(config.ext_mcp.clone())),
        }
    }

    /// Applies the callers, limits and adapter settings of a reloaded configuration.
    ///
    /// A reload that removes all configured callers admits nobody: only a restart opens the server to everyone on its
    /// machine.
    pub fn apply(&self, config: &Config) {
        self.limits.store(Arc::new(config.limits.clone()));
        self.envoy.store(Arc::new(config.envoy.clone()));
        self.ext_mcp.store(Arc::new(config.ext_mcp.clone()));
        let is_local = config.callers.is_empty() && self.authenticator.current().is_local();
        self.authenticator.replace(match is_local {
            true => local(config),
            false => authenticator(config),
        });
    }
}

/// Takes every peer for the local caller, with the configuration's `require_delegation`.
pub fn local(config: &Config) -> Authenticator {
    let mut caller = Caller::local();
    caller.rights.require_delegation = config.require_delegation;
    Authenticator::local(caller)
}

fn authenticator(config: &Config) -> Authenticator {
    Authenticator::new(config.callers.iter().map(|entry| {
        let demanded = entry.require_delegation;
        let caller = Caller {
            id: Arc::from(entry.id.as_str()),
            rights: rights(&entry.rights, demanded.unwrap_or(config.require_delegation)),
            toolhive_agent: entry.toolhive_agent.as_deref().map(Arc::from),
            held: CallerUsage::default(),
        };
        (caller, credentials(entry))
    }))
}

fn rights(entry: &RightsConfig, require_delegation: bool) -> Rights {
    Rights {
        require_delegation,
        rpcs: entry
            .rpcs
            .iter()
            .flat_map(|selector| selector.rpcs())
            .collect(),
        assert_identity: entry.assert_identity,
        assert_delegation: entry.assert_delegation,
        assert_claims: entry.assert_claims,
        vouch_sessions: entry.vouch_sessions,
        people_in_person: entry.people_in_person,
        assert_properties: entry.assert_properties,
        explain: entry.explain,
    }
}

fn credentials(entry: &CallerConfig) -> CallerCredentials {
    let spiffe = entry.spiffe.iter().map(|id| PeerName::Uri(id.clone()));
    let sans = entry
        .tls_san
        .iter()
        .filter_map(|name| match name.split_once(':')? {
            ("dns", host) => Some(PeerName::Dns(host.to_ascii_lowercase())),
            ("uri", uri) => Some(PeerName::Uri(uri.to_owned())),
            _ => None,
        });
    CallerCredentials {
        tokens: entry
            .token_sha256
            .iter()
            .filter_map(|digest| parse_sha256(digest).map(TokenDigest::from_bytes))
            .collect(),
        names: spiffe.chain(sans).collect(),
    }
}

#[cfg(test)]
#[path = "reloadable_tests.rs"]
mod tests;
