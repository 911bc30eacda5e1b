//! `[ext_mcp]`: how to read requests of agentgateway's `ExtMcp`. Reloaded.

use serde::Deserialize;

/// How requests of agentgateway are read. Identities come from the metadata that its configuration computes for a
/// request (`metadata`, in CEL), since responses carry nothing else. Without an identity source every request is
/// denied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentgatewayConfig {
    /// Identity sources; the first one present in a request counts.
    pub identity: Vec<AgentgatewayIdentitySource>,
    /// The key of the metadata with the session's name.
    pub session_key: String,
    /// Whether the gateway derives that name from something verified, so that no client can choose it. An unvouched
    /// name adds the labels of its session and never removes any.
    pub session_vouched: bool,
    /// The key with the task's name; none by default.
    pub task_key: Option<String>,
    /// The key with the names of approvals, separated by commas; none by default.
    pub approvals_key: Option<String>,
    /// The key with the names of stored delegations, separated by commas; none by default.
    pub delegations_key: Option<String>,
    /// The key with the client's address.
    pub source_key: String,
    /// How the gateway prefixes names that it merges from several targets.
    pub prefix_mode: PrefixMode,
    /// The servers that the gateway authenticates, e.g. by TLS: requests that they initiate are attributed to them.
    pub verified_servers: Vec<String>,
    /// Whether completions are allowed, which the gateway checks only after the server has answered.
    pub pass_completions: bool,
    /// Whether responses to `resources/subscribe` and `subscriptions/listen` are allowed. Some versions of the gateway
    /// check only the response, which does not name what is subscribed to.
    pub pass_subscriptions: bool,
}

/// agentgateway's `prefixMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefixMode {
    /// Names have their target's prefix if there are several targets.
    #[default]
    Conditional,
    /// Names always have the prefix.
    Always,
    /// Names never have the prefix. Entries of a merged list cannot be attributed then, so it is empty.
    Never,
}

/// An identity source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "from", rename_all = "lowercase")]
pub enum AgentgatewayIdentitySource {
    /// The claims of a token that the gateway has verified, as one object. `sub` is the person, `act` who acts
    /// for it (RFC 8693).
    Jwt {
        /// The key with the object.
        key: String,
        /// A claim that names the agent where there is no `act`, e.g. `azp`.
        #[serde(default)]
        agent_claim: Option<String>,
        /// Whether to pass the claims on; the caller needs `assert_claims`.
        #[serde(default)]
        claims: bool,
        /// The callers it applies to; empty means all.
        #[serde(default)]
        callers: Vec<String>,
    },
    /// Metadata keys with the names.
    Keys {
        /// The key with the name of the agent.
        agent: String,
        /// The key with the name of the user for whom it acts.
        #[serde(default)]
        person: Option<String>,
        /// Whether the gateway has verified them cryptographically.
        #[serde(default)]
        verified: bool,
        /// The callers it applies to; empty means all.
        #[serde(default)]
        callers: Vec<String>,
    },
}

impl Default for AgentgatewayConfig {
    fn default() -> Self {
        Self {
            identity: Vec::new(),
            session_key: "session".to_owned(),
            session_vouched: false,
            task_key: None,
            approvals_key: None,
            delegations_key: None,
            source_key: "source".to_owned(),
            prefix_mode: PrefixMode::Conditional,
            verified_servers: Vec::new(),
            pass_completions: false,
            pass_subscriptions: false,
        }
    }
}

impl AgentgatewayConfig {
    /// Every configured metadata key, with the path of its setting.
    pub fn keys(&self) -> Vec<(String, &str)> {
        let mut keys = Vec::new();
        for (name, key) in [
            ("session_key", Some(&self.session_key)),
            ("task_key", self.task_key.as_ref()),
            ("approvals_key", self.approvals_key.as_ref()),
            ("delegations_key", self.delegations_key.as_ref()),
            ("source_key", Some(&self.source_key)),
        ] {
            keys.extend(key.map(|key| (format!("ext_mcp.{name}"), key.as_str())));
        }
        for (index, source) in self.identity.iter().enumerate() {
            let field = format!("ext_mcp.identity[{index}]");
            match source {
                AgentgatewayIdentitySource::Jwt { key, .. } => {
                    keys.push((format!("{field}.key"), key))
                }
                AgentgatewayIdentitySource::Keys { agent, person, .. } => {
                    keys.push((format!("{field}.agent"), agent));
                    keys.extend(
                        person
                            .iter()
                            .map(|it| (format!("{field}.person"), it.as_str())),
                    );
                }
            }
        }
        keys
    }
}

impl AgentgatewayIdentitySource {
    /// Whether it applies to requests of this caller.
    pub fn counts_for(&self, caller: &str) -> bool {
        let callers = self.callers();
        callers.is_empty() || callers.iter().any(|it| it == caller)
    }

    /// The callers it applies to; empty means all.
    pub fn callers(&self) -> &[String] {
        match self {
            Self::Jwt { callers, .. } | Self::Keys { callers, .. } => callers,
        }
    }
}
