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
pub enum Meaning {
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
    Upkeep,
    /// Tells and asks nothing.
    Harmless,
    /// Not decided, for this reason.
    Refused(&'static str),
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
    pub meaning: Meaning,
}

const fn client(name: &'static str, era: Era, meaning: Meaning) -> Method {
    Method {
        name,
        sender: Sender::Client,
        era,
        meaning,
    }
}

const fn server(name: &'static str, era: Era, meaning: Meaning) -> Method {
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
    client("initialize", Era::Sessions, Meaning::Upkeep),
    client("server/discover", Era::Stateless, Meaning::Upkeep),
    client("ping", Era::Sessions, Meaning::Upkeep),
    client("logging/setLevel", Era::Sessions, Meaning::Upkeep),
    client("tools/list", Era::Both, Meaning::ListTools),
    client("tools/call", Era::Both, Meaning::CallTool),
    client("prompts/list", Era::Both, Meaning::ListPrompts),
    client("prompts/get", Era::Both, Meaning::GetPrompt),
    client("resources/list", Era::Both, Meaning::ListResources),
    client(
        "resources/templates/list",
        Era::Both,
        Meaning::ListResources,
    ),
    client("resources/read", Era::Both, Meaning::ReadResource),
    client("resources/subscribe", Era::Sessions, Meaning::Subscribe),
    client("resources/unsubscribe", Era::Sessions, Meaning::Upkeep),
    client("subscriptions/listen", Era::Stateless, Meaning::Listen),
    client("completion/complete", Era::Both, Meaning::Complete),
    // A task belongs to a call that was decided when it was made; its server ties it to who made it.
    client("tasks/get", Era::Both, Meaning::Upkeep),
    client("tasks/result", Era::Sessions, Meaning::Upkeep),
    client("tasks/list", Era::Sessions, Meaning::Upkeep),
    client("tasks/cancel", Era::Both, Meaning::Upkeep),
    client("tasks/update", Era::Stateless, Meaning::Upkeep),
    server("ping", Era::Sessions, Meaning::Harmless),
    server("sampling/createMessage", Era::Both, Meaning::Sample),
    server("elicitation/create", Era::Both, Meaning::Elicit),
    server("roots/list", Era::Both, Meaning::ListRoots),
    // In no revision, but servers and their user interfaces do ask for tools of the other side.
    server("tools/call", Era::Both, Meaning::CallTool),
    server(
        "tasks/get",
        Era::Sessions,
        Meaning::Refused(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/result",
        Era::Sessions,
        Meaning::Refused(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/list",
        Era::Sessions,
        Meaning::Refused(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/cancel",
        Era::Sessions,
        Meaning::Refused(TASKS_OF_CLIENTS),
    ),
    server(
        "tasks/update",
        Era::Stateless,
        Meaning::Refused(TASKS_OF_CLIENTS),
    ),
    server(
        "server/discover",
        Era::Stateless,
        Meaning::Refused("a server does not ask a client what it offers"),
    ),
];

/// Every notification of both eras.
pub const NOTIFICATIONS: [Method; 18] = [
    client("notifications/initialized", Era::Sessions, Meaning::Upkeep),
    client("notifications/cancelled", Era::Both, Meaning::Upkeep),
    client("notifications/progress", Era::Both, Meaning::Upkeep),
    client(
        "notifications/roots/list_changed",
        Era::Sessions,
        Meaning::Upkeep,
    ),
    client("notifications/tasks/status", Era::Sessions, Meaning::Upkeep),
    server("notifications/cancelled", Era::Both, Meaning::Harmless),
    server("notifications/progress", Era::Both, Meaning::Harmless),
    server("notifications/message", Era::Both, Meaning::Harmless),
    server(
        "notifications/tools/list_changed",
        Era::Both,
        Meaning::Harmless,
    ),
    server(
        "notifications/prompts/list_changed",
        Era::Both,
        Meaning::Harmless,
    ),
    server(
        "notifications/resources/list_changed",
        Era::Both,
        Meaning::Harmless,
    ),
    server(
        "notifications/resources/updated",
        Era::Both,
        Meaning::Harmless,
    ),
    server(
        "notifications/subscriptions/acknowledged",
        Era::Stateless,
        Meaning::Harmless,
    ),
    server("notifications/tasks", Era::Stateless, Meaning::Harmless),
    server(
        "notifications/tasks/status",
        Era::Sessions,
        Meaning::Harmless,
    ),
    server(
        "notifications/elicitation/complete",
        Era::Both,
        Meaning::Harmless,
    ),
    server(
        "notifications/roots/list_changed",
        Era::Sessions,
        Meaning::Refused("only a client has folders"),
    ),
    server(
        "notifications/initialized",
        Era::Sessions,
        Meaning::Refused("only a client begins a session"),
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
        .filter(|row| row.meaning == Meaning::Upkeep)
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
