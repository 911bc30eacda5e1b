//! Server-specific ids: `C04SUPPORT` on the server `slack` is `slack:C04SUPPORT`.

use serde_json::Number;
use uuid::Uuid;
use uuid::fmt::{Hyphenated, Simple};

use crate::domain::request::target::canonical::CanonicalTarget;
use crate::domain::request::target::expansion;
use crate::domain::request::target::kind::{TargetError, TargetKind};
use crate::domain::request::target::text::{self, check_segment, has_escape};

/// The largest integer that every JSON parser keeps exact.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Parses an id. It is kept verbatim, but with the hyphens of a UUID it is one, which is the same in either case. An escape is
/// refused: whoever replaces it means another thing.
pub(super) fn read(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    if text.len() == Hyphenated::LENGTH
        && let Ok(named) = uuid(server, text)
    {
        return Ok(named);
    }
    if text.starts_with("//") {
        return Err(TargetError::Ambiguous("two slashes at its beginning"));
    }
    no_escape(text)?;
    expansion::check(text)?;
    for segment in text.split('/') {
        check_segment(segment)?;
        if segment == "." {
            return Err(TargetError::Ambiguous("a `.` segment"));
        }
    }
    Ok(of_server(server, TargetKind::Id, text))
}

/// Parses a value of unknown kind as an id. It may be a relative path to the server, so only a normalized
/// spelling is accepted. A UUID without hyphens is none here: it may be another number.
pub(super) fn by_look(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    check_exact(text)?;
    read(server, text)
}

/// Rejects spellings that would have an equivalent if the value were a path.
pub(super) fn check_exact(text: &str) -> Result<(), TargetError> {
    no_escape(text)?;
    expansion::check(text)?;
    for segment in text.split('/') {
        check_segment(segment)?;
        if segment.is_empty() || segment == "." {
            return Err(TargetError::Ambiguous("an empty segment or `.`"));
        }
    }
    Ok(())
}

fn no_escape(text: &str) -> Result<(), TargetError> {
    match has_escape(text) {
        true => Err(TargetError::Ambiguous(
            "an escape such as `%41`, which some programs replace",
        )),
        false => Ok(()),
    }
}

/// Parses a UUID, with or without hyphens, in either case.
pub(super) fn uuid(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    let known = Uuid::try_parse(text).ok().filter(|_| {
        // Braces and URNs are not accepted.
        [Simple::LENGTH, Hyphenated::LENGTH].contains(&text.len())
    });
    let uuid = known.ok_or(TargetError::Not("a UUID"))?;
    let text = uuid.as_hyphenated().to_string();
    Ok(of_server(server, TargetKind::Uuid, &text))
}

/// An integer as an id. Beyond 2^53 parsers round, and fractions have several spellings.
pub(super) fn of_number(number: &Number) -> Result<String, TargetError> {
    match number.as_i64() {
        Some(whole) if whole.unsigned_abs() <= MAX_NUMBER => Ok(whole.to_string()),
        _ => Err(TargetError::Not("a whole number below 2^53")),
    }
}

fn of_server(server: &str, kind: TargetKind, id: &str) -> CanonicalTarget {
    CanonicalTarget {
        kind: Some(kind),
        name: text::joined(|name| name.extend([server, ":", id])),
        ..CanonicalTarget::default()
    }
}
