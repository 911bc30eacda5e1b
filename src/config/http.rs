//! `[authzen]` and `[toolhive]`: the adapters over plain HTTP.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::coaz::CoazConfig;

/// OpenID AuthZEN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthzenConfig {
    /// The server's address as its clients know it, e.g. `https://pdp.example.com`, for the discovery
    /// document. Without it there is one for loopback addresses only.
    pub url: Option<String>,
    /// Whether decisions carry a `context` with their id and reasons. Obligations are always there.
    pub context: bool,
    /// Entity types by the names that callers have for them, e.g. `"mcp-server"` for `Mcp::Server`.
    pub types: BTreeMap<String, String>,
    /// Callers whose requests are MCP calls.
    pub mcp: Vec<CoazConfig>,
}

/// The decision point of ToolHive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolhiveConfig {
    /// The entity type of the `sub` claim.
    pub subject_type: String,
    /// The agent that acts through ToolHive, which drops `act`; `sub` is then the user for whom it acts. Without it
    /// `sub` is the actor. `toolhive_agent` of a caller takes precedence.
    pub agent: Option<String>,
    /// Whether a call whose arguments are not told is denied, unless its tool has none. ToolHive leaves empty arguments
    /// out: with `include_args` there, `false` here decides a call without arguments as the call with none that it is.
    pub require_arguments: bool,
    /// Whether a request without arguments for a tool that requires some is about a list entry, as ToolHive filters
    /// lists. Only safe if ToolHive sends arguments (`include_args`): otherwise every call lacks them.
    pub lists: bool,
}

impl Default for AuthzenConfig {
    fn default() -> Self {
        Self {
            url: None,
            context: true,
            types: BTreeMap::new(),
            mcp: Vec::new(),
        }
    }
}

impl Default for ToolhiveConfig {
    fn default() -> Self {
        Self {
            subject_type: "Mcp::User".to_owned(),
            agent: None,
            require_arguments: true,
            lists: false,
        }
    }
}
