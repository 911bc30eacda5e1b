//! Targets: the resources that a call acts upon, each with one canonical name, and the resources that contain
//! them.
//!
//! Start at [`parse`]. Policies compare names and test containment (`context.target in
//! Mcp::Resource::"file:///srv/app"`), so every spelling of a resource maps to one name, the only one that
//! policies see. Ambiguous spellings are rejected. There is one module for each [`TargetKind`]: [`path`],
//! [`url`], [`email`], [`id`]; [`host`] classifies hosts, [`text`] restricts characters. [`argument`] defines
//! target arguments, [`check`] checks them against the tool's schema, [`extract`] finds the targets of a
//! call.
//!
//! Only paths and URLs contain one another.

pub mod argument;
pub mod check;
pub mod email;
pub mod extract;
pub mod host;
pub mod id;
pub mod json_schema;
pub mod path;
mod special_purpose;
pub mod text;
pub mod url;

use callgate_engine::Overlay;
use callgate_engine::cedar::{EntityUID, Value};
use smol_str::SmolStr;

use crate::domain::request::target::host::Host;
use crate::domain::schema::{self, TYPES};

/// The maximum length of a target, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// The maximum depth of a target, in path segments.
pub const MAX_TARGET_SEGMENTS: usize = 64;

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A file or folder: `file:///srv/a b`.
    Path,
    /// A hierarchical URL: `https://example.com:8443/v1`.
    Url,
    /// A mail address: `mailto:bob@example.com`.
    Email,
    /// A UUID known to a server: `notion:0f4e…`.
    Uuid,
    /// Another id known to a server: `slack:C04SUPPORT`.
    Id,
    /// A URI without hierarchy: `urn:isbn:12`.
    Uri,
}

/// A resource that a call acts upon.
#[derive(Debug, Clone)]
pub struct Target {
    /// The kind of target.
    pub kind: TargetKind,
    /// The role in the call, as registered: `source`, `destination`, `recipient` …
    pub role: Option<SmolStr>,
    /// The query of a URL; not part of the name.
    pub query: Option<SmolStr>,
    /// The canonical name, the attributes and the containing resources.
    pub overlay: Overlay,
}

/// Why a target is rejected. The text completes "the target …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Empty.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_TARGET_BYTES`].
    #[error("is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    /// Deeper than [`MAX_TARGET_SEGMENTS`].
    #[error("has more than {MAX_TARGET_SEGMENTS} path segments")]
    TooDeep,
    /// A `..` segment.
    #[error("contains a `..` segment")]
    Climbs,
    /// A spelling that parsers read differently.
    #[error("can be read in two ways: it has {0}")]
    Ambiguous(&'static str),
    /// A relative path without a base.
    #[error("is a relative path, and nothing says to what")]
    Relative,
    /// Not of the required kind.
    #[error("is not {0}")]
    Not(&'static str),
    /// Several targets where one is required.
    #[error("names several things")]
    Several,
}

impl TargetKind {
    /// The kinds that a registration can name.
    pub const NAMED: [Self; 5] = [Self::Path, Self::Url, Self::Email, Self::Uuid, Self::Id];

    /// The name in registrations and attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Url => "url",
            Self::Email => "email",
            Self::Uuid => "uuid",
            Self::Id => "id",
            Self::Uri => "uri",
        }
    }

    /// The kind with this name in registrations.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Parses the targets that a text names on a server. Without a kind, it is inferred: `/…` is a path,
