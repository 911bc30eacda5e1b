//! The table of MCP methods: who sends each one, what it asks for, and how clients, servers and gateways treat it.
//!
//! The table covers the stateless revision (2026-07-28) and the one with sessions (2025-11-25). A new method is a row
//! here; its operation is one of `domain/request/operation.rs`, whose shape says which parameters are read. No other file
//! of this room names methods.

use crate::adapters::mcp::server_set::IdentifierKind;
use crate::domain::request::operation::{
    ClientOperation, Listing, OperationType, RESUME, ResourceOperation, UNAWAITED,
};

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
    /// One operation, whose parameters are read by its shape.
    Operation(OperationType),
    /// Completes an argument of what `ref` names, a prompt or a resource.
    Complete,
    /// Subscribes to everything that `notifications` names.
    Listen,
    /// Asks the user for input, by a form or at a URL.
    Elicit,
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

/// The list in the result of a request, and the operation that the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListSpec {
    /// The operation.
    pub listing: Listing,
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
    /// Whether it is there to bring a server the client's responses.
    pub brings_responses: bool,
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
            brings_responses: false,
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

    const fn bringing_responses(self) -> Self {
        Self {
            brings_responses: true,
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

    const fn coaz(self, objects: &'static [ObjectKind]) -> Self {
        Self {
            coaz_objects: objects,
            ..self
        }
    }

    /// Whether nothing is decided on its parameters, so that a gateway may have none to tell: it goes to every server, or is
    /// about one as a whole.
    pub fn may_lack_params(&self) -> bool {
        let is_plain = self.name_parameter.is_none() && !self.brings_responses;
        self.routing == Routing::FanOut || self.kind == CONNECT && is_plain
    }
}

const fn client(name: &'static str, era: Era, kind: MethodKind) -> Method {
    Method::new(name, Sender::Client, era, kind)
}

const fn server(name: &'static str, era: Era, kind: MethodKind) -> Method {
    Method::new(name, Sender::Server, era, kind)
}

/// A request of a client whose result is a list, in the member `member`, of entries that `id` identifies.
const fn lister(
    name: &'static str,
    era: Era,
    listing: Listing,
    (member, id, entries): (&'static str, &'static str, EntryKind),
) -> Method {
    let identifier = match entries {
        EntryKind::Tool | EntryKind::Prompt => IdentifierKind::ByName,
        EntryKind::Resource | EntryKind::Template => IdentifierKind::ByUri,
    };
    let spec = ListSpec {
        listing,
        member,
        id,
        identifier,
        entries,
    };
    let kind = MethodKind::Operation(OperationType::List(listing));
    Method {
        list: Some(spec),
        ..client(name, era, kind).fan_out()
    }
}

/// A request of a client about the resource `uri`.
const fn on_resource(name: &'static str, era: Era, operation: ResourceOperation) -> Method {
    let kind = MethodKind::Operation(OperationType::OnResource(operation));
    client(name, era, kind).named("uri", IdentifierKind::ByUri)
}

/// A request of a server about the client's side.
const fn on_client(name: &'static str, era: Era, operation: ClientOperation) -> Method {
    server(
        name,
        era,
        MethodKind::Operation(OperationType::OnClient(operation)),
    )
}

/// Maintains the connection and reaches for nothing.
const CONNECT: MethodKind = MethodKind::Operation(OperationType::Connect);

/// Calls a tool; from a server a reverse call.
const TOOL_CALL: MethodKind = MethodKind::Operation(OperationType::CallTool);

/// Informs, and nothing is decided.
const EXEMPT: MethodKind = MethodKind::Exempt;

/// The notifications of a changed list that a client may subscribe to, each with the operation that reads that list.
pub const LIST_CHANGES: [(&str, Listing); 3] = [
    ("toolsListChanged", Listing::Tools),
    ("promptsListChanged", Listing::Prompts),
    ("resourcesListChanged", Listing::Resources),
];

const CLIENT_TASKS: MethodKind =
    MethodKind::Unsupported("a server's look at the tasks of a client is not decided");

/// Parameters and results whose spelling decides what a message asks for. A parameter of a new method goes here, too.
pub(in crate::adapters) const DECISIVE_PARAMS: [&str; 30] = [
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
    "task",
    "taskId",
    "tools",
    "toolsListChanged",
    "type",
    "uri",
    "url",
];

/// Every request of both revisions.
pub const REQUESTS: [Method; 31] = [
    client("initialize", Era::Sessions, CONNECT)
        .fan_out()
        .instructing()
        .coaz(&[ObjectKind::Server]),
    client("server/discover", Era::Stateless, CONNECT)
        .fan_out()
        .instructing(),
    client("ping", Era::Sessions, CONNECT).fan_out(),
    client("logging/setLevel", Era::Sessions, CONNECT)
        .fan_out()
        .coaz(&[ObjectKind::Server]),
    lister(
        "tools/list",
        Era::Both,
        Listing::Tools,
        ("tools", "name", EntryKind::Tool),
    )
    .coaz(&[ObjectKind::Server]),
    client(CALL_TOOL, Era::Both, TOOL_CALL)
        .single()
        .named("name", IdentifierKind::ByName)
        .coaz(&[ObjectKind::Tool]),
    lister(
        "prompts/list",
        Era::Both,
        Listing::Prompts,
        ("prompts", "name", EntryKind::Prompt),
    )
    .coaz(&[ObjectKind::Server]),
    client(
        "prompts/get",
        Era::Both,
        MethodKind::Operation(OperationType::GetPrompt),
    )
    .single()
    .named("name", IdentifierKind::ByName)
    .coaz(&[ObjectKind::Prompt]),
    lister(
        "resources/list",
        Era::Both,
        Listing::Resources,
        ("resources", "uri", EntryKind::Resource),
    )
    .coaz(&[ObjectKind::Server]),
    lister(
        "resources/templates/list",
        Era::Both,
        Listing::Resources,
        ("resourceTemplates", "uriTemplate", EntryKind::Template),
    ),
    on_resource("resources/read", Era::Both, ResourceOperation::Read)
        .single()
        .coaz(&[ObjectKind::Resource]),
    on_resource(
        "resources/subscribe",
        Era::Sessions,
        ResourceOperation::Subscribe,
    )
    .coaz(&[ObjectKind::Resource]),
    client("resources/unsubscribe", Era::Sessions, CONNECT)
        .named("uri", IdentifierKind::ByUri)
        .coaz(&[ObjectKind::Resource]),
    client("subscriptions/listen", Era::Stateless, MethodKind::Listen),
    client("completion/complete", Era::Both, MethodKind::Complete)
        .coaz(&[ObjectKind::Prompt, ObjectKind::Resource]),
    // A task belongs to a call that was decided when it was created; its server ties it to whoever created it.
    client("tasks/get", Era::Both, CONNECT)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/result", Era::Sessions, CONNECT)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/list", Era::Sessions, CONNECT).coaz(&[ObjectKind::Server]),
    client("tasks/cancel", Era::Both, CONNECT)
        .named("taskId", IdentifierKind::ByTaskId)
        .coaz(&[ObjectKind::Task]),
    client("tasks/update", Era::Stateless, CONNECT)
        .named("taskId", IdentifierKind::ByTaskId)
        .bringing_responses(),
    server("ping", Era::Sessions, EXEMPT),
    server(
        "sampling/createMessage",
        Era::Both,
        MethodKind::Operation(OperationType::Sample),
    ),
    server("elicitation/create", Era::Both, MethodKind::Elicit),
    on_client("roots/list", Era::Both, ClientOperation::ListRoots),
    // No revision has it, but servers and their user interfaces do call tools of the other side.
    server(CALL_TOOL, Era::Both, TOOL_CALL),
    server("tasks/get", Era::Sessions, CLIENT_TASKS),
    server("tasks/result", Era::Sessions, CLIENT_TASKS),
    server("tasks/list", Era::Sessions, CLIENT_TASKS),
    server("tasks/cancel", Era::Sessions, CLIENT_TASKS),
    server("tasks/update", Era::Stateless, CLIENT_TASKS),
    server(
        "server/discover",
        Era::Stateless,
        MethodKind::Unsupported("a server does not ask a client what it offers"),
    ),
];

