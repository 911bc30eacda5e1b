//! Files and folders, as POSIX paths: `/srv/a b` is `file:///srv/a b`.

use smol_str::SmolStr;

use crate::domain::request::target::canonical::{CanonicalTarget, below};
use crate::domain::request::target::kind::{MAX_TARGET_BYTES, TargetError, TargetKind};
use crate::domain::request::target::text::{self, has_escape, segments};

/// The resource that contains all paths.
const ROOT: &str = "file:///";

/// Parses a path. A relative path is resolved against `base`, which is absolute.
pub(super) fn read(path: &str, base: Option<&str>) -> Result<CanonicalTarget, TargetError> {
    if path.starts_with('/') {
        return absolute(path);
    }
    let first = path.split('/').next().unwrap_or_default();
    if first.contains(':') {
        return Err(TargetError::Ambiguous(
            "a colon in the first part of a relative path",
        ));
    }
    if first.starts_with('~') || first.starts_with('$') {
        return Err(TargetError::Ambiguous(
            "a `~` or `$` that some programs replace",
        ));
    }
    let base = base.ok_or(TargetError::Relative)?;
    text::check(base)?;
    if !base.starts_with('/') {
        return Err(TargetError::Relative);
    }
    absolute(&format!("{}/{path}", base.trim_end_matches('/')))
}

fn absolute(path: &str) -> Result<CanonicalTarget, TargetError> {
    if has_escape(path) {
        return Err(TargetError::Ambiguous(
            "an escape such as `%41`, which some programs replace",
        ));
    }
    decoded(path)
}

/// Parses a path without escapes.
pub(super) fn decoded(path: &str) -> Result<CanonicalTarget, TargetError> {
    if path.len() > MAX_TARGET_BYTES {
        return Err(TargetError::TooLong);
    }
    if path.starts_with("//") {
        return Err(TargetError::Ambiguous(
            "two slashes at its beginning, which may be those of another machine",
        ));
    }
    let segments = segments(path)?;
    if segments.first().is_some_and(|first| is_drive(first)) {
        return Err(TargetError::Ambiguous("the drive of a Windows path"));
    }
    let (name, containing) = below(ROOT, &segments);
    Ok(CanonicalTarget {
        kind: Some(TargetKind::Path),
        name,
        containing,
        scheme: Some(SmolStr::new_static("file")),
        ..CanonicalTarget::default()
    })
}

fn is_drive(segment: &str) -> bool {
    matches!(segment.as_bytes(), [letter, b':' | b'|', ..] if letter.is_ascii_alphabetic())
}
