use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::config::listen::ClientCertificate;

/// A certificate of `localhost` that ends with this year, and its key.
fn issue(year: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn expires(tls: &ReloadableTls) -> String {
    let at = tls.current().expires_at.expect("an end");
    humantime::format_rfc3339_seconds(at).to_string()
}

#[test]
fn changed_files_are_taken_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let (old, old_key) = issue(2090);
    put("cert.pem", &old);
    put("key.pem", &old_key);
    let files = TlsConfig {
        cert: "cert.pem".into(),
        key: "key.pem".into(),
        client_ca: None,
        client_certificate: ClientCertificate::Required,
    };
    let tls = ReloadableTls::load(&files, dir.path(), Duration::from_secs(1)).unwrap();
    assert_eq!(tls.reload(), TlsReload::Unchanged);
    assert_eq!(expires(&tls), "2090-01-01T00:00:00Z");
    let before = tls.config(false);

    let (new, new_key) = issue(2091);
    put("cert.pem", &new);
    assert_eq!(tls.reload(), TlsReload::Faulty, "the key is of the old one");
    let fault = tls.fault().expect("a fault");
    assert!(
        fault.error.starts_with("the certificates cannot be used: "),
        "{fault:?}"
    );
    assert_eq!(tls.reload(), TlsReload::Faulty);
    assert_eq!(tls.fault().unwrap().at, fault.at, "it is the same fault");
    assert!(
        Arc::ptr_eq(&before, &tls.config(false)),
        "the old one stays"
    );

    put("key.pem", &new_key);
    assert_eq!(tls.reload(), TlsReload::Applied);
    assert_eq!(tls.fault(), None);
    assert_eq!(expires(&tls), "2091-01-01T00:00:00Z");
    assert!(!Arc::ptr_eq(&before, &tls.config(false)));

    fs::remove_file(dir.path().join("key.pem")).unwrap();
    assert_eq!(tls.reload(), TlsReload::Faulty);
    let fault = tls.fault().expect("a fault");
    assert!(fault.error.starts_with("`tls.key`: "), "{fault:?}");
    put("key.pem", &new_key);
    assert_eq!(tls.reload(), TlsReload::Unchanged);
    assert_eq!(tls.fault(), None);
}
