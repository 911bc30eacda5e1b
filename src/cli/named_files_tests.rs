use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A folder with a certificate, its key, and one of another.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["callgate.test".to_owned()]).expect("a name");
    write("cert.pem", &params.self_signed(&key).expect("signed").pem());
    params.not_after = date_time_ymd(2020, 1, 1);
    write("old.pem", &params.self_signed(&key).expect("signed").pem());
    write("key.pem", &key.serialize_pem());
    write(
        "other.pem",
        &KeyPair::generate().expect("a key").serialize_pem(),
    );
    write("open.key", &"0".repeat(64));
    folder
}

/// Faults and warnings by line and message, and the settings whose files are not there.
fn found(folder: &TempDir, text: &str, connects: bool) -> (Vec<String>, Vec<String>, Vec<String>) {
    let file: Arc<str> = Arc::from("callgate.toml");
    let config = Config::from_toml(text, &file).unwrap_or_else(|faults| panic!("{faults:?}"));
    let origin = SourceText { file: &file, text };
    let found = look(&config, origin, folder.path(), connects);
    let told = |list: Vec<BundleDiagnostic>| {
        let told = list.into_iter().map(|it| {
            let said = it.message.replace(&folder.path().display().to_string(), "");
            format!("{}: {said}", it.line.unwrap_or_default())
        });
        told.collect()
    };
    let missing = found.missing.into_iter().map(|it| it.field);
    (told(found.faults), told(found.warnings), missing.collect())
}

fn tls(cert: &str, key: &str) -> String {
    let digest = "a".repeat(64);
    let caller = format!("[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{digest}\"]\n");
    format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n{caller}")
}

#[test]
fn what_a_start_refuses_of_certificates_and_keys_is_a_fault_where_it_is_named() {
    let folder = folder();
    let faults = |text: &str| found(&folder, text, false).0;
    assert_eq!(faults(&tls("cert.pem", "key.pem")), [""; 0]);
    for (cert, key, said) in [
        ("cert.pem", "other.pem", "cannot be used"),
        ("key.pem", "key.pem", "holds no certificate"),
        ("cert.pem", "cert.pem", "holds no private key"),
    ] {
        let faults = faults(&tls(cert, key));
        assert!(
            faults.len() == 1 && faults[0].starts_with("1: `tls`"),
            "{faults:?}"
        );
        assert!(faults[0].contains(said), "{faults:?}");
    }
    let mode = |mode: u32| {
        let file = folder.path().join("open.key");
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("set");
    };
    for (text, name) in [
        (
            "[audit]\ncapsule_key_file = \"open.key\"\n",
            "audit.capsule_key_file",
        ),
        (
            "[audit]\nsigning_key_file = \"open.key\"\n",
            "audit.signing_key_file",
        ),
    ] {
        mode(0o644);
        let found = faults(text);
        let begin = format!("2: `{name}` cannot be used");
        assert!(
            found.len() == 1 && found[0].starts_with(&begin),
            "{found:?}"
        );
        assert!(found[0].contains("its mode is 644"), "{found:?}");
    }
    mode(0o600);
    assert_eq!(
        faults("[audit]\ncapsule_key_file = \"open.key\"\n"),
        [""; 0]
    );
    let found = faults("[audit]\nsigning_key_file = \"open.key\"\n");
    assert!(found[0].contains("of no use"), "{found:?}");
    let found = faults("[state]\nurl = \"postgres://db.example.com/callgate\"\n");
    assert!(
        found[0].starts_with("2: `state.url` cannot be used"),
        "{found:?}"
    );
}

/// A key of the service's group, as packages give it out: fine for the service, whoever checks.
#[test]
fn what_another_user_may_use_is_a_warning_where_the_server_need_not_run_as_this_one() {
    let folder = folder();
    let file = folder.path().join("open.key");
    fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("set");
    for text in [
        "[audit]\ncapsule_key_file = \"open.key\"\n",
        "[audit]\nsigning_key_file = \"open.key\"\n",
    ] {
        let (faults, warnings, _) = found(&folder, text, false);
        assert_eq!(faults, [""; 0], "{text}");
        assert!(warnings[0].contains("as another user"), "{warnings:?}");
        let (faults, _, _) = found(&folder, text, true);
        assert!(faults[0].contains("its mode is 640"), "{faults:?}");
    }
}

#[test]
fn a_certificate_that_has_expired_is_a_warning_as_a_start_only_logs_it() {
    let (faults, warnings, missing) = found(&folder(), &tls("old.pem", "key.pem"), false);
    assert_eq!((faults, missing), (vec![], vec![]));
    assert!(warnings.len() == 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("2: `tls.cert` will be refused"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].contains("expired at 2020-01-01"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_not_here_is_listed_and_a_fault_where_the_server_is_to_run() {
    let folder = folder();
    let text = tls("nowhere.pem", "key.pem") + "[audit]\ncapsule_key_file = \"made.key\"\n";
    let (faults, warnings, missing) = found(&folder, &text, false);
    assert_eq!((faults, warnings), (vec![], vec![]));
    // The key is made by the first start.
    assert_eq!(missing, ["tls.cert"]);
    let (faults, _, missing) = found(&folder, &text, true);
    assert_eq!(
        faults,
        ["2: `tls.cert` names `/nowhere.pem`, which is not there"]
    );
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_database_is_asked_only_where_the_server_is_to_run() {
    let folder = folder();
    // Nobody listens there.
    let text = "[state]\nurl = \"postgres://callgate@127.0.0.1:1/callgate\"\n";
    assert_eq!(found(&folder, text, false).0, [""; 0]);
    let faults = found(&folder, text, true).0;
    assert!(faults.len() == 1, "{faults:?}");
    assert!(
        faults[0].starts_with("2: `state.url` names a database that cannot be used"),
        "{faults:?}"
    );
}
