//! Mail addresses: `Bob <Bob@Example.com>` is `mailto:bob@example.com`.
//!
//! Accepts the part of RFC 5322 that all programs parse alike: `local@domain`, an optional display name with
//! angle brackets, several addresses separated by `,` or `;`. Quoted local parts, comments, groups, routes,
//! address literals, and names and domains in other letters by an encoding are rejected.

use ::url::Host as Parsed;
use smol_str::{SmolStr, format_smolstr};

use crate::domain::request::target::canonical::CanonicalTarget;
use crate::domain::request::target::host::Host;
use crate::domain::request::target::kind::{TargetError, TargetKind};
use crate::domain::request::target::url::split_scheme;

/// The maximum lengths of an address and of its local part, in bytes (RFC 5321).
const MAX_ADDRESS: usize = 254;
const MAX_LOCAL: usize = 64;

const NO_ADDRESS: TargetError = TargetError::Not(
    "a mail address `local@domain`, alone or as `Name <local@domain>`, or several with `,` between them",
);

const OTHER_LETTERS: TargetError = TargetError::Ambiguous(
    "a domain in other letters than it is looked up by: its ASCII form begins with `xn--`",
);

/// Parses one address or several.
pub(super) fn read(text: &str) -> Result<Vec<CanonicalTarget>, TargetError> {
    let text = match split_scheme(text) {
        Some((scheme, rest)) if scheme == "mailto" => rest,
        _ => text,
    };
    // A name in quotes may have either sign: `"Menon, Ravi" <ravi@example.com>`.
    let mut is_quoted = false;
    let is_between = |c: char| {
        is_quoted ^= c == '"';
        !is_quoted && matches!(c, ',' | ';')
    };
    text.split(is_between)
        .map(|part| address(bare(part.trim())?))
        .collect()
}

/// The address without its display name.
fn bare(part: &str) -> Result<&str, TargetError> {
    let Some((name, rest)) = part.split_once('<') else {
        return Ok(part);
    };
    let address = rest.strip_suffix('>').ok_or(NO_ADDRESS)?;
    let name = name.trim();
    let unquoted = name.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    // Some programs read an address, quote, bracket, escape or encoded word in the display name differently.
    const ODD: [char; 10] = ['<', '>', '@', '"', '(', ')', '[', ']', ':', '\\'];
    let is_plain = |name: &str| !name.contains(ODD) && !name.contains("=?");
    match is_plain(unquoted.unwrap_or(name)) {
        true => Ok(address),
        false => Err(NO_ADDRESS),
    }
}

fn address(text: &str) -> Result<CanonicalTarget, TargetError> {
    let (local, domain) = text.split_once('@').ok_or(NO_ADDRESS)?;
    if text.len() > MAX_ADDRESS || local.len() > MAX_LOCAL || !is_local(local) {
        return Err(NO_ADDRESS);
    }
    // Readers of other standards look up another one: `straße.de` as `strasse.de`.
    if !domain.is_ascii() {
        return Err(OTHER_LETTERS);
    }
    let domain = canonical_domain(domain).ok_or(NO_ADDRESS)?;
    let host = Host::of_name(&domain);
    Ok(CanonicalTarget {
        kind: Some(TargetKind::Email),
        name: format_smolstr!("mailto:{}@{domain}", local.to_ascii_lowercase()),
        scheme: Some(SmolStr::new_static("mailto")),
        host: Some(host),
        ..CanonicalTarget::default()
    })
}

/// Whether this is a dot-atom. `%` and `!` are relay syntax for some mail systems, `/` and `=` gateway
/// syntax.
fn is_local(local: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"#$&'*+-?^_`{|}~".contains(&byte);
    local
        .split('.')
        .all(|word| !word.is_empty() && word.bytes().all(is_part))
}

fn canonical_domain(domain: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !domain.chars().all(is_part) {
        return None;
    }
    let Ok(Parsed::Domain(ascii)) = Parsed::parse(domain) else {
        return None;
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    ascii.split('.').all(is_label).then_some(ascii)
}
