//! Targets under their canonical names, as entities.

use ::url::Url;
use callgate_engine::Overlay;
use callgate_engine::cedar::{EntityUID, Value};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::domain::request::target::host::Host;
use crate::domain::request::target::kind::TargetKind;
use crate::domain::request::target::text;
use crate::domain::schema::{self, TYPES};

/// As many attributes as a target has at most: its name, kind and spelling, scheme, query, and four facts of a host.
const MOST_ATTRIBUTES: usize = 9;

/// A resource that a call acts upon.
#[derive(Debug, Clone)]
pub struct Target {
    /// The kind of target.
    pub kind: TargetKind,
    /// The role in the call, as registered: `source`, `destination`, `recipient` …
    pub role: Option<SmolStr>,
    /// The query of a URL; not part of the name.
    pub query: Option<SmolStr>,
    /// Whether the call writes the name as it is, with nothing added: any other spelling may carry data.
    pub is_canonical: bool,
    /// The canonical name, the attributes and the containing resources.
    pub overlay: Overlay,
}

impl Target {
    /// The canonical name as an entity uid.
    pub fn uid(&self) -> &EntityUID {
        &self.overlay.uid
    }

    /// Whether two targets are equal in all that policies see.
    pub fn is_same(&self, other: &Self) -> bool {
        self.uid() == other.uid()
            && self.query == other.query
            && self.is_canonical == other.is_canonical
            && self.role == other.role
    }
}

/// The names of resources that contain another begin its name: where they end. Most are a few levels deep.
pub(super) type NameEnds = SmallVec<[usize; 8]>;

/// A target with its canonical name, before it becomes an entity.
#[derive(Debug, Default)]
pub(super) struct CanonicalTarget {
    pub(super) kind: Option<TargetKind>,
    pub(super) name: SmolStr,
    /// The containing resources, outermost first: how many bytes of this name theirs is.
    pub(super) containing: NameEnds,
    pub(super) scheme: Option<SmolStr>,
    pub(super) host: Option<Host>,
    pub(super) query: Option<SmolStr>,
}

impl CanonicalTarget {
    /// Whether a text is the name as such: without its scheme or server, or below its base, where the kind allows that. The
    /// URL of a name has one more spelling, with escapes. A slash at the end makes no difference.
    fn is_written(&self, text: &str) -> bool {
        let name = self.name.as_str();
        let text = match name.ends_with('/') {
            true => text,
            false => text.strip_suffix('/').unwrap_or(text),
        };
        if name == text {
            return true;
        }
        match self.kind {
            Some(TargetKind::Path) if text.starts_with("file:") => is_escaped_as(name, text),
            Some(TargetKind::Path) => name.ends_with(&*text::escaped(text)),
            Some(TargetKind::Url) => is_escaped_as(name, text),
            _ => name.ends_with(text),
        }
    }

    /// The target, as a text names it.
    pub(super) fn written(self, text: &str) -> Target {
        let is_canonical = self.is_written(text);
        self.target(is_canonical)
    }

    /// The target; whether the call writes its name as it is.
    pub(super) fn target(self, is_canonical: bool) -> Target {
        let kind = self.kind.unwrap_or(TargetKind::Id);
        let name = self.name;
        let text = |text: &SmolStr| Value::new(text.clone(), None);
        let mut attributes = Vec::with_capacity(MOST_ATTRIBUTES);
        attributes.extend([
            (SmolStr::new_static("uri"), text(&name)),
            (
                SmolStr::new_static("kind"),
                text(&SmolStr::new_static(kind.as_str())),
            ),
            (
                SmolStr::new_static("canonical"),
                Value::new(is_canonical, None),
            ),
        ]);
        let mut add = |name: &'static str, value: Option<&SmolStr>| {
            attributes.extend(value.map(|value| (SmolStr::new_static(name), text(value))));
        };
        add("scheme", self.scheme.as_ref());
        add("query", self.query.as_ref());
        if let Some(host) = &self.host {
            let facts = host.facts();
            attributes.extend(facts.map(|(name, value)| (SmolStr::new_static(name), value)));
        }
        let containing = self.containing.iter();
        let containing = containing.map(|&end| place(&name[..end]));
        Target {
            kind,
            role: None,
            is_canonical,
            query: self.query,
            overlay: Overlay {
                parents: containing.collect(),
                uid: place(name),
                attributes,
                tags: Vec::new(),
            },
        }
    }
}

/// Whether a text is a name as URLs are written.
fn is_escaped_as(name: &str, text: &str) -> bool {
    let is_same = |url: Url| url.as_str().strip_suffix('/').unwrap_or(url.as_str()) == text;
    Url::parse(name).is_ok_and(is_same)
}

/// The name of a resource below a root and where the names of those end that contain it, for unescaped segments. A root
/// that is itself a resource, such as `file:///`, ends with a slash.
pub(super) fn below(root: &str, segments: &[&str]) -> (SmolStr, NameEnds) {
    let mut containing = NameEnds::with_capacity(segments.len());
    let name = text::joined(|name| {
        name.push_str(root);
        for segment in segments {
            containing.push(name.len());
            if !name.ends_with('/') {
                name.push('/');
            }
            name.push_str(&text::escaped(segment));
        }
    });
    (name, containing)
}

pub(super) fn place(name: impl Into<SmolStr>) -> EntityUID {
    schema::entity_uid(&TYPES.resource, name.into())
}
