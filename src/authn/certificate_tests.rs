use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

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
    let shown = |peer: &Peer| match peer.certificate(Instant::now) {
        ShownCertificate::Valid(names) => Some(names.to_vec()),
        _ => None,
    };
    assert_eq!(shown(&peer), Some(vec![PeerName::Dns("a.example".into())]));
    let without_certificate = Peer::over_tls(Arc::default(), &[] as &[Vec<u8>]);
    assert_eq!(
        without_certificate.certificate(|| panic!("nothing ends")),
        ShownCertificate::None
    );
    assert!(peer.is_encrypted() && without_certificate.is_encrypted());
    assert!(!Peer::new(Arc::default()).is_encrypted());
}

/// A certificate whose last second is this one since 1970.
fn valid_until(second: u64) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    certificate.der().to_vec()
}

#[test]
fn a_chain_is_valid_as_long_as_all_of_it_that_was_valid_when_it_was_shown() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let moment = Instant::now();
    let left = |ends: &[u64]| {
        let chain: Vec<_> = ends.iter().map(|after| valid_until(*after)).collect();
        let validity = PeerValidity::new(&chain, now, moment)?;
        Some((
            (validity.renewal - moment).as_millis(),
            (validity.end - moment).as_millis(),
        ))
    };
    // To the end of its last second; the client is told ten seconds before, or a tenth of the time where that is less.
    assert_eq!(left(&[2_000_003_599]), Some((3_590_000, 3_600_000)));
    assert_eq!(left(&[2_000_000_049]), Some((45_000, 50_000)));
    assert_eq!(
        left(&[2_000_003_599, 2_000_000_999, 2_000_099_999]),
        Some((990_000, 1_000_000))
    );
    // An authority of before that the client goes on sending is no part of what was verified.
    assert_eq!(
        left(&[2_000_003_599, 1_999_999_938]),
        Some((3_590_000, 3_600_000))
    );
    // What has ended while the client took its time with the handshake has ended.
    for ended in [&[1_999_999_990][..], &[2_000_003_599, 1_999_999_990]] {
        assert_eq!(left(ended), Some((0, 0)), "{ended:?}");
    }
    assert_eq!(
        PeerValidity::new(&[b"no certificate"], now, moment).map(|it| it.end),
        None
    );
}

#[test]
fn a_certificate_shows_nothing_once_it_has_expired() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let end = now.expect("after 1970").as_secs() + 3_600;
    let peer = Peer::over_tls(Arc::default(), &[valid_until(end)]);
    let at = |seconds| peer.certificate(|| Instant::now() + Duration::from_secs(seconds));
    assert_eq!(at(3_590), ShownCertificate::Valid(&[]));
    assert_eq!(at(3_602), ShownCertificate::Expired);
    let renewal = peer.renewal().expect("a moment");
    assert!(matches!(
        peer.certificate(|| renewal),
        ShownCertificate::Valid(_)
    ));
    assert_eq!(Peer::default().renewal(), None);
}
