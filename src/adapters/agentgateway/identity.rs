//! Whose conversation it is. The gateway's configuration makes metadata of each request; nothing else counts.

use prost_types::Struct;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::agentgateway::request::{self, AgentgatewayRejection};
use crate::adapters::input::field_error::FieldProblem;
use crate::adapters::input::ids;
use crate::adapters::input::json::{self, KeyPolicy};
use crate::adapters::subject::conversation::{self, Conversation};
use crate::adapters::subject::token_claims::{self, ClaimRules, ResolvedSubject};
use crate::adapters::transport::address;
use crate::authn::caller::Caller;
use crate::config::agentgateway::{AgentgatewayConfig, AgentgatewayIdentitySource};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Environment, TraceContext, Workflow};

/// Levels around the claims of a token: the metadata.
const LEVELS_AROUND: u32 = 1;

/// What conversations are read with.
#[derive(Clone, Copy)]
pub(super) struct MetadataEvidence<'a> {
    pub(super) caller: &'a Caller,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a AgentgatewayConfig,
    /// The trace that the gateway's question belongs to.
    pub(super) trace: &'a TraceContext,
}

impl MetadataEvidence<'_> {
    /// Who talks to a server, or to several. A server is believed to be itself if it is the only one and the
    /// configuration says that the gateway knows it.
    pub(super) fn conversation(
        &self,
        metadata: Option<Struct>,
        server: Option<&SmolStr>,
    ) -> Result<Conversation, AgentgatewayRejection> {
        let metadata = self.read(metadata.unwrap_or_default())?;
        let settings = self.settings;
        let known = self.known(&metadata)?;
        let known = known.ok_or(AgentgatewayRejection::denied(request::NOBODY))?;
        let delegation_ids = metadata.names(settings.delegations_key.as_deref())?;
        let ResolvedSubject {
            subject,
            delegation,
            until,
        } = known.with_delegations(delegation_ids);
        let source = metadata.text(&settings.source_key);
        let source = source.map_err(AgentgatewayRejection::invalid)?;
        let source_address = source
            .filter(|text| !text.is_empty())
            .map(|text| {
                address::read(text).map_err(|_| {
                    AgentgatewayRejection::invalid(
                        "the client's address is not an IP address: see `source_key`",
                    )
                })
            })
            .transpose()?;
        let is_verified = server.is_some_and(|server| {
            let mut verified = settings.verified_servers.iter();
            verified.any(|verified| verified == server)
        });
        Ok(Conversation {
            subject,
            delegation,
            workflow: Workflow {
                session_id: metadata.session(&settings.session_key)?,
                is_session_vouched: settings.session_vouched,
                task_id: metadata.name(settings.task_key.as_deref())?,
                ..Workflow::default()
            },
            approval_ids: metadata.names(settings.approvals_key.as_deref())?,
            environment: Environment { source_address },
            trace: metadata.trace(self.trace),
            until,
            peer: conversation::peer(is_verified),
        })
    }

    fn read(&self, metadata: Struct) -> Result<Metadata<'_>, AgentgatewayRejection> {
        const FIELD: &str = "metadata_context";
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let members = json::from_struct(metadata, depth, KeyPolicy::Distinct, FIELD)
            .map_err(|invalid| AgentgatewayRejection::invalid(&invalid.to_string()))?;
        Ok(Metadata {
            members,
            limits: self.limits,
        })
    }

    /// Whom the first configured source that is there names; an error if it cannot be used.
    fn known(
        &self,
        metadata: &Metadata<'_>,
    ) -> Result<Option<ResolvedSubject>, AgentgatewayRejection> {
        let sources = self.settings.identity.iter();
        for source in sources.filter(|it| it.counts_for(&self.caller.id)) {
            let known = match source {
                AgentgatewayIdentitySource::Jwt {
                    key,
                    agent_claim,
                    claims,
                    ..
                } => self.by_token(metadata, key, agent_claim.as_deref(), *claims),
                AgentgatewayIdentitySource::Keys {
                    agent,
                    person,
                    verified,
                    ..
                } => self.by_keys(metadata, agent, person.as_deref(), *verified),
            };
            if let Some(known) = known.map_err(AgentgatewayRejection::denied)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    fn by_token(
        &self,
        metadata: &Metadata<'_>,
        key: &str,
        agent_claim: Option<&str>,
        passes_claims: bool,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        let claims = match metadata.members.get(key) {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::Object(claims)) => claims.clone(),
            Some(_) => return Err("the token's payload is no object"),
        };
        let reading = ClaimRules {
            agent_claim,
            passes_claims,
            limits: self.limits,
        };
        token_claims::from_claims(claims, reading).map(Some)
    }

    fn by_keys(
        &self,
        metadata: &Metadata<'_>,
        agent: &str,
        person: Option<&str>,
        verified: bool,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        let named = |key| {
            let text = metadata.text(key)?;
            text.map(|text| token_claims::name(text, self.limits))
                .transpose()
        };
        let Some(agent) = named(agent)? else {
            return Ok(None);
        };
        let person = person.map_or(Ok(None), named)?;
        Ok(Some(ResolvedSubject::named(
            agent, person, "metadata", verified,
        )))
    }
}

