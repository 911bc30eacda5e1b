use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

fn certificate(names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let key = KeyPair::generate().expect("a key");
    params
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ascii"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ascii"))
}

#[test]
fn uris_and_dns_names_are_read_and_addresses_are_not() {
    let der = certificate(vec![
        uri("spiffe://example.org/edge"),
        dns("Edge.Example.ORG"),
        SanType::IpAddress("192.0.2.1".parse().expect("an address")),
    ]);
    assert_eq!(
        peer_names(&der),
        [
            PeerName::Uri("spiffe://example.org/edge".into()),
            PeerName::Dns("edge.example.org".into())
        ]
    );
}

#[test]
fn a_second_uri_beside_a_spiffe_id_voids_both() {
    let der = certificate(vec![
        uri("spiffe://example.org/edge"),
        uri("https://example.org/"),
        dns("a.example"),
    ]);
    assert_eq!(peer_names(&der), [PeerName::Dns("a.example".into())]);
}

#[test]
fn what_is_not_a_certificate_has_no_names() {
    assert_eq!(peer_names(b""), []);
    assert_eq!(peer_names(&[0x30, 0x82, 0xff, 0xff, 1, 2, 3]), []);
    let der = certificate(vec![uri("spiffe://example.org/edge")]);
    for end in (0..der.len()).step_by(7) {
        assert_eq!(peer_names(&der[..end]), [], "cut at {end}");
    }
}

#[test]
fn a_peer_has_the_names_of_the_first_certificate_alone() {
    let chain = [dns("a.example"), dns("issuer.example")].map(|name| certificate(vec![name]));
    let peer = Peer::over_tls(Arc::default(), &chain);
    assert_eq!(peer.names(), [PeerName::Dns("a.example".into())]);
    let without_certificate = Peer::over_tls(Arc::default(), &[] as &[Vec<u8>]);
    assert_eq!(without_certificate.names(), []);
    assert!(peer.is_encrypted() && without_certificate.is_encrypted());
    assert!(!Peer::new(Arc::default()).is_encrypted());
}
