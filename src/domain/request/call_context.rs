//! The request: one call that an agent, a server or a user interface wants to make.
//!
//! Parsed, protocol-independent data: an adapter builds a [`CallContext`] from its wire format.

use std::net::IpAddr;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smallvec::SmallVec;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::domain::ids::{ApprovalId, DelegationId, SessionId, TaskId};
use crate::domain::reason::Reason;
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{OperationKind, ToolCall};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema;

/// The call to decide.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The principal: an agent or a user for client calls, a server for server-initiated calls.
    pub subject: Subject,
    /// The parties that the subject acts for; `None` if it acts on its own authority.
    pub actor_chain: Option<ActorChain>,
    /// The operation.
    pub operation: Operation,
    /// The session, task and step the call belongs to.
    pub workflow: Workflow,
    /// Ids of the approvals the call relies on.
    pub approval_ids: Vec<ApprovalId>,
    /// The network origin of the call.
    pub environment: Environment,
    /// The trace the decision belongs to. Never evidence.
    pub trace: TraceContext,
    /// Why it is denied whatever the policies say: what it asks cannot be told for certain, and the rest is for the record.
    pub denied: Option<Box<Reason>>,
}

/// The principal that makes the call.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The Cedar entity, e.g. `Mcp::Agent::"support"`.
    pub entity: EntityUID,
    /// How the identity was established.
    pub identity: Identity,
    /// Claims about the subject that the caller passes on. The configuration says which of them become facts.
    pub claims: Map<String, Json>,
}

/// How the identity of the subject was established.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// `jwt`, `spiffe`, `mtls` …; `None` if the caller did not say.
    pub method: Option<SmolStr>,
    /// Whether the caller verified the identity cryptographically.
    pub verified: bool,
    /// The `nbf` of the token that carries the identity, if known.
    pub not_before: Option<SystemTime>,
    /// The `exp` of the token that carries the identity, if known.
    pub expires_at: Option<SystemTime>,
    /// Whether a program presented the user's credential, such as a bearer token: an agent may be acting.
    pub is_relayed: bool,
}

/// OAuth scopes: most tokens have one, or none.
pub type Scopes = SmallVec<[SmolStr; 1]>;

/// The chain from the root of the authority to the subject (RFC 8693, `sub` and `act`), as the call states
/// it.
#[derive(Debug, Clone)]
pub struct ActorChain {
    /// The root of the authority: a user, or an agent acting on its own. `None` only if `delegation_ids` are
    /// given.
    pub root: Option<EntityUID>,
    /// The actors between root and subject, nearest to the root first.
    pub actors: Vec<EntityUID>,
    /// The delegated OAuth scopes.
    pub scopes: Scopes,
    /// Whether the caller verified the chain.
    pub verified: bool,
    /// Ids of stored delegations: one for each link from the root on, or the last one alone.
    pub delegation_ids: Vec<DelegationId>,
    /// The chain is valid from this time on.
    pub not_before: Option<SystemTime>,
    /// The chain is valid before this time.
    pub expires_at: Option<SystemTime>,
    /// Claims about parties of the chain that the caller passes on, each with the party it is about. The
    /// claims of a token are about the root, those inside an `act` about that actor (RFC 8693, 4.1).
    pub claims: Vec<(EntityUID, Map<String, Json>)>,
}

/// The operation to decide.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The side that initiated the call.
    pub initiator: Initiator,
    /// The registered name of the MCP server.
    pub server: SmolStr,
    /// The kind of operation, with its parameters.
    pub kind: OperationKind,
    /// How much of what the server receives the gateway has told.
    pub told: Told,
    /// The client responses that go to the server with the call (`inputResponses`).
    pub answers: Option<Box<ClientResponses>>,
    /// The `requestState` that the server asked the client to repeat.
    pub request_state: Option<Box<str>>,
}

/// How much of what a server receives with a call the gateway has told: of arguments, client responses and
/// subscriptions. Client responses for which the protocol of the gateway has no place count as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All of it: what is not there does not reach the server.
    All,
    /// Some of it: anything may have been left out.
    Part,
}

