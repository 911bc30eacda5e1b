//! IP addresses, as gateways write them.

use std::net::{IpAddr, SocketAddr};

use crate::adapters::input::field_error::{FieldProblem, TextExcerpt};

/// Reads an address, with or without brackets and a port. An IPv4 address that is written as an IPv6 one
/// (`::ffff:192.0.2.1`) is the IPv4 address, so that rules about IPv4 hold for it. What has a zone is refused: it means
/// something else on every machine.
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
