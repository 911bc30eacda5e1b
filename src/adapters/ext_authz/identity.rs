//! Whose call it is: the first configured source that the request has.

use std::time::{Duration, SystemTime};

use prost_types::Struct;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::ext_authz::wire::Headers;
use crate::adapters::json;
use crate::call::context::{Delegation, Identity, Subject};
use crate::call::model::{TYPES, entity};
use crate::config::ext_authz::IdentitySource;
use crate::config::limits::Limits;
use crate::identity::caller::Caller;
use crate::proto::envoy::auth::AttributeContext;

/// Where Envoy's JWT filter keeps what it has verified.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// Who acts, and for whom.
pub(super) struct Known {
    pub(super) subject: Subject,
    pub(super) delegation: Option<Delegation>,
}

/// What identities are read from.
pub(super) struct Evidence<'a> {
    pub(super) caller: &'a Caller,
    pub(super) attributes: &'a AttributeContext,
    pub(super) headers: &'a Headers,
    pub(super) limits: &'a Limits,
}

/// Whose call it is. `None` if no source that counts for this caller is there; an error if the first that
/// is there cannot be used.
pub(super) fn of(
    evidence: &Evidence<'_>,
    sources: &[IdentitySource],
) -> Result<Option<Known>, &'static str> {
    for source in sources {
        let known = match source {
            IdentitySource::Spiffe { callers, .. }
            | IdentitySource::Jwt { callers, .. }
            | IdentitySource::Header { callers, .. }
                if !callers.is_empty() && !callers.iter().any(|it| **it == *evidence.caller.id) =>
            {
                None
            }
            IdentitySource::Spiffe { prefix, .. } => evidence.by_spiffe(prefix)?,
            IdentitySource::Jwt {
                payload,
                agent_claim,
                claims,
                ..
            } => evidence.by_token(payload, agent_claim.as_deref(), *claims)?,
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
        let principal = self.attributes.source.as_ref().map(|peer| &*peer.principal);
        let Some(principal) = principal.filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let name = principal
            .strip_prefix(prefix)
            .ok_or("the client certificate names nobody that is known here")?;
        let subject = Subject::verified(entity(&TYPES.agent, self.name(name)?), "spiffe");
        Ok(Some(Known {
            subject,
            delegation: None,
        }))
    }

    fn by_header(
        &self,
        agent: &str,
        person: Option<&str>,
        verified: bool,
    ) -> Result<Option<Known>, &'static str> {
        const TWICE: &str = "a header with an identity comes twice";
        let Some(name) = self.headers.get(agent).map_err(|_| TWICE)? else {
            return Ok(None);
        };
        let subject = Subject {
            entity: entity(&TYPES.agent, self.name(name)?),
            identity: Identity {
                method: Some(SmolStr::new_static("header")),
                verified,
            },
            claims: Map::new(),
        };
        let person = person.map_or(Ok(None), |person| self.headers.get(person));
        let delegation = match person.map_err(|_| TWICE)? {
            None => None,
            Some(person) => {
                let root = entity(&TYPES.user, self.name(person)?);
                Some(Delegation {
                    verified,
                    ..Delegation::verified_from(root)
                })
            }
        };
        Ok(Some(Known {
            subject,
            delegation,
        }))
    }

    fn by_token(
        &self,
        key: &str,
        agent_claim: Option<&str>,
        passes_claims: bool,
    ) -> Result<Option<Known>, &'static str> {
        let Some(token) = self.token(key)? else {
            return Ok(None);
        };
        let person = self.claim(&token, "sub")?.ok_or("the token has no `sub`")?;
        // The outermost `act` acts now; those within acted before it, the innermost for the person.
        let mut actors = Vec::new();
        let mut act = token.get("act");
        while let Some(actor) = act {
            let actor = actor.as_object().ok_or("the token's `act` is no object")?;
            let name = self
                .claim(actor, "sub")?
                .ok_or("the token's `act` has no `sub`")?;
            actors.push(entity(&TYPES.agent, name));
            act = actor.get("act");
        }
        actors.reverse();
        if let (true, Some(claim)) = (actors.is_empty(), agent_claim) {
            let agent = self
                .claim(&token, claim)?
                .ok_or("the token names no agent")?;
            actors.push(entity(&TYPES.agent, agent));
        }
        let person = entity(&TYPES.user, person);
        let acting = actors.pop();
        let delegation = acting.is_some().then(|| Delegation {
            actors,
            scopes: scopes(&token),
            expires_at: expiry(&token),
            ..Delegation::verified_from(person.clone())
        });
        let mut subject = Subject::verified(acting.unwrap_or(person), "jwt");
        if passes_claims {
            subject.claims = token;
        }
        Ok(Some(Known {
            subject,
            delegation,
        }))
    }

    fn token(&self, key: &str) -> Result<Option<Map<String, Json>>, &'static str> {
        let Some(found) = metadata(self.attributes, JWT_NAMESPACE) else {
            return Ok(None);
        };
        let depth = self.limits.json_depth;
        let mut found = json::from_struct(found.clone(), depth, "jwt")
            .map_err(|_| "the token holds what cannot be read exactly")?;
        match found.remove(key) {
            None => Ok(None),
            Some(Json::Object(token)) => Ok(Some(token)),
            Some(_) => Err("the token's payload is no object"),
        }
    }

    fn claim(
        &self,
        claims: &Map<String, Json>,
        name: &str,
    ) -> Result<Option<SmolStr>, &'static str> {
        match claims.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => self.name(text).map(Some),
            Some(_) => Err("the token names somebody by something that is no text"),
        }
    }

    fn name(&self, text: &str) -> Result<SmolStr, &'static str> {
        let is_name = !text.is_empty()
            && text.len() <= self.limits.id_bytes as usize
            && !text.bytes().any(|byte| byte.is_ascii_control());
        if !is_name {
            return Err("an identity is empty, too long or holds a control character");
        }
        Ok(SmolStr::new(text))
    }
}

/// What one of Envoy's filters has found.
pub(super) fn metadata<'a>(
    attributes: &'a AttributeContext,
    namespace: &str,
) -> Option<&'a Struct> {
    let metadata = attributes.metadata_context.as_ref()?;
    metadata.filter_metadata.get(namespace)
}

fn scopes(token: &Map<String, Json>) -> Vec<SmolStr> {
    let text = token
        .get("scope")
        .and_then(Json::as_str)
        .unwrap_or_default();
    text.split_ascii_whitespace().map(SmolStr::new).collect()
}

fn expiry(token: &Map<String, Json>) -> Option<SystemTime> {
    let seconds = token.get("exp")?.as_u64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
