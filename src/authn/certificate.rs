//! The other end of a connection, and the names in the certificate that it presents.
//!
//! Invariant: a certificate counts until its end and no longer, however long the connection lives: its names are only had
//! for a moment ([`Peer::certificate`]).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authn::connection::ConnectionState;

/// Longer than any handshake takes, `limits.handshake_ms` at most.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(60);
/// How long before the end of its certificate a client is told to connect again, at most.
const RENEWED_BEFORE: Duration = Duration::from_secs(10);

/// A subject alternative name that can identify a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// A URI, e.g. a SPIFFE id.
    Uri(String),
    /// A DNS name, in lower case.
    Dns(String),
}

/// What a peer shows of itself by its certificate, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShownCertificate<'a> {
    /// It has shown none.
    #[default]
    None,
    /// The names in its end-entity certificate.
    Valid(&'a [PeerName]),
    /// A certificate of the chain has expired since the connection was made.
    Expired,
}

/// The peer of a connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<PeerState>);

#[derive(Debug, Default)]
struct PeerState {
    /// `None` if it presented no certificate.
    certificate: Option<PeerCertificate>,
    is_encrypted: bool,
    standing: Arc<ConnectionState>,
}

/// What counts of the certificate chain of a client.
#[derive(Debug)]
struct PeerCertificate {
    names: Vec<PeerName>,
    validity: Option<PeerValidity>,
}

/// How long a chain is valid, by the clock that does not jump. Without it the chain has no end that this clock reaches.
#[derive(Debug, Clone, Copy)]
struct PeerValidity {
    /// When the client is told to connect again.
    renewal: Instant,
    end: Instant,
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
        let certificate = chain.first().map(|end_entity| PeerCertificate {
            names: peer_names(end_entity.as_ref()),
            validity: PeerValidity::new(chain, SystemTime::now(), Instant::now()),
        });
        Self(Arc::new(PeerState {
            certificate,
            is_encrypted: true,
            standing,
        }))
    }

    /// The state of the connection.
    pub fn standing(&self) -> &Arc<ConnectionState> {
        &self.0.standing
    }

    /// What its certificate shows at a moment. `now` is asked only if it has shown one that ends.
    pub fn certificate(&self, now: impl FnOnce() -> Instant) -> ShownCertificate<'_> {
        let Some(certificate) = &self.0.certificate else {
            return ShownCertificate::None;
        };
        match certificate.validity {
            Some(validity) if now() >= validity.end => ShownCertificate::Expired,
            _ => ShownCertificate::Valid(&certificate.names),
        }
    }

    /// When the connection takes no more requests, so that the client connects again while its certificate counts; `None`
    /// for never.
    pub fn renewal(&self) -> Option<Instant> {
        let certificate = self.0.certificate.as_ref();
        certificate.and_then(|it| it.validity).map(|it| it.renewal)
    }

    /// Whether the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.0.is_encrypted
    }
}

impl PeerValidity {
    /// That of a chain which the handshake has found valid, perhaps a while ago. What else had expired before that was shown
    /// for nothing: no path was built with it.
    fn new(chain: &[impl AsRef<[u8]>], now: SystemTime, moment: Instant) -> Option<Self> {
        let (end_entity, others) = chain.split_first()?;
        let others = others.iter().filter_map(|der| end_of(der.as_ref()));
        let others = others.filter(|end| *end + LONGEST_HANDSHAKE > now);
        let end = others.chain(end_of(end_entity.as_ref())).min()?;
        let left = end.duration_since(now).unwrap_or_default();
        // Who has but the same certificate connects again some times in the last seconds, and not without end.
        let renewal = left - RENEWED_BEFORE.min(left / 10);
        Some(Self {
            renewal: moment.checked_add(renewal)?,
            end: moment.checked_add(left)?,
        })
    }
}

/// The first moment at which a certificate (DER) is no longer valid; `None` if it cannot be read.
fn end_of(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // It is valid for all of its last second (RFC 5280, 4.1.2.5).
    let after = certificate.validity().not_after.timestamp() + 1;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(after).ok()?))
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
