//! The RPCs, and the rights of callers.
//!
//! Start at [`Rights`]. The table of [`Rpc`] is the only list of RPCs: the configuration, admission and audit use it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// Rights of a caller: the RPCs it may use, and which of its assertions are trusted. None by default.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// The RPCs it may use.
    pub rpcs: RpcSet,
    /// Whether its assertions of subjects' identities are trusted.
    pub assert_identity: bool,
    /// Whether its assertions of delegation chains are trusted.
    pub assert_delegation: bool,
    /// Whether its assertions of claims are trusted.
    pub assert_claims: bool,
    /// Whether its assertions of properties of subjects and resources are trusted, where nothing stored contradicts
    /// them.
    pub assert_properties: bool,
    /// Whether it chooses session ids in `callgate.v1` itself, rather than its clients.
    pub vouch_sessions: bool,
    /// Whether users in tokens without an agent act in person. Otherwise an agent may act in their name.
    pub people_in_person: bool,
    /// Whether it may see the policies and errors behind a decision.
    pub explain: bool,
    /// Whether each of its calls must name a user, as the actor or as the root of the delegation.
    pub require_delegation: bool,
}

/// Makes [`Rpc`] from one table: the constants of groups, the RPCs and their names in protocol and configuration.
macro_rules! rpcs {
    ($($(#[$doc:meta])+ $group:ident { $($rpc:ident = $name:literal,)+ })+) => {
        /// An RPC of `callgate.v1.Authorization`, of `callgate.v1.Control` or of another adapter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rpc {
            $($(#[doc = concat!("`", $name, "`.")] $rpc,)+)+
        }

        impl Rpc {
            $($(#[$doc])+ pub const $group: [Self; [$($name),+].len()] = [$(Self::$rpc),+];)+

            /// The names of all RPCs.
            const NAMES: &'static [&'static str] = &[$($($name),+),+];

            /// Its name in the protocol and in the configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$rpc => $name,)+)+
                }
            }

            /// The RPC of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Some(match name {
                    $($($name => Self::$rpc,)+)+
                    _ => return None,
                })
            }
        }
    };
}

rpcs! {
    /// RPCs of `callgate.v1.Authorization`, which answer requests for decisions. `"*"` in the configuration.
    AUTHORIZATION {
        Authorize = "Authorize",
        AuthorizeBatch = "AuthorizeBatch",
        AuthorizeStream = "AuthorizeStream",
        FilterTools = "FilterTools",
        IsAuthorized = "IsAuthorized",
        ReportOutcome = "ReportOutcome",
    }
    /// RPCs of `callgate.v1.Control`, which read and write what decisions are made from. `"Control/*"` in the configuration.
    CONTROL {
        PutEntity = "PutEntity",
        GetEntity = "GetEntity",
        ListEntities = "ListEntities",
        DeleteEntity = "DeleteEntity",
        RegisterTool = "RegisterTool",
        PinTool = "PinTool",
        GrantDelegation = "GrantDelegation",
        NarrowDelegation = "NarrowDelegation",
        RevokeDelegation = "RevokeDelegation",
        ListDelegations = "ListDelegations",
        OpenTask = "OpenTask",
        AdvanceTask = "AdvanceTask",
        CloseTask = "CloseTask",
        ListTasks = "ListTasks",
        RequestApproval = "RequestApproval",
        ApproveCall = "ApproveCall",
        RejectCall = "RejectCall",
        ListApprovals = "ListApprovals",
        WatchApprovals = "WatchApprovals",
        EndSession = "EndSession",
        StopEntity = "StopEntity",
        ResumeEntity = "ResumeEntity",
        RepairClock = "RepairClock",
        PublishBundle = "PublishBundle",
        RollbackBundle = "RollbackBundle",
        ListBundles = "ListBundles",
        ExplainDecision = "ExplainDecision",
        GetStatus = "GetStatus",
        WatchChanges = "WatchChanges",
    }
    /// RPCs of the other adapters. These take the subject from the requests they are asked about, so each has to be
    /// allowed by its own name.
    ADAPTERS {
        AuthzenEvaluation = "authzen.Evaluation",
        AuthzenSearch = "authzen.Search",
        ToolhiveDecision = "toolhive.Decision",
        ExtAuthzCheck = "ext_authz.Check",
        ExtProcProcess = "ext_proc.Process",
        ExtMcpCheck = "ext_mcp.Check",
    }
}

impl Rpc {
    fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// A set of RPCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RpcSet(u64);

impl RpcSet {
    /// The RPCs of all services and adapters.
    pub fn all() -> Self {
        let native = Rpc::AUTHORIZATION.into_iter().chain(Rpc::CONTROL);
        native.chain(Rpc::ADAPTERS).collect()
    }

    /// Whether the set contains `rpc`.
    pub fn contains(self, rpc: Rpc) -> bool {
        self.0 & rpc.bit() != 0
    }
}

impl FromIterator<Rpc> for RpcSet {
    fn from_iter<I: IntoIterator<Item = Rpc>>(rpcs: I) -> Self {
        Self(rpcs.into_iter().fold(0, |bits, rpc| bits | rpc.bit()))
    }
}

/// RPCs as the configuration names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcSelector {
    /// `"*"`: every RPC of `Authorization`. Not those of `Control`, since asking must not imply writing, and not those
    /// of other adapters, since rights must not grow with the adapters that the server offers.
    Authorization,
    /// `"Control/*"`: every RPC of `Control`.
    Control,
    /// The RPC of this name.
    One(Rpc),
}

impl RpcSelector {
    const AUTHORIZATION: &'static str = "*";
    const CONTROL: &'static str = "Control/*";

    /// The selected RPCs.
    pub fn rpcs(self) -> impl Iterator<Item = Rpc> {
        let (group, one): (&[Rpc], Option<Rpc>) = match self {
            Self::Authorization => (&Rpc::AUTHORIZATION, None),
            Self::Control => (&Rpc::CONTROL, None),
            Self::One(rpc) => (&[], Some(rpc)),
        };
        group.iter().copied().chain(one)
    }
}

impl<'de> Deserialize<'de> for RpcSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SelectorVisitor)
    }
}

/// Reads the name within the deserializer, which then knows the place of an error.
struct SelectorVisitor;

impl Visitor<'_> for SelectorVisitor {
    type Value = RpcSelector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an RPC")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<RpcSelector, E> {
        match name {
            RpcSelector::AUTHORIZATION => Ok(RpcSelector::Authorization),
            RpcSelector::CONTROL => Ok(RpcSelector::Control),
            name => match Rpc::from_name(name) {
                Some(rpc) => Ok(RpcSelector::One(rpc)),
                None => Err(E::custom(unknown_name(name))),
            },
        }
    }
}

fn unknown_name(name: &str) -> String {
    let groups = [RpcSelector::AUTHORIZATION, RpcSelector::CONTROL];
    let known: Vec<&str> = groups.iter().chain(Rpc::NAMES).copied().collect();
    format!(
        "unknown variant `{name}`, expected one of `{}`",
        known.join("`, `")
    )
}
