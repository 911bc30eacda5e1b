//! The names of the `Mcp` schema, created once: parsing a name costs more than a lookup.

use std::fmt;
use std::sync::LazyLock;

use callgate_engine::cedar::{Eid, EntityType, EntityUID, InternalName};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, SmolStrBuilder};

/// The Cedar schema of the namespace `Mcp`, part of every bundle.
pub const SCHEMA: &str = include_str!("mcp.cedarschema");

/// The entity types of the namespace `Mcp`.
#[derive(Debug)]
pub struct McpTypes {
    /// `Mcp::Action`.
    pub action: EntityType,
    /// `Mcp::Agent`.
    pub agent: EntityType,
    /// `Mcp::Gateway`.
    pub gateway: EntityType,
    /// `Mcp::Group`.
    pub group: EntityType,
    /// `Mcp::Prompt`.
    pub prompt: EntityType,
    /// `Mcp::Resource`.
    pub resource: EntityType,
    /// `Mcp::Server`.
    pub server: EntityType,
    /// `Mcp::Task`.
    pub task: EntityType,
    /// `Mcp::Tool`.
    pub tool: EntityType,
    /// `Mcp::User`.
    pub user: EntityType,
}

/// The entity types of the namespace `Mcp`.
pub static TYPES: LazyLock<McpTypes> = LazyLock::new(|| {
    let named = |name: &str| {
        #[expect(clippy::expect_used, reason = "the names are constants of this file")]
        EntityType::from_normalized_str(&format!("Mcp::{name}")).expect("a valid type name")
    };
    McpTypes {
        action: named("Action"),
        agent: named("Agent"),
        gateway: named("Gateway"),
        group: named("Group"),
        prompt: named("Prompt"),
        resource: named("Resource"),
        server: named("Server"),
        task: named("Task"),
        tool: named("Tool"),
        user: named("User"),
    }
});

impl McpTypes {
    /// All of them.
    pub fn all(&self) -> [&EntityType; 10] {
        [
            &self.action,
            &self.agent,
            &self.gateway,
            &self.group,
            &self.prompt,
            &self.resource,
            &self.server,
            &self.task,
            &self.tool,
            &self.user,
        ]
    }
}

/// The access level of a tool, as registered. Ordered: each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Reads without changing anything.
    Read,
    /// Changes data.
    Write,
    /// Changes permissions or configuration; also the level of unclassified tools.
    Admin,
}

impl AccessLevel {
    /// The name in registrations, actions and telemetry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The access level with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|access| access.as_str() == name)
    }

    /// The action of a tool call at this level.
    pub fn call_action(self) -> EntityUID {
        action_uid(match self {
            Self::Read => "call_read",
            Self::Write => "call_write",
            Self::Admin => "call_admin",
        })
    }

    /// The action of a reverse call at this level.
    pub fn reverse_call_action(self) -> EntityUID {
        action_uid(match self {
            Self::Read => "reverse_call_read",
            Self::Write => "reverse_call_write",
            Self::Admin => "reverse_call_admin",
        })
    }
}

impl fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of a type of the namespace `Mcp` without the namespace, e.g. `Agent`; `None` for any other type.
pub fn mcp_name(ty: &EntityType) -> Option<&str> {
    let name: &InternalName = ty.name().as_ref();
    let mut namespace = name.namespace_components();
    let is_mcp = namespace.next().is_some_and(|it| it.as_ref() == "Mcp");
    (is_mcp && namespace.next().is_none()).then(|| name.basename().as_ref())
}

/// The uid of an entity with this type and id.
pub fn entity_uid(ty: &EntityType, id: impl Into<SmolStr>) -> EntityUID {
    EntityUID::from_components(ty.clone(), Eid::new(id), None)
}

/// `Mcp::Resource::"known-destinations"`: the bundle adds resources to it that data may be sent to.
pub fn known_destinations() -> &'static EntityUID {
    static KNOWN: LazyLock<EntityUID> =
        LazyLock::new(|| entity_uid(&TYPES.resource, SmolStr::new_static("known-destinations")));
    &KNOWN
}

/// `Mcp::Action::"<name>"`.
pub fn action_uid(name: &str) -> EntityUID {
    entity_uid(&TYPES.action, name)
}

/// `Mcp::Server::"<server>"`.
pub fn server_uid(server: &SmolStr) -> EntityUID {
    entity_uid(&TYPES.server, server.clone())
}

/// `Mcp::Resource::"<server>:"`, which contains everything that calls of the server act upon, whatever its own name.
pub fn everything_on(server: &str) -> EntityUID {
    entity_uid(&TYPES.resource, smol_str::format_smolstr!("{server}:"))
}

/// `<server>/<name>`, the id of what a server has.
fn on_server(server: &str, name: &str) -> SmolStr {
    let mut id = SmolStrBuilder::new();
    id.push_str(server);
    id.push('/');
    id.push_str(name);
    id.finish()
}

/// `Mcp::Tool::"<server>/<tool>"`.
pub fn tool_uid(server: &str, tool: &str) -> EntityUID {
    entity_uid(&TYPES.tool, on_server(server, tool))
}

/// `Mcp::Action::"<server>/<tool>"`, the tool's own action, if its input is typed.
pub fn tool_action_uid(server: &str, tool: &str) -> EntityUID {
    entity_uid(&TYPES.action, on_server(server, tool))
}

/// `Mcp::Prompt::"<server>/<prompt>"`.
pub fn prompt_uid(server: &str, prompt: &str) -> EntityUID {
    entity_uid(&TYPES.prompt, on_server(server, prompt))
}
