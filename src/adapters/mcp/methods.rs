//! The table of MCP methods: who sends each one, what it asks for, and how clients, servers and gateways treat it.
//!
//! The table covers the stateless revision (2026-07-28) and the one with sessions (2025-11-25). A new method is a row
//! here; one with parameters of its own also needs a reader in `request/operations.rs`. No other file names methods.

use crate::adapters::mcp::server_set::IdentifierKind;

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client, on the agent's side.
    Client,
    /// The server.
    Server,
}

/// The revisions of the protocol that have a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: `initialize`, sessions, requests of servers.
    Sessions,
    /// 2026-07-28: every request stands for itself.
    Stateless,
    /// Both.
    Both,
}

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// Calls a tool; from a server a reverse call.
    CallTool,
    /// Lists tools.
    ListTools,
    /// Lists prompts.
    ListPrompts,
    /// Lists resources or resource templates.
    ListResources,
    /// Reads the resource `uri`.
    ReadResource,
    /// Gets the prompt `name`.
    GetPrompt,
    /// Completes an argument of what `ref` names.
    Complete,
    /// Subscribes to changes of `uri`.
    Subscribe,
    /// Subscribes to everything that `notifications` names.
    Listen,
    /// Asks the client's model for a completion.
    Sample,
    /// Asks the user for input.
    Elicit,
    /// Lists the client's folders.
    ListRoots,
    /// Maintains the connection and reaches for nothing.
    Connect,
    /// Informs and asks for nothing, so nothing is decided.
    Exempt,
    /// Always rejected, for this reason.
    Unsupported(&'static str),
}

/// The type of object that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// The server as a whole.
    Server,
    /// A tool.
    Tool,
    /// A resource.
    Resource,
    /// A prompt.
    Prompt,
    /// A task.
    Task,
}

/// How a gateway in front of several servers handles a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// It goes to every server without parameters, and the results are merged.
    FanOut,
    /// It goes to one server, and the gateway asks before.
    Single,
    /// Some versions of agentgateway ask only when the server has answered, without the parameters.
    ResponseOnly,
}

/// The parameter that the header `Mcp-Name` mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameParameter {
    /// The parameter.
    pub member: &'static str,
    /// What it identifies an object by.
    pub identifier: IdentifierKind,
}

/// The list in the result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListSpec {
    /// The member of the result with the list.
    pub member: &'static str,
    /// The member of an entry that identifies it.
    pub id: &'static str,
    /// What `id` identifies an entry by.
    pub identifier: IdentifierKind,
    /// What the entries are.
    pub entries: EntryKind,
}

/// The type of a list's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Tools.
    Tool,
    /// Prompts.
    Prompt,
    /// Resources.
    Resource,
    /// Resource templates.
    Template,
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// The revisions that have it.
    pub era: Era,
    /// What it asks for.
    pub kind: MethodKind,
    /// The parameter that `Mcp-Name` mirrors, if it does.
    pub name_parameter: Option<NameParameter>,
    /// The list in its result, if it returns one.
    pub list: Option<ListSpec>,
    /// How a gateway handles it.
    pub routing: Routing,
    /// Whether its result contains the server's instructions for models.
    pub has_instructions: bool,
    /// What the binding COAZ-MCP lets it be about; empty for methods that the binding does not have.
    pub coaz_objects: &'static [ObjectKind],
}

impl Method {
    const fn new(name: &'static str, sender: Sender, era: Era, kind: MethodKind) -> Self {
        Self {
            name,
            sender,
            era,
            kind,
            name_parameter: None,
            list: None,
            routing: Routing::ResponseOnly,
            has_instructions: false,
            coaz_objects: &[],
        }
    }

    const fn fan_out(self) -> Self {
        Self {
            routing: Routing::FanOut,
            ..self
        }
    }

    const fn single(self) -> Self {
        Self {
            routing: Routing::Single,
            ..self
        }
    }

    const fn instructing(self) -> Self {
        Self {
            has_instructions: true,
            ..self
        }
    }

    /// `Mcp-Name` mirrors this parameter.
    const fn named(self, member: &'static str, identifier: IdentifierKind) -> Self {
        Self {
            name_parameter: Some(NameParameter { member, identifier }),
            ..self
        }
    }

    const fn listing(self, member: &'static str, id: &'static str, entries: EntryKind) -> Self {
        let identifier = match entries {
            EntryKind::Tool | EntryKind::Prompt => IdentifierKind::ByName,
            EntryKind::Resource | EntryKind::Template => IdentifierKind::ByUri,
        };
        Self {
            list: Some(ListSpec {
                member,
                id,
                identifier,
                entries,
            }),
            ..self
        }
    }

