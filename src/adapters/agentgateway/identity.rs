//! The metadata that agentgateway's configuration makes of a request, as attributes for the resolver of conversations.
//! Responses come with nothing else.

use std::net::IpAddr;

use prost_types::Struct;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::agentgateway::request::AgentgatewayRejection;
use crate::adapters::input::json::{self, BeyondDouble, KeyPolicy};
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::subject::resolver::{Attributes, ConversationKeys, IdentitySource, Resolver};
use crate::adapters::transport::address;
use crate::authn::caller::Caller;
use crate::config::agentgateway::{AgentgatewayConfig, AgentgatewayIdentitySource};
use crate::config::limits::Limits;
use crate::domain::request::trace_context::TraceContext;

/// JSON levels around the claims of a token: the metadata.
const LEVELS_AROUND: u32 = 1;

/// The inputs of resolving a conversation besides the metadata.
#[derive(Clone, Copy)]
pub(super) struct MetadataReader<'a> {
    pub(super) caller: &'a Caller,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a AgentgatewayConfig,
    /// The trace context of the gateway's RPC.
    pub(super) trace: &'a TraceContext,
}

impl MetadataReader<'_> {
    /// Resolves the conversation with one server, or with several. A server's identity is verified if it is the only one
    /// and the configuration says that the gateway verifies it.
    pub(super) fn conversation(
        &self,
        metadata: Option<Struct>,
        server: Option<&SmolStr>,
    ) -> Result<Conversation, AgentgatewayRejection> {
        const FIELD: &str = "metadata_context";
        let settings = self.settings;
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let metadata = metadata.unwrap_or_default();
        let reading = (KeyPolicy::Distinct, BeyondDouble::Kept);
        let members = json::from_struct(metadata, depth, reading, FIELD)
            .map_err(|error| AgentgatewayRejection::invalid(&error.to_string()))?;
        let mut attributes = Metadata {
            members,
            reader: self,
        };
        let mut resolver = Resolver {
            attributes: &mut attributes,
            limits: self.limits,
        };
        let is_server_verified = server.is_some_and(|server| {
            let mut verified = settings.verified_servers.iter();
            verified.any(|verified| verified == server)
        });
        let sources = settings.identity.iter();
        let sources = sources.filter(|it| it.counts_for(&self.caller.id));
        let conversation =
            resolver.conversation(sources.map(source), keys(settings), is_server_verified)?;
        Ok(conversation)
    }
}

/// The metadata of a request. The gateway leaves out a key whose expression cannot be evaluated; null counts as absent.
struct Metadata<'a> {
    members: Map<String, Json>,
    reader: &'a MetadataReader<'a>,
}

impl Attributes for Metadata<'_> {
    const METHOD: &'static str = "metadata";
    const UNUSABLE: &'static str = "the metadata names something by what is no text";

    fn token_claims(&mut self, key: &str) -> Result<Option<Map<String, Json>>, &'static str> {
        match self.members.get_mut(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Object(claims)) => Ok(Some(std::mem::take(claims))),
            Some(_) => Err("the token's payload is no object"),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.members.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(Self::UNUSABLE.to_owned()),
        }
    }

    fn describe(&self, name: &str) -> String {
        format!("the metadata's `{name}`")
    }

    fn source_address(&self) -> Result<Option<IpAddr>, String> {
        let text = self.text(&self.reader.settings.source_key)?;
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        address::read(text)
            .map(Some)
            .map_err(|_| "the client's address is not an IP address: see `source_key`".to_owned())
    }

    /// The gateway's own trace, or else the client's. A trace is not evidence: an unusable one is ignored.
    fn trace(&self) -> TraceContext {
        let own = self.reader.trace;
        if own.parent().is_some() {
            return own.clone();
        }
        let of_client = |key| self.text(key).ok().flatten();
        TraceContext::read(of_client("traceparent"), of_client("tracestate"))
    }
}

fn source(source: &AgentgatewayIdentitySource) -> IdentitySource<'_> {
    match source {
        AgentgatewayIdentitySource::Jwt {
            key,
            agent_claim,
            claims,
            ..
        } => IdentitySource::Token {
            key,
            agent_claim: agent_claim.as_deref(),
            passes_claims: *claims,
        },
        AgentgatewayIdentitySource::Keys {
            agent,
            person,
            verified,
            ..
        } => IdentitySource::Names {
            agent,
            user: person.as_deref(),
            is_verified: *verified,
        },
    }
}

fn keys(settings: &AgentgatewayConfig) -> ConversationKeys<'_> {
    ConversationKeys {
        session: &settings.session_key,
        is_session_vouched: settings.session_vouched,
        task: settings.task_key.as_deref(),
        approvals: settings.approvals_key.as_deref(),
        delegations: settings.delegations_key.as_deref(),
    }
}
