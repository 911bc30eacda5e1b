//! What only its server understands: `C04SUPPORT` on the server `slack` is `slack:C04SUPPORT`.

use serde_json::Number;
use uuid::Uuid;

use crate::domain::request::target::text::{check_segment, has_escape};
use crate::domain::request::target::{CanonicalTarget, TargetError, TargetKind};

/// The largest whole number that every reader of JSON keeps as it is.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Reads an id: the text exactly.
pub(super) fn read(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    if text.starts_with("//") {
        return Err(TargetError::Ambiguous("two slashes at its beginning"));
    }
    for segment in text.split('/') {
        check_segment(segment)?;
        if segment == "." {
            return Err(TargetError::Ambiguous("a `.` segment"));
        }
    }
    Ok(of_server(server, TargetKind::Id, text))
}

/// Reads what looks like nothing in particular. It may be a relative path to its server, so it has to be written as the
/// only way to write one.
pub(super) fn by_look(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    check_exact(text)?;
    read(server, text)
}

/// Refuses what could be another way to write something else, if it were a path.
pub(super) fn check_exact(text: &str) -> Result<(), TargetError> {
    if has_escape(text) {
        return Err(TargetError::Ambiguous(
            "an escape such as `%41`, which some programs replace",
        ));
    }
    for segment in text.split('/') {
        check_segment(segment)?;
        if segment.is_empty() || segment == "." {
            return Err(TargetError::Ambiguous("an empty segment or `.`"));
        }
    }
    Ok(())
}

/// Reads a UUID, with dashes or without, in letters of either case.
pub(super) fn uuid(server: &str, text: &str) -> Result<CanonicalTarget, TargetError> {
    let known = Uuid::try_parse(text).ok().filter(|_| {
        // Not in braces, and not as a URN.
        [32, 36].contains(&text.len())
    });
    let uuid = known.ok_or(TargetError::Not("a UUID"))?;
    let text = uuid.as_hyphenated().to_string();
    Ok(of_server(server, TargetKind::Uuid, &text))
}

/// A whole number as an id. Beyond 2^53 readers round, and with a fraction they differ.
pub(super) fn of_number(number: &Number) -> Result<String, TargetError> {
    match number.as_i64() {
        Some(whole) if whole.unsigned_abs() <= MAX_NUMBER => Ok(whole.to_string()),
        _ => Err(TargetError::Not("a whole number below 2^53")),
    }
}

fn of_server(server: &str, kind: TargetKind, text: &str) -> CanonicalTarget {
    CanonicalTarget {
        kind: Some(kind),
        name: format!("{server}:{text}"),
        ..CanonicalTarget::default()
    }
}