/// `scheme://…` a URL, `mailto:…` an address, another `scheme:…` a URI, and anything else an id of the
/// server. `base` is the base of relative paths.
///
/// A text may name several targets, such as two mail addresses.
///
/// # Errors
///
/// Why the text is rejected.
pub fn read(
    server: &str,
    kind: Option<TargetKind>,
    text: &str,
    base: Option<&str>,
) -> Result<Vec<Target>, TargetError> {
    text::check(text)?;
    let named = match kind {
        Some(TargetKind::Path) => path::read(text, base)?,
        Some(TargetKind::Url) => url::read(text)?,
        Some(TargetKind::Email) => return targets(email::read(text)?),
        Some(TargetKind::Uuid) => id::uuid(server, text)?,
        Some(TargetKind::Id) => id::read(server, text)?,
        Some(TargetKind::Uri) => url::opaque(text)?,
        None => match url::look(text) {
            url::TextForm::Path => path::read(text, None)?,
            url::TextForm::Url => url::read(text)?,
            url::TextForm::Email => return targets(email::read(text)?),
            url::TextForm::Uri => url::opaque(text)?,
            url::TextForm::Other => id::by_look(server, text)?,
        },
    };
    Ok(vec![named.target()])
}

/// Parses a single target, inferring its kind.
///
/// # Errors
///
/// Why the text is rejected, or [`TargetError::Several`].
pub fn one(server: &str, text: &str) -> Result<Target, TargetError> {
    single(read(server, None, text, None)?)
}

/// Parses a single target of this kind.
///
/// # Errors
///
/// Why the text is rejected, or [`TargetError::Several`].
pub fn parse_one_as(server: &str, kind: TargetKind, text: &str) -> Result<Target, TargetError> {
    single(read(server, Some(kind), text, None)?)
}

fn single(mut targets: Vec<Target>) -> Result<Target, TargetError> {
    match (targets.pop(), targets.is_empty()) {
        (Some(target), true) => Ok(target),
        _ => Err(TargetError::Several),
    }
}

fn targets(named: Vec<CanonicalTarget>) -> Result<Vec<Target>, TargetError> {
    Ok(named.into_iter().map(CanonicalTarget::target).collect())
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

impl Target {
    /// The canonical name as an entity uid.
    pub fn uid(&self) -> &EntityUID {
        &self.overlay.uid
    }

    /// Whether two targets are equal in all that policies see.
    pub fn is_same(&self, other: &Self) -> bool {
        self.uid() == other.uid() && self.query == other.query && self.role == other.role
    }
}

/// A target with its canonical name, before it becomes an entity.
#[derive(Debug, Default)]
struct CanonicalTarget {
    kind: Option<TargetKind>,
    name: String,
    /// The names of the containing resources, outermost first.
    containing: Vec<String>,
    scheme: Option<String>,
    host: Option<Host>,
    query: Option<String>,
}

impl CanonicalTarget {
    fn target(self) -> Target {
        let kind = self.kind.unwrap_or(TargetKind::Id);
        let text = |text: &str| Value::new(SmolStr::new(text), None);
        let mut attributes = vec![
            (SmolStr::new_static("uri"), text(&self.name)),
            (SmolStr::new_static("kind"), text(kind.as_str())),
        ];
        let mut add = |name: &'static str, value: Option<&String>| {
            attributes.extend(value.map(|value| (SmolStr::new_static(name), text(value))));
        };
        add("scheme", self.scheme.as_ref());
        add("query", self.query.as_ref());
        if let Some(host) = &self.host {
            let facts = host.facts().into_iter();
            attributes.extend(facts.map(|(name, value)| (SmolStr::new_static(name), value)));
        }
        let containing = self.containing.iter().map(|name| place(name));
        Target {
            kind,
            role: None,
            query: self.query.as_deref().map(SmolStr::new),
            overlay: Overlay {
                uid: place(&self.name),
                parents: containing.collect(),
                attributes,
                tags: Vec::new(),
            },
        }
    }
}

/// The name of a resource below a root and the names of those that contain it, for unescaped segments. A root
/// that is itself a resource, such as `file:///`, ends with a slash.
fn below(root: &str, segments: &[&str]) -> (String, Vec<String>) {
    let mut name = root.to_owned();
    let mut containing = Vec::with_capacity(segments.len());
    for segment in segments {
        containing.push(name.clone());
        if !name.ends_with('/') {
            name.push('/');
        }
        name.push_str(&text::escaped(segment));
    }
    (name, containing)
}

fn place(name: &str) -> EntityUID {
    schema::entity(&TYPES.resource, SmolStr::new(name))
}

#[cfg(test)]
mod tests;