/// What the gateway's configuration makes of a request. An expression that cannot be evaluated leaves its key
/// out; null is as good as absent.
struct Metadata<'a> {
    members: Map<String, Json>,
    limits: &'a Limits,
}

impl Metadata<'_> {
    fn text(&self, key: &str) -> Result<Option<&str>, &'static str> {
        match self.members.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err("the metadata names something by what is no text"),
        }
    }

    fn session(&self, key: &str) -> Result<Option<SmolStr>, AgentgatewayRejection> {
        let Some(text) = self.text(key).map_err(AgentgatewayRejection::invalid)? else {
            return Ok(None);
        };
        let session = ids::session(text, self.limits, key);
        session.map_err(|invalid| {
            AgentgatewayRejection::invalid(&format!("the metadata's `{key}` {}", invalid.problem()))
        })
    }

    fn name(&self, key: Option<&str>) -> Result<Option<SmolStr>, AgentgatewayRejection> {
        let Some(key) = key else {
            return Ok(None);
        };
        let text = self.text(key).map_err(AgentgatewayRejection::invalid)?;
        let name = text
            .filter(|text| !text.is_empty())
            .map(|text| self.checked(key, text));
        name.transpose()
    }

    /// Names separated by commas.
    fn names(&self, key: Option<&str>) -> Result<Vec<SmolStr>, AgentgatewayRejection> {
        let Some(key) = key else {
            return Ok(Vec::new());
        };
        let Some(text) = self.text(key).map_err(AgentgatewayRejection::invalid)? else {
            return Ok(Vec::new());
        };
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let (items, limit) = (names.len(), self.limits.list_items);
        if items > limit as usize {
            let problem = FieldProblem::TooMany { items, limit };
            let said = format!("the metadata's `{key}` {problem} (`limits.list_items`)");
            return Err(AgentgatewayRejection::invalid(&said));
        }
        let names = names.into_iter();
        names.map(|name| self.checked(key, name)).collect()
    }

    fn checked(&self, key: &str, text: &str) -> Result<SmolStr, AgentgatewayRejection> {
        ids::required(text, self.limits.id_bytes, key).map_err(|invalid| {
            let said = ids::said(invalid.problem());
            AgentgatewayRejection::invalid(&format!("the metadata's `{key}` {said}"))
        })
    }

    /// The gateway's own trace, or else the client's. Never evidence: one that cannot be used is left out.
    fn trace(&self, transport: &TraceContext) -> TraceContext {
        if transport.traceparent.is_some() {
            return transport.clone();
        }
        let of_client = |key| {
            let text = self.text(key).ok().flatten()?;
            (text.len() <= self.limits.text_bytes as usize).then(|| text.to_owned())
        };
        TraceContext {
            traceparent: of_client("traceparent"),
            tracestate: of_client("tracestate"),
        }
    }
}
