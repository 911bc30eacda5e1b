//! `[authzen]` and `[toolhive]`: the protocols over plain HTTP.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::coaz::McpEntry;

/// OpenID AuthZEN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authzen {
    /// The server's address as its clients know it, e.g. `https://pdp.example.com`, for the discovery
    /// document. Without it there is one for loopback addresses only.
    pub url: Option<String>,
    /// Whether decisions carry a `context` with their id and reasons. Obligations are always there.
    pub context: bool,
    /// Entity types by the names that callers have for them, e.g. `"mcp-server"` for `Mcp::Server`.
    pub types: BTreeMap<String, String>,
    /// Whose questions are about calls of MCP.
    pub mcp: Vec<McpEntry>,
}

/// The decision point of ToolHive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Toolhive {
    /// The entity type of whom the `sub` claim names.
    pub subject_type: String,
    /// The agent that acts through ToolHive, which tells of none (it drops `act`): whom `sub` names is then the one for
    /// whom it acts. Without it `sub` is who acts. `toolhive_agent` of a caller comes first.
    pub agent: Option<String>,
    /// Whether a question about a call that lacks what its tool requires counts as one about an entry of a list, as
    /// ToolHive asks about those. Where ToolHive is told to leave arguments out (`include_args`), every call comes so.
    pub lists: bool,
}

impl Default for Authzen {
    fn default() -> Self {
        Self {
            url: None,
            context: true,
            types: BTreeMap::new(),
            mcp: Vec::new(),
        }
    }
}

impl Default for Toolhive {
    fn default() -> Self {
        Self {
            subject_type: "Mcp::User".to_owned(),
            agent: None,
            lists: true,
        }
    }
}
