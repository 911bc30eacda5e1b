//! What a call acts upon: things with one canonical name each, and the places that contain them.
//!
//! Start at [`read`]. Policies draw boundaries around places (`context.target in Mcp::Resource::"file:///srv/app"`) and
//! compare names, so a thing has one name however it is written, and that name is all that policies see. What could be
//! read in two ways is refused rather than guessed. One module for each [`Kind`]: [`path`], [`url`], [`email`], [`id`];
//! [`host`] knows what lies on the open internet, [`text`] which characters a target may have. [`argument`] is how a
//! registration says which arguments are targets, [`check`] holds that against the tool's schema, [`named`] finds them
//! in a call.
//!
//! Only paths and URLs contain one another. Everything else is equal or not.

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

/// Longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// Deepest target, in path segments.
pub const MAX_TARGET_SEGMENTS: usize = 64;

/// What sort of thing a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A file or folder: `file:///srv/a b`.
    Path,
    /// A URL with a place in it: `https://example.com:8443/v1`.
    Url,
    /// A mail address: `mailto:bob@example.com`.
    Email,
    /// Something of a server that is known by a UUID: `notion:0f4e…`.
    Uuid,
    /// Something of a server that is known by any other text or number: `slack:C04SUPPORT`.
    Id,
    /// A URI without a place in it: `urn:isbn:12`.
    Uri,
}

/// One thing that a call acts upon.
#[derive(Debug, Clone)]
pub struct Target {
    /// What sort of thing it is.
    pub kind: TargetKind,
    /// What part it plays in the call, as its registration says: `source`, `destination`, `recipient` …
    pub role: Option<SmolStr>,
    /// The query of a URL; not part of the name.
    pub query: Option<SmolStr>,
    /// Its canonical name, its attributes, and what contains it.
    pub overlay: Overlay,
}

/// Why a target is refused. The text completes "the target …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Beyond [`MAX_TARGET_BYTES`].
    #[error("is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    /// Beyond [`MAX_TARGET_SEGMENTS`].
    #[error("has more than {MAX_TARGET_SEGMENTS} path segments")]
    TooDeep,
    /// A segment that climbs.
    #[error("contains a `..` segment")]
    Climbs,
    /// Something that programs read in different ways; the text is what.
    #[error("can be read in two ways: it has {0}")]
    Ambiguous(&'static str),
    /// A path that begins nowhere.
    #[error("is a relative path, and nothing says to what")]
    Relative,
    /// Not what it has to be; the text is that.
    #[error("is not {0}")]
    Not(&'static str),
    /// Several things where one is meant.
    #[error("names several things")]
    Several,
}

impl TargetKind {
    /// Those that a registration can name.
    pub const NAMED: [Self; 5] = [Self::Path, Self::Url, Self::Email, Self::Uuid, Self::Id];

    /// The word in registrations and attributes.
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

    /// The kind that a registration names so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What a text names on a server. Without a kind, by its look: `/…` is a path, `scheme://…` a URL, `mailto:…` an
/// address, another `scheme:…` itself, and anything else an id of the server. `base` is what a path is relative to.
///
/// A text may name several things: two addresses are two.
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

/// The one thing that a text names, by its look.
pub fn one(server: &str, text: &str) -> Result<Target, TargetError> {
    single(read(server, None, text, None)?)
}

/// The one thing that a text names, as this kind.
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

/// Whether one place is another or lies within it, as their canonical names tell. Only paths and URLs, whose names have
/// `://` after the scheme, lie within anything.
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
    // `file:///` is a root; elsewhere a slash at the end says nothing.
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
    /// Its canonical name, as an entity.
    pub fn uid(&self) -> &EntityUID {
        &self.overlay.uid
    }

    /// Whether two targets are the same in everything that policies see of them.
    pub fn is_same(&self, other: &Self) -> bool {
        self.uid() == other.uid() && self.query == other.query && self.role == other.role
    }
}

/// A thing under its canonical name, not yet an entity.
#[derive(Debug, Default)]
struct CanonicalTarget {
    kind: Option<TargetKind>,
    name: String,
    /// What contains it, outermost first.
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

/// The name of a place below a root, and the names of what contains it, for segments without escapes. The root ends with a slash if it is the name of
/// a root of its own, as `file:///` is.
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
