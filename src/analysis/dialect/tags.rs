//! Tests of claims, which are tags there: here a tag is a set of texts.

use serde_json::{Value as Json, json};

use crate::analysis::dialect::condition::{Conditions, Safe};
use crate::analysis::dialect::expression::{binary, contains, tag_value};
use crate::config::claims::ClaimKind;

/// `principal.getTag("tag")` is this one text. Of `scope` the words are known here, and not the text, so whether the word is among
/// them, where more is safe.
///
/// # Errors
///
/// If a forbid would never apply, or the claim may be no text.
pub fn tag_is(
    conditions: &Conditions<'_, '_>,
    tag: &str,
    value: &str,
    safe: Safe,
) -> Result<Json, String> {
    conditions.tag(tag, &[ClaimKind::Text], safe)?;
    if tag != "scope" {
        return Ok(binary(
            "==",
            tag_value(tag),
            json!({"Set": [{"Value": value}]}),
        ));
    }
    let is_word = !value.is_empty() && !value.contains(char::is_whitespace);
    match is_word && safe == Safe::True {
        true => Ok(contains(tag, value)),
        false => {
            Err("the claim `scope` is compared as a whole, and is a set of words here".to_owned())
        }
    }
}

/// `principal.getTag("tag") like "*word*"`: of `scope`, whether the word is among them, where less is safe.
///
/// # Errors
///
/// For any other pattern or tag: what claims add is a set of texts, which no pattern is held against.
pub fn tag_matches(
    conditions: &Conditions<'_, '_>,
    tag: &str,
    pattern: &Json,
    safe: Safe,
) -> Result<Json, String> {
    conditions.tag(tag, &[ClaimKind::Text], safe)?;
    let mut word = String::new();
    let mut wildcards = 0;
    for element in pattern.as_array().into_iter().flatten() {
        match element.get("Literal").and_then(Json::as_str) {
            Some(literal) => word.push_str(literal),
            None => wildcards += 1,
        }
    }
    let ends = pattern.as_array().map(|it| (it.first(), it.last()));
    let is_wild = |it: Option<&Json>| it.is_some_and(|it| it.get("Literal").is_none());
    let is_within = ends.is_some_and(|(first, last)| is_wild(first) && is_wild(last));
    let is_word = !word.is_empty() && !word.contains(char::is_whitespace);
    if tag != "scope" || safe != Safe::False || !is_within || wildcards != 2 || !is_word {
        return Err(format!(
            "the claim `{tag}` is held against a pattern, and is a set of texts here"
        ));
    }
    conditions.note(format!(
        "`scope` has to have the word `{word}`, where it was enough that it contains this text"
    ));
    Ok(contains(tag, &word))
}