/// Every notification of both revisions.
pub const NOTIFICATIONS: [Method; 18] = [
    client("notifications/initialized", Era::Sessions, CONNECT),
    client("notifications/cancelled", Era::Both, CONNECT),
    client("notifications/progress", Era::Both, CONNECT),
    client("notifications/roots/list_changed", Era::Sessions, CONNECT),
    client("notifications/tasks/status", Era::Sessions, CONNECT),
    server("notifications/cancelled", Era::Both, EXEMPT),
    server("notifications/progress", Era::Both, EXEMPT),
    server("notifications/message", Era::Both, EXEMPT),
    server("notifications/tools/list_changed", Era::Both, EXEMPT),
    server("notifications/prompts/list_changed", Era::Both, EXEMPT),
    server("notifications/resources/list_changed", Era::Both, EXEMPT),
    server("notifications/resources/updated", Era::Both, EXEMPT),
    server(
        "notifications/subscriptions/acknowledged",
        Era::Stateless,
        EXEMPT,
    ),
    // The state of a task with its result, as `tasks/get` returns it.
    server("notifications/tasks", Era::Stateless, CONNECT),
    server("notifications/tasks/status", Era::Sessions, EXEMPT),
    server("notifications/elicitation/complete", Era::Both, EXEMPT),
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

/// Whether a client's request of this name is about one task.
pub(in crate::adapters) fn is_about_task(name: &str) -> bool {
    let parameter = request(Sender::Client, name).and_then(|method| method.name_parameter);
    parameter.is_some_and(|it| it.identifier == IdentifierKind::ByTaskId)
}

/// Returns the name of a method that maintains the connection, if it is one.
pub fn connect_method(name: &str) -> Option<&'static str> {
    let rows = REQUESTS.iter().chain(&NOTIFICATIONS);
    let methods = rows.filter(|row| row.kind == CONNECT).map(|row| row.name);
    methods
        .chain(STREAM)
        .chain([REPLY, RESUME, UNAWAITED])
        .find(|known| *known == name)
}

/// The requests of clients whose result is a list, by their names.
pub(in crate::adapters) fn lists() -> impl Iterator<Item = (&'static str, ListSpec)> {
    REQUESTS
        .iter()
        .filter_map(|method| Some((method.name, method.list?)))
}

fn find(rows: &'static [Method], sender: Sender, name: &str) -> Option<&'static Method> {
    rows.iter()
        .find(|row| row.sender == sender && row.name == name)
}

#[cfg(test)]
#[path = "methods_tests.rs"]
mod tests;
