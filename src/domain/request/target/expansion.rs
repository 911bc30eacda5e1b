//! Variables and alternatives in a path, which some programs replace before they open it: shells and Go's `os.ExpandEnv`
//! `$name`, shells and curl `{a,b}`.
//!
//! Start at [`check`]. Files are called `users.$userId.tsx`, `Foo$Bar.class` and `{id}.tsx`, so only that is rejected which climbs
//! out of a folder once it is replaced.

use crate::domain::request::target::kind::TargetError;

/// Rejects a path of which `..` segments are left once variables without a value are taken out and alternatives are chosen.
///
/// # Errors
///
/// [`TargetError::Ambiguous`].
pub(super) fn check(path: &str) -> Result<(), TargetError> {
    if !path.bytes().any(|byte| matches!(byte, b'$' | b'{')) {
        return Ok(());
    }
    let climbs = match without_variables(path) {
        Some(path) => has_climb(&path) || path.contains('{') && may_climb(&path),
        None => true,
    };
    match climbs {
        true => Err(TargetError::Ambiguous(
            "a `..` for programs that replace `$name` or `{a,b}`",
        )),
        false => Ok(()),
    }
}

fn has_climb(path: &str) -> bool {
    path.split('/').any(|segment| segment.trim() == "..")
}

/// Whether some choice of alternatives may leave a `..` segment. A piece between two marks is chosen as a whole or not at all, so such
/// a segment is one piece, or two pieces that are a dot each.
fn may_climb(path: &str) -> bool {
    const MARKS: [char; 3] = ['{', ',', '}'];
    let segments = path.split('/').filter(|segment| segment.contains(MARKS));
    let pieces = segments.flat_map(|segment| segment.split(MARKS));
    let mut dots = 0;
    for piece in pieces.map(str::trim) {
        match piece {
            ".." => return true,
            "." => dots += 1,
            _ => {}
        }
    }
    dots > 1
}

/// A path without its variables: `$name`, `$1`, `$?`, `${name}`. `None` if what stands in braces may have `..` for its value, as
/// `${name:-..}` has.
fn without_variables(path: &str) -> Option<String> {
    let mut kept = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('$') {
        kept.push_str(before);
        rest = match after.strip_prefix('{') {
            Some(after) => match after.split_once('}') {
                Some((name, _)) if may_be_dots(name) => return None,
                Some((_, after)) => after,
                None => after,
            },
            None => match after.strip_prefix(['*', '#', '$', '@', '!', '?', '-']) {
                Some(after) => after,
                // `$env:name` is one of PowerShell's.
                None => after.trim_start_matches(|c: char| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
                }),
            },
        };
    }
    kept.push_str(rest);
    Some(kept)
}

/// Whether what stands in braces may have dots for its value: `name:-..`, or `name:-.` beside another dot.
fn may_be_dots(name: &str) -> bool {
    name.contains('{')
        || name.contains("..")
        || name.contains('.') && name.contains(['-', '=', '+'])
}

#[cfg(test)]
#[path = "expansion_tests.rs"]
mod tests;
