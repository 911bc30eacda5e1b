//! URLs, which have a hierarchy: `https://Example.com:443/a%20b?x=1` is `https://example.com/a b`; and other
//! URIs, kept verbatim.
//!
//! The raw text is parsed, not the result of a URL parser: parsers differ in how they resolve dots, drop tabs
//! and complete slashes.

use ::url::Url;
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::target::canonical::{CanonicalTarget, below};
use crate::domain::request::target::host::Host;
use crate::domain::request::target::kind::{TargetError, TargetKind};
use crate::domain::request::target::{id, path, text};

/// The kind of target that a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// Begins with a slash.
    Path,
    /// A scheme followed by a slash.
    Url,
    /// The scheme `mailto`.
    Email,
    /// Another scheme.
    Uri,
    /// No scheme.
    Other,
}

/// Schemes whose host browsers accept in several spellings.
const SPECIAL: [&str; 6] = ["http", "https", "ws", "wss", "ftp", "file"];

/// Infers the kind of target from a text.
pub fn look(text: &str) -> TextForm {
    if text.starts_with('/') {
        return TextForm::Path;
    }
    match split_scheme(text) {
        None => TextForm::Other,
        Some((scheme, rest)) if scheme == "file" || rest.starts_with('/') => TextForm::Url,
        Some((scheme, _)) if scheme == "mailto" => TextForm::Email,
        Some(_) => TextForm::Uri,
    }
}

/// The scheme in lower case, and the text after its colon.
pub fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_part);
    (is_scheme && !rest.is_empty()).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The text after `scheme://`, for names of hierarchical resources.
pub(super) fn after_authority_mark(name: &str) -> Option<&str> {
    let (scheme, rest) = name.split_once("://")?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (!scheme.is_empty() && scheme.bytes().all(is_part)).then_some(rest)
}

/// The scheme of a URL with its host: what all URLs there have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlRoot {
    /// `https://example.com:8443`; without a host `scheme:///`.
    name: SmolStr,
    scheme: SmolStr,
    host: Option<Host>,
}

impl UrlRoot {
    /// The URL with these segments, which are not escaped.
    pub(super) fn below(&self, segments: &[&str], query: Option<&str>) -> CanonicalTarget {
        let (name, containing) = below(&self.name, segments);
        CanonicalTarget {
            kind: Some(TargetKind::Url),
            name,
            containing,
            scheme: Some(self.scheme.clone()),
            host: self.host.clone(),
            query: query.map(SmolStr::new),
        }
    }
}

/// Parses a URL.
pub(super) fn read(raw: &str) -> Result<CanonicalTarget, TargetError> {
    if let Some((scheme, rest)) = split_scheme(raw)
        && scheme == "file"
    {
        if !rest.starts_with("//") {
            no_drive(&scheme)?;
        }
        return file(rest);
    }
    let (root, raw_path, query) = split(raw)?;
    let decoded = text::decoded(raw_path)?;
    let segments = text::segments(&decoded)?;
    Ok(root.below(&segments, query))
}

/// Splits a URL that is not one of a file into its root, its path as written, and its query if it has any.
pub(super) fn split(raw: &str) -> Result<(UrlRoot, &str, Option<&str>), TargetError> {
    let (scheme, rest) = split_scheme(raw).ok_or(TargetError::Not("a URL"))?;
    if !rest.starts_with("//") {
        no_drive(&scheme)?;
    }
    let is_special = SPECIAL.contains(&scheme.as_str());
    let (authority, after) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None if rest.starts_with('/') && !is_special => ("", rest),
        None if is_special => return Err(TargetError::Ambiguous("a URL without its slashes")),
        None => return Err(TargetError::Not("a URL")),
    };
    let (before, fragment) = match after.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (after, None),
    };
    if fragment.is_some() && !["http", "https"].contains(&scheme.as_str()) {
        return Err(TargetError::Ambiguous("a fragment"));
    }
    let (raw_path, query) = match before.split_once('?') {
        Some((path, query)) => (path, Some(query).filter(|query| !query.is_empty())),
        None => (before, None),
    };
    let parsed = Url::parse(raw).map_err(|_| TargetError::Not("a URL"))?;
    // curl takes them for alternatives. Templates of other schemes have them there.
    if is_special && authority.contains('{') {
        return Err(TargetError::Ambiguous("a brace in its host"));
    }
    let host = match authority {
        "" if is_special => return Err(TargetError::Ambiguous("a URL without its host")),
        "" => None,
        _ => Some(Host::of_authority(authority, &parsed)?),
    };
    // Some servers cut off what follows it in a segment, and others do not.
    if raw_path.contains(';') {
        return Err(TargetError::Ambiguous("a `;` in its path"));
    }
    let name = match (&host, parsed.port()) {
        (None, _) => format_smolstr!("{scheme}:///"),
        (Some(host), None) => format_smolstr!("{scheme}://{}", host.name),
        (Some(host), Some(port)) => format_smolstr!("{scheme}://{}:{port}", host.name),
    };
    let scheme = SmolStr::new(scheme);
    Ok((UrlRoot { name, scheme, host }, raw_path, query))
}

/// Parses the text after `file:`.
fn file(rest: &str) -> Result<CanonicalTarget, TargetError> {
    if rest.contains(['?', '#']) {
        return Err(TargetError::Ambiguous(
            "a query or fragment in the URI of a file",
        ));
    }
    let raw_path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(TargetError::Ambiguous("a host in the URI of a file"));
            }
            path
        }
    };
    if !raw_path.starts_with('/') {
        return Err(TargetError::Ambiguous("a URL without its slashes"));
    }
    path::decoded(&text::decoded(raw_path)?)
}

/// Parses a URI without hierarchy.
pub(super) fn opaque(text: &str) -> Result<CanonicalTarget, TargetError> {
    let (scheme, rest) = split_scheme(text).ok_or(TargetError::Not("a URI"))?;
    no_drive(&scheme)?;
    if SPECIAL.contains(&scheme.as_str()) {
        return Err(TargetError::Ambiguous("a URL without its slashes"));
    }
    id::check_exact(rest)?;
    Ok(CanonicalTarget {
        kind: Some(TargetKind::Uri),
        name: format_smolstr!("{scheme}:{rest}"),
        scheme: Some(SmolStr::new(scheme)),
        ..CanonicalTarget::default()
    })
}

fn no_drive(scheme: &str) -> Result<(), TargetError> {
    match scheme.len() {
        1 => Err(TargetError::Ambiguous("the drive of a Windows path")),
        _ => Ok(()),
    }
}
