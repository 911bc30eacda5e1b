//! Texts that requests contain in one spelling only: schemes, hosts, registered domains, canonical names of targets, digests.
//!
//! Start at [`CanonicalText::of_attribute`] and [`CanonicalText::refusal`]. A policy that compares such an attribute with
//! another spelling (`host == "Example.COM"`) never applies, without any error.

use callgate_engine::cedar::{Eid, EntityType, EntityUID, Pattern, PatternElem};

use crate::bundle::validate::references::known_entities::KnownEntities;
use crate::domain::names::is_digest;
use crate::domain::request::links;
use crate::domain::request::target::host::{Host, holds_domains};
use crate::domain::request::target::{host_of, parse_one};
use crate::domain::schema::TYPES;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CanonicalText {
    /// The scheme of a target or page.
    Scheme,
    /// The host of a target or page.
    Host,
    /// The host of a link, which stays as it is written where it is no host.
    LinkHost,
    /// The registered domain of a host.
    Domain,
    /// The canonical name of a target.
    Name,
    /// The digest of a pinned definition.
    Digest,
}

/// Why a comparison never holds, and what may have been meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub message: String,
    pub help: String,
}

impl CanonicalText {
    /// The form of an entity attribute; `path` is dotted.
    pub(super) fn of_attribute(ty: &EntityType, path: &str) -> Option<Self> {
        if *ty == TYPES.tool {
            return (path == "digest").then_some(Self::Digest);
        }
        if *ty != TYPES.resource {
            return None;
        }
        Some(match path {
            "uri" => Self::Name,
            "scheme" => Self::Scheme,
            "host" => Self::Host,
            "domain" => Self::Domain,
            _ => return None,
        })
    }

    /// The form of a context attribute; `path` is dotted.
    pub(super) fn of_context(path: &str) -> Option<Self> {
        Some(match path {
            "elicitation.scheme" => Self::Scheme,
            "elicitation.host" => Self::Host,
            "arguments.link_hosts" | "arguments.unknown_links" => Self::LinkHost,
            "elicitation.domain" => Self::Domain,
            _ => return None,
        })
    }

    /// Why no value equals a text; `None` if one may.
    pub(super) fn refusal(self, text: &str, known: &KnownEntities<'_>) -> Option<Refusal> {
        let help = match self {
            Self::Scheme => scheme_help(text)?,
            Self::LinkHost if text == links::MORE || host_of(text).is_err() => return None,
            Self::Host | Self::LinkHost => host_help(text)?,
            Self::Domain => domain_help(text)?,
            Self::Name => name_help(text, known)?,
            Self::Digest if is_digest(text) => return None,
            Self::Digest => "a digest is `sha256:` and 64 lower-case hexadecimal digits".to_owned(),
        };
        Some(self.refused(text, help))
    }

    /// Why no value matches the pattern of a `like`; `None` if one may.
    pub(super) fn pattern_refusal(self, pattern: &Pattern) -> Option<Refusal> {
        let elements: Vec<Option<char>> = pattern.iter().map(literal).collect();
        let help = match self {
            Self::Scheme => scheme_pattern_help(&elements),
            Self::Host => host_pattern_help(&elements),
            Self::Domain => domain_pattern_help(&elements),
            Self::Name => name_pattern_help(&elements),
            Self::LinkHost | Self::Digest => None,
        }?;
        Some(self.refused(&pattern.to_string(), help))
    }

    fn refused(self, text: &str, help: String) -> Refusal {
        let message = match self {
            Self::Scheme => format!("no target has the scheme `{text}`"),
            Self::Host => format!("no target has the host `{text}`"),
            Self::LinkHost => format!("no link has the host `{text}`"),
            Self::Domain => format!("no host has the registered domain `{text}`"),
            Self::Name => format!("no target has the name `{text}`"),
            Self::Digest => format!("no definition has the digest `{text}`"),
        };
        Refusal { message, help }
    }
}

/// A character of a pattern; `None` for its wildcard.
fn literal(element: &PatternElem) -> Option<char> {
    match element {
        PatternElem::Char(c) => Some(*c),
        PatternElem::Wildcard => None,
    }
}

fn no_wildcard(text: &str) -> Option<String> {
    text.contains('*')
        .then(|| "`*` stands for any text only in a `like`".to_owned())
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c)
}

fn scheme_help(text: &str) -> Option<String> {
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_scheme_char)
    };
    if is_scheme(text) {
        return None;
    }
    let plain = text.split(':').next().unwrap_or_default();
    let plain = plain.to_ascii_lowercase();
    Some(
        no_wildcard(text).unwrap_or_else(|| match is_scheme(&plain) {
            true => format!("a scheme is lower-case and has no colon: write `{plain}`"),
            false => "a scheme is made of lower-case letters, digits, `+`, `-` and `.`".to_owned(),
        }),
    )
}

fn host_help(text: &str) -> Option<String> {
    if let Some(help) = no_wildcard(text) {
        return Some(help);
    }
    match host_of(text) {
        Ok(host) if *host.name == *text => None,
        Ok(host) => Some(format!(
            "hosts are in lower case, without scheme, port and path: write `{}`",
            host.name
        )),
        Err(error) => Some(format!("it {error}")),
    }
}

