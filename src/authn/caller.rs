//! Callers: configured enforcement points.

use std::sync::Arc;

use crate::authn::capacity::CallerUsage;

pub use crate::authn::rights::{Rights, Rpc, RpcSet};

/// One configured enforcement point.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its name in the configuration, in traces and as `Mcp::Gateway` in policies.
    pub id: Arc<str>,
    /// Its rights.
    pub rights: Rights,
    /// The agent of its ToolHive requests, which name none.
    pub toolhive_agent: Option<Arc<str>>,
    /// The server capacity it uses.
    pub held: CallerUsage,
}

impl Caller {
    /// The name of the local caller.
    pub const LOCAL: &'static str = "local";

    /// The local caller with every right: the command line deciding against a directory, and everyone on
    /// the machine of a server without configured callers.
    pub fn local() -> Self {
        Self {
            id: Arc::from(Self::LOCAL),
            toolhive_agent: None,
            held: CallerUsage::default(),
            rights: Rights {
                rpcs: RpcSet::all(),
                assert_identity: true,
                assert_delegation: true,
                assert_claims: true,
                assert_properties: true,
                vouch_sessions: false,
                people_in_person: false,
                explain: true,
                require_delegation: false,
            },
        }
    }
}
