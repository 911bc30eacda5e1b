//! The question: one call that an agent, a server or a user interface wants to make.
//!
//! Plain data, already parsed: an adapter makes a [`CallContext`] from its wire format, and nothing
//! after that knows which protocol the question came in.

use std::net::IpAddr;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::client_responses::ClientResponses;

/// One call to decide.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who acts: an agent or a person for client calls, a server for server-initiated ones.
    pub subject: Subject,
    /// For whom the subject acts; `None` if on its own authority.
    pub delegation: Option<ActorChain>,
    /// What is to happen.
    pub operation: Operation,
    /// The session, task and step it belongs to.
    pub workflow: Workflow,
    /// Approvals the call relies on.
    pub approval_ids: Vec<SmolStr>,
    /// Where it comes from.
    pub environment: Environment,
    /// The trace the decision belongs to. Never evidence.
    pub trace: TraceContext,
}

/// Who acts.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The Cedar entity, e.g. `Mcp::Agent::"support"`.
    pub entity: EntityUID,
    /// How the identity came to be known.
    pub identity: Identity,
    /// Claims about the subject, and nobody else, that the caller passes on; the configuration says which become
    /// facts.
    pub claims: Map<String, Json>,
}

/// How the subject's identity came to be known.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// `jwt`, `spiffe`, `mtls` …; `None` if the caller did not say.
    pub method: Option<SmolStr>,
    /// Whether the caller verified it cryptographically.
    pub verified: bool,
    /// Since when the token that says so counts, if one does and tells.
    pub not_before: Option<SystemTime>,
    /// Until when.
    pub expires_at: Option<SystemTime>,
    /// Whether a person is named by what a program showed for them, a token for one: an agent may be what acts.
    pub is_relayed: bool,
}

/// The chain from the root of the authority to the subject (RFC 8693, `sub` and `act`).
#[derive(Debug, Clone)]
pub struct ActorChain {
    /// On whose behalf everything happens: a person, or an agent acting on its own. `None` only if
    /// `delegation_ids` tell.
    pub root: Option<EntityUID>,
    /// The actors between root and subject, nearest to the root first.
    pub actors: Vec<EntityUID>,
    /// What was lent, as OAuth scopes.
    pub scopes: Vec<SmolStr>,
    /// Whether the caller verified the chain.
    pub verified: bool,
    /// Stored grants the call relies on: one for each link, the root's first, or the last one alone.
    pub delegation_ids: Vec<SmolStr>,
    /// When the lent authority begins.
    pub not_before: Option<SystemTime>,
    /// When the lent authority ends.
    pub expires_at: Option<SystemTime>,
    /// Claims about those in the chain that the caller passes on, each about the one it stands beside. A token's own
    /// are about the root, those inside an `act` about that actor (RFC 8693, 4.1).
    pub claims: Vec<(EntityUID, Map<String, Json>)>,
}

/// What the call wants to do.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Who set it off.
    pub initiator: Initiator,
    /// The MCP server concerned, by its registered name.
    pub server: SmolStr,
    /// The operation itself.
    pub kind: OperationKind,
    /// What goes back to the server with it, if the server has asked for something.
    pub answers: Option<Box<ClientResponses>>,
    /// What the server gave the client to bring back with a repeated call (`requestState`).
    pub request_state: Option<Box<str>>,
}

/// Who set a call off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiator {
    /// The agent's side.
    #[default]
    Client,
    /// The MCP server.
    Server,
    /// A user interface that a server supplied.
    Ui,
}

/// Every operation of the Model Context Protocol that is decided.
#[derive(Debug, Clone)]
pub enum OperationKind {
    /// What keeps a conversation with a server going and reaches for nothing in it: `initialize`,
    /// `server/discover`, `ping`, `tasks/get`, a notification, the stream of a session.
    Connect {
        /// The MCP method, or the HTTP method of a session's stream.
        method: &'static str,
    },
    /// `tools/call`.
    CallTool(ToolCall),
    /// `tools/list`.
    ListTools,
    /// `prompts/list`.
    ListPrompts,
    /// `resources/list` and `resources/templates/list`.
    ListResources,
    /// `resources/read`.
    ReadResource {
        /// Which.
        uri: SmolStr,
    },
    /// `prompts/get`.
    GetPrompt {
        /// Which.
        name: SmolStr,
        /// Names of its arguments.
        arguments: Vec<SmolStr>,
    },
    /// `completion/complete`, for a prompt.
    CompletePrompt {
        /// Which prompt.
        name: SmolStr,
    },
    /// `completion/complete`, for a resource template.
    CompleteResource {
        /// The template.
        uri: SmolStr,
    },
    /// `resources/subscribe` and `subscriptions/listen`.
    Subscribe {
        /// To what.
        uri: SmolStr,
    },
    /// `sampling/createMessage`.
    Sample(Sampling),
    /// `elicitation/create` in form mode.
    ElicitForm {
        /// What the person reads above the form; may be empty.
        message: String,
        /// The form's JSON Schema.
        requested_schema: Json,
    },
    /// `elicitation/create` in URL mode.
    ElicitUrl {
        /// Where the person is to go.
        url: String,
    },
    /// `roots/list`.
    ListRoots,
}