fn domain_help(text: &str) -> Option<String> {
    if let Some(help) = no_wildcard(text) {
        return Some(help);
    }
    let host = match host_of(text) {
        Ok(host) => host,
        Err(error) => return Some(format!("it {error}")),
    };
    match host.domain {
        Some(domain) if *domain == *text => None,
        Some(domain) if *domain == *host.name => Some(format!("write `{domain}`")),
        Some(domain) => Some(format!(
            "the domain that somebody registered is `{domain}`: write that, or compare `host` with `{}`",
            host.name
        )),
        None => Some(format!(
            "it lies in no public domain: compare `host` with `{}`",
            host.name
        )),
    }
}

fn name_help(text: &str, known: &KnownEntities<'_>) -> Option<String> {
    let uid = EntityUID::from_components(TYPES.resource.clone(), Eid::new(text), None);
    (!known.has(&uid)).then(|| known.help(&uid))
}

fn scheme_pattern_help(elements: &[Option<char>]) -> Option<String> {
    let is_fine = elements.iter().flatten().all(|c| is_scheme_char(*c));
    (!is_fine)
        .then(|| "a scheme is made of lower-case letters, digits, `+`, `-` and `.`".to_owned())
}

fn host_pattern_help(elements: &[Option<char>]) -> Option<String> {
    let is_fine = elements.iter().flatten().all(|c| is_host_char(*c));
    (!is_fine)
        .then(|| "hosts are in ASCII and in lower case, without scheme, port and path".to_owned())
}

/// Whether a canonical host, which may be an IPv6 address in brackets, can contain a character.
fn is_host_char(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_uppercase() && !"/@?#\\%\"<>^`{|}".contains(c)
}

fn domain_pattern_help(elements: &[Option<char>]) -> Option<String> {
    if !elements
        .iter()
        .flatten()
        .all(|c| is_host_char(*c) && *c != ':')
    {
        return Some(
            "a domain is in ASCII and in lower case, without scheme, port and path".to_owned(),
        );
    }
    // `*.example.com`: the registered domain is what follows the dot, and has nothing before it.
    let after = elements
        .iter()
        .rposition(Option::is_none)
        .map_or(0, |at| at + 1);
    let ending: String = elements[after..].iter().flatten().collect();
    let name = ending.strip_prefix('.').filter(|_| after > 0)?;
    let domain = Host::of_name(name).domain?;
    (*domain == *name && !holds_domains(name)).then(|| format!("a registered domain has nothing before it: write `domain == \"{name}\"`, or compare `host`"))
}

fn name_pattern_help(elements: &[Option<char>]) -> Option<String> {
    let prefix: String = elements.iter().map_while(|it| *it).collect();
    if prefix.starts_with('/') {
        return Some(format!(
            "the canonical name of a path begins with `file://`: write `file://{}`",
            shown(elements)
        ));
    }
    let scheme = prefix.split(':').next().unwrap_or_default();
    if scheme.len() == prefix.len() {
        return None;
    }
    let rest = &elements[scheme.chars().count() + 1..];
    let lower = scheme.to_ascii_lowercase();
    let is_hierarchical = rest.starts_with(&[Some('/'), Some('/')]);
    if lower != scheme && (is_hierarchical || lower == "mailto" || lower == "file") {
        return Some(format!(
            "schemes are in lower case: write `{lower}:{}`",
            shown(rest)
        ));
    }
    if lower == "mailto" {
        let is_upper = rest.iter().flatten().any(char::is_ascii_uppercase);
        return is_upper.then(|| {
            format!(
                "mail addresses are in lower case: write `mailto:{}`",
                shown(rest).to_ascii_lowercase()
            )
        });
    }
    if lower == "file"
        && !rest.starts_with(&[Some('/'); 3])
        && rest.len() >= 3
        && rest[..3].iter().all(Option::is_some)
    {
        return Some("the canonical name of a path begins with `file:///`".to_owned());
    }
    if !is_hierarchical {
        return None;
    }
    url_pattern_help(&prefix, &rest[2..])
}

/// What is wrong with a pattern for names of URLs, whose text before the first wildcard is `prefix`, and which goes on with
/// `rest` after `scheme://`.
fn url_pattern_help(prefix: &str, rest: &[Option<char>]) -> Option<String> {
    let authority: Vec<char> = rest
        .iter()
        .take_while(|it| **it != Some('/'))
        .flatten()
        .copied()
        .collect();
    if authority.iter().any(|c| !is_host_char(*c)) {
        return Some("hosts are in ASCII and in lower case, without a user before them".to_owned());
    }
    if rest.iter().flatten().any(|c| "?#".contains(*c)) {
        return Some("a name has neither query nor fragment: compare `query`".to_owned());
    }
    // What is complete before the first wildcard: everything up to the last slash.
    let start = prefix.find("://").map_or(0, |at| at + 3);
    let whole = prefix[start..].rfind('/').map(|at| &prefix[..start + at])?;
    if whole.len() == start {
        return None;
    }
    match parse_one("", whole) {
        Ok(target) => {
            let name: &str = target.uid().eid().as_ref();
            (name != whole).then(|| {
                format!("calls act upon it under its canonical name, which begins with `{name}`")
            })
        }
        Err(error) => Some(format!("it begins with `{whole}`, and that {error}")),
    }
}

fn shown(elements: &[Option<char>]) -> String {
    elements.iter().map(|it| it.unwrap_or('*')).collect()
}

#[cfg(test)]
#[path = "canonical_text_tests.rs"]
mod tests;
