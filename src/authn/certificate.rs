//! The other end of a connection, and the names in the certificate that it presents.

use std::sync::Arc;

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

/// The peer of a connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<PeerState>);

#[derive(Debug, Default)]
struct PeerState {
    names: Vec<PeerName>,
    is_encrypted: bool,
    standing: Arc<ConnectionState>,
}

impl Peer {
    /// The peer of a connection without TLS.
    pub fn new(standing: Arc<ConnectionState>) -> Self {
        Self(Arc::new(PeerState {
            standing,
            ..PeerState::default()
        }))
    }

    /// The peer of a connection over TLS, with the certificate chain that the handshake has verified; empty if it
    /// presented none.
    pub fn over_tls(standing: Arc<ConnectionState>, chain: &[impl AsRef<[u8]>]) -> Self {
        let end_entity = chain.first();
        Self(Arc::new(PeerState {
            names: end_entity.map_or_else(Vec::new, |der| peer_names(der.as_ref())),
            is_encrypted: true,
            standing,
        }))
    }

    /// The state of the connection.
    pub fn standing(&self) -> &Arc<ConnectionState> {
        &self.0.standing
    }

    /// The names in its end-entity certificate.
    pub fn names(&self) -> &[PeerName] {
        &self.0.names
    }

    /// Whether the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.0.is_encrypted
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
