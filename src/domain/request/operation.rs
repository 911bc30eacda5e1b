//! The operations of the Model Context Protocol that are decided, each described in one place.
//!
//! Start at [`OperationKind`]: its variants are the shapes of operations, by the parameters that they are decided on.
//! Where several operations have one shape, a table lists them ([`Listing`], [`ResourceOperation`] …), a row each. The
//! rest of the program matches on the shape and reads the [`OperationDescription`], so that a new operation of a known
//! shape is a row here, and a new shape is named by the compiler wherever it matters.
//!
//! Invariant: capsules are read by the numbers in the descriptions, so a number never gets another meaning.

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::schema::{self, AccessLevel};

/// What is the same for every call of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationDescription {
    /// The number in capsules. The next free one is 14.
    pub number: u8,
    /// The name in policy tests; no other operation has it.
    pub name: &'static str,
    /// The MCP method in records, metrics and spans. Operations may share it.
    pub method: &'static str,
    /// The Cedar action. Of a tool call it is the group, of which the access level of the tool chooses one.
    pub action: &'static str,
    /// Of an operation that lists: the name in records of the list filtered for one client.
    pub filter: Option<&'static str>,
    /// Which labels the result brings. (Of a tool call the registration says it, and [`OperationKind::brings`] of what keeps
    /// a connection.)
    pub brings: ResultLabels,
}

/// Which labels the result of an operation brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultLabels {
    /// None: it says what a server offers, or that something has arrived.
    Nothing,
    /// Those of the server's resources and prompts.
    OfServer,
    /// Those of the server and of all its tools: it may be the result of any call of before.
    OfAnyCall,
}

impl OperationDescription {
    const fn new(
        number: u8,
        name: &'static str,
        method: &'static str,
        action: &'static str,
    ) -> Self {
        Self {
            number,
            name,
            method,
            action,
            filter: None,
            brings: ResultLabels::Nothing,
        }
    }

    const fn filtered_as(self, filter: &'static str) -> Self {
        Self {
            filter: Some(filter),
            ..self
        }
    }

    const fn bringing_server_labels(self) -> Self {
        Self {
            brings: ResultLabels::OfServer,
            ..self
        }
    }
}

