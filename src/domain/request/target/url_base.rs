//! Bases of URLs, for tools that put an argument into the path of a URL: `https://github.com/{owner}`.
//!
//! Such a tool joins texts, and whoever gets the URL reads the whole: `../other` is another place then, and `x?` hides what
//! follows. So a text that is more than its own part of the path is rejected.
//!
//! Start at [`UrlBase::parse`].

use smol_str::SmolStr;

use crate::domain::request::target::argument_path::{ArgumentPath, MAX_ARGUMENT_BYTES, PathStep};
use crate::domain::request::target::kind::TargetError;
use crate::domain::request::target::{id, text, url};

/// A URL, some of whose segments are arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlBase {
    /// Up to the first argument.
    root: SmolStr,
    /// The arguments, each with what follows it.
    arguments: Vec<(ArgumentPath, SmolStr)>,
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
        let (root, mut rest) = base.split_at(base.find('{').unwrap_or(base.len()));
        let mut arguments = Vec::new();
        let mut before = root;
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
            let (text, next) = after.split_at(after.find('{').unwrap_or(after.len()));
            arguments.push((place, SmolStr::new(text)));
            (before, rest) = (text, next);
        }
        let this = Self {
            root: SmolStr::new(root.trim_end_matches('/')),
            arguments,
        };
        // The host is no argument, and what stands between arguments is part of a path.
        let example = this.join(this.arguments().map(|_| "x"), "x");
        for text in [root, &example] {
            text::check(text)
                .and_then(|()| url::read(text))
                .map_err(|why| format!("`{base}` {why}"))?;
        }
        Ok(this)
    }

    /// The arguments in it.
    pub fn arguments(&self) -> impl Iterator<Item = &ArgumentPath> {
        self.arguments.iter().map(|(place, _)| place)
    }

    /// The URL of a value below the base, with these values of its arguments.
    pub(super) fn join<'v>(
        &self,
        values: impl IntoIterator<Item = &'v str>,
        below: &str,
    ) -> String {
        let mut url = self.root.to_string();
        for (value, (_, after)) in values.into_iter().zip(&self.arguments) {
            url.push('/');
            url.push_str(value);
            url.push_str(after.trim_end_matches('/'));
        }
        if !below.is_empty() {
            url.push('/');
            url.push_str(below);
        }
        url
    }
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
