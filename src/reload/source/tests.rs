use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::bundle::archive::signature::SigningKey;
use crate::bundle::files;
use crate::reload::loading::Loader;

/// The keys of RFC 8032, section 7.1, test 1, as OpenSSL writes them.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        fs::write(dir.path().join("key.pem"), KEY).unwrap();
        fs::write(dir.path().join("key.pub"), PUBLIC).unwrap();
        let only_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(dir.path().join("key.pem"), only_owner).unwrap();
        Self { dir }
    }

    /// An archive with one policy of this text.
    fn pack(&self, policy: &str, version: u64, is_signed: bool) -> Vec<u8> {
        let policies = self.dir.path().join("policies");
        fs::write(policies.join("a.cedar"), policy).unwrap();
        let files = files::read(&policies).unwrap();
        let key = SigningKey::read(&self.dir.path().join("key.pem")).unwrap();
        archive::pack(&files, &policies, version, is_signed.then_some(&key)).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.dir.path().join("next"), bytes).unwrap();
        fs::rename(self.dir.path().join("next"), self.dir.path().join("b")).unwrap();
    }

    fn config(&self) -> BundleConfig {
        BundleConfig {
            file: Some("b".into()),
            public_key_files: vec!["key.pub".into()],
            ..BundleConfig::default()
        }
    }

    fn source(&self, config: &BundleConfig) -> Arc<ArchiveSource> {
        let base = self.dir.path();
        Arc::new(ArchiveSource::new(config, base, &base.join("cache/last")).unwrap())
    }

    /// What a start finds: the version that is in service, and why it is not the one that is there.
    fn start(&self, config: &BundleConfig) -> Result<(String, Option<String>), String> {
        let loader = Loader::of_archive(self.source(config));
        match loader.first() {
            Ok(first) => Ok((
                first.bundle.policies[0].id.to_string(),
                first.fault.map(|it| it.to_string()),
            )),
            Err(faults) => Err(faults.to_string()),
        }
    }
}

fn policy(id: &str) -> String {
    format!("@id(\"{id}\") permit (principal, action, resource);")
}

#[test]
fn the_last_good_one_is_kept_across_restarts_and_an_older_or_unsigned_one_is_refused() {
    let bench = Bench::new();
    let config = bench.config();
    assert!(bench.start(&config).is_err(), "there is nothing yet");
    bench.put(&bench.pack(&policy("two"), 2, true));
    assert_eq!(bench.start(&config), Ok(("two".to_owned(), None)));
    let cases = [
        (bench.pack(&policy("three"), 3, false), "not signed"),
        (
            bench.pack(&policy("one"), 1, true),
            "an older bundle is refused",
        ),
        (
            bench.pack(&policy("other"), 2, true),
            "another bundle of this version",
        ),
        (
            bench.pack("permit (principal, action", 3, true),
            "a.cedar:1",
        ),
        (b"nothing".to_vec(), "no archive"),
    ];
    for (bytes, expected) in cases {
        bench.put(&bytes);
        let (id, fault) = bench.start(&config).unwrap();
        assert_eq!(id, "two");
        assert!(
            fault.as_ref().is_some_and(|it| it.contains(expected)),
            "{expected}: {fault:?}"
        );
    }
    fs::remove_file(bench.dir.path().join("b")).unwrap();
    assert_eq!(bench.start(&config).unwrap().0, "two");
    bench.put(&bench.pack(&policy("three"), 3, true));
    assert_eq!(bench.start(&config), Ok(("three".to_owned(), None)));
    // Whoever may write the copy that was kept is no signer either.
    fs::remove_file(bench.dir.path().join("b")).unwrap();
    fs::write(
        bench.dir.path().join("cache/last"),
        bench.pack(&policy("evil"), 9, false),
    )
    .unwrap();
    assert!(bench.start(&config).is_err());
    assert!(bench.source(&config).cache_fault().is_some());
}

#[test]
fn without_keys_nothing_has_to_be_signed() {
    let bench = Bench::new();
    let config = BundleConfig {
        public_key_files: Vec::new(),
        ..bench.config()
    };
    bench.put(&bench.pack(&policy("two"), 2, false));
    assert_eq!(bench.start(&config), Ok(("two".to_owned(), None)));
    bench.put(&bench.pack(&policy("one"), 1, false));
    assert_eq!(bench.start(&config), Ok(("one".to_owned(), None)));
}

/// What the server of the test answers next.
#[derive(Clone)]
struct Served {
    status: &'static str,
    tag: Option<&'static str>,
    body: Vec<u8>,
}

/// An HTTPS server of one address, which tells the requests that it gets.
struct HttpsServer {
    address: SocketAddr,
    served: Arc<Mutex<Served>>,
    requests: mpsc::Receiver<String>,
    ca: String,
}