/// Declares the operations of one shape as a table: a row has a name, what it means, and the description.
macro_rules! operations {
    ($(#[$about:meta])* $shape:ident { $($(#[$meaning:meta])* $name:ident => $description:expr,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $shape {
            $($(#[$meaning])* $name,)+
        }

        impl $shape {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What is the same for every call of it.
            pub const fn description(self) -> &'static OperationDescription {
                match self {
                    $(Self::$name => const { &$description },)+
                }
            }
        }
    };
}

use OperationDescription as Described;

operations! {
    /// A client lists what a server offers. It is about the server, uses no budget of a task, and its result is filtered.
    Listing {
        /// `tools/list`.
        Tools => Described::new(2, "list_tools", "tools/list", "list_tools").filtered_as("tools/filter"),
        /// `prompts/list`.
        Prompts => Described::new(3, "list_prompts", "prompts/list", "list_prompts").filtered_as("prompts/filter"),
        /// `resources/list` and `resources/templates/list`.
        Resources => Described::new(4, "list_resources", "resources/list", "list_resources")
            .filtered_as("resources/filter"),
    }
}

operations! {
    /// A client wants something of one resource, by its URI.
    ResourceOperation {
        /// `resources/read`.
        Read => Described::new(5, "read_resource", "resources/read", "read_resource").bringing_server_labels(),
        /// `completion/complete`, for a resource template.
        Complete => Described::new(8, "complete_resource", "completion/complete", "complete").bringing_server_labels(),
        /// `resources/subscribe` and `subscriptions/listen`.
        Subscribe => Described::new(9, "subscribe", "resources/subscribe", "subscribe").bringing_server_labels(),
    }
}

operations! {
    /// A client wants something of one prompt, by its name alone.
    PromptOperation {
        /// `completion/complete`, for a prompt.
        Complete => Described::new(7, "complete_prompt", "completion/complete", "complete").bringing_server_labels(),
    }
}

operations! {
    /// A server wants something of the client's side, without parameters that decide.
    ClientOperation {
        /// `roots/list`.
        ListRoots => Described::new(13, "list_roots", "roots/list", "list_roots"),
    }
}

const CONNECT: Described = Described::new(0, "connect", "connect", "connect");
const CALL_TOOL: Described = Described::new(1, "call", "tools/call", "call_tool");
const GET_PROMPT: Described =
    Described::new(6, "get_prompt", "prompts/get", "get_prompt").bringing_server_labels();
const SAMPLE: Described = Described::new(10, "sample", "sampling/createMessage", "sample");
const ELICIT_FORM: Described =
    Described::new(11, "elicit_form", "elicitation/create", "elicit_form");
const ELICIT_URL: Described = Described::new(12, "elicit_url", "elicitation/create", "elicit_url");

/// The methods that keep a connection and whose results bring nothing. Any other that keeps one, like those that return the
/// state of a task, may return what an earlier call has read.
const BRINGING_NOTHING: [&str; 14] = [
    "initialize",
    "server/discover",
    "ping",
    "logging/setLevel",
    "resources/unsubscribe",
    SUBSCRIBE,
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "GET",
    "DELETE",
    "reply",
];

/// The methods that keep a connection and change a task of MCP.
const CHANGING_TASKS: [&str; 2] = ["tasks/update", "tasks/cancel"];

/// The methods that keep a connection of which more is decided than of `initialize`, as they are written down.
const DECIDED_APART: [&str; 8] = [
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/update",
    "tasks/cancel",
    "notifications/tasks",
    RESUME,
    UNAWAITED,
];

/// Opens a stream of notifications. What is subscribed to is decided beside it.
pub const SUBSCRIBE: &str = "subscriptions/listen";

/// A client goes on with a stream that broke off: what comes may be the result of any call of before.
pub const RESUME: &str = "resume";

/// A server sends a reply to a request that the exchange does not await. It may be the result of any call of before.
pub const UNAWAITED: &str = "unawaited";

/// The methods of what a server sends of earlier calls without being asked.
const UNASKED: [&str; 2] = [UNAWAITED, "notifications/tasks"];

/// An operation without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationType {
    /// Of the shape [`OperationKind::Connect`].
    Connect,
    /// Of the shape [`OperationKind::CallTool`].
    CallTool,
    /// Of the shape [`OperationKind::List`].
    List(Listing),
    /// Of the shape [`OperationKind::OnResource`].
    OnResource(ResourceOperation),
    /// Of the shape [`OperationKind::OnPrompt`].
    OnPrompt(PromptOperation),
    /// Of the shape [`OperationKind::GetPrompt`].
    GetPrompt,
    /// Of the shape [`OperationKind::Sample`].
    Sample,
    /// Of the shape [`OperationKind::ElicitForm`].
    ElicitForm,
    /// Of the shape [`OperationKind::ElicitUrl`].
    ElicitUrl,
    /// Of the shape [`OperationKind::OnClient`].
    OnClient(ClientOperation),
}

/// The operations that are the only ones of their shape.
const SINGLE: [OperationType; 6] = [
    OperationType::Connect,
    OperationType::CallTool,
    OperationType::GetPrompt,
    OperationType::Sample,
    OperationType::ElicitForm,
    OperationType::ElicitUrl,
];

impl OperationType {
    /// Every operation.
    pub fn all() -> impl Iterator<Item = Self> {
        let lists = Listing::ALL.iter().copied().map(Self::List);
        let of_resources = ResourceOperation::ALL.iter().copied();
        let of_prompts = PromptOperation::ALL.iter().copied();
        let of_clients = ClientOperation::ALL.iter().copied();
        SINGLE
            .into_iter()
            .chain(lists)
            .chain(of_resources.map(Self::OnResource))
            .chain(of_prompts.map(Self::OnPrompt))
            .chain(of_clients.map(Self::OnClient))
    }

