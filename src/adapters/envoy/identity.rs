//! Whose call it is: the first configured source that the request has.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::json::{self, Names};
use crate::adapters::token::{self, Known};
use crate::call::context::Subject;
use crate::call::model::{TYPES, entity};
use crate::config::envoy::IdentitySource;
use crate::config::limits::Limits;
use crate::identity::caller::Caller;

/// Where Envoy's JWT filter keeps what it has verified.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// What identities are read from.
pub(super) struct Evidence<'a> {
    pub(super) caller: &'a Caller,
    pub(super) http: &'a HttpRequest,
    pub(super) limits: &'a Limits,
}

/// Whose call it is. `None` if no source that counts for this caller is there; an error if the first that
/// is there cannot be used.
pub(super) fn of(
    evidence: &Evidence<'_>,
    sources: &[IdentitySource],
) -> Result<Option<Known>, &'static str> {
    let caller = &evidence.caller.id;
    for source in sources.iter().filter(|it| it.counts_for(caller)) {
        let known = match source {
            IdentitySource::Spiffe { prefix, .. } => evidence.by_spiffe(prefix)?,
            IdentitySource::Jwt {
                payload,
                agent_claim,
                claims,
                ..
            } => {
                let reading = token::Reading {
                    agent_claim: agent_claim.as_deref(),
                    passes_claims: *claims,
                    limits: evidence.limits,
                };
                evidence.by_token(payload, reading)?
            }
            IdentitySource::Header {
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

impl Evidence<'_> {
    fn by_spiffe(&self, prefix: &str) -> Result<Option<Known>, &'static str> {
        let principal = self.http.principal.as_str();
        if principal.is_empty() {
            return Ok(None);
        }
        let name = principal
            .strip_prefix(prefix)
            .ok_or("the client certificate names nobody that is known here")?;
        let subject = Subject::verified(entity(&TYPES.agent, self.name(name)?), "spiffe");
        Ok(Some(Known {
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
    ) -> Result<Option<Known>, &'static str> {
        const TWICE: &str = "a header with an identity comes twice";
        let Some(name) = self.http.headers.get(agent).map_err(|_| TWICE)? else {
            return Ok(None);
        };
        let name = self.name(name)?;
        let person = person.map_or(Ok(None), |person| self.http.headers.get(person));
        let person = person.map_err(|_| TWICE)?;
        let person = person.map(|person| self.name(person)).transpose()?;
        Ok(Some(Known::named(name, person, "header", verified)))
    }

    fn by_token(
        &self,
        key: &str,
        reading: token::Reading<'_>,
    ) -> Result<Option<Known>, &'static str> {
        let payload = self.payload(key)?;
        payload
            .map(|payload| token::of_claims(payload, reading))
            .transpose()
    }

    fn payload(&self, key: &str) -> Result<Option<Map<String, Json>>, &'static str> {
        let Some(found) = self.http.metadata.get(JWT_NAMESPACE) else {
            return Ok(None);
        };
        let depth = self.limits.json_depth;
        let mut found = json::from_struct(found.clone(), depth, Names::Distinct, "jwt")
            .map_err(|_| "the token holds what cannot be read exactly")?;
        match found.remove(key) {
            None => Ok(None),
            Some(Json::Object(payload)) => Ok(Some(payload)),
            Some(_) => Err("the token's payload is no object"),
        }
    }

    fn name(&self, text: &str) -> Result<SmolStr, &'static str> {
        token::name(text, self.limits)
    }
}
