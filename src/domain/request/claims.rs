//! Claims as facts: groups and tags from the claims of a token, for one call.
//!
//! A claim adds groups and tags to the principal it is about. It never replaces stored attributes, and
//! `context.identity` tells policies what claims added to the subject.

use callgate_engine::cedar::{EntityUID, Value};
use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::config::claims::{ClaimKind, ClaimMapping};
use crate::domain::request::json_text;
use crate::domain::schema::{self, TYPES};

/// The maximum number of values that the claims about one principal may add, groups and tag values together.
pub const MAX_CLAIM_VALUES: usize = 256;

/// The groups and tags that the claims about a principal map to.
#[derive(Debug, Clone, Default)]
pub struct AssertedClaims {
    /// Groups the principal belongs to for this call.
    pub groups: Vec<EntityUID>,
    /// Tags of the principal for this call.
    pub tags: Vec<(SmolStr, Value)>,
}

/// Why claims are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A value that is neither a string nor a list of strings, nor a number or boolean where those are
    /// accepted.
    #[error("claim `{0}` is not text or a list of texts")]
    NotText(String),
    /// A value that is not of the kind that the configuration says.
    #[error("claim `{claim}` is not of the kind `{kind}` that `[claims]` says", kind = kind.as_str())]
    OtherKind {
        /// The claim.
        claim: String,
        /// What it has to be.
        kind: ClaimKind,
    },
    /// A whole number that is beyond what doubles hold apart.
    #[error(
        "claim `{0}` is a whole number beyond 2^53 - 1, which a gateway may have rounded: have it issued as text"
    )]
    MayBeRounded(String),
    /// More than [`MAX_CLAIM_VALUES`].
    #[error("the claims have more than {MAX_CLAIM_VALUES} values")]
    TooMany,
}

/// Maps the configured claims to groups and tags; other claims are ignored.
///
/// # Errors
///
/// [`ClaimError`] if a value has the wrong type or may have been rounded, or there are too many.
pub fn read(
    claims: &Map<String, Json>,
    mapping: &ClaimMapping,
) -> Result<AssertedClaims, ClaimError> {
    let mut asserted = AssertedClaims::default();
    let mut count = 0;
    for group in &mapping.groups {
        let values = values_of(claims, &group.claim, group.kind, &mut count)?;
        for value in values.into_iter().flatten() {
            let id = format_smolstr!("{}{value}", group.prefix);
            asserted.groups.push(schema::entity_uid(&TYPES.group, id));
        }
    }
    for attribute in &mapping.attributes {
        let values = values_of(claims, &attribute.claim, attribute.kind, &mut count)?;
        if let Some(values) = values {
            let texts = values.into_iter().map(|text| Value::new(text, None));
            asserted
                .tags
                .push((SmolStr::new(&attribute.tag), Value::set(texts, None)));
        }
    }
    Ok(asserted)
}

/// The claims that are mapped to facts.
pub fn mapped(claims: &Map<String, Json>, mapping: &ClaimMapping) -> Map<String, Json> {
    let is_named = |claim: &str| {
        mapping
            .named()
            .any(|(_, name)| name == claim || name.split('.').next() == Some(claim))
    };
    let claims = claims.iter().filter(|(claim, _)| is_named(claim));
    claims
        .map(|(claim, value)| (claim.clone(), value.clone()))
        .collect()
}

/// The only claim whose value is a space-separated list (RFC 6749, 3.3). Any other string is a single value.
const WORDS: &str = "scope";

/// Looks up a claim by name, or by its dotted path into objects. The longest literal name takes precedence,
/// because a claim name may be a URL with dots.
pub fn find<'c>(claims: &'c Map<String, Json>, name: &str) -> Option<&'c Json> {
    let is_there = |value: &&Json| !value.is_null();
    claims.get(name).filter(is_there).or_else(|| {
        name.rmatch_indices('.').find_map(|(at, _)| {
            let inner = claims.get(&name[..at])?.as_object()?;
            find(inner, &name[at + 1..])
        })
    })
}

/// The values of a claim; `None` if it says nothing. A claim of any kind says nothing if it is empty.
fn values_of(
    claims: &Map<String, Json>,
    name: &str,
    kind: ClaimKind,
    count: &mut usize,
) -> Result<Option<Vec<SmolStr>>, ClaimError> {
    let Some(value) = find(claims, name).filter(|it| !it.is_null()) else {
        return Ok(None);
    };
    let not_text = || ClaimError::NotText(name.to_owned());
    let is_of_kind = match kind {
        ClaimKind::Any => true,
        ClaimKind::Text => value.is_string(),
        ClaimKind::List => value.is_array(),
    };
    if !is_of_kind {
        let claim = name.to_owned();
        return Err(ClaimError::OtherKind { claim, kind });
    }
    let mut values: Vec<SmolStr> = match value {
        Json::String(text) if name == WORDS => {
            text.split_ascii_whitespace().map(SmolStr::new).collect()
        }
        Json::String(text) => vec![SmolStr::new(text)],
        Json::Bool(value) => vec![format_smolstr!("{value}")],
        Json::Number(value) if json_text::may_be_rounded(value) => {
            return Err(ClaimError::MayBeRounded(name.to_owned()));
        }
        Json::Number(value) => vec![format_smolstr!("{value}")],
        Json::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(SmolStr::new).ok_or_else(not_text))
            .collect::<Result<_, _>>()?,
        Json::Null | Json::Object(_) => return Err(not_text()),
    };
    if kind == ClaimKind::Any {
        values.retain(|value| !value.is_empty());
    }
    *count += values.len();
    if *count > MAX_CLAIM_VALUES {
        return Err(ClaimError::TooMany);
    }
    Ok(Some(values).filter(|it| kind != ClaimKind::Any || !it.is_empty()))
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
