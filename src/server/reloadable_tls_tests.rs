use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::config::listen::ClientCertificate;

/// A certificate of `localhost` that ends as this year begins, and its key.
fn issue(year: i32) -> (String, String) {
    issue_from(2000, year)
}

fn issue_from(begin: i32, year: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(begin, 1, 1);
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

#[test]
fn a_certificate_that_is_not_valid_now_replaces_none() {
    let dir = tempfile::tempdir().unwrap();
    let put = |(certificate, key): (String, String)| {
        fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        fs::write(dir.path().join("key.pem"), key).unwrap();
    };
    let files = TlsConfig {
        cert: "cert.pem".into(),
        key: "key.pem".into(),
        client_ca: None,
        client_certificate: ClientCertificate::Required,
    };
    put(issue(2090));
    let tls = ReloadableTls::load(&files, dir.path(), Duration::from_secs(1)).unwrap();

    put(issue(2020));
    assert_eq!(tls.reload(), TlsReload::Faulty);
    let fault = tls.fault().expect("a fault").error.clone();
    assert!(fault.contains("expired at 2020-01-01T00:00:00Z"), "{fault}");
    put(issue_from(2080, 2091));
    assert_eq!(tls.reload(), TlsReload::Faulty);
    let fault = tls.fault().expect("a fault").error.clone();
    let said = "is not valid before 2080-01-01T00:00:00Z";
    assert!(fault.contains(said), "{fault}");
    assert_eq!(expires(&tls), "2090-01-01T00:00:00Z", "the old one stays");

    put(issue(2091));
    assert_eq!(tls.reload(), TlsReload::Applied);
    assert_eq!(tls.fault(), None);
    // At a start there is none to go on with.
    put(issue(2020));
    let tls = ReloadableTls::load(&files, dir.path(), Duration::from_secs(1)).unwrap();
    assert_eq!(tls.reload(), TlsReload::Unchanged);
}