    const fn coaz(self, objects: &'static [ObjectKind]) -> Self {
        Self {
            coaz_objects: objects,
            ..self
        }
    }
}

const fn client(name: &'static str, era: Era, kind: MethodKind) -> Method {
    Method::new(name, Sender::Client, era, kind)
}

const fn server(name: &'static str, era: Era, kind: MethodKind) -> Method {
    Method::new(name, Sender::Server, era, kind)
}

const CLIENT_TASKS: &str = "a server's look at the tasks of a client is not decided";

/// Parameters and results whose spelling decides what a message asks for. A parameter of a new method goes here, too.
pub(in crate::adapters) const DECISIVE_PARAMS: [&str; 29] = [
    "_meta",
    "action",
    "arguments",
    "content",
    "includeContext",
    "inputRequests",
    "inputResponses",
    "maxTokens",
    "message",
    "messages",
    "mode",
    "model",
    "name",
    "notifications",
    "prompt",
    "promptsListChanged",
    "ref",
    "requestState",
    "requestedSchema",
    "resourceSubscriptions",
    "resourcesListChanged",
    "roots",
    "systemPrompt",
    "taskId",
    "tools",
    "toolsListChanged",
    "type",
    "uri",
    "url",
];

/// Every request of both revisions.
pub const REQUESTS: [Method; 31] = [
    client("initialize", Era::Sessions, MethodKind::Connect)
        .fan_out()
        .instructing()
        .coaz(&[ObjectKind::Server]),
    client("server/discover", Era::Stateless, MethodKind::Connect)
        .fan_out()
        .instructing(),
    client("ping", Era::Sessions, MethodKind::Connect).fan_out(),
    client("logging/setLevel", Era::Sessions, MethodKind::Connect)
        .fan_out()
        .coaz(&[ObjectKind::Server]),
    client("tools/list", Era::Both, MethodKind::ListTools)
        .fan_out()
        .listing("tools", "name", EntryKind::Tool)
        .coaz(&[ObjectKind::Server]),
    client(CALL_TOOL, Era::Both, MethodKind::CallTool)
        .single()
        .named("name", IdentifierKind::ByName)
        .coaz(&[ObjectKind::Tool]),
    client("prompts/list", Era::Both, MethodKind::ListPrompts)
        .fan_out()
        .listing("prompts", "name", EntryKind::Prompt)
        .coaz(&[ObjectKind::Server]),
    client("prompts/get", Era::Both, MethodKind::GetPrompt)
        .single()
        .named("name", IdentifierKind::ByName)
        .coaz(&[ObjectKind::Prompt]),
    client("resources/list", Era::Both, MethodKind::ListResources)
        .fan_out()
        .listing("resources", "uri", EntryKind::Resource)
        .coaz(&[ObjectKind::Server]),
    client(
        "resources/templates/list",
        Era::Both,
        MethodKind::ListResources,
    )
    .fan_out()
    .listing("resourceTemplates", "uriTemplate", EntryKind::Template),
    client("resources/read", Era::Both, MethodKind::ReadResource)
        .single()
        .named("uri", IdentifierKind::ByUri)
        .coaz(&[ObjectKind::Resource]),
    client("resources/subscribe", Era::Sessions, MethodKind::Subscribe)
        .named("uri", IdentifierKind::ByUri)
        .coaz(&[ObjectKind::Resource]),
    client("resources/unsubscribe", Era::Sessions, MethodKind::Connect)
        .named("uri", IdentifierKind::ByUri)
        .coaz(&[ObjectKind::Resource]),
    client("subscriptions/listen", Era::Stateless, MethodKind::Listen),
    client("completion/complete", Era::Both, MethodKind::Complete)
        .coaz(&[ObjectKind::Prompt, ObjectKind::Resource]),
    // A task belongs to a call that was decided when it was created; its server ties it to whoever created it.
    client("tasks/get", Era::Both, MethodKind::Connect)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/result", Era::Sessions, MethodKind::Connect)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/list", Era::Sessions, MethodKind::Connect).coaz(&[ObjectKind::Server]),
    client("tasks/cancel", Era::Both, MethodKind::Connect)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/update", Era::Stateless, MethodKind::Connect)
        .named("taskId", IdentifierKind::ByTaskId),
    server("ping", Era::Sessions, MethodKind::Exempt),
    server("sampling/createMessage", Era::Both, MethodKind::Sample),
    server("elicitation/create", Era::Both, MethodKind::Elicit),
    server("roots/list", Era::Both, MethodKind::ListRoots),
    // No revision has it, but servers and their user interfaces do call tools of the other side.
    server(CALL_TOOL, Era::Both, MethodKind::CallTool),
    server(
        "tasks/get",
        Era::Sessions,
        MethodKind::Unsupported(CLIENT_TASKS),
    ),
    server(
        "tasks/result",
        Era::Sessions,
        MethodKind::Unsupported(CLIENT_TASKS),
    ),
    server(
        "tasks/list",
        Era::Sessions,
        MethodKind::Unsupported(CLIENT_TASKS),
    ),
    server(
        "tasks/cancel",
        Era::Sessions,
        MethodKind::Unsupported(CLIENT_TASKS),
    ),
    server(
        "tasks/update",
        Era::Stateless,
        MethodKind::Unsupported(CLIENT_TASKS),
    ),
    server(
        "server/discover",
        Era::Stateless,
        MethodKind::Unsupported("a server does not ask a client what it offers"),
    ),
];

