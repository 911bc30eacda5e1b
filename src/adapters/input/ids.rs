//! Ids and names, validated alike by every adapter.
//!
//! Ids distinguish entities, and people read them in logs and traces. So blank ids and ids with invisible
//! characters, which look like other ids, are errors.

use std::time::SystemTime;

use smol_str::SmolStr;
use uuid::{Uuid, Variant};

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::config::limits::Limits;
use crate::domain::ids::SessionId;
use crate::domain::request::canonical;
use crate::domain::request::visible::{is_invisible, is_plain};
use crate::service::clock::MAX_APART;

/// Checks an id of at most `limit` bytes.
pub(in crate::adapters) fn check(text: &str, limit: u32) -> Result<(), FieldProblem> {
    if text.len() > limit as usize {
        let bytes = text.len();
        return Err(FieldProblem::TooLong { bytes, limit });
    }
    if text.is_empty() {
        return Err(FieldProblem::Missing);
    }
    if !is_plain(text) {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(FieldProblem::ControlCharacter);
        }
        if text.chars().any(is_invisible) {
            return Err(FieldProblem::InvisibleCharacter);
        }
    }
    // Any other blank is invisible.
    if text.bytes().all(|byte| byte == b' ') {
        return Err(FieldProblem::Blank);
    }
    Ok(())
}

/// Parses a required id, of whichever type the caller needs.
pub(in crate::adapters) fn required<I: From<SmolStr>>(
    text: &str,
    limit: u32,
    field: &str,
) -> Result<I, FieldError> {
    check(text, limit).map_err(|problem| FieldError::new(field, problem))?;
    Ok(SmolStr::new(text).into())
}

/// Parses the id of a decision of Callgate: a UUID of version 7 (RFC 9562) in its usual form.
pub(in crate::adapters) fn decision(text: &str, field: &str) -> Result<Uuid, FieldError> {
    const LENGTH: usize = 36;
    let id = Uuid::try_parse(text).ok();
    let is_usual = |id: &Uuid| text.len() == LENGTH && id.get_variant() == Variant::RFC4122;
    let id = id.filter(|id| is_usual(id) && id.get_version_num() == 7);
    id.ok_or_else(|| FieldError::new(field, FieldProblem::NotADecisionId))
}

/// Parses the id of a decision that has been made at `now`: its id holds its time. Another replica may have made it, whose
/// clock is ahead.
pub(in crate::adapters) fn past_decision(
    text: &str,
    now: SystemTime,
    field: &str,
) -> Result<Uuid, FieldError> {
    let id = decision(text, field)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let latest = now.unwrap_or_default().saturating_add(MAX_APART);
    let made = id.get_timestamp().map(|at| at.to_unix());
    match made.is_some_and(|(seconds, _)| seconds <= latest.as_secs()) {
        true => Ok(id),
        false => Err(FieldError::new(field, FieldProblem::NotYetDecided)),
    }
}

/// The longest name of a session that stands for itself, in bytes. Sessions are stored by what stands for them, so this is
/// no setting: with another one, names would mean other sessions, and what has ended would begin anew.
const LONGEST_SESSION: usize = 1_024;

/// Parses a session id, where empty text means none. Gateways derive session ids from all their servers, so
/// one may be longer than other ids; a long one is replaced by its digest, by every adapter alike.
pub(in crate::adapters) fn session(
    text: &str,
    limits: &Limits,
    field: &str,
) -> Result<Option<SessionId>, FieldError> {
    let longest = limits.id_bytes.max(limits.text_bytes);
    let whole: Option<SessionId> = optional(text, longest, field)?;
    Ok(whole.map(|id| match id.as_str().len() > LONGEST_SESSION {
        true => canonical::digest_of_text(id.as_str()).into(),
        false => id,
    }))
}

/// Parses a session id that has to be there, as [`session`] does.
pub(in crate::adapters) fn required_session(
    text: &str,
    limits: &Limits,
    field: &str,
) -> Result<SessionId, FieldError> {
    let missing = || FieldError::new(field, FieldProblem::Missing);
    session(text, limits, field)?.ok_or_else(missing)
}

/// The text of a problem with an id, with the name of the limit.
pub(in crate::adapters) fn describe_problem(problem: &FieldProblem) -> String {
    match problem {
        FieldProblem::TooLong { .. } => format!("{problem} (`limits.id_bytes`)"),
        other => other.to_string(),
    }
}

/// Parses an optional id, where empty text means none, as [`required`] does.
pub(in crate::adapters) fn optional<I: From<SmolStr>>(
    text: &str,
    limit: u32,
    field: &str,
) -> Result<Option<I>, FieldError> {
    match text.is_empty() {
        true => Ok(None),
        false => required(text, limit, field).map(Some),
    }
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
