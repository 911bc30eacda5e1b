//! The subject and its actor chain in the claims of a token that a gateway has verified (RFC 8693).
//!
//! The claims of a token are about the principal of `sub`; about an actor there is only what its own `act`
//! contains (4.1).

use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::ids;
use crate::config::limits::Limits;
use crate::domain::ids::DelegationId;
use crate::domain::request::call_context::{ActorChain, Identity, Scopes, Subject};
use crate::domain::schema::{TYPES, entity_uid};

/// A resolved subject, and on whose behalf it acts.
#[derive(Debug, Clone)]
pub(in crate::adapters) struct ResolvedSubject {
    pub(in crate::adapters) subject: Subject,
    pub(in crate::adapters) actor_chain: Option<ActorChain>,
    /// When the identity expires, if known.
    pub(in crate::adapters) expires_at: Option<SystemTime>,
}

impl ResolvedSubject {
    /// An agent, and the user it acts for, as a gateway names them by this method.
    pub(in crate::adapters) fn from_names(
        agent: SmolStr,
        user: Option<SmolStr>,
        method: &'static str,
        verified: bool,
    ) -> Self {
        let identity = Identity {
            method: Some(SmolStr::new_static(method)),
            verified,
            ..Identity::default()
        };
        Self {
            subject: Subject {
                entity: entity_uid(&TYPES.agent, agent),
                identity,
                claims: Map::new(),
            },
            actor_chain: user.map(|user| ActorChain {
                verified,
                ..ActorChain::verified_from(entity_uid(&TYPES.user, user))
            }),
            expires_at: None,
        }
    }

    /// Adds stored delegations, if there are any.
    pub(in crate::adapters) fn with_delegations(
        mut self,
        delegation_ids: Vec<DelegationId>,
    ) -> Self {
        if !delegation_ids.is_empty() {
            let actor_chain = self.actor_chain.take();
            self.actor_chain = Some(ActorChain {
                delegation_ids,
                ..actor_chain.unwrap_or_else(|| ActorChain::from_delegation_ids(Vec::new()))
            });
        }
        self
    }
}

/// The validity period of a token, widened by `limits.clock_skew_seconds` at both ends. `None`: the token states none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::adapters) struct TokenValidity {
    /// Its `nbf`.
    pub(in crate::adapters) not_before: Option<SystemTime>,
    /// Its `exp`.
    pub(in crate::adapters) expires_at: Option<SystemTime>,
}

/// As [`validity`], for the claims in a field of a request.
///
/// # Errors
///
/// The claim that is no time, inside the field.
pub(in crate::adapters) fn validity_in(
    field: &'static str,
    claims: &Map<String, Json>,
    limits: &Limits,
) -> Result<TokenValidity, FieldError> {
    validity(claims, limits).map_err(|named| {
        let problem = FieldProblem::NotOfShape("a time in seconds since 1970");
        FieldError::new(named, problem).inside(field)
    })
}

/// Reads `exp` and `nbf` of a token (RFC 7519, 4.1.4 and 4.1.5). Not for the members of an `act`, where they have no
/// meaning (RFC 8693, 4.1). The error is the name of the claim that is no time.
fn validity(token: &Map<String, Json>, limits: &Limits) -> Result<TokenValidity, &'static str> {
    let skew = limits.clock_skew();
    let not_before = time(token, "nbf")?;
    Ok(TokenValidity {
        not_before: not_before.map(|start| start.checked_sub(skew).unwrap_or(start)),
        expires_at: time(token, "exp")?.map(|end| late(end, skew)),
    })
}

/// An end, as late as it may be by another clock.
pub(in crate::adapters) fn late(end: SystemTime, skew: Duration) -> SystemTime {
    end.checked_add(skew).unwrap_or(end)
}

/// Whether the claims of a token say that somebody acts for whom they are about. Null says neither yes nor no, so it
/// counts as yes.
pub(in crate::adapters) fn names_actor(token: &Map<String, Json>) -> bool {
    token.contains_key(ACT)
}

/// Whether claims are those of the token in which this actor acts, rather than those about the actor: its own `act`
/// names the actor.
pub(in crate::adapters) fn names_as_actor(claims: &Map<String, Json>, actor: &str) -> bool {
    let act = claims.get(ACT).and_then(Json::as_object);
    let named = act.and_then(|act| act.get("sub"));
    named.and_then(Json::as_str) == Some(actor)
}

/// The claim that holds the actor.
const ACT: &str = "act";

/// An actor and the claims about it.
type ActorClaims = (EntityUID, Map<String, Json>);

/// How claims are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) struct ClaimRules<'a> {
    /// The claim that names the agent if there is no `act`.
    pub(in crate::adapters) agent_claim: Option<&'a str>,
    /// Whether the claims are passed to the decision.
    pub(in crate::adapters) passes_claims: bool,
    pub(in crate::adapters) limits: &'a Limits,
}

