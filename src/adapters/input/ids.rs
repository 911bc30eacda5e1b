//! Ids and names, as every door takes them.
//!
//! They tell one entity from another, and they go to logs and traces, where people read them. So one that is empty or
//! blank is none, and one with a character that nobody sees is refused: it would look like another.

use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::config::limits::Limits;
use crate::domain::request::canonical;
use crate::domain::request::visible::has_invisible;

/// What is wrong with an id, if anything is.
pub(in crate::adapters) fn check(text: &str, limit: u32) -> Result<(), FieldProblem> {
    if text.len() > limit as usize {
        let bytes = text.len();
        return Err(FieldProblem::TooLong { bytes, limit });
    }
    if text.is_empty() {
        return Err(FieldProblem::Missing);
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(FieldProblem::ControlCharacter);
    }
    if has_invisible(text) {
        return Err(FieldProblem::InvisibleCharacter);
    }
    if text.trim().is_empty() {
        return Err(FieldProblem::Blank);
    }
    Ok(())
}

/// An id that must be there.
pub(in crate::adapters) fn required(
    text: &str,
    limit: u32,
    field: &str,
) -> Result<SmolStr, FieldError> {
    check(text, limit).map_err(|problem| FieldError::new(field, problem))?;
    Ok(SmolStr::new(text))
}

/// The name of a session, where an empty text means that there is none. Gateways make it of what they know of all their
/// servers, so it may be longer than an id; one that is stands for itself by its digest, at every door alike.
pub(in crate::adapters) fn session(
    text: &str,
    limits: &Limits,
    field: &str,
) -> Result<Option<SmolStr>, FieldError> {
    let longest = limits.id_bytes.max(limits.text_bytes);
    let whole = optional(text, longest, field)?;
    Ok(
        whole.map(|name| match name.len() > limits.id_bytes as usize {
            true => canonical::digest_of_text(&name).into(),
            false => name,
        }),
    )
}

/// What is wrong with an id, with the limit by its name.
pub(in crate::adapters) fn said(problem: &FieldProblem) -> String {
    match problem {
        FieldProblem::TooLong { .. } => format!("{problem} (`limits.id_bytes`)"),
        other => other.to_string(),
    }
}

/// An id where an empty text means that there is none.
pub(in crate::adapters) fn optional(
    text: &str,
    limit: u32,
    field: &str,
) -> Result<Option<SmolStr>, FieldError> {
    match text.is_empty() {
        true => Ok(None),
        false => required(text, limit, field).map(Some),
    }
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