    /// The operation of this number in capsules.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::all().find(|it| it.description().number == number)
    }

    /// The operation of this name in policy tests.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|it| it.description().name == name)
    }

    /// What is the same for every call of it.
    pub const fn description(self) -> &'static OperationDescription {
        match self {
            Self::Connect => &CONNECT,
            Self::CallTool => &CALL_TOOL,
            Self::List(listing) => listing.description(),
            Self::OnResource(operation) => operation.description(),
            Self::OnPrompt(operation) => operation.description(),
            Self::GetPrompt => &GET_PROMPT,
            Self::Sample => &SAMPLE,
            Self::ElicitForm => &ELICIT_FORM,
            Self::ElicitUrl => &ELICIT_URL,
            Self::OnClient(operation) => operation.description(),
        }
    }

    /// Whether only servers initiate it.
    pub const fn is_server_only(self) -> bool {
        match self {
            Self::Sample | Self::ElicitForm | Self::ElicitUrl | Self::OnClient(_) => true,
            Self::Connect
            | Self::CallTool
            | Self::List(_)
            | Self::OnResource(_)
            | Self::OnPrompt(_)
            | Self::GetPrompt => false,
        }
    }
}

/// An operation with its parameters, by its shape.
#[derive(Debug, Clone)]
pub enum OperationKind {
    /// Connection management without access to anything further on the server: `initialize`, `server/discover`,
    /// `ping`, notifications, the stream of a session, and tasks and what is resumed, whose results are those of earlier calls.
    Connect {
        /// The MCP method, the HTTP method of a session's stream, or [`RESUME`].
        method: &'static str,
    },
    /// `tools/call`.
    CallTool(ToolCall),
    /// A client lists what the server offers.
    List(Listing),
    /// A client wants something of a resource.
    OnResource {
        /// What.
        operation: ResourceOperation,
        /// The URI of the resource, or a URI template.
        uri: SmolStr,
    },
    /// A client wants something of a prompt.
    OnPrompt {
        /// What.
        operation: PromptOperation,
        /// The name of the prompt.
        name: SmolStr,
    },
    /// `prompts/get`.
    GetPrompt {
        /// The name of the prompt.
        name: SmolStr,
        /// The names of its arguments.
        arguments: Vec<SmolStr>,
    },
    /// `sampling/createMessage`.
    Sample(Sampling),
    /// `elicitation/create` in form mode.
    ElicitForm {
        /// The message shown above the form; may be empty.
        message: String,
        /// The JSON Schema of the form.
        requested_schema: Json,
    },
    /// `elicitation/create` in URL mode.
    ElicitUrl {
        /// The URL that the user is sent to.
        url: String,
    },
    /// A server wants something of the client's side.
    OnClient(ClientOperation),
}

/// A tool call.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The name of the tool on its server.
    pub tool: SmolStr,
    /// The arguments; empty if absent on the wire.
    pub arguments: Map<String, Json>,
    /// `sha256:<hex>` of the tool definition, as the gateway saw it.
    pub definition_digest: Option<SmolStr>,
    /// A target that the gateway states, beside those that the arguments name.
    pub target: Option<SmolStr>,
}

/// The parameters of `sampling/createMessage`.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// The maximum number of tokens to generate.
    pub max_tokens: i64,
    /// `none`, `thisServer` or `allServers`.
    pub include_context: SmolStr,
    /// The names of the tools offered to the model.
    pub tools: Vec<SmolStr>,
    /// The number of messages.
    pub messages: i64,
    /// Whether the request has a system prompt.
    pub has_system_prompt: bool,
}

