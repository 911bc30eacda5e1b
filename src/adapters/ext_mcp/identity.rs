//! Whose conversation it is. The gateway's configuration makes metadata of each request; nothing else counts.

use prost_types::Struct;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::address;
use crate::adapters::ext_mcp::request::{self, Refused};
use crate::adapters::ids;
use crate::adapters::invalid::Problem;
use crate::adapters::json::{self, Names};
use crate::adapters::mcp::conversation::{self, Conversation};
use crate::adapters::token::{self, Known, Reading};
use crate::call::context::{Environment, TraceContext, Workflow};
use crate::config::ext_mcp::{ExtMcp, IdentitySource};
use crate::config::limits::Limits;
use crate::identity::caller::Caller;

/// Levels around the claims of a token: the metadata.
const LEVELS_AROUND: u32 = 1;

/// What conversations are read with.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) caller: &'a Caller,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a ExtMcp,
    /// The trace that the gateway's question belongs to.
    pub(super) trace: &'a TraceContext,
}

impl Evidence<'_> {
    /// Who talks to a server, or to several. A server is believed to be itself if it is the only one and the
    /// configuration says that the gateway knows it.
    pub(super) fn conversation(
        &self,
        metadata: Option<Struct>,
        server: Option<&SmolStr>,
    ) -> Result<Conversation, Refused> {
        let metadata = self.read(metadata.unwrap_or_default())?;
        let settings = self.settings;
        let known = self.known(&metadata)?;
        let known = known.ok_or(Refused::denied(request::NOBODY))?;
        let grant_ids = metadata.names(settings.grants_key.as_deref())?;
        let Known {
            subject,
            delegation,
            until,
        } = known.with_grants(grant_ids);
        let source = metadata.text(&settings.source_key);
        let source = source.map_err(Refused::invalid)?;
        let source_address = source
            .filter(|text| !text.is_empty())
            .map(|text| {
                address::read(text).map_err(|_| {
                    Refused::invalid("the client's address is not an IP address: see `source_key`")
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

    fn read(&self, metadata: Struct) -> Result<Metadata<'_>, Refused> {
        const FIELD: &str = "metadata_context";
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let members = json::from_struct(metadata, depth, Names::Distinct, FIELD)
            .map_err(|invalid| Refused::invalid(&invalid.to_string()))?;
        Ok(Metadata {
            members,
            limits: self.limits,
        })
    }

    /// Whom the first configured source that is there names; an error if it cannot be used.
    fn known(&self, metadata: &Metadata<'_>) -> Result<Option<Known>, Refused> {
        let sources = self.settings.identity.iter();
        for source in sources.filter(|it| it.counts_for(&self.caller.id)) {
            let known = match source {
                IdentitySource::Jwt {
                    key,
                    agent_claim,
                    claims,
                    ..
                } => self.by_token(metadata, key, agent_claim.as_deref(), *claims),
                IdentitySource::Keys {
                    agent,
                    person,
                    verified,
                    ..
                } => self.by_keys(metadata, agent, person.as_deref(), *verified),
            };
            if let Some(known) = known.map_err(Refused::denied)? {
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
    ) -> Result<Option<Known>, &'static str> {
        let claims = match metadata.members.get(key) {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::Object(claims)) => claims.clone(),
            Some(_) => return Err("the token's payload is no object"),
        };
        let reading = Reading {
            agent_claim,
            passes_claims,
            limits: self.limits,
        };
        token::of_claims(claims, reading).map(Some)
    }

    fn by_keys(
        &self,
        metadata: &Metadata<'_>,
        agent: &str,
        person: Option<&str>,
        verified: bool,
    ) -> Result<Option<Known>, &'static str> {
        let named = |key| {
            let text = metadata.text(key)?;
            text.map(|text| token::name(text, self.limits)).transpose()
        };
        let Some(agent) = named(agent)? else {
            return Ok(None);
        };
        let person = person.map_or(Ok(None), named)?;
        Ok(Some(Known::named(agent, person, "metadata", verified)))
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

    fn session(&self, key: &str) -> Result<Option<SmolStr>, Refused> {
        let Some(text) = self.text(key).map_err(Refused::invalid)? else {
            return Ok(None);
        };
        let session = ids::session(text, self.limits, key);
        session.map_err(|invalid| {
            Refused::invalid(&format!("the metadata's `{key}` {}", invalid.problem()))
        })
    }

    fn name(&self, key: Option<&str>) -> Result<Option<SmolStr>, Refused> {
        let Some(key) = key else {
            return Ok(None);
        };
        let text = self.text(key).map_err(Refused::invalid)?;
        let name = text
            .filter(|text| !text.is_empty())
            .map(|text| self.checked(key, text));
        name.transpose()
    }

    /// Names separated by commas.
    fn names(&self, key: Option<&str>) -> Result<Vec<SmolStr>, Refused> {
        let Some(key) = key else {
            return Ok(Vec::new());
        };
        let Some(text) = self.text(key).map_err(Refused::invalid)? else {
            return Ok(Vec::new());
        };
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let (items, limit) = (names.len(), self.limits.list_items);
        if items > limit as usize {
            let problem = Problem::TooMany { items, limit };
            let said = format!("the metadata's `{key}` {problem} (`limits.list_items`)");
            return Err(Refused::invalid(&said));
        }
        let names = names.into_iter();
        names.map(|name| self.checked(key, name)).collect()
    }

    fn checked(&self, key: &str, text: &str) -> Result<SmolStr, Refused> {
        ids::required(text, self.limits.id_bytes, key).map_err(|invalid| {
            let said = ids::said(invalid.problem());
            Refused::invalid(&format!("the metadata's `{key}` {said}"))
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
