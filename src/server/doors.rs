//! From the configuration to callers, and what of it a reload may change.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::config::callers::{CallerEntry, RightsEntry, RpcName, parse_sha256};
use crate::config::envoy::Envoy;
use crate::config::ext_mcp::ExtMcp;
use crate::config::limits::Limits;
use crate::identity::authenticate::{Authenticator, Credentials, TokenDigest};
use crate::identity::caller::{Caller, Rights, Rpc, RpcSet};
use crate::identity::certificate::PeerName;
use crate::identity::doorkeeper::Doorkeeper;
use crate::identity::places::Held;

/// The parts of a running server that a reload swaps.
#[derive(Clone)]
pub struct Doors {
    /// Who may ask.
    pub doorkeeper: Arc<Doorkeeper>,
    /// The limits.
    pub limits: Arc<ArcSwap<Limits>>,
    /// How requests that Envoy asks about are read.
    pub envoy: Arc<ArcSwap<Envoy>>,
    /// How agentgateway's `ExtMcp` is read.
    pub ext_mcp: Arc<ArcSwap<ExtMcp>>,
}

impl Doors {
    /// The doors of a server that starts with this configuration. Without callers everyone who can
    /// reach it is the local caller: `Config` allows that on loopback and Unix sockets only.
    pub fn open(config: &Config) -> Self {
        let authenticator = match config.callers.as_slice() {
            [] => local(config),
            _ => authenticator(config),
        };
        Self {
            doorkeeper: Arc::new(Doorkeeper::new(authenticator)),
            limits: Arc::new(ArcSwap::from_pointee(config.limits.clone())),
            envoy: Arc::new(ArcSwap::from_pointee(config.envoy.clone())),
            ext_mcp: Arc::new(ArcSwap::from_pointee(config.ext_mcp.clone())),
        }
    }

    /// Puts the callers and limits of a reloaded configuration in force.
    ///
    /// Once callers are configured, taking all of them away lets nobody in: only a restart opens the
    /// server to everyone on its machine.
    pub fn apply(&self, config: &Config) {
        self.limits.store(Arc::new(config.limits.clone()));
        self.envoy.store(Arc::new(config.envoy.clone()));
        self.ext_mcp.store(Arc::new(config.ext_mcp.clone()));
        let is_local = config.callers.is_empty() && self.doorkeeper.current().is_local();
        self.doorkeeper.replace(match is_local {
            true => local(config),
            false => authenticator(config),
        });
    }
}

/// Takes everyone for the local caller, of whom only the configuration as a whole demands something.
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
            held: Held::default(),
        };
        (caller, credentials(entry))
    }))
}

fn rights(entry: &RightsEntry, require_delegation: bool) -> Rights {
    Rights {
        require_delegation,
        rpcs: entry
            .rpcs
            .iter()
            .flat_map(|name| rpcs(*name))
            .copied()
            .collect::<RpcSet>(),
        assert_identity: entry.assert_identity,
        assert_delegation: entry.assert_delegation,
        assert_claims: entry.assert_claims,
        vouch_sessions: entry.vouch_sessions,
        people_in_person: entry.people_in_person,
        assert_properties: entry.assert_properties,
        explain: entry.explain,
    }
}

fn rpcs(name: RpcName) -> &'static [Rpc] {
    match name {
        RpcName::Authorization => &Rpc::AUTHORIZATION,
        RpcName::Control => &Rpc::CONTROL,
        RpcName::Authorize => &[Rpc::Authorize],
        RpcName::AuthorizeBatch => &[Rpc::AuthorizeBatch],
        RpcName::AuthorizeStream => &[Rpc::AuthorizeStream],
        RpcName::FilterTools => &[Rpc::FilterTools],
        RpcName::IsAuthorized => &[Rpc::IsAuthorized],
        RpcName::PutEntity => &[Rpc::PutEntity],
        RpcName::GetEntity => &[Rpc::GetEntity],
        RpcName::ListEntities => &[Rpc::ListEntities],
        RpcName::DeleteEntity => &[Rpc::DeleteEntity],
        RpcName::RegisterTool => &[Rpc::RegisterTool],
        RpcName::PinTool => &[Rpc::PinTool],
        RpcName::GrantDelegation => &[Rpc::GrantDelegation],
        RpcName::NarrowDelegation => &[Rpc::NarrowDelegation],
        RpcName::RevokeDelegation => &[Rpc::RevokeDelegation],
        RpcName::ListDelegations => &[Rpc::ListDelegations],
        RpcName::OpenTask => &[Rpc::OpenTask],
        RpcName::AdvanceTask => &[Rpc::AdvanceTask],
        RpcName::CloseTask => &[Rpc::CloseTask],
        RpcName::ListTasks => &[Rpc::ListTasks],
        RpcName::RequestApproval => &[Rpc::RequestApproval],
        RpcName::ApproveCall => &[Rpc::ApproveCall],
        RpcName::RejectCall => &[Rpc::RejectCall],
        RpcName::ListApprovals => &[Rpc::ListApprovals],
        RpcName::WatchApprovals => &[Rpc::WatchApprovals],
        RpcName::EndSession => &[Rpc::EndSession],
        RpcName::StopEntity => &[Rpc::StopEntity],
        RpcName::ResumeEntity => &[Rpc::ResumeEntity],
        RpcName::RepairClock => &[Rpc::RepairClock],
        RpcName::GetStatus => &[Rpc::GetStatus],
        RpcName::WatchChanges => &[Rpc::WatchChanges],
        RpcName::ExtAuthzCheck => &[Rpc::ExtAuthzCheck],
        RpcName::ExtProcProcess => &[Rpc::ExtProcProcess],
        RpcName::ExtMcpCheck => &[Rpc::ExtMcpCheck],
        RpcName::AuthzenEvaluation => &[Rpc::AuthzenEvaluation],
        RpcName::AuthzenSearch => &[Rpc::AuthzenSearch],
        RpcName::ToolhiveDecision => &[Rpc::ToolhiveDecision],
    }
}

fn credentials(entry: &CallerEntry) -> Credentials {
    let spiffe = entry.spiffe.iter().map(|id| PeerName::Uri(id.clone()));
    let sans = entry
        .tls_san
        .iter()
        .filter_map(|name| match name.split_once(':')? {
            ("dns", host) => Some(PeerName::Dns(host.to_ascii_lowercase())),
            ("uri", uri) => Some(PeerName::Uri(uri.to_owned())),
            _ => None,
        });
    Credentials {
        tokens: entry
            .token_sha256
            .iter()
            .filter_map(|digest| parse_sha256(digest).map(TokenDigest::from_bytes))
            .collect(),
        names: spiffe.chain(sans).collect(),
    }
}

#[cfg(test)]
mod tests;
