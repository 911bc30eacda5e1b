//! Targets: the resources that a call acts upon, each with one canonical name, and the resources that contain
//! them.
//!
//! Start at [`parse`]. Policies compare names and test containment (`context.target in
//! Mcp::Resource::"file:///srv/app"`), so every spelling of a resource maps to one name, the only one that
//! policies see. Ambiguous spellings are rejected. There is one module for each [`TargetKind`]: [`path`],
//! [`url`], [`email`], [`id`]; [`host`] classifies hosts, [`text`] restricts characters, [`expansion`] what programs replace. [`argument`] defines
//! target arguments, [`check`] checks them against the tool's schema, [`schema_form`] whether that is one, [`extract`]
//! finds the targets of a call, [`url_base`] those that are put into a URL, [`stored`] checks resources that are stored.
//!
//! Only paths and URLs contain one another.

pub mod argument;
mod argument_path;
mod canonical;
pub mod check;
pub mod email;
mod expansion;
pub mod extract;
pub mod host;
pub mod id;
pub mod json_schema;
mod kind;
pub mod path;
pub mod schema_form;
mod special_purpose;
pub mod stored;
pub mod text;
pub mod url;
pub mod url_base;

use callgate_engine::cedar::EntityUID;

pub use canonical::Target;
pub use kind::{MAX_TARGET_BYTES, MAX_TARGET_SEGMENTS, TargetError, TargetKind};

use crate::domain::request::target::canonical::CanonicalTarget;

/// Parses the targets that a text names on a server. Without a kind, it is inferred: `/…` is a path,
/// `scheme://…` a URL, `mailto:…` an address, another `scheme:…` a URI, and anything else an id of the
/// server. `base` is the base of relative paths.
///
/// A text may name several targets, such as two mail addresses.
///
/// # Errors
///
/// Why the text is rejected.
pub fn parse(
    server: &str,
    kind: Option<TargetKind>,
    text: &str,
    base: Option<&str>,
) -> Result<Vec<Target>, TargetError> {
    text::check(text)?;
    let named = match kind {
        Some(TargetKind::Path) => path::read(text, base)?,
        Some(TargetKind::Url) => url::read(text)?,
        Some(TargetKind::Email) => return targets(email::read(text)?, text),
        Some(TargetKind::Uuid) => id::uuid(server, text)?,
        Some(TargetKind::Id) => id::read(server, text)?,
        Some(TargetKind::Uri) => url::opaque(text)?,
        None => match url::look(text) {
            url::TextForm::Path => path::read(text, None)?,
            url::TextForm::Url => url::read(text)?,
            url::TextForm::Email => return targets(email::read(text)?, text),
            url::TextForm::Uri => url::opaque(text)?,
            url::TextForm::Other => id::by_look(server, text)?,
        },
    };
    Ok(vec![named.written(text)])
}

/// Parses a single target, inferring its kind.
///
/// # Errors
///
/// Why the text is rejected, or [`TargetError::Several`].
pub fn parse_one(server: &str, text: &str) -> Result<Target, TargetError> {
    single(parse(server, None, text, None)?)
}

/// Parses a single target of this kind.
///
/// # Errors
///
/// Why the text is rejected, or [`TargetError::Several`].
pub fn parse_one_as(server: &str, kind: TargetKind, text: &str) -> Result<Target, TargetError> {
    single(parse(server, Some(kind), text, None)?)
}

/// What a text has that is no part of the name of its target, and is lost where the name alone is kept.
pub fn beyond_name(text: &str, kind: TargetKind) -> Option<&'static str> {
    match kind {
        TargetKind::Url if text.contains('#') => Some("a fragment"),
        TargetKind::Url if text.contains('?') => Some("a query"),
        TargetKind::Email if text.contains('<') => Some("a display name"),
        _ => None,
    }
}

/// The host that a URL names, or a text without a scheme as the authority of one.
///
/// # Errors
///
/// Why the text is rejected.
pub fn host_of(text: &str) -> Result<host::Host, TargetError> {
    text::check(text)?;
    let named = match text.contains("://") {
        true => url::read(text)?,
        false => url::read(&format!("https://{text}"))?,
    };
    named.host.ok_or(TargetError::Not("a host"))
}

fn single(mut targets: Vec<Target>) -> Result<Target, TargetError> {
    match (targets.pop(), targets.is_empty()) {
        (Some(target), true) => Ok(target),
        _ => Err(TargetError::Several),
    }
}

fn targets(named: Vec<CanonicalTarget>, text: &str) -> Result<Vec<Target>, TargetError> {
    Ok(named.into_iter().map(|it| it.written(text)).collect())
}

/// Whether `whole` is `place` or contains it, by their canonical names. Only paths and URLs, whose names have
/// `://` after the scheme, contain others.
pub fn contains(whole: &EntityUID, place: &EntityUID) -> bool {
    if whole.entity_type() != place.entity_type() {
        return false;
    }
    let (whole, place): (&str, &str) = (whole.eid().as_ref(), place.eid().as_ref());
    if whole == place {
        return true;
    }
    let Some(path) = url::after_authority_mark(whole) else {
        return false;
    };
    // `file:///` is a root; elsewhere a trailing slash is insignificant.
    let inner = match path {
        "/" => whole,
        _ => whole.trim_end_matches('/'),
    };
    if url::after_authority_mark(inner).is_none_or(str::is_empty) {
        return false;
    }
    let rest = place.strip_prefix(inner);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || inner.ends_with('/'))
}

#[cfg(test)]
mod tests;