impl HttpsServer {
    fn start(served: Served) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            served: Arc::new(Mutex::new(served)),
            requests: mpsc::channel().1,
            ca: cert.pem(),
        };
        let (told, requests) = mpsc::channel();
        let (served, tls) = (Arc::clone(&server.served), Arc::new(tls));
        // It ends with the process, or once nobody asks for what it tells.
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&tls)).unwrap();
                let mut stream = StreamOwned::new(session, tcp.unwrap());
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                if request.is_empty() {
                    continue;
                }
                let request = String::from_utf8_lossy(&request).to_lowercase();
                let Served { status, tag, body } = served.lock().unwrap().clone();
                let is_same =
                    tag.is_some_and(|tag| request.contains(&format!("if-none-match: {tag}")));
                let tag = tag
                    .map(|tag| format!("etag: {tag}\r\n"))
                    .unwrap_or_default();
                let answer = match is_same {
                    true => format!("HTTP/1.1 304 Not Modified\r\n{tag}\r\n").into_bytes(),
                    false => {
                        let head = format!(
                            "HTTP/1.1 {status}\r\n{tag}content-length: {}\r\n\r\n",
                            body.len()
                        );
                        [head.as_bytes(), &body].concat()
                    }
                };
                let _ = stream.write_all(&answer).and_then(|()| stream.flush());
                if told.send(request).is_err() {
                    return;
                }
            }
        });
        Self { requests, ..server }
    }

    fn serve(&self, served: Served) {
        *self.served.lock().unwrap() = served;
    }

    fn config(&self, bench: &Bench) -> BundleConfig {
        fs::write(bench.dir.path().join("ca.pem"), &self.ca).unwrap();
        fs::write(bench.dir.path().join("token"), "secret-word\n").unwrap();
        BundleConfig {
            file: None,
            url: Some(format!(
                "https://localhost:{}/p/b.tar.zst?x=1",
                self.address.port()
            )),
            ca_file: Some("ca.pem".into()),
            token_file: Some("token".into()),
            ..bench.config()
        }
    }
}

#[test]
fn an_address_is_asked_with_the_tag_of_its_last_answer() {
    let bench = Bench::new();
    let good = |id: &str, version, tag| Served {
        status: "200 OK",
        tag,
        body: bench.pack(&policy(id), version, true),
    };
    let server = HttpsServer::start(good("one", 1, Some("\"a\"")));
    let source = bench.source(&server.config(&bench));
    let version = || source.read().map(|(opened, _)| opened.version);
    assert_eq!(version().unwrap(), 1);
    let first = server.requests.recv().unwrap();
    assert!(
        first.starts_with("get /p/b.tar.zst?x=1 http/1.1\r\n"),
        "{first}"
    );
    assert!(
        first.contains("authorization: bearer secret-word\r\n"),
        "{first}"
    );
    assert!(!first.contains("if-none-match"), "{first}");
    assert_eq!(version().unwrap(), 1);
    assert!(
        server
            .requests
            .recv()
            .unwrap()
            .contains("if-none-match: \"a\"\r\n")
    );
    server.serve(good("two", 2, None));
    assert_eq!(version().unwrap(), 2);
    // Without a tag everything is asked for each time.
    assert_eq!(version().unwrap(), 2);
    let asked: Vec<String> = server.requests.try_iter().collect();
    assert!(!asked.last().unwrap().contains("if-none-match"));
}

#[test]
fn what_an_address_answers_otherwise_is_told_and_leaves_the_last_good_one() {
    let bench = Bench::new();
    let good = Served {
        status: "200 OK",
        tag: Some("\"a\""),
        body: bench.pack(&policy("one"), 1, true),
    };
    let server = HttpsServer::start(good.clone());
    let config = server.config(&bench);
    assert_eq!(bench.start(&config), Ok(("one".to_owned(), None)));
    for (status, body, expected) in [
        ("404 Not Found", Vec::new(), "answers 404"),
        ("302 Found", Vec::new(), "redirections are not followed"),
        ("200 OK", b"<html>".to_vec(), "no archive"),
        (
            "200 OK",
            bench.pack(&policy("zero"), 0, true),
            "an older bundle is refused",
        ),
    ] {
        server.serve(Served {
            status,
            tag: None,
            body,
        });
        let (id, fault) = bench.start(&config).unwrap();
        assert_eq!(id, "one");
        assert!(
            fault.as_ref().is_some_and(|it| it.contains(expected)),
            "{expected}: {fault:?}"
        );
    }
    // Another server's certificate.
    let other = HttpsServer::start(good);
    fs::write(bench.dir.path().join("ca.pem"), &other.ca).unwrap();
    let (_, fault) = bench.start(&config).unwrap();
    assert!(
        fault
            .as_ref()
            .is_some_and(|it| it.contains("cannot connect")),
        "{fault:?}"
    );
    let gone = BundleConfig {
        ca_file: Some("nowhere".into()),
        ..config
    };
    let refused = ArchiveSource::new(&gone, bench.dir.path(), Path::new("x")).unwrap_err();
    assert!(
        refused.to_string().starts_with("`bundle.ca_file`"),
        "{refused}"
    );
}