/// Every notification of both revisions.
pub const NOTIFICATIONS: [Method; 18] = [
    client(
        "notifications/initialized",
        Era::Sessions,
        MethodKind::Connect,
    ),
    client("notifications/cancelled", Era::Both, MethodKind::Connect),
    client("notifications/progress", Era::Both, MethodKind::Connect),
    client(
        "notifications/roots/list_changed",
        Era::Sessions,
        MethodKind::Connect,
    ),
    client(
        "notifications/tasks/status",
        Era::Sessions,
        MethodKind::Connect,
    ),
    server("notifications/cancelled", Era::Both, MethodKind::Exempt),
    server("notifications/progress", Era::Both, MethodKind::Exempt),
    server("notifications/message", Era::Both, MethodKind::Exempt),
    server(
        "notifications/tools/list_changed",
        Era::Both,
        MethodKind::Exempt,
    ),
    server(
        "notifications/prompts/list_changed",
        Era::Both,
        MethodKind::Exempt,
    ),
    server(
        "notifications/resources/list_changed",
        Era::Both,
        MethodKind::Exempt,
    ),
    server(
        "notifications/resources/updated",
        Era::Both,
        MethodKind::Exempt,
    ),
    server(
        "notifications/subscriptions/acknowledged",
        Era::Stateless,
        MethodKind::Exempt,
    ),
    server("notifications/tasks", Era::Stateless, MethodKind::Exempt),
    server(
        "notifications/tasks/status",
        Era::Sessions,
        MethodKind::Exempt,
    ),
    server(
        "notifications/elicitation/complete",
        Era::Both,
        MethodKind::Exempt,
    ),
    server(
        "notifications/roots/list_changed",
        Era::Sessions,
        MethodKind::Unsupported("only a client has folders"),
    ),
    server(
        "notifications/initialized",
        Era::Sessions,
        MethodKind::Unsupported("only a client begins a session"),
    ),
];

/// The HTTP methods that open and end the stream of a session, beside `POST`.
pub const STREAM: [&str; 2] = ["GET", "DELETE"];

/// The name that stands for a JSON-RPC response, which has no method.
pub const REPLY: &str = "reply";

/// The request that calls a tool.
pub const CALL_TOOL: &str = "tools/call";

/// Returns the request of this name from this side. Names are compared byte by byte: a look-alike is another name.
pub fn request(sender: Sender, name: &str) -> Option<&'static Method> {
    find(&REQUESTS, sender, name)
}

/// Returns the notification of this name from this side.
pub fn notification(sender: Sender, name: &str) -> Option<&'static Method> {
    find(&NOTIFICATIONS, sender, name)
}

/// Returns the name of a method that maintains the connection, if it is one.
pub fn connect_method(name: &str) -> Option<&'static str> {
    let rows = REQUESTS.iter().chain(&NOTIFICATIONS);
    let methods = rows
        .filter(|row| row.kind == MethodKind::Connect)
        .map(|row| row.name);
    methods
        .chain(STREAM)
        .chain([REPLY])
        .find(|known| *known == name)
}

/// The requests of clients whose result is a list.
pub(in crate::adapters) fn lists() -> impl Iterator<Item = (&'static Method, ListSpec)> {
    REQUESTS
        .iter()
        .filter_map(|method| Some((method, method.list?)))
}

fn find(rows: &'static [Method], sender: Sender, name: &str) -> Option<&'static Method> {
    rows.iter()
        .find(|row| row.sender == sender && row.name == name)
}
