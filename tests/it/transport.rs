//! Sockets, certificates, tokens and rights.

use callgate::config::Config;
use callgate::config::listen::SocketMode;
use callgate::proto::v1;
use callgate::proto::v1::Decision;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::server::listen::{ListenError, Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use sha2::{Digest, Sha256};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::serving::{Running, call, call_for, context, generation, start, start_empty};

fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    request
}

#[tokio::test]
async fn a_unix_socket_answers_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let mut server = start("").await;
    let mode = std::fs::metadata(&server.socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let endpoint = Endpoint::from_shared(format!("unix:{}", server.socket.display())).expect("an endpoint");
    let mut client = AuthorizationClient::new(endpoint.connect().await.expect("a connection"));
    let answer = client.authorize(call("log")).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), Decision::Allow);

    let socket = server.socket.clone();
    server.stop();
    server.ended().await.expect("a clean end");
    assert!(!socket.exists(), "the socket's file goes with the server");
}

#[tokio::test]
async fn a_unix_socket_replaces_only_what_nobody_uses() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let first = Listener::unix(&path, SocketMode(0o600)).await.expect("a socket");
    assert!(matches!(Listener::unix(&path, SocketMode(0o600)).await, Err(ListenError::InUse(_))));
    drop(first);
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "left behind by a process that has ended");
    let third = Listener::unix(&path, SocketMode(0o600)).await.expect("a socket");
    drop(third);
    std::fs::write(&path, "precious").expect("a file");
    assert!(matches!(Listener::unix(&path, SocketMode(0o600)).await, Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), "precious");
}

#[tokio::test]
async fn cleartext_beyond_loopback_is_refused_with_what_to_set() {
    let address = "0.0.0.0:0".parse().expect("an address");
    let Err(error) = Listener::tcp(address, false).await else { panic!("it listens") };
    let said = error.to_string();
    for part in ["cleartext on `0.0.0.0:0`", "set `[tls]` with `cert` and `key`", "127.0.0.1:50051", "Unix socket"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(Listener::tcp(address, true).await.is_ok());
}

fn two_callers() -> String {
    format!(
        r#"
[[callers]]
id = "edge"
token_sha256 = ["{}", "{}"]
rights = {{ rpcs = ["*"], assert_identity = true, assert_delegation = true, explain = true }}

[[callers]]
id = "listing"
token_sha256 = ["{}"]
rights = {{ rpcs = ["FilterTools", "Authorize", "AuthorizeStream"], assert_identity = true }}
"#,
        digest("edge-1"),
        digest("edge-2"),
        digest("listing"),
    )
}

#[tokio::test]
async fn tokens_tell_callers_apart() {
    let server = start(&two_callers()).await;
    let mut client = server.client().await;
    for token in ["edge-1", "edge-2"] {
        assert!(client.authorize(with_token(call("log"), token)).await.is_ok());
    }
    let code = |result: Result<_, Status>| result.map(|_: tonic::Response<v1::AuthorizeResponse>| ()).expect_err("refused").code();
    assert_eq!(code(client.authorize(call("log")).await), Code::Unauthenticated);
    assert_eq!(code(client.authorize(with_token(call("log"), "edge-3")).await), Code::Unauthenticated);
    // Who may not ask learns nothing about what is wrong with the question.
    let nonsense = v1::AuthorizeRequest::default();
    assert_eq!(code(client.authorize(nonsense).await), Code::Unauthenticated);
}

#[tokio::test]
async fn rights_bound_what_a_caller_may_ask_and_see() {
    let server = start(&two_callers()).await;
    let mut client = server.client().await;

    let batch = v1::AuthorizeBatchRequest { requests: vec![call("log")] };
    let status = client.authorize_batch(with_token(batch.clone(), "listing")).await.expect_err("no right");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "caller `listing` has no right to use `AuthorizeBatch`: add it to `rights.rpcs`"
    );
    assert!(client.authorize_batch(with_token(batch, "edge-1")).await.is_ok());

    let purge = v1::AuthorizeRequest { explain: true, ..call("purge") };
    let seen = client.authorize(with_token(purge.clone(), "edge-1")).await.expect("an answer").into_inner();
    assert!(seen.explanation.is_some() && seen.reasons[0].policy_ids == ["never-purge"]);
    let seen = client.authorize(with_token(purge, "listing")).await.expect("an answer").into_inner();
    assert_eq!(seen.reasons[0].message, "history is kept");
    assert!(seen.explanation.is_none() && seen.reasons[0].policy_ids.is_empty());
    assert!(seen.determining_policies.is_empty() && seen.reasons[0].detail.is_empty());
    let seen = client.authorize(with_token(call("log"), "listing")).await.expect("an answer").into_inner();
    assert_eq!((seen.obligations[0].id.as_str(), seen.obligations[0].policy_id.as_str()), ("log:full", ""));

    let delegated = client.authorize(with_token(call_for("log", "ana"), "listing")).await;
    let delegated = delegated.expect("an answer").into_inner();
    assert_eq!(delegated.reasons[0].code(), v1::ReasonCode::CallerNotTrusted);
}

