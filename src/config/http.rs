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
    /// Whose questions are about calls of MCP.
    pub mcp: Vec<CoazConfig>,
}

/// The decision point of ToolHive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolhiveConfig {
    /// The entity type of whom the `sub` claim names.
    pub subject_type: String,
    /// The agent that acts through ToolHive, which tells of none (it drops `act`): whom `sub` names is then the one for
    /// whom it acts. Without it `sub` is who acts. `toolhive_agent` of a caller comes first.
    pub agent: Option<String>,
    /// Whether a question without arguments about a tool that requires some counts as one about an entry of a list, as
    /// ToolHive asks about those. Off unless ToolHive sends arguments (`include_args`): otherwise every call comes so.
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
            lists: false,
        }
    }
}
