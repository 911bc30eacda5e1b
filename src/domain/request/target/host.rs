//! Hosts: the address, the registered domain, and whether it is on the open internet.
//!
//! Start at [`Host`]; URLs, mail addresses and the URLs that people are sent to have one each.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use ::url::{Host as Parsed, Url};
use callgate_engine::cedar::{Extensions, Name, PartialValue, Value};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::target::TargetError;
use crate::domain::request::target::special_purpose;

/// Ends of names that never lead to the open internet: IANA's Special-Use Domain Names, and `internal`, which ICANN has
/// set apart for private use. `arpa` holds `home.arpa` and what else is for machinery.
const NOT_OPEN: [&str; 9] = [
    "alt",
    "arpa",
    "example",
    "internal",
    "invalid",
    "local",
    "localhost",
    "onion",
    "test",
];

/// A host as policies know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// In lower case, without a dot at its end; an IPv6 address in brackets.
    pub name: SmolStr,
    /// The address, if it is one. An IPv4 address that is written as an IPv6 one is itself.
    pub address: Option<IpAddr>,
    /// The part that somebody registered, by the Public Suffix List.
    pub domain: Option<SmolStr>,
    /// Whether it is on the open internet: an address that is, or a name with a registered domain. What a name leads to
    /// is not looked up.
    pub is_open: bool,
}

impl Host {
    /// The host in the authority of a URL, if every reader finds the same one.
    pub fn of_authority(authority: &str, parsed: &Url) -> Result<Self, TargetError> {
        if authority.contains('@') {
            return Err(TargetError::Ambiguous("a user before the host"));
        }
        if authority.contains(|c: char| !c.is_ascii() || c == '%') {
            return Err(TargetError::Ambiguous(
                "a host in other letters than it is looked up by: its ASCII form begins with `xn--`",
            ));
        }
        let raw = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
            _ => authority,
        };
        if raw.is_empty() {
            return Err(TargetError::Ambiguous("a URL without its host"));
        }
        let plain = raw.strip_suffix('.').unwrap_or(raw).to_ascii_lowercase();
        if plain.split('.').any(str::is_empty) {
            return Err(TargetError::Ambiguous(
                "a host with two dots in a row or one at its beginning",
            ));
        }
        match parsed.host() {
            Some(Parsed::Ipv6(address)) => Ok(Self::of_address(IpAddr::V6(address))),
            // As an address is written, so that nobody takes another number system for it.
            Some(Parsed::Ipv4(address)) if plain == address.to_string() => {
                Ok(Self::of_address(IpAddr::V4(address)))
            }
            Some(Parsed::Domain(domain)) if is_same_name(domain, &plain) => {
                match plain.parse::<Ipv4Addr>() {
                    Ok(address) => Ok(Self::of_address(IpAddr::V4(address))),
                    Err(_) => Ok(Self::of_name(&plain)),
                }
            }
            Some(_) => Err(TargetError::Ambiguous(
                "a host that is written in another way than it is looked up by",
            )),
            None => Err(TargetError::Not("a URL with a host")),
        }
    }

    /// A host that is known by its name: in ASCII, in lower case, without a dot at its end.
    pub fn of_name(name: &str) -> Self {
        let last = name.rsplit('.').next().unwrap_or_default();
        let domain = registered_domain(name).filter(|_| !NOT_OPEN.contains(&last));
        Self {
            name: SmolStr::new(name),
            address: None,
            is_open: domain.is_some(),
            domain,
        }
    }

    fn of_address(address: IpAddr) -> Self {
        let name = match address {
            IpAddr::V4(address) => format_smolstr!("{address}"),
            // As in URLs, where an embedded address has no dots.
            IpAddr::V6(address) => SmolStr::from(Parsed::<&str>::Ipv6(address).to_string()),
        };
        Self {
            name,
            address: Some(address.to_canonical()),
            domain: None,
            is_open: special_purpose::is_open(address),
        }
    }

    /// The facts that policies see, by name.
    pub fn facts(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &SmolStr| Value::new(text.clone(), None);
        let mut facts = vec![
            ("host", text(&self.name)),
            ("public", Value::new(self.is_open, None)),
        ];
        let address = self.address.and_then(address_value);
        facts.extend(address.map(|address| ("address", address)));
        facts.extend(self.domain.as_ref().map(|domain| ("domain", text(domain))));
        facts
    }
}

fn is_same_name(domain: &str, plain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    !plain.is_empty() && domain.eq_ignore_ascii_case(plain)
}

/// The part of a name that somebody registered, by the Public Suffix List. A name under no suffix that is on the list
/// has none.
fn registered_domain(name: &str) -> Option<SmolStr> {
    let domain = psl::domain(name.as_bytes()).filter(|domain| domain.suffix().is_known())?;
    std::str::from_utf8(domain.as_bytes())
        .ok()
        .map(SmolStr::new)
}

/// An address as Cedar has it.
pub fn address_value(address: IpAddr) -> Option<Value> {
    static IPADDR: LazyLock<Option<Name>> =
        LazyLock::new(|| Name::parse_unqualified_name("ip").ok());
    extension_value(&IPADDR, format_smolstr!("{address}"))
}

/// A value of one of Cedar's extension types, made from text.
pub(in crate::domain) fn extension_value(
    constructor: &Option<Name>,
    text: SmolStr,
) -> Option<Value> {
    let function = Extensions::all_available()
        .func(constructor.as_ref()?)
        .ok()?;
    match function.call(&[Value::new(text, None)]) {
        Ok(PartialValue::Value(value)) => Some(value),
        Ok(PartialValue::Residual(_)) | Err(_) => None,
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
