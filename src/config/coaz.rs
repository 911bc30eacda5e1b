//! `[[authzen.mcp]]`: AuthZEN requests that are MCP calls, and how to read them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How to read requests of a COAZ-MCP enforcement point.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoazConfig {
    /// The callers it applies to; empty means all. The first applicable entry counts.
    pub callers: Vec<String>,
    /// The registered name of the server of all requests.
    pub server: Option<String>,
    /// Where else a request names the server. One of the two must be set.
    pub server_from: Option<ServerFrom>,
    /// Registered servers by the audience of the tokens that are for them (`aud`).
    pub audiences: BTreeMap<String, String>,
    /// Accepted types of a subject, which is always a user.
    pub subject_types: Vec<String>,
    /// The agent of requests without `context.agent`.
    pub agent: Option<String>,
    /// MCP methods by callers' own names for them, e.g. `"tool_call.execute"` for `tools/call`.
    pub actions: BTreeMap<String, String>,
    /// Types of resources by other names, e.g. `"mcp_tool"` for `tool`.
    pub resources: BTreeMap<String, String>,
    /// Whether a call whose arguments are not told is denied, unless its tool has none.
    pub require_arguments: bool,
    /// Whether a call without required arguments is about a list entry.
    pub lists: bool,
    /// The member of `context` with the session's name; none by default.
    pub session_key: Option<String>,
    /// The member with the task's name; none by default.
    pub task_key: Option<String>,
    /// The member with the names of approvals; none by default.
    pub approvals_key: Option<String>,
    /// The member with the names of stored delegations; none by default.
    pub delegations_key: Option<String>,
}

/// Where a request names the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerFrom {
    /// The id of the resource: `server/tool`, `server/prompt`, or the server's name alone.
    Id,
    /// The audience of the token, by `audiences`.
    Aud,
    /// `resource.properties.server`.
    Properties,
}

impl Default for CoazConfig {
    fn default() -> Self {
        Self {
            callers: Vec::new(),
            server: None,
            server_from: None,
            audiences: BTreeMap::new(),
            subject_types: vec!["identity".to_owned()],
            agent: None,
            actions: BTreeMap::new(),
            resources: BTreeMap::new(),
            require_arguments: true,
            lists: false,
            session_key: None,
            task_key: None,
            approvals_key: None,
            delegations_key: None,
        }
    }
}

impl CoazConfig {
    /// Whether it applies to requests of this caller.
    pub fn counts_for(&self, caller: &str) -> bool {
        self.callers.is_empty() || self.callers.iter().any(|it| it == caller)
    }

    /// Every configured name, with its setting.
    pub fn names(&self) -> Vec<(String, &str)> {
        let mut names = Vec::new();
        for (field, name) in [
            ("server", &self.server),
            ("agent", &self.agent),
            ("session_key", &self.session_key),
            ("task_key", &self.task_key),
            ("approvals_key", &self.approvals_key),
            ("delegations_key", &self.delegations_key),
        ] {
            names.extend(name.as_deref().map(|it| (field.to_owned(), it)));
        }
        for (index, name) in self.subject_types.iter().enumerate() {
            names.push((format!("subject_types[{index}]"), name));
        }
        for (field, map) in [
            ("audiences", &self.audiences),
            ("actions", &self.actions),
            ("resources", &self.resources),
        ] {
            let texts = map.iter().flat_map(|(name, meant)| [name, meant]);
            names.extend(texts.map(|it| (field.to_owned(), it.as_str())));
        }
        names
    }
}