impl OperationKind {
    /// The operation without its parameters.
    pub const fn operation_type(&self) -> OperationType {
        match self {
            Self::Connect { .. } => OperationType::Connect,
            Self::CallTool(_) => OperationType::CallTool,
            Self::List(listing) => OperationType::List(*listing),
            Self::OnResource { operation, .. } => OperationType::OnResource(*operation),
            Self::OnPrompt { operation, .. } => OperationType::OnPrompt(*operation),
            Self::GetPrompt { .. } => OperationType::GetPrompt,
            Self::Sample(_) => OperationType::Sample,
            Self::ElicitForm { .. } => OperationType::ElicitForm,
            Self::ElicitUrl { .. } => OperationType::ElicitUrl,
            Self::OnClient(operation) => OperationType::OnClient(*operation),
        }
    }

    /// To keep a connection, by a method that was written down. Which one it was of those that are decided as `initialize`
    /// is, makes no difference.
    pub fn connecting(method: &str) -> Self {
        let known = DECIDED_APART.into_iter().find(|it| *it == method);
        Self::Connect {
            method: known.unwrap_or("initialize"),
        }
    }

    /// What is the same for every call of the operation.
    pub const fn description(&self) -> &'static OperationDescription {
        self.operation_type().description()
    }

    /// The MCP method on the wire.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Connect { method } => method,
            _ => self.description().method,
        }
    }

    /// Which labels the result brings.
    pub fn brings(&self) -> ResultLabels {
        match self {
            Self::Connect { method } if !BRINGING_NOTHING.contains(method) => {
                ResultLabels::OfAnyCall
            }
            _ => self.description().brings,
        }
    }

    /// Whether it only looks at what a server offers, or keeps a connection and brings nothing.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::Connect { .. } => self.brings() == ResultLabels::Nothing,
            _ => false,
        }
    }

    /// Whether a server sends it without being asked, as often as it likes. It is no call of whom it is sent to, so it uses none
    /// up and is counted as none.
    pub fn is_unasked(&self) -> bool {
        matches!(self, Self::Connect { method } if UNASKED.contains(method))
    }

    /// Whether it counts against the budget of a task. What only looks at what a server offers does not, nor what is unasked.
    pub fn uses_budget(&self) -> bool {
        !self.only_looks() && !self.is_unasked()
    }

    /// Whether authority for some of a server's tools is enough for it: to look at what the server offers, or for what the
    /// server itself wants in the course of a call. Anything else that is no tool call may bring whatever the server has.
    pub fn is_incidental(&self) -> bool {
        self.only_looks() || self.is_server_only()
    }

    /// The access level that it needs, if it is no tool call.
    pub fn access(&self) -> AccessLevel {
        match self.method() {
            method if CHANGING_TASKS.contains(&method) => AccessLevel::Write,
            _ => AccessLevel::Read,
        }
    }

    /// Whether only servers initiate this operation.
    pub const fn is_server_only(&self) -> bool {
        self.operation_type().is_server_only()
    }

    /// The tool call, if it is one.
    pub const fn tool_call(&self) -> Option<&ToolCall> {
        match self {
            Self::CallTool(call) => Some(call),
            _ => None,
        }
    }

    /// The URI that it names.
    pub fn named_uri(&self) -> Option<&str> {
        match self {
            Self::CallTool(call) => call.target.as_deref(),
            Self::OnResource { uri, .. } => Some(uri),
            Self::ElicitUrl { url } => Some(url),
            Self::GetPrompt { .. }
            | Self::OnPrompt { .. }
            | Self::Connect { .. }
            | Self::List(_)
            | Self::Sample(_)
            | Self::ElicitForm { .. }
            | Self::OnClient(_) => None,
        }
    }

    /// The tool or prompt of `server` that it names, as an entity. A resource is one only under its canonical name.
    pub fn named_entity(&self, server: &str) -> Option<EntityUID> {
        match self {
            Self::CallTool(call) => Some(schema::tool_uid(server, &call.tool)),
            Self::GetPrompt { name, .. } | Self::OnPrompt { name, .. } => {
                Some(schema::prompt_uid(server, name))
            }
            Self::OnResource { .. }
            | Self::Connect { .. }
            | Self::List(_)
            | Self::Sample(_)
            | Self::ElicitForm { .. }
            | Self::ElicitUrl { .. }
            | Self::OnClient(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
