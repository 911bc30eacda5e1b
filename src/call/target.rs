//! The resource a call acts upon, and the places that contain it.
//!
//! Policies draw boundaries around places: `context.target in Mcp::Resource::"file:///srv/app"`. So a
//! target gets one canonical name and its containing places as parents. What could be read two ways is
//! refused rather than guessed: a path with `..` in it means one thing to a text comparison and
//! another to the file system.

use cedar_policy_core::ast::{EntityUID, Value};
use percent_encoding::percent_decode_str;
use smol_str::SmolStr;
use url::Url;

use crate::call::model::{self, TYPES};
use crate::engine::evaluate::Overlay;

/// Longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// Deepest target, in path segments.
pub const MAX_TARGET_SEGMENTS: usize = 64;

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
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
    /// Something that systems read in different ways.
    #[error("contains a backslash, a NUL or another control character")]
    Ambiguous,
}

/// The entity of a target: canonical name, attributes, containing places.
///
/// - an absolute path `/srv/a b` and the URI `file:///srv/a%20b` are both `file:///srv/a b`;
/// - a URL with a host is `scheme://host[:port]/path`, without query, fragment and user;
/// - any other URI is itself, contained in nothing;
/// - any other text belongs to the server: `<server>:<text>`.
pub fn resource(server: &str, text: &str) -> Result<Overlay, TargetFault> {
    check_text(text)?;
    if let Some(path) = text.strip_prefix('/') {
        return hierarchy(
            "file:///",
            path,
            Attributes {
                uri: text,
                scheme: Some("file"),
                host: None,
            },
        );
    }
    let Ok(url) = Url::parse(text) else {
        let root = format!("{server}:");
        return hierarchy(
            &root,
            text,
            Attributes {
                uri: text,
                scheme: None,
                host: None,
            },
        );
    };
    // `Url` resolves dots silently, encoded ones too, so the raw text is looked at.
    let raw_path = text.split(['?', '#']).next().unwrap_or_default();
    if url.cannot_be_a_base() {
        let attributes = Attributes {
            uri: text,
            scheme: Some(url.scheme()),
            host: None,
        };
        return Ok(attributes.overlay(SmolStr::new(text), Vec::new()));
    }
    check_segments(&decoded(raw_path)?)?;
    let path = decoded(url.path())?;
    let path = path.trim_start_matches('/');
    // A dot at the end of a host says that the name is whole, which it is anyway.
    let host = url
        .host_str()
        .map(|host| host.strip_suffix('.').unwrap_or(host));
    let attributes = Attributes {
        uri: text,
        scheme: Some(url.scheme()),
        host,
    };
    let root = match (host, url.port()) {
        (None, _) => format!("{}:///", url.scheme()),
        (Some(host), None) => format!("{}://{host}/", url.scheme()),
        (Some(host), Some(port)) => format!("{}://{host}:{port}/", url.scheme()),
    };
    hierarchy(&root, path, attributes)
}

/// Whether one place is another or lies within it, as their canonical names tell.
pub fn contains(whole: &EntityUID, place: &EntityUID) -> bool {
    let (whole_name, name): (&str, &str) = (whole.eid().as_ref(), place.eid().as_ref());
    let Some(rest) = name.strip_prefix(whole_name) else {
        return false;
    };
    whole.entity_type() == place.entity_type()
        && (rest.is_empty() || rest.starts_with('/') || whole_name.ends_with(['/', ':']))
}

struct Attributes<'a> {
    uri: &'a str,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
}

impl Attributes<'_> {
    fn overlay(&self, name: SmolStr, parents: Vec<EntityUID>) -> Overlay {
        let text = |text: &str| Value::new(SmolStr::new(text), None);
        let mut attributes = vec![(SmolStr::new_static("uri"), text(self.uri))];
        attributes.extend(
            self.scheme
                .map(|scheme| (SmolStr::new_static("scheme"), text(scheme))),
        );
        attributes.extend(
            self.host
                .map(|host| (SmolStr::new_static("host"), text(host))),
        );
        Overlay {
            uid: place(name),
            parents,
            attributes,
            tags: Vec::new(),
        }
    }
}

/// `root` ends with what separates it from the first segment. Names of places have no trailing slash,
/// but for the roots of paths.
fn hierarchy(root: &str, path: &str, attributes: Attributes<'_>) -> Result<Overlay, TargetFault> {
    check_segments(path)?;
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect();
    if segments.len() > MAX_TARGET_SEGMENTS {
        return Err(TargetFault::TooDeep);
    }
    let root_name = match attributes.host {
        Some(_) => root.trim_end_matches('/'),
        None => root,
    };
    let mut name = String::from(root);
    let mut containing = vec![place(SmolStr::new(root_name))];
    for (depth, segment) in segments.iter().enumerate() {
        if depth > 0 {
            containing.push(place(SmolStr::new(&name)));
            name.push('/');
        }
        name.push_str(segment);
    }
    if segments.is_empty() {
        return Ok(attributes.overlay(SmolStr::new(root_name), Vec::new()));
    }
    Ok(attributes.overlay(SmolStr::new(&name), containing))
}

fn place(name: SmolStr) -> EntityUID {
    model::entity(&TYPES.resource, name)
}

fn check_text(text: &str) -> Result<(), TargetFault> {
    if text.is_empty() {
        return Err(TargetFault::Empty);
    }
    if text.len() > MAX_TARGET_BYTES {
        return Err(TargetFault::TooLong);
    }
    if text.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(TargetFault::Ambiguous);
    }
    Ok(())
}

fn check_segments(path: &str) -> Result<(), TargetFault> {
    if path.split('/').any(|segment| segment == "..") {
        return Err(TargetFault::Climbs);
    }
    Ok(())
}

/// What the text means once decoded; decoding must not bring in what the text may not contain.
fn decoded(text: &str) -> Result<String, TargetFault> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| TargetFault::Ambiguous)?;
    if decoded.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(TargetFault::Ambiguous);
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests;
