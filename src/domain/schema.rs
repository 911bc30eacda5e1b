//! The names of the `Mcp` schema, made once: parsing a name costs more than a whole lookup.

use std::fmt;
use std::sync::LazyLock;

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

/// The schema of the namespace `Mcp`, part of every bundle.
pub const SCHEMA: &str = include_str!("mcp.cedarschema");

/// The entity types of the namespace.
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

/// The entity types of the namespace.
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

/// What a tool can do, as registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// It only looks.
    Read,
    /// It changes something.
    Write,
    /// It changes what others may do, or nobody has said what it does.
    Admin,
}

impl AccessLevel {
    /// The word in registrations, actions and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The effect of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|access| access.as_str() == name)
    }

    /// The action of a call with this effect.
    pub fn call_action(self) -> EntityUID {
        action(match self {
            Self::Read => "call_read",
            Self::Write => "call_write",
            Self::Admin => "call_admin",
        })
    }

    /// The action of a reverse call with this effect.
    pub fn reverse_call_action(self) -> EntityUID {
        action(match self {
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

/// The entity of this type and name.
pub fn entity(ty: &EntityType, id: impl Into<SmolStr>) -> EntityUID {
    EntityUID::from_components(ty.clone(), Eid::new(id), None)
}

/// `Mcp::Resource::"known-destinations"`: what a directory puts into it is known to send to.
pub fn known_destinations() -> &'static EntityUID {
    static KNOWN: LazyLock<EntityUID> =
        LazyLock::new(|| entity(&TYPES.resource, SmolStr::new_static("known-destinations")));
    &KNOWN
}

/// `Mcp::Action::"<name>"`.
pub fn action(name: &str) -> EntityUID {
    entity(&TYPES.action, name)
}

/// `Mcp::Server::"<server>"`.
pub fn server(server: &SmolStr) -> EntityUID {
    entity(&TYPES.server, server.clone())
}

/// `Mcp::Tool::"<server>/<tool>"`.
pub fn tool(server: &str, tool: &str) -> EntityUID {
    entity(&TYPES.tool, format_smolstr!("{server}/{tool}"))
}

/// `Mcp::Action::"<server>/<tool>"`, the tool's own action if it has typed input.
pub fn tool_action_uid(server: &str, tool: &str) -> EntityUID {
    entity(&TYPES.action, format_smolstr!("{server}/{tool}"))
}

/// `Mcp::Prompt::"<server>/<prompt>"`.
pub fn prompt(server: &str, prompt: &str) -> EntityUID {
    entity(&TYPES.prompt, format_smolstr!("{server}/{prompt}"))
}
