//! Names in client certificates.

use std::sync::{Arc, OnceLock};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authn::connection::ConnectionState;

/// A subject alternative name that can identify a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// A URI, e.g. a SPIFFE id.
    Uri(String),
    /// A DNS name, in lower case.
    Dns(String),
}

/// The peer of a connection. The names in its certificate are parsed once, on the first request.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    names: Arc<OnceLock<Vec<PeerName>>>,
    standing: Arc<ConnectionState>,
}

impl Peer {
    /// The peer of a connection.
    pub fn new(standing: Arc<ConnectionState>) -> Self {
        Self {
            names: Arc::default(),
            standing,
        }
    }

    /// The state of the connection.
    pub fn standing(&self) -> &Arc<ConnectionState> {
        &self.standing
    }

    /// The names, if they have been parsed.
    pub fn names_read(&self) -> &[PeerName] {
        self.names.get().map_or(&[], Vec::as_slice)
    }

    /// The names in the end-entity certificate of a chain that the handshake has verified.
    pub fn names(&self, chain: &[impl AsRef<[u8]>]) -> &[PeerName] {
        self.names.get_or_init(|| {
            chain
                .first()
                .map(|der| peer_names(der.as_ref()))
                .unwrap_or_default()
        })
    }
}

/// The names in a certificate (DER); none if it cannot be read.
///
/// An X.509-SVID has exactly one URI, its SPIFFE id. A certificate with a SPIFFE id and any further URI
/// is not one, so none of its URIs counts.
pub fn peer_names(der: &[u8]) -> Vec<PeerName> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::URI(uri) => names.push(PeerName::Uri((*uri).to_owned())),
            GeneralName::DNSName(host) => names.push(PeerName::Dns(host.to_ascii_lowercase())),
            _ => {}
        }
    }
    let uris = || {
        names.iter().filter_map(|name| {
            if let PeerName::Uri(uri) = name {
                Some(uri)
            } else {
                None
            }
        })
    };
    if uris().count() > 1 && uris().any(|uri| uri.starts_with("spiffe://")) {
        names.retain(|name| !matches!(name, PeerName::Uri(_)));
    }
    names
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
