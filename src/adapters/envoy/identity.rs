//! Whose call it is: the first configured source that the request has.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::input::json::{self, KeyPolicy};
use crate::adapters::subject::token_claims::{self, ResolvedSubject};
use crate::authn::caller::Caller;
use crate::config::envoy::EnvoyIdentitySource;
use crate::config::limits::Limits;
use crate::domain::request::call_context::Subject;
use crate::domain::schema::{TYPES, entity_uid};

/// Where Envoy's JWT filter keeps what it has verified.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// What identities are read from.
pub(super) struct EnvoyEvidence<'a> {
    pub(super) caller: &'a Caller,
    pub(super) http: &'a HttpRequest,
    pub(super) limits: &'a Limits,
}

/// Whose call it is. `None` if no source that counts for this caller is there; an error if the first that
/// is there cannot be used.
pub(super) fn of(
    evidence: &EnvoyEvidence<'_>,
    sources: &[EnvoyIdentitySource],
) -> Result<Option<ResolvedSubject>, &'static str> {
    let caller = &evidence.caller.id;
    for source in sources.iter().filter(|it| it.counts_for(caller)) {
        let known = match source {
            EnvoyIdentitySource::Spiffe { prefix, .. } => evidence.by_spiffe(prefix)?,
            EnvoyIdentitySource::Jwt {
                payload,
                agent_claim,
                claims,
                ..
            } => {
                let reading = token_claims::ClaimRules {
                    agent_claim: agent_claim.as_deref(),
                    passes_claims: *claims,
                    limits: evidence.limits,
                };
                evidence.by_token(payload, reading)?
            }
            EnvoyIdentitySource::Header {
                agent,
                person,
                verified,
                ..
            } => evidence.by_header(agent, person.as_deref(), *verified)?,
        };
        if known.is_some() {
            return Ok(known);
        }
    }
    Ok(None)
}

impl EnvoyEvidence<'_> {
    fn by_spiffe(&self, prefix: &str) -> Result<Option<ResolvedSubject>, &'static str> {
        let principal = self.http.principal.as_str();
        if principal.is_empty() {
            return Ok(None);
        }
        let name = principal
            .strip_prefix(prefix)
            .ok_or("the client certificate names nobody that is known here")?;
        let subject = Subject::verified(entity_uid(&TYPES.agent, self.name(name)?), "spiffe");
        Ok(Some(ResolvedSubject {
            subject,
            delegation: None,
            until: None,
        }))
    }

    fn by_header(
        &self,
        agent: &str,
        person: Option<&str>,
        verified: bool,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        const TWICE: &str = "a header with an identity comes twice";
        let Some(name) = self.http.headers.get(agent).map_err(|_| TWICE)? else {
            return Ok(None);
        };
        let name = self.name(name)?;
        let person = person.map_or(Ok(None), |person| self.http.headers.get(person));
        let person = person.map_err(|_| TWICE)?;
        let person = person.map(|person| self.name(person)).transpose()?;
        Ok(Some(ResolvedSubject::named(
            name, person, "header", verified,
        )))
    }

    fn by_token(
        &self,
        key: &str,
        reading: token_claims::ClaimRules<'_>,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        let payload = self.payload(key)?;
        payload
            .map(|payload| token_claims::from_claims(payload, reading))
            .transpose()
    }

    fn payload(&self, key: &str) -> Result<Option<Map<String, Json>>, &'static str> {
        let Some(found) = self.http.metadata.get(JWT_NAMESPACE) else {
            return Ok(None);
        };
        let depth = self.limits.json_depth;
        let mut found = json::from_struct(found.clone(), depth, KeyPolicy::Distinct, "jwt")
            .map_err(|_| "the token holds what cannot be read exactly")?;
        match found.remove(key) {
            None => Ok(None),
            Some(Json::Object(payload)) => Ok(Some(payload)),
            Some(_) => Err("the token's payload is no object"),
        }
    }

    fn name(&self, text: &str) -> Result<SmolStr, &'static str> {
        token_claims::name(text, self.limits)
    }
}
