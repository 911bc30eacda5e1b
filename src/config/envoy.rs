//! `[envoy]`: how to read requests of Envoy's external authorization and external processing. Reloaded.

use serde::Deserialize;

use crate::config::http_routes::HttpRouteConfig;

/// How requests of Envoy become calls. Without identity sources and routes every request is denied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvoyConfig {
    /// Identity sources; the first one present in a request counts.
    pub identity: Vec<EnvoyIdentitySource>,
    /// The server of each request. A route's context extension `callgate.server` takes precedence.
    pub servers: Vec<ServerRoute>,
    /// Plain HTTP requests that are calls of tools.
    pub routes: Vec<HttpRouteConfig>,
    /// The servers that Envoy authenticates (TLS): requests that they initiate are attributed to them.
    pub verified_servers: Vec<String>,
    /// Whether paths and bodies that Envoy passes as text are the client's bytes even where they have a `!` or U+FFFD, by
    /// which bytes that are not UTF-8 are replaced.
    pub trust_text: bool,
    /// Whether the metadata of Envoy's MCP filter may replace the body.
    pub body: BodyRequirement,
    /// Whether a call whose arguments that metadata does not tell is denied, unless its tool has none.
    pub require_arguments: bool,
    /// The header with the session's name.
    pub session_header: String,
    /// Whether Envoy derives that name from something verified and removes what clients send. An unvouched name adds
    /// the labels of its session and never removes any.
    pub session_vouched: bool,
    /// The header with the task's name; none by default.
    pub task_header: Option<String>,
    /// The header with the names of approvals, separated by commas; none by default.
    pub approval_header: Option<String>,
    /// The header with the names of stored delegations, separated by commas; none by default.
    pub delegation_header: Option<String>,
    /// Whether clients' replies to requests of servers are allowed.
    pub pass_replies: bool,
    /// The HTTP status of a denied request: 200, so that clients see its JSON-RPC error, or 403.
    pub denied_status: u16,
}

/// Whether a request can be decided without its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyRequirement {
    /// The body is required; the MCP filter's metadata must agree with it.
    #[default]
    Required,
    /// Without a body the MCP filter's metadata counts. The filter stops parsing early, so it misses a later duplicate
    /// key, and omits arguments unless configured.
    Optional,
}

/// An identity source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "from", rename_all = "lowercase")]
pub enum EnvoyIdentitySource {
    /// The SPIFFE id of the client certificate that Envoy has verified.
    Spiffe {
        /// Prefix of the agent's name, e.g. `spiffe://example.org/agent/`.
        prefix: String,
        /// The callers it applies to; empty means all.
        #[serde(default)]
        callers: Vec<String>,
    },
    /// The payload of a token that Envoy's JWT filter has verified. `sub` is the person, `act` who acts
    /// for it (RFC 8693).
    Jwt {
        /// The key under which the filter keeps the payload (`payload_in_metadata`).
        payload: String,
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
    /// Headers, which Envoy must remove from clients' requests.
    Header {
        /// The header with the name of the agent.
        agent: String,
        /// The header with the name of the user for whom it acts.
        #[serde(default)]
        person: Option<String>,
        /// Whether the writer of the headers has verified them cryptographically.
        #[serde(default)]
        verified: bool,
        /// The callers it applies to; empty means all.
        #[serde(default)]
        callers: Vec<String>,
    },
}

/// Requests routed to one server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRoute {
    /// The `Host`, with its port unless that is a default one; absent means every host.
    #[serde(default)]
    pub host: Option<String>,
    /// The whole path without the query.
    pub path: String,
    /// The name under which the server is registered.
    pub server: String,
}

impl Default for EnvoyConfig {
    fn default() -> Self {
        Self {
            identity: Vec::new(),
            servers: Vec::new(),
            routes: Vec::new(),
            verified_servers: Vec::new(),
            trust_text: false,
            body: BodyRequirement::Required,
            require_arguments: true,
            session_header: "mcp-session-id".to_owned(),
            session_vouched: false,
            task_header: None,
            approval_header: None,
            delegation_header: None,
            pass_replies: false,
            denied_status: 200,
        }
    }
}

impl EnvoyIdentitySource {
    /// Whether it applies to requests of this caller.
    pub fn counts_for(&self, caller: &str) -> bool {
        let callers = self.callers();
        callers.is_empty() || callers.iter().any(|it| it == caller)
    }

    /// The callers it applies to; empty means all.
    pub fn callers(&self) -> &[String] {
        match self {
            Self::Spiffe { callers, .. }
            | Self::Jwt { callers, .. }
            | Self::Header { callers, .. } => callers,
        }
    }
}

impl EnvoyConfig {
    /// Every configured header, with the path of its setting.
    pub fn headers(&self) -> Vec<(String, &str)> {
        let mut headers = vec![("envoy.session_header".to_owned(), &*self.session_header)];
        for (name, header) in [
            ("task_header", &self.task_header),
            ("approval_header", &self.approval_header),
            ("delegation_header", &self.delegation_header),
        ] {
            headers.extend(
                header
                    .iter()
                    .map(|it| (format!("envoy.{name}"), it.as_str())),
            );
        }
        for (index, source) in self.identity.iter().enumerate() {
            if let EnvoyIdentitySource::Header { agent, person, .. } = source {
                let field = format!("envoy.identity[{index}]");
                headers.push((format!("{field}.agent"), agent));
                headers.extend(
                    person
                        .iter()
                        .map(|it| (format!("{field}.person"), it.as_str())),
                );
            }
        }
        headers
    }
}