/// `sub` is the user; the outermost `act` is the acting party, and those within it acted before, the
/// innermost directly for the user. The error is safe to send.
pub(in crate::adapters) fn from_claims(
    mut token: Map<String, Json>,
    rules: ClaimRules<'_>,
) -> Result<ResolvedSubject, &'static str> {
    let limits = rules.limits;
    let user = claim(&token, "sub", limits)?.ok_or("the token has no `sub`")?;
    let validity = validity(&token, limits).map_err(|_| "the token's `exp` or `nbf` is no time")?;
    let TokenValidity {
        not_before,
        expires_at,
    } = validity;
    let scopes = scopes(&token)?;
    let mut actors = actors(token.remove(ACT), limits)?;
    if let (true, Some(agent_claim)) = (actors.is_empty(), rules.agent_claim) {
        let agent = claim(&token, agent_claim, limits)?.ok_or("the token names no agent")?;
        actors.push((entity_uid(&TYPES.agent, agent), Map::new()));
    }
    let user = entity_uid(&TYPES.user, user);
    let subject = |entity: EntityUID, claims| Subject {
        claims: if rules.passes_claims {
            claims
        } else {
            Map::new()
        },
        identity: Identity {
            method: Some(SmolStr::new_static("jwt")),
            verified: true,
            not_before,
            expires_at,
            is_relayed: *entity.entity_type() == TYPES.user,
        },
        entity,
    };
    let Some((acting, its_claims)) = actors.pop() else {
        return Ok(ResolvedSubject {
            subject: subject(user, token),
            actor_chain: None,
            expires_at,
        });
    };
    let mut actor_chain = ActorChain {
        actors: actors.iter().map(|(actor, _)| actor.clone()).collect(),
        scopes,
        not_before,
        expires_at,
        ..ActorChain::verified_from(user.clone())
    };
    if rules.passes_claims {
        actor_chain.claims = std::iter::once((user, token)).chain(actors).collect();
    }
    Ok(ResolvedSubject {
        subject: subject(acting, its_claims),
        actor_chain: Some(actor_chain),
        expires_at,
    })
}

/// The actors of nested `act` claims, the innermost first, each with the claims about it alone.
fn actors(mut act: Option<Json>, limits: &Limits) -> Result<Vec<ActorClaims>, &'static str> {
    let mut actors = Vec::new();
    while let Some(actor) = act {
        let Json::Object(mut actor) = actor else {
            return Err("the token's `act` is no object");
        };
        let name = claim(&actor, "sub", limits)?.ok_or("the token's `act` has no `sub`")?;
        act = actor.remove(ACT);
        actors.push((entity_uid(&TYPES.agent, name), actor));
    }
    actors.reverse();
    Ok(actors)
}

/// Parses the name of a party.
pub(in crate::adapters) fn parse_name(
    text: &str,
    limits: &Limits,
) -> Result<SmolStr, &'static str> {
    match ids::check(text, limits.id_bytes) {
        Ok(()) => Ok(SmolStr::new(text)),
        Err(_) => Err(
            "an identity is empty, too long or holds a control character or one that nobody sees",
        ),
    }
}

fn claim(
    claims: &Map<String, Json>,
    named: &str,
    limits: &Limits,
) -> Result<Option<SmolStr>, &'static str> {
    match claims.get(named) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => parse_name(text, limits).map(Some),
        Some(_) => Err("the token names somebody by something that is no text"),
    }
}

/// Reads scopes: one text, as tokens have it, or a list of texts, as some gateways make of it.
pub(in crate::adapters) fn scopes(token: &Map<String, Json>) -> Result<Scopes, &'static str> {
    const NO_TEXT: &str = "the token's `scope` is neither a text nor a list of texts";
    match token.get("scope") {
        None => Ok(Scopes::new()),
        Some(Json::String(text)) => Ok(text.split_ascii_whitespace().map(SmolStr::new).collect()),
        Some(Json::Array(scopes)) => {
            let texts = scopes.iter().map(|it| it.as_str().map(SmolStr::new));
            texts.collect::<Option<_>>().ok_or(NO_TEXT)
        }
        Some(_) => Err(NO_TEXT),
    }
}

/// Reads a time in whole seconds. Fractions are dropped, so that authority ends early rather than late. The error is
/// the name.
fn time(
    token: &Map<String, Json>,
    named: &'static str,
) -> Result<Option<SystemTime>, &'static str> {
    let Some(claimed) = token.get(named) else {
        return Ok(None);
    };
    let seconds = claimed.as_u64().map(Duration::from_secs).or_else(|| {
        let seconds = claimed.as_f64()?.floor();
        Duration::try_from_secs_f64(seconds).ok()
    });
    let after = seconds.ok_or(named)?;
    SystemTime::UNIX_EPOCH
        .checked_add(after)
        .map(Some)
        .ok_or(named)
}

#[cfg(test)]
#[path = "token_claims_tests.rs"]
mod tests;
