//! Bases of URLs, for tools that put an argument into the path of a URL: `https://github.com/{owner}`.
//!
//! Such a tool joins texts, and whoever gets the URL reads the whole: `../other` is another place then, and `x?` hides what
//! follows. So a text that is more than its own part of the path is rejected.
//!
//! Start at [`UrlBase::parse`].

use std::borrow::Cow;

use smol_str::SmolStr;

use crate::domain::request::target::argument_path::{ArgumentPath, MAX_ARGUMENT_BYTES, PathStep};
use crate::domain::request::target::canonical::Target;
use crate::domain::request::target::kind::{MAX_TARGET_SEGMENTS, TargetError};
use crate::domain::request::target::url::{self, UrlRoot};
use crate::domain::request::target::{id, text};

/// A URL, some of whose segments are arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlBase {
    /// The scheme and the host, which no argument changes.
    root: UrlRoot,
    segments: Vec<BaseSegment>,
}

/// A segment of the path of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSegment {
    /// As it is written.
    Fixed(SmolStr),
    /// The value of an argument.
    Argument(ArgumentPath),
}

impl UrlBase {
    /// Parses `https://example.com/a`, `https://example.com/{owner}/{repo}/contents` and the like.
    ///
    /// # Errors
    ///
    /// Why the text is no such base; completes "`base` …".
    pub fn parse(base: &str) -> Result<Self, String> {
        if base.len() > MAX_ARGUMENT_BYTES {
            return Err(format!("is longer than {MAX_ARGUMENT_BYTES} bytes"));
        }
        if base.contains(['?', '#', '%']) {
            return Err(format!("`{base}` has a query, a fragment or an escape"));
        }
        let fault = |why: TargetError| format!("`{base}` {why}");
        // The host is no argument.
        let (before, mut rest) = base.split_at(base.find('{').unwrap_or(base.len()));
        text::check(before).map_err(fault)?;
        let (root, path, _) = url::split(before).map_err(fault)?;
        let mut segments = fixed(path).map_err(fault)?;
        let mut before = before;
        while let Some(inner) = rest.strip_prefix('{') {
            let part = inner.split_once('}').filter(|(_, after)| {
                before.ends_with('/') && (after.is_empty() || after.starts_with('/'))
            });
            let (name, after) = part.ok_or_else(|| {
                format!("`{base}`: an argument such as `{{owner}}` is a whole segment of its path")
            })?;
            let place = ArgumentPath::parse(name)?;
            if place.steps().contains(&PathStep::Items) {
                return Err(format!("`{name}` is in a list, so it is not one place"));
            }
            segments.push(BaseSegment::Argument(place));
            (before, rest) = after.split_at(after.find('{').unwrap_or(after.len()));
            segments.extend(fixed(before).map_err(fault)?);
        }
        Ok(Self { root, segments })
    }

    /// The segments of its path.
    pub fn segments(&self) -> &[BaseSegment] {
        &self.segments
    }

    /// The arguments in it.
    pub fn arguments(&self) -> impl Iterator<Item = &ArgumentPath> {
        self.segments.iter().filter_map(|segment| match segment {
            BaseSegment::Fixed(_) => None,
            BaseSegment::Argument(place) => Some(place),
        })
    }

    /// The target whose path has these segments, those of the base with the values of its arguments, and a part below them.
    /// It is written canonically: a call can write only what its name has.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if it is too long or too deep.
    pub(super) fn target(
        &self,
        segments: &[Cow<'_, str>],
        part: &str,
    ) -> Result<Target, TargetError> {
        let segments = segments.iter().map(AsRef::as_ref);
        let below = part.split('/').filter(|segment| !segment.is_empty());
        let segments: text::Segments<'_> = segments.chain(below).collect();
        if segments.len() > MAX_TARGET_SEGMENTS {
            return Err(TargetError::TooDeep);
        }
        let named = self.root.below(&segments, None);
        text::check(&named.name)?;
        Ok(named.target(true))
    }
}

/// The segments of a path, none of which is an argument.
fn fixed(path: &str) -> Result<Vec<BaseSegment>, TargetError> {
    if !path.is_empty() {
        text::check(path)?;
    }
    if path.contains(';') {
        return Err(TargetError::Ambiguous("a `;` in its path"));
    }
    let segments = text::segments(path)?.into_iter().map(SmolStr::new);
    Ok(segments.map(BaseSegment::Fixed).collect())
}

/// Checks the value of an argument in a base: one segment.
///
/// # Errors
///
/// [`TargetError`] if it is more than that, or nothing.
pub(super) fn check_segment(value: &str) -> Result<(), TargetError> {
    match value.contains('/') {
        true => Err(TargetError::Ambiguous("a slash within one part of a URL")),
        false => check_part(value),
    }
}

/// The part of a URL that a value below a base is. A slash at either end says nothing more, and without anything else the
/// base itself is meant.
///
/// # Errors
///
/// [`TargetError`] if it is more than a part of a path.
pub(super) fn part_below(value: &str) -> Result<&str, TargetError> {
    let part = value.strip_prefix('/').unwrap_or(value);
    let part = part.strip_suffix('/').unwrap_or(part);
    if !part.is_empty() {
        check_part(part)?;
    }
    Ok(part)
}

/// Rejects what would be more than a part of a path.
fn check_part(value: &str) -> Result<(), TargetError> {
    text::check(value)?;
    if value.contains(['%', '?', '#', ';']) {
        return Err(TargetError::Ambiguous(
            "a `%`, `?`, `#` or `;`, which is more than a part of the path of a URL",
        ));
    }
    id::check_exact(value)
}

#[cfg(test)]
#[path = "url_base_tests.rs"]
mod tests;
