//! Every method of both eras: who may send it, and what it means.

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The agent's side.
    Client,
    /// The server.
    Server,
}

/// The revisions of the protocol that a method belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: `initialize`, sessions, direct requests of servers.
    Sessions,
    /// 2026-07-28: every request stands for itself.
    Stateless,
    /// Both.
    Both,
}

/// What a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// `tools/call`; from a server a reverse call.
    CallTool,
    /// Looks at the tools.
    ListTools,
    /// Looks at the prompts.
    ListPrompts,
    /// Looks at the resources or their templates.
    ListResources,
    /// Reads `uri`.
    ReadResource,
    /// Gets the prompt `name`.
    GetPrompt,
    /// Completes an argument of what `ref` names.
    Complete,
    /// Wants to hear of changes to `uri`.
    Subscribe,
    /// Wants to hear of everything that `notifications` names.
    Listen,
    /// Wants the client's model to write.
    Sample,
    /// Wants to ask the person something.
    Elicit,
    /// Wants to know the client's folders.
    ListRoots,
    /// Keeps a conversation going and reaches for nothing.
    Connect,
    /// Tells and asks nothing.
    Exempt,
    /// Not decided, for this reason.
    Unsupported(&'static str),
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// Since when, or until when.
    pub era: Era,
    /// What it means.
    pub meaning: MethodKind,
}

const fn client(name: &'static str, era: Era, meaning: MethodKind) -> Method {
    Method {
        name,
        sender: Sender::Client,
        era,
        meaning,
    }
}

const fn server(name: &'static str, era: Era, meaning: MethodKind) -> Method {
    Method {
        name,
        sender: Sender::Server,
        era,
        meaning,
    }
}

const TASKS_OF_CLIENTS: &str = "a server's look at the tasks of a client is not decided";

/// Every request of both eras.
pub const REQUESTS: [Method; 31] = [
    client("initialize", Era::Sessions, MethodKind::Connect),
    client("server/discover", Era::Stateless, MethodKind::Connect),
    client("ping", Era::Sessions, MethodKind::Connect),
    client("logging/setLevel", Era::Sessions, MethodKind::Connect),
    client("tools/list", Era::Both, MethodKind::ListTools),
    client("tools/call", Era::Both, MethodKind::CallTool),
    client("prompts/list", Era::Both, MethodKind::ListPrompts),
    client("prompts/get", Era::Both, MethodKind::GetPrompt),
    client("resources/list", Era::Both, MethodKind::ListResources),
    client(
        "resources/templates/list",
        Era::Both,
        MethodKind::ListResources,
    ),
    client("resources/read", Era::Both, MethodKind::ReadResource),
    client("resources/subscribe", Era::Sessions, MethodKind::Subscribe),
    client("resources/unsubscribe", Era::Sessions, MethodKind::Connect),
    client("subscriptions/listen", Era::Stateless, MethodKind::Listen),
    client("completion/complete", Era::Both, MethodKind::Complete),
    // A task belongs to a call that was decided when it was made; its server ties it to who made it.
    client("tasks/get", Era::Both, MethodKind::Connect),
    client("tasks/result", Era::Sessions, MethodKind::Connect),
    client("tasks/list", Era::Sessions, MethodKind::Connect),
    client("tasks/cancel", Era::Both, MethodKind::Connect),
    client("tasks/update", Era::Stateless, MethodKind::Connect),
    server("ping", Era::Sessions, MethodKind::Exempt),
    server("sampling/createMessage", Era::Both, MethodKind::Sample),
    server("elicitation/create", Era::Both, MethodKind::Elicit),
    server("roots/list", Era::Both, MethodKind::ListRoots),
    // In no revision, but servers and their user interfaces do ask for tools of the other side.
    server("tools/call", Era::Both, MethodKind::CallTool),
    server(
        "tasks/get",
        Era::Sessions,
        MethodKind::Unsupported(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/result",
        Era::Sessions,
        MethodKind::Unsupported(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/list",
        Era::Sessions,
        MethodKind::Unsupported(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/cancel",
        Era::Sessions,
        MethodKind::Unsupported(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/update",
        Era::Stateless,
        MethodKind::Unsupported(TASKS_OF_CLIENTS),
    ),
    server(
        "server/discover",
        Era::Stateless,
        MethodKind::Unsupported("a server does not ask a client what it offers"),
    ),
];

/// Every notification of both eras.
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

/// What stands in for the method of a reply, which has none.
pub const REPLY: &str = "reply";

/// The request of this name from this side. Names are compared byte by byte: a look-alike is another name.
pub fn request(sender: Sender, name: &str) -> Option<&'static Method> {
    of(&REQUESTS, sender, name)
}

/// The notification of this name from this side.
pub fn notification(sender: Sender, name: &str) -> Option<&'static Method> {
    of(&NOTIFICATIONS, sender, name)
}

/// The name of something that keeps a conversation going, if it is one.
pub fn upkeep(name: &str) -> Option<&'static str> {
    let rows = REQUESTS.iter().chain(&NOTIFICATIONS);
    let methods = rows
        .filter(|row| row.meaning == MethodKind::Connect)
        .map(|row| row.name);
    methods
        .chain(STREAM)
        .chain([REPLY])
        .find(|known| *known == name)
}

fn of(rows: &'static [Method], sender: Sender, name: &str) -> Option<&'static Method> {
    rows.iter()
        .find(|row| row.sender == sender && row.name == name)
}