#[tokio::test]
async fn a_reload_of_callers_reaches_open_streams() {
    let server = start(&two_callers()).await;
    let (questions, asked) = tokio::sync::mpsc::channel(1);
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers =
        server.client().await.authorize_stream(with_token(asked, "edge-1")).await.expect("a stream").into_inner();
    let question = || v1::AuthorizeStreamRequest { correlation_id: "c".into(), request: Some(call("log")) };
    questions.send(question()).await.expect("sent");
    assert!(answers.message().await.expect("an answer").is_some());

    let without_edge_1 = two_callers().replace(&digest("edge-1"), &digest("edge-9"));
    let config = Config::from_toml(&without_edge_1, "callgate.toml").expect("no faults");
    server.doors.apply(&config);
    questions.send(question()).await.expect("sent");
    assert_eq!(answers.message().await.expect_err("the token is gone").code(), Code::Unauthenticated);

    let nobody = Config::from_toml("", "callgate.toml").expect("no faults");
    server.doors.apply(&nobody);
    let status = server.client().await.authorize(with_token(call("log"), "edge-2")).await.expect_err("nobody");
    assert_eq!(status.code(), Code::Unauthenticated, "no callers left must not mean that everyone may ask");
}

/// A certificate authority with a server's certificate and two clients'.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { ca: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    fn issue(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        let name = SanType::DnsName("localhost".try_into().expect("ascii"));
        self.issue(vec![name], ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self, uri: &str) -> (String, String) {
        let name = SanType::URI(uri.try_into().expect("ascii"));
        self.issue(vec![name], ExtendedKeyUsagePurpose::ClientAuth)
    }
}

async fn start_tls(authority: &Authority, config: &str) -> Running {
    let (cert, key) = authority.server();
    let files = [("server.pem", cert.as_str()), ("server.key", &key), ("ca.pem", &authority.ca.pem())];
    let server = start_empty(config, &files).await;
    server.service.publish(generation());
    server
}

async fn connect(
    server: &Running,
    authority: &Authority,
    client: Option<(String, String)>,
) -> Result<AuthorizationClient<Channel>, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.ca.pem())).domain_name("localhost");
    if let Some((cert, key)) = client {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", server.address.port()))?.tls_config(tls)?;
    Ok(AuthorizationClient::new(endpoint.connect().await?))
}

#[tokio::test]
async fn tls_answers_those_with_a_token_and_cleartext_nobody() {
    let authority = Authority::new();
    let config = format!("[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n{}", two_callers());
    let server = start_tls(&authority, &config).await;
    let mut client = connect(&server, &authority, None).await.expect("a connection");
    let answer = client.authorize(with_token(call("log"), "edge-1")).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
    assert_eq!(client.authorize(call("log")).await.expect_err("no token").code(), Code::Unauthenticated);

    let cleartext = Endpoint::from_shared(format!("http://{}", server.address)).expect("an endpoint");
    let mut cleartext = AuthorizationClient::new(cleartext.connect_lazy());
    assert!(cleartext.authorize(with_token(call("log"), "edge-1")).await.is_err());
    let stranger = Authority::new();
    assert!(connect(&server, &stranger, None).await.is_err(), "a server of another authority");
}

