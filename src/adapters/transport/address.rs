//! IP addresses as gateways write them.

use std::net::{IpAddr, SocketAddr};

use crate::adapters::input::field_error::{FieldProblem, TextExcerpt};

/// Parses an IP address, with or without brackets and a port. An IPv4-mapped IPv6 address
/// (`::ffff:192.0.2.1`) becomes the IPv4 address, so that policies about IPv4 apply to it. An address with a
/// zone is an error: a zone means something else on every machine.
pub(in crate::adapters) fn read(text: &str) -> Result<IpAddr, FieldProblem> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match bare {
        // Brackets are for IPv6 only.
        Some(bare) => bare.parse().map(IpAddr::V6).ok(),
        None => text
            .parse()
            .or_else(|_| text.parse::<SocketAddr>().map(|it| it.ip()))
            .ok(),
    };
    address
        .filter(|_| !text.contains('%'))
        .map(|it: IpAddr| it.to_canonical())
        .ok_or_else(|| FieldProblem::NotAnAddress(TextExcerpt::new(text)))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
