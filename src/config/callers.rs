//! `[[callers]]`: the enforcement points, their credentials and their rights.

use serde::Deserialize;

pub use crate::authn::rights::RpcSelector;

/// One enforcement point. Any one of its tokens or certificate names authenticates it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerConfig {
    /// Its name: in traces, and as `Mcp::Gateway` in policies.
    pub id: String,
    /// SHA-256 of its bearer tokens, 64 hexadecimal digits each. Two of them let a token be changed
    /// without a gap. `printf %s "$TOKEN" | sha256sum` makes one.
    #[serde(default)]
    pub token_sha256: Vec<String>,
    /// SPIFFE ids of its client certificate, e.g. `spiffe://example.org/gateway`.
    #[serde(default)]
    pub spiffe: Vec<String>,
    /// Other subject alternative names of its client certificate: `dns:<name>` or `uri:<uri>`.
    #[serde(default)]
    pub tls_san: Vec<String>,
    /// Whether each of its calls must name a user; absent means the top-level setting of the same name.
    #[serde(default)]
    pub require_delegation: Option<bool>,
    /// The agent of its ToolHive requests, which name none; absent means `toolhive.agent`.
    #[serde(default)]
    pub toolhive_agent: Option<String>,
    /// Its rights; none by default.
    #[serde(default)]
    pub rights: RightsConfig,
}

/// Rights of a caller: the RPCs it may use, and which of its assertions are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RightsConfig {
    /// The RPCs it may use, by name; `"*"` means every RPC of `Authorization`, `"Control/*"` every RPC of `Control`.
    /// Those of other adapters must be named, e.g. `"authzen.Evaluation"`.
    pub rpcs: Vec<RpcSelector>,
    /// Whether its assertions of subjects' identities are trusted.
    pub assert_identity: bool,
    /// Whether its assertions of delegation chains are trusted.
    pub assert_delegation: bool,
    /// Whether its assertions of claims are trusted.
    pub assert_claims: bool,
    /// Whether its assertions of properties of subjects and resources are trusted, where nothing stored contradicts
    /// them.
    pub assert_properties: bool,
    /// Whether it chooses session ids in `callgate.v1` itself, rather than its clients: then labels of its other
    /// sessions do not count.
    pub vouch_sessions: bool,
    /// Whether users in tokens without an agent act in person. Otherwise they are treated like agents.
    pub people_in_person: bool,
    /// Whether it may see the policies and errors behind a decision.
    pub explain: bool,
}

/// Reads 64 hexadecimal digits.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}
