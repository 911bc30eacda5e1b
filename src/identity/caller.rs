//! The caller and its rights.

use std::sync::Arc;

/// One configured enforcement point.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its name in the configuration, in traces and as `Mcp::Gateway` in policies.
    pub id: Arc<str>,
    /// What it may ask.
    pub rights: Rights,
}

/// What a caller may ask, and what of its word counts. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// RPCs it may use.
    pub rpcs: RpcSet,
    /// Whether the subjects it names count as who they say they are.
    pub assert_identity: bool,
    /// Whether the delegation chains it passes on count.
    pub assert_delegation: bool,
    /// Whether the claims it passes on count.
    pub assert_claims: bool,
    /// Whether it may see policies and errors behind a decision.
    pub explain: bool,
}

/// The RPCs of `callgate.v1.Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    /// `Authorize`.
    Authorize,
    /// `AuthorizeBatch`.
    AuthorizeBatch,
    /// `AuthorizeStream`.
    AuthorizeStream,
    /// `FilterTools`.
    FilterTools,
    /// `IsAuthorized`.
    IsAuthorized,
}

/// A set of RPCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RpcSet(u8);

impl Rpc {
    /// Every RPC.
    pub const ALL: [Rpc; 5] = [
        Rpc::Authorize,
        Rpc::AuthorizeBatch,
        Rpc::AuthorizeStream,
        Rpc::FilterTools,
        Rpc::IsAuthorized,
    ];

    /// Its name in the protocol and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Rpc::Authorize => "Authorize",
            Rpc::AuthorizeBatch => "AuthorizeBatch",
            Rpc::AuthorizeStream => "AuthorizeStream",
            Rpc::FilterTools => "FilterTools",
            Rpc::IsAuthorized => "IsAuthorized",
        }
    }
}

impl RpcSet {
    /// All of them.
    pub fn all() -> Self {
        Rpc::ALL.into_iter().collect()
    }

    /// Whether `rpc` is among them.
    pub fn contains(self, rpc: Rpc) -> bool {
        self.0 & (1 << rpc as u8) != 0
    }
}

impl FromIterator<Rpc> for RpcSet {
    fn from_iter<I: IntoIterator<Item = Rpc>>(rpcs: I) -> Self {
        Self(rpcs.into_iter().fold(0, |bits, rpc| bits | 1 << rpc as u8))
    }
}

impl Caller {
    /// The local caller with every right: the command line deciding against a directory.
    pub fn local() -> Self {
        Self {
            id: Arc::from("local"),
            rights: Rights {
                rpcs: RpcSet::all(),
                assert_identity: true,
                assert_delegation: true,
                assert_claims: true,
                explain: true,
            },
        }
    }
}
