//! `[ext_mcp]`: how to read requests of agentgateway's `ExtMcp`. Reloaded.

use serde::Deserialize;

/// How the calls that agentgateway asks about become calls here. Everything about who asks comes out of the
/// metadata that its configuration makes of a request (`metadata`, expressions in CEL), because an answer of a
/// server comes with nothing else. By default nobody is known, so everything is denied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentgatewayConfig {
    /// Where identities come from, the first that a request has counts.
    pub identity: Vec<AgentgatewayIdentitySource>,
    /// The key of the metadata with the session's name.
    pub session_key: String,
    /// Whether no client can choose that name: the gateway makes it of something that was verified. A name that is not
    /// vouched for adds what its session has read, and sheds nothing.
    pub session_vouched: bool,
    /// The key with the task's name; none by default.
    pub task_key: Option<String>,
    /// The key with the names of approvals, separated by commas; none by default.
    pub approvals_key: Option<String>,
    /// The key with the names of stored delegations, separated by commas; none by default.
    pub delegations_key: Option<String>,
    /// The key with the client's address.
    pub source_key: String,
    /// How the gateway names what it merges from several targets.
    pub prefix_mode: PrefixMode,
    /// The servers that the gateway knows by more than their address, e.g. by TLS: what they ask by themselves
    /// is believed to be theirs.
    pub verified_servers: Vec<String>,
    /// Whether completions pass, about which the gateway asks only when the server has answered.
    pub pass_completions: bool,
    /// Whether what answers `resources/subscribe` and `subscriptions/listen` passes. Some versions of the gateway ask
    /// about them only when the server has answered, and then nobody has seen what is subscribed to.
    pub pass_subscriptions: bool,
}

/// agentgateway's `prefixMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefixMode {
    /// Names have their target's in front if there are several targets.
    #[default]
    Conditional,
    /// They always have.
    Always,
    /// They never have; then nobody can tell whose the entries of a merged list are, and it comes out empty.
    Never,
}

/// One source of identities.
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
        /// Whether the claims go to the decision; the caller needs `assert_claims`.
        #[serde(default)]
        claims: bool,
        /// The callers it applies to; empty means all.
        #[serde(default)]
        callers: Vec<String>,
    },
    /// Names, each under a key of its own.
    Keys {
        /// The key with the name of the agent.
        agent: String,
        /// The key with the name of the person for whom it acts.
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