#[tokio::test]
async fn a_client_certificate_proves_the_caller_it_names() {
    let authority = Authority::new();
    let config = format!(
        r#"
[tls]
cert = "server.pem"
key = "server.key"
client_ca = "ca.pem"

[[callers]]
id = "edge"
spiffe = ["spiffe://example.org/edge"]
rights = {{ rpcs = ["Authorize"], assert_identity = true }}

[[callers]]
id = "other"
token_sha256 = ["{}"]
rights = {{ rpcs = ["*"] }}
"#,
        digest("other")
    );
    let server = start_tls(&authority, &config).await;
    let edge = authority.client("spiffe://example.org/edge");
    let mut client = connect(&server, &authority, Some(edge)).await.expect("a connection");
    for _ in 0..3 {
        let answer = client.authorize(call("log")).await.expect("an answer").into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
    }
    let status = client.authorize(with_token(call("log"), "other")).await.expect_err("two callers at once");
    assert_eq!(status.message(), "the credentials belong to different callers");

    let unknown = authority.client("spiffe://example.org/unknown");
    let mut client = connect(&server, &authority, Some(unknown)).await.expect("a connection");
    let status = client.authorize(call("log")).await.expect_err("not configured");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the client certificate names no configured caller");

    let forged = Authority::new().client("spiffe://example.org/edge");
    for stranger in [None, Some(forged)] {
        // TLS 1.3 tells the client only when it first reads.
        if let Ok(mut client) = connect(&server, &authority, stranger).await {
            assert!(client.authorize(call("log")).await.is_err());
        }
    }
}

#[tokio::test]
async fn where_certificates_are_optional_a_token_will_do() {
    let authority = Authority::new();
    let tls = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\nclient_certificate = \"optional\"\n";
    let server = start_tls(&authority, &format!("{tls}{}", two_callers())).await;
    let mut client = connect(&server, &authority, None).await.expect("a connection");
    assert!(client.authorize(with_token(call("log"), "edge-2")).await.is_ok());
    assert!(client.authorize(call("log")).await.is_err());
}

#[tokio::test]
async fn files_that_are_not_certificates_are_named() {
    use callgate::config::listen::{ClientCertificate, Tls};
    use callgate::server::tls;

    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let (cert, key) = authority.server();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write("cert.pem", &cert);
    write("key.pem", &key);
    write("empty.pem", "nothing here");
    let load = |cert: &str, key: &str, client_ca: Option<&str>| {
        let files = Tls {
            cert: cert.into(),
            key: key.into(),
            client_ca: client_ca.map(Into::into),
            client_certificate: ClientCertificate::Required,
        };
        tls::load(&files, dir.path(), std::time::Duration::from_secs(1)).map(|_| ()).map_err(|fault| fault.to_string())
    };
    assert_eq!(load("cert.pem", "key.pem", None), Ok(()));
    for (fault, wanted) in [
        (load("absent.pem", "key.pem", None), "`tls.cert`: `"),
        (load("empty.pem", "key.pem", None), "empty.pem` holds no certificate in PEM form"),
        (load("cert.pem", "cert.pem", None), "cert.pem` holds no private key in PEM form"),
        (load("cert.pem", "key.pem", Some("key.pem")), "`tls.client_ca`: `"),
    ] {
        let said = fault.expect_err(wanted);
        assert!(said.contains(wanted), "{said}");
    }
}

#[tokio::test]
async fn a_trace_that_makes_no_sense_does_not_refuse_a_call() {
    let server = start("").await;
    let mut request = call("log");
    context(&mut request).trace =
        Some(v1::TraceContext { traceparent: "nonsense".repeat(10_000), tracestate: "x".into() });
    let mut request = Request::new(request);
    request.metadata_mut().insert("traceparent", "also nonsense".parse().expect("a header"));
    assert!(server.client().await.authorize(request).await.is_ok());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_comes_back() {
    let server = start("[limits]\nconnections = 2\n").await;
    let first = server.client().await;
    let mut second = server.client().await;
    assert!(second.authorize(call("log")).await.is_ok());
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an endpoint");
    let mut third = AuthorizationClient::new(endpoint.connect_lazy());
    assert!(third.authorize(call("log")).await.is_err(), "no room");
    drop(first);
    let mut tries = 0;
    while third.authorize(call("log")).await.is_err() {
        tries += 1;
        assert!(tries < 100, "room comes back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
