//! Hosts: address, registered domain, and whether the host is on the public internet.
//!
//! Start at [`Host`]; used for URLs, mail addresses and URL elicitation.

use std::net::IpAddr;
use std::sync::LazyLock;

use ::url::{Host as Parsed, Url};
use callgate_engine::cedar::{Extensions, Name, PartialValue, Value};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::target::kind::TargetError;
use crate::domain::request::target::special_purpose;

/// Domain suffixes that never lead to the public internet: IANA's Special-Use Domain Names, and `internal`,
/// which ICANN reserved for private use. `arpa` includes `home.arpa` and infrastructure names.
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

const WRITTEN_OTHERWISE: TargetError =
    TargetError::Ambiguous("a host that is written in another way than it is looked up by");

/// A host, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// In lower case, without a trailing dot; an IPv6 address in brackets.
    pub name: SmolStr,
    /// The address, if the host is one; that of an IPv6 address that leads to an IPv4 address is that one.
    pub address: Option<IpAddr>,
    /// The registrable domain, by the Public Suffix List; the host itself if the list's private section has it.
    pub domain: Option<SmolStr>,
    /// Whether the host is on the public internet: a public address, or a name with a registrable domain.
    /// Names are not resolved.
    pub is_open: bool,
}

impl Host {
    /// The host in the authority part of a URL.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ambiguous`] if parsers may read different hosts.
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
            // Compared as written, to reject other number bases.
            Some(Parsed::Ipv4(address)) if plain == address.to_string() => {
                Ok(Self::of_address(IpAddr::V4(address)))
            }
            Some(Parsed::Domain(domain)) if is_same_name(domain, &plain) => Self::of_plain(&plain),
            Some(_) => Err(WRITTEN_OTHERWISE),
            None => Err(TargetError::Not("a URL with a host")),
        }
    }

    /// The host of a URL of a scheme whose hosts URL parsers leave as they are, which programs then look up. Some of
    /// them take numbers for an IPv4 address, and names of resources hold such too (`users://7/profile`,
    /// `release://1.2.3/notes`): it stays what it is, and has the address.
    fn of_plain(plain: &str) -> Result<Self, TargetError> {
        match Parsed::parse(plain) {
            Ok(Parsed::Ipv4(address)) if plain == address.to_string() => {
                Ok(Self::of_address(IpAddr::V4(address)))
            }
            Ok(Parsed::Ipv4(_)) if is_of_another_base(plain) => Err(WRITTEN_OTHERWISE),
            Ok(Parsed::Ipv4(address)) => Ok(Self {
                name: SmolStr::new(plain),
                ..Self::of_address(IpAddr::V4(address))
            }),
            Ok(_) | Err(_) => Ok(Self::of_name(plain)),
        }
    }

    /// A host given by name: in ASCII, in lower case, without a trailing dot.
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
            // As in URLs, where an embedded IPv4 address is written in hexadecimal.
            IpAddr::V6(address) => SmolStr::from(Parsed::<&str>::Ipv6(address).to_string()),
        };
        Self {
            name,
            address: Some(special_purpose::led_to(address)),
            domain: None,
            is_open: special_purpose::is_open(address),
        }
    }

    /// The attributes that policies see, by name.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let text = |text: &SmolStr| Value::new(text.clone(), None);
        let of_all = [
            ("host", text(&self.name)),
            ("public", Value::new(self.is_open, None)),
        ];
        let address = self.address.and_then(address_value);
        let domain = self.domain.as_ref().map(text);
        let of_some = [("address", address), ("domain", domain)];
        let of_some = of_some.into_iter();
        of_all
            .into_iter()
            .chain(of_some.filter_map(|(name, value)| Some((name, value?))))
    }
}

fn is_same_name(domain: &str, plain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    !plain.is_empty() && domain.eq_ignore_ascii_case(plain)
}

/// The registrable domain of a name, by the Public Suffix List; `None` if no listed suffix matches. A suffix of the list's
/// private section is one itself: somebody registered it, and lets others have names below (`s3.amazonaws.com`).
fn registered_domain(name: &str) -> Option<SmolStr> {
    let domain = match psl::domain(name.as_bytes()) {
        Some(domain) => domain.suffix().is_known().then(|| domain.as_bytes()),
        None => listed_suffix(name)
            .filter(|suffix| suffix.typ() == Some(psl::Type::Private))
            .map(|suffix| suffix.as_bytes()),
    };
    std::str::from_utf8(domain?).ok().map(SmolStr::new)
}

/// Whether names below this one are domains of their own, by the Public Suffix List.
pub fn holds_domains(name: &str) -> bool {
    listed_suffix(name).is_some_and(|suffix| suffix.as_bytes() == name.as_bytes())
}

fn listed_suffix(name: &str) -> Option<psl::Suffix<'_>> {
    psl::suffix(name.as_bytes()).filter(psl::Suffix::is_known)
}

/// An address as a Cedar `ipaddr`.
pub fn address_value(address: IpAddr) -> Option<Value> {
    static IPADDR: LazyLock<Option<Name>> =
        LazyLock::new(|| Name::parse_unqualified_name("ip").ok());
    extension_value(&IPADDR, format_smolstr!("{address}"))
}

/// A value of a Cedar extension type, parsed from text.
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

/// Whether a host of numbers is written in hexadecimal, or as an address in octal.
fn is_of_another_base(plain: &str) -> bool {
    let is_octal = |part: &str| part.len() > 1 && part.starts_with('0');
    plain.contains('x') || plain.contains('.') && plain.split('.').any(is_octal)
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
