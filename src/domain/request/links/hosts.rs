//! Hosts as they stand in a text.

use crate::domain::request::links::characters::is_of_url;
use crate::domain::request::target::host::Host;

/// The authority at the start of a text. If a user begins with a sign at which a URL ends otherwise (`'x@host`), what stands
/// behind it: some readers take any sign for a part of a user.
pub(super) fn authority(text: &str) -> &str {
    match before_odd(text) {
        "" => {
            let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '<' | '>');
            let behind_user = until(text, ends).rsplit_once('@');
            behind_user.map_or("", |(_, host)| before_odd(host))
        }
        authority => authority,
    }
}

fn before_odd(text: &str) -> &str {
    until(text, |c| {
        !is_of_url(c) || matches!(c, '/' | '?' | '#' | ',' | ')')
    })
}

fn until(text: &str, ends: impl Fn(char) -> bool) -> &str {
    &text[..text.find(ends).unwrap_or(text.len())]
}

/// Whether a name has a part that somebody registered.
pub(super) fn is_registered(name: &str) -> bool {
    ascii(name).is_some_and(|name| Host::of_name(&name).domain.is_some())
}

/// The scheme that a defanged scheme stands for.
pub(super) fn meant(scheme: &str) -> &str {
    match scheme {
        "hxxp" => "http",
        "hxxps" => "https",
        "fxp" => "ftp",
        other => other,
    }
}

/// The host of an authority without its port.
pub(super) fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split(':').next().unwrap_or_default()
}

/// A host name in its lookup form.
pub(super) fn ascii(name: &str) -> Option<String> {
    match url::Host::parse(name) {
        Ok(url::Host::Domain(domain)) => Some(domain.trim_end_matches('.').to_owned()),
        Ok(address) => Some(address.to_string()),
        Err(_) => None,
    }
}
