//! What Envoy tells of a request, as attributes for the resolver of conversations.

use std::net::IpAddr;

use prost_types::Struct;
use serde_json::{Map, Value as Json};

use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::input::json::{self, BeyondDouble, KeyPolicy};
use crate::adapters::subject::resolver::{Attributes, ConversationKeys, IdentitySource};
use crate::config::envoy::{EnvoyConfig, EnvoyIdentitySource};
use crate::config::limits::Limits;
use crate::domain::request::trace_context::TraceContext;

/// The namespace of the dynamic metadata of Envoy's JWT filter.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// The headers of a request, and what Envoy has verified.
pub(super) struct RequestAttributes<'a> {
    http: &'a HttpRequest,
    limits: &'a Limits,
    /// The trace context of Envoy's RPC.
    transport_trace: &'a TraceContext,
    /// What Envoy's JWT filter has verified, until it is read.
    verified: Option<Struct>,
    /// The payloads of tokens in it.
    payloads: Map<String, Json>,
}

impl<'a> RequestAttributes<'a> {
    /// Takes the verified tokens of the request.
    pub(super) fn take(
        http: &'a mut HttpRequest,
        limits: &'a Limits,
        transport_trace: &'a TraceContext,
    ) -> Self {
        let verified = http.metadata.remove(JWT_NAMESPACE);
        Self {
            http,
            limits,
            transport_trace,
            verified,
            payloads: Map::new(),
        }
    }
}

impl Attributes for RequestAttributes<'_> {
    const METHOD: &'static str = "header";
    const UNUSABLE: &'static str = "a header with an identity comes twice";

    fn certificate_uri(&self) -> &str {
        &self.http.principal
    }

    fn token_claims(&mut self, key: &str) -> Result<Option<Map<String, Json>>, &'static str> {
        if let Some(verified) = self.verified.take() {
            let depth = self.limits.json_depth;
            let reading = (KeyPolicy::Distinct, BeyondDouble::Kept);
            self.payloads = json::from_struct(verified, depth, reading, "jwt")
                .map_err(|_| "the token holds what cannot be read exactly")?;
        }
        match self.payloads.remove(key) {
            None => Ok(None),
            Some(Json::Object(claims)) => Ok(Some(claims)),
            Some(_) => Err("the token's payload is no object"),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        self.http.headers.get(name).map_err(|it| it.to_string())
    }

    fn single(&self, name: &str) -> Result<Option<&str>, String> {
        self.http.headers.single(name).map_err(|it| it.to_string())
    }

    fn describe(&self, name: &str) -> String {
        format!("the header `{name}`")
    }

    fn source_address(&self) -> Result<Option<IpAddr>, String> {
        self.http.source.clone().map_err(|it| it.to_string())
    }

    /// The trace of the request that is checked, or else that of Envoy's RPC. A trace is not evidence: an unusable one is
    /// ignored.
    fn trace(&self) -> TraceContext {
        let headers = &self.http.headers;
        let parent = headers.get("traceparent").ok().flatten();
        TraceContext::read(parent, headers.each("tracestate")).or(self.transport_trace)
    }
}

/// A configured source of identities, in the resolver's terms.
pub(super) fn source(source: &EnvoyIdentitySource) -> IdentitySource<'_> {
    match source {
        EnvoyIdentitySource::Spiffe { prefix, .. } => IdentitySource::Certificate { prefix },
        EnvoyIdentitySource::Jwt {
            payload,
            agent_claim,
            claims,
            ..
        } => IdentitySource::Token {
            key: payload,
            agent_claim: agent_claim.as_deref(),
            passes_claims: *claims,
        },
        EnvoyIdentitySource::Header {
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

/// The headers that describe a conversation.
pub(super) fn keys(settings: &EnvoyConfig) -> ConversationKeys<'_> {
    ConversationKeys {
        session: &settings.session_header,
        is_session_vouched: settings.session_vouched,
        task: settings.task_header.as_deref(),
        approvals: settings.approval_header.as_deref(),
        delegations: settings.delegation_header.as_deref(),
    }
}