/// A tool and what it is called with.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The tool's name on its server.
    pub tool: SmolStr,
    /// The arguments; empty if absent on the wire.
    pub arguments: Map<String, Json>,
    /// `sha256:<hex>` of the definition as the gateway saw it.
    pub definition_digest: Option<SmolStr>,
    /// The resource acted upon, if the gateway knows it.
    pub target: Option<SmolStr>,
}

/// What `sampling/createMessage` asks for.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// Upper bound on the tokens to write.
    pub max_tokens: i64,
    /// `none`, `thisServer` or `allServers`.
    pub include_context: SmolStr,
    /// Names of the tools offered to the model.
    pub tools: Vec<SmolStr>,
    /// Number of messages sent along.
    pub messages: i64,
    /// Whether the server sets a system prompt.
    pub has_system_prompt: bool,
}

/// The work a call belongs to.
#[derive(Debug, Clone, Default)]
pub struct Workflow {
    /// The agent's session with its client.
    pub session_id: Option<SmolStr>,
    /// Whether that name is one that the client cannot choose: somebody whom the configuration trusts with it gave it.
    pub is_session_vouched: bool,
    /// The task, if the call is made within one.
    pub task_id: Option<SmolStr>,
    /// The step of that task.
    pub step: Option<SmolStr>,
    /// Why the call is made.
    pub purpose: Option<SmolStr>,
    /// The tool call or JSON-RPC request; for the trace only.
    pub request_id: Option<SmolStr>,
}

/// Where a call comes from.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The client's address as the gateway saw it.
    pub source_address: Option<IpAddr>,
}

/// W3C Trace Context, as text.
#[derive(Debug, Clone, Default)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: Option<String>,
    /// The `tracestate` header.
    pub tracestate: Option<String>,
}

impl CallContext {
    /// A call about which nothing is known but who wants to do what.
    pub fn new(subject: Subject, operation: Operation) -> Self {
        Self {
            subject,
            delegation: None,
            operation,
            workflow: Workflow::default(),
            approval_ids: Vec::new(),
            environment: Environment::default(),
            trace: TraceContext::default(),
        }
    }
}

impl Subject {
    /// A subject whose identity the caller has verified by this method, without claims.
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
    /// Authority verified to come from `root` without anybody in between.
    pub fn verified_from(root: EntityUID) -> Self {
        Self {
            root: Some(root),
            actors: Vec::new(),
            scopes: Vec::new(),
            verified: true,
            delegation_ids: Vec::new(),
            not_before: None,
            expires_at: None,
            claims: Vec::new(),
        }
    }

    /// Claims about the root; none if nobody passes any on.
    pub fn root_claims(&self) -> Option<&Map<String, Json>> {
        let root = self.root.as_ref()?;
        let (_, claims) = self.claims.iter().find(|(uid, _)| uid == root)?;
        Some(claims)
    }

    /// Authority that stored grants lend; the last one is enough.
    pub fn from_delegation_ids(delegation_ids: Vec<SmolStr>) -> Self {
        Self {
            root: None,
            actors: Vec::new(),
            scopes: Vec::new(),
            verified: false,
            delegation_ids,
            not_before: None,
            expires_at: None,
            claims: Vec::new(),
        }
    }
}

impl Operation {
    /// An operation with which nothing goes back to a server that asked.
    pub fn new(initiator: Initiator, server: impl Into<SmolStr>, kind: OperationKind) -> Self {
        Self {
            initiator,
            server: server.into(),
            kind,
            answers: None,
            request_state: None,
        }
    }

    /// What a tool is called with, if one is.
    pub fn arguments(&self) -> Option<&Map<String, Json>> {
        match &self.kind {
            OperationKind::CallTool(call) => Some(&call.arguments),
            _ => None,
        }
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

impl OperationKind {
    /// The MCP method, as on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Connect { method } => method,
            Self::CallTool(_) => "tools/call",
            Self::ListTools => "tools/list",
            Self::ListPrompts => "prompts/list",
            Self::ListResources => "resources/list",
            Self::ReadResource { .. } => "resources/read",
            Self::GetPrompt { .. } => "prompts/get",
            Self::CompletePrompt { .. } | Self::CompleteResource { .. } => "completion/complete",
            Self::Subscribe { .. } => "resources/subscribe",
            Self::Sample(_) => "sampling/createMessage",
            Self::ElicitForm { .. } | Self::ElicitUrl { .. } => "elicitation/create",
            Self::ListRoots => "roots/list",
        }
    }

    /// Whether only a server ever asks for this.
    pub fn is_server_only(&self) -> bool {
        matches!(
            self,
            Self::Sample(_) | Self::ElicitForm { .. } | Self::ElicitUrl { .. } | Self::ListRoots
        )
    }
}

impl Initiator {
    /// The word policies compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Ui => "ui",
        }
    }
}
