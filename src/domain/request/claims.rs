//! Claims as facts: what a token says of somebody, for one call.
//!
//! A claim may add membership in groups and tags to the one whom it is about, and to nobody else. It never replaces what
//! is stored, and `context.identity` tells policies what was added to the subject this way.

use callgate_engine::cedar::{EntityUID, Value};
use serde_json::{Map, Value as Json};
use smol_str::{SmolStr, format_smolstr};

use crate::config::claims::ClaimMapping;
use crate::domain::schema::{self, TYPES};

/// Most values that the claims about one principal may add, groups and tag values together.
pub const MAX_CLAIM_VALUES: usize = 256;

/// What claims add to the one whom they are about.
#[derive(Debug, Clone, Default)]
pub struct AssertedClaims {
    /// Groups it belongs to for this call.
    pub groups: Vec<EntityUID>,
    /// Tags it carries for this call.
    pub tags: Vec<(SmolStr, Value)>,
}

/// Why claims are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Neither text nor a list of texts, nor a number or boolean where one may be.
    #[error("claim `{0}` is not text or a list of texts")]
    NotText(String),
    /// Beyond [`MAX_CLAIM_VALUES`].
    #[error("the claims have more than {MAX_CLAIM_VALUES} values")]
    TooMany,
}

/// Reads the claims that the configuration maps; the others are of no concern.
pub fn read(
    claims: &Map<String, Json>,
    mapping: &ClaimMapping,
) -> Result<AssertedClaims, ClaimError> {
    let mut asserted = AssertedClaims::default();
    let mut count = 0;
    for group in &mapping.groups {
        for value in values_of(claims, &group.claim, &mut count)? {
            let id = format_smolstr!("{}{value}", group.prefix);
            asserted.groups.push(schema::entity(&TYPES.group, id));
        }
    }
    for attribute in &mapping.attributes {
        let values = values_of(claims, &attribute.claim, &mut count)?;
        if !values.is_empty() {
            let texts = values.into_iter().map(|text| Value::new(text, None));
            asserted
                .tags
                .push((SmolStr::new(&attribute.tag), Value::set(texts, None)));
        }
    }
    Ok(asserted)
}

/// The one claim whose text is a list of words (RFC 6749, 3.3). Any other text is one value, with all its spaces.
const WORDS: &str = "scope";

/// A claim by its name, or by its path if it is in an object. What has more of the name as its own comes first: the name
/// of a claim may be a URL, dots and all.
pub fn find<'c>(claims: &'c Map<String, Json>, name: &str) -> Option<&'c Json> {
    let is_there = |value: &&Json| !value.is_null();
    claims.get(name).filter(is_there).or_else(|| {
        name.rmatch_indices('.').find_map(|(at, _)| {
            let inner = claims.get(&name[..at])?.as_object()?;
            find(inner, &name[at + 1..])
        })
    })
}

/// The values of a claim. Nothing emptied is a value.
fn values_of(
    claims: &Map<String, Json>,
    name: &str,
    count: &mut usize,
) -> Result<Vec<SmolStr>, ClaimError> {
    let not_text = || ClaimError::NotText(name.to_owned());
    let mut values: Vec<SmolStr> = match find(claims, name) {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::String(text)) if name == WORDS => {
            text.split_ascii_whitespace().map(SmolStr::new).collect()
        }
        Some(Json::String(text)) => vec![SmolStr::new(text)],
        Some(Json::Bool(value)) => vec![format_smolstr!("{value}")],
        Some(Json::Number(value)) => vec![format_smolstr!("{value}")],
        Some(Json::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(SmolStr::new).ok_or_else(not_text))
            .collect::<Result<_, _>>()?,
        Some(Json::Object(_)) => return Err(not_text()),
    };
    values.retain(|value| !value.is_empty());
    *count += values.len();
    if *count > MAX_CLAIM_VALUES {
        return Err(ClaimError::TooMany);
    }
    Ok(values)
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