/// The side that initiated a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiator {
    /// The client, on behalf of the agent.
    #[default]
    Client,
    /// The MCP server.
    Server,
    /// A user interface that a server supplied.
    Ui,
}

/// The session, task and step a call belongs to.
#[derive(Debug, Clone, Default)]
pub struct Workflow {
    /// The id of the agent's session with its client.
    pub session_id: Option<SessionId>,
    /// Whether the session id was assigned by a party the configuration trusts with it, so that the client
    /// cannot choose it.
    pub is_session_vouched: bool,
    /// The id of the task.
    pub task_id: Option<TaskId>,
    /// The step of the task.
    pub step: Option<SmolStr>,
    /// The purpose of the call, as the caller states it.
    pub purpose: Option<SmolStr>,
    /// The id of the tool call or JSON-RPC request; for traces only.
    pub request_id: Option<SmolStr>,
    /// The decision that this call follows from, as the caller states it; for records and traces only.
    pub parent_decision_id: Option<Uuid>,
}

/// The network origin of a call.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The address of the client, as the gateway saw it.
    pub source_address: Option<IpAddr>,
}

impl CallContext {
    /// A call with a subject and an operation, and everything else empty.
    pub fn new(subject: Subject, operation: Operation) -> Self {
        Self {
            subject,
            actor_chain: None,
            operation,
            workflow: Workflow::default(),
            approval_ids: Vec::new(),
            environment: Environment::default(),
            trace: TraceContext::default(),
            denied: None,
        }
    }
}

impl Subject {
    /// A subject whose identity the caller verified by `method`, without claims.
    pub fn verified(entity: EntityUID, method: impl Into<SmolStr>) -> Self {
        let identity = Identity {
            method: Some(method.into()),
            verified: true,
            ..Identity::default()
        };
        Self {
            entity,
            identity,
            claims: Map::new(),
        }
    }
}

impl ActorChain {
    /// A verified chain from `root` straight to the subject.
    pub fn verified_from(root: EntityUID) -> Self {
        Self {
            root: Some(root),
            actors: Vec::new(),
            scopes: Scopes::new(),
            verified: true,
            delegation_ids: Vec::new(),
            not_before: None,
            expires_at: None,
            claims: Vec::new(),
        }
    }

    /// The claims about the root, if any.
    pub fn root_claims(&self) -> Option<&Map<String, Json>> {
        let root = self.root.as_ref()?;
        let (_, claims) = self.claims.iter().find(|(uid, _)| uid == root)?;
        Some(claims)
    }

    /// A chain given by the ids of stored delegations; the last id suffices.
    pub fn from_delegation_ids(delegation_ids: Vec<DelegationId>) -> Self {
        Self {
            root: None,
            actors: Vec::new(),
            scopes: Scopes::new(),
            verified: false,
            delegation_ids,
            not_before: None,
            expires_at: None,
            claims: Vec::new(),
        }
    }
}

impl Operation {
    /// An operation without client responses, of which all is told.
    pub fn new(initiator: Initiator, server: impl Into<SmolStr>, kind: OperationKind) -> Self {
        Self {
            initiator,
            server: server.into(),
            kind,
            told: Told::All,
            answers: None,
            request_state: None,
        }
    }

    /// The arguments of a tool call.
    pub fn arguments(&self) -> Option<&Map<String, Json>> {
        self.kind.tool_call().map(|call| &call.arguments)
    }

    /// The tool that is called, if it is a tool call.
    pub fn tool_uid(&self) -> Option<EntityUID> {
        let call = self.kind.tool_call()?;
        Some(schema::tool_uid(&self.server, &call.tool))
    }

    /// A client's `tools/call`.
    pub fn call_tool(
        server: impl Into<SmolStr>,
        tool: impl Into<SmolStr>,
        arguments: Map<String, Json>,
    ) -> Self {
        let call = ToolCall {
            tool: tool.into(),
            arguments,
            definition_digest: None,
            target: None,
        };
        Self::new(Initiator::Client, server, OperationKind::CallTool(call))
    }
}

impl Initiator {
    /// The value of `context.initiator`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Ui => "ui",
        }
    }
}
