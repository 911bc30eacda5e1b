//! The caller and its rights.

use std::sync::Arc;

use crate::authn::capacity::CallerUsage;

/// One configured enforcement point.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its name in the configuration, in traces and as `Mcp::Gateway` in policies.
    pub id: Arc<str>,
    /// What it may ask.
    pub rights: Rights,
    /// The agent behind what it asks through ToolHive, which tells of none.
    pub toolhive_agent: Option<Arc<str>>,
    /// What it holds of the server's places.
    pub held: CallerUsage,
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
    /// Whether what it says of subjects and resources themselves counts, where nothing stored says
    /// otherwise.
    pub assert_properties: bool,
    /// Whether the sessions that it names in `callgate.v1` are its own to name, and no client's.
    pub vouch_sessions: bool,
    /// Whether the people whom it takes from tokens act themselves. Else an agent may be behind them.
    pub people_in_person: bool,
    /// Whether it may see policies and errors behind a decision.
    pub explain: bool,
    /// Whether each of its calls has to name a person: as the one who acts, or at the root of the delegation.
    pub require_delegation: bool,
}

/// An RPC of `callgate.v1.Authorization` or of `callgate.v1.Control`, or what another protocol offers.
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
    /// `PutEntity`.
    PutEntity,
    /// `GetEntity`.
    GetEntity,
    /// `ListEntities`.
    ListEntities,
    /// `DeleteEntity`.
    DeleteEntity,
    /// `RegisterTool`.
    RegisterTool,
    /// `PinTool`.
    PinTool,
    /// `GrantDelegation`.
    GrantDelegation,
    /// `NarrowDelegation`.
    NarrowDelegation,
    /// `RevokeDelegation`.
    RevokeDelegation,
    /// `ListDelegations`.
    ListDelegations,
    /// `OpenTask`.
    OpenTask,
    /// `AdvanceTask`.
    AdvanceTask,
    /// `CloseTask`.
    CloseTask,
    /// `ListTasks`.
    ListTasks,
    /// `RequestApproval`.
    RequestApproval,
    /// `ApproveCall`.
    ApproveCall,
    /// `RejectCall`.
    RejectCall,
    /// `ListApprovals`.
    ListApprovals,
    /// `WatchApprovals`.
    WatchApprovals,
    /// `EndSession`.
    EndSession,
    /// `StopEntity`.
    StopEntity,
    /// `ResumeEntity`.
    ResumeEntity,
    /// `RepairClock`.
    RepairClock,
    /// `GetStatus`.
    GetStatus,
    /// `WatchChanges`.
    WatchChanges,
    /// AuthZEN, access evaluation: one question or several.
    AuthzenEvaluation,
    /// AuthZEN, search for subjects, resources and actions.
    AuthzenSearch,
    /// The HTTP decision point of ToolHive.
    ToolhiveDecision,
    /// `Check` of Envoy's external authorization.
    ExtAuthzCheck,
    /// `Process` of Envoy's external processing.
    ExtProcProcess,
    /// `CheckRequest` and `CheckResponse` of agentgateway's `ExtMcp`.
    ExtMcpCheck,
}

/// A set of RPCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RpcSet(u64);

impl Rpc {
    /// Every RPC of `Authorization`: they answer questions.
    pub const AUTHORIZATION: [Rpc; 5] = [
        Rpc::Authorize,
        Rpc::AuthorizeBatch,
        Rpc::AuthorizeStream,
        Rpc::FilterTools,
        Rpc::IsAuthorized,
    ];

    /// Every RPC of `Control`: they change what decisions are made from, or tell of it.
    pub const CONTROL: [Rpc; 25] = [
        Rpc::PutEntity,
        Rpc::GetEntity,
        Rpc::ListEntities,
        Rpc::DeleteEntity,
        Rpc::RegisterTool,
        Rpc::PinTool,
        Rpc::GrantDelegation,
        Rpc::NarrowDelegation,
        Rpc::RevokeDelegation,
        Rpc::ListDelegations,
        Rpc::OpenTask,
        Rpc::AdvanceTask,
        Rpc::CloseTask,
        Rpc::ListTasks,
        Rpc::RequestApproval,
        Rpc::ApproveCall,
        Rpc::RejectCall,
        Rpc::ListApprovals,
        Rpc::WatchApprovals,
        Rpc::EndSession,
        Rpc::StopEntity,
        Rpc::ResumeEntity,
        Rpc::RepairClock,
        Rpc::GetStatus,
        Rpc::WatchChanges,
    ];

    /// What the other protocols offer. Each has to be allowed by its own name.
    pub const ADAPTERS: [Rpc; 6] = [
        Rpc::AuthzenEvaluation,
        Rpc::AuthzenSearch,
        Rpc::ToolhiveDecision,
        Rpc::ExtAuthzCheck,
        Rpc::ExtProcProcess,
        Rpc::ExtMcpCheck,
    ];

    /// Its name in the protocol and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Rpc::Authorize => "Authorize",
            Rpc::AuthorizeBatch => "AuthorizeBatch",
            Rpc::AuthorizeStream => "AuthorizeStream",
            Rpc::FilterTools => "FilterTools",
            Rpc::IsAuthorized => "IsAuthorized",
            Rpc::PutEntity => "PutEntity",
            Rpc::GetEntity => "GetEntity",
            Rpc::ListEntities => "ListEntities",
            Rpc::DeleteEntity => "DeleteEntity",
            Rpc::RegisterTool => "RegisterTool",
            Rpc::PinTool => "PinTool",
            Rpc::GrantDelegation => "GrantDelegation",
            Rpc::NarrowDelegation => "NarrowDelegation",
            Rpc::RevokeDelegation => "RevokeDelegation",
            Rpc::ListDelegations => "ListDelegations",
            Rpc::OpenTask => "OpenTask",
            Rpc::AdvanceTask => "AdvanceTask",
            Rpc::CloseTask => "CloseTask",
            Rpc::ListTasks => "ListTasks",
            Rpc::RequestApproval => "RequestApproval",
            Rpc::ApproveCall => "ApproveCall",
            Rpc::RejectCall => "RejectCall",
            Rpc::ListApprovals => "ListApprovals",
            Rpc::WatchApprovals => "WatchApprovals",
            Rpc::EndSession => "EndSession",
            Rpc::StopEntity => "StopEntity",
            Rpc::ResumeEntity => "ResumeEntity",
            Rpc::RepairClock => "RepairClock",
            Rpc::GetStatus => "GetStatus",
            Rpc::WatchChanges => "WatchChanges",
            Rpc::AuthzenEvaluation => "authzen.Evaluation",
            Rpc::AuthzenSearch => "authzen.Search",
            Rpc::ToolhiveDecision => "toolhive.Decision",
            Rpc::ExtAuthzCheck => "ext_authz.Check",
            Rpc::ExtProcProcess => "ext_proc.Process",
            Rpc::ExtMcpCheck => "ext_mcp.Check",
        }
    }

    fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl RpcSet {
    /// All of them, of both services and of every other protocol.
    pub fn all() -> Self {
        let native = Rpc::AUTHORIZATION.into_iter().chain(Rpc::CONTROL);
        native.chain(Rpc::ADAPTERS).collect()
    }

    /// Whether `rpc` is among them.
    pub fn contains(self, rpc: Rpc) -> bool {
        self.0 & rpc.bit() != 0
    }
}

impl FromIterator<Rpc> for RpcSet {
    fn from_iter<I: IntoIterator<Item = Rpc>>(rpcs: I) -> Self {
        Self(rpcs.into_iter().fold(0, |bits, rpc| bits | rpc.bit()))
    }
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
