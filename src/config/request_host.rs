//! The host of a request, held against the hosts that the configuration names.

use std::cmp::Ordering;

/// The ports that go without saying. Which of the two it is depends on TLS, of which a `Host` says nothing.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// A `Host` with its port. Neither the case of letters, nor a final dot, nor a default port makes a difference.
#[derive(Debug, Clone, Copy)]
pub struct RequestHost<'t> {
    name: &'t str,
    port: HostPort,
}

/// The port of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostPort {
    Default,
    Other(u16),
    /// No port at all, which equals none.
    Odd,
}

/// How a configured host relates to that of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMatch {
    /// It is the same.
    Same,
    /// None is configured: every host.
    Any,
    /// It has the same name and another port.
    OtherPort,
    /// It is another.
    Other,
}

impl<'t> RequestHost<'t> {
    /// Reads a `Host`, of a request or of the configuration.
    pub fn read(text: &'t str) -> Self {
        // The colons of an IPv6 address are inside brackets.
        let after_address = text.rfind(']').map_or(0, |end| end + 1);
        let (name, port) = match text[after_address..].rfind(':') {
            Some(colon) => {
                let colon = after_address + colon;
                (&text[..colon], HostPort::read(&text[colon + 1..]))
            }
            None => (text, HostPort::Default),
        };
        Self {
            name: name.trim_end_matches('.'),
            port,
        }
    }

    /// Whether both are the same.
    pub fn is_same(self, other: Self) -> bool {
        self.has_same_name(other) && self.port != HostPort::Odd && self.port == other.port
    }

    fn has_same_name(self, other: Self) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
    }

    /// Whether it is no host with a port, so that a proxy may take another host out of it. A request without one (HTTP/1.0)
    /// has none to be mistaken for.
    fn is_odd(self) -> bool {
        let address = self.name.strip_prefix('[');
        let address = address.and_then(|it| it.strip_suffix(']'));
        let is_part = |byte: u8| match address {
            Some(_) => byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'),
            None => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'),
        };
        self.port == HostPort::Odd || !address.unwrap_or(self.name).bytes().all(is_part)
    }

    /// How a configured host relates to this one.
    pub fn matched(self, configured: Option<&str>) -> HostMatch {
        let Some(configured) = configured.map(RequestHost::read) else {
            return HostMatch::Any;
        };
        match (self.is_same(configured), self.has_same_name(configured)) {
            (true, _) => HostMatch::Same,
            (false, true) => HostMatch::OtherPort,
            (false, false) => HostMatch::Other,
        }
    }

    /// The best of the entries that a request fits in everything but the host. One that names the host comes first. One
    /// that names none is not for a host that another names with another port: which was meant is not known. What is no
    /// host fits none.
    pub fn best<'e, E>(
        self,
        entries: impl IntoIterator<Item = &'e E>,
        host_of: impl Fn(&E) -> Option<&str>,
        closeness: impl Fn(&E, &E) -> Ordering,
    ) -> Option<&'e E> {
        if self.is_odd() {
            return None;
        }
        let (mut same, mut any, mut is_named_otherwise) = (None, None, false);
        for entry in entries {
            let place = match self.matched(host_of(entry)) {
                HostMatch::Same => &mut same,
                HostMatch::Any => &mut any,
                HostMatch::OtherPort => {
                    is_named_otherwise = true;
                    continue;
                }
                HostMatch::Other => continue,
            };
            let is_closer = |known: &E| closeness(entry, known).is_gt();
            if place.is_none_or(is_closer) {
                *place = Some(entry);
            }
        }
        same.or(any.filter(|_| !is_named_otherwise))
    }
}

impl HostPort {
    fn read(text: &str) -> Self {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u16>() {
            // A colon without a port means the default (RFC 3986, 3.2.3).
            _ if text.is_empty() => Self::Default,
            Ok(port) if is_number && DEFAULT_PORTS.contains(&port) => Self::Default,
            Ok(port) if is_number => Self::Other(port),
            _ => Self::Odd,
        }
    }
}

/// Whether two entries are for the same hosts.
pub fn are_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => RequestHost::read(one).is_same(RequestHost::read(other)),
        _ => false,
    }
}

#[cfg(test)]
#[path = "request_host_tests.rs"]
mod tests;
