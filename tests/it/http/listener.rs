//! The listener of the protocols over plain HTTP: limits, credentials, encryption, and its end.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::grpc::certificates::{Authority, start_tls};
use crate::grpc::transport::digest;
use crate::http::authzen::{EVALUATION, certified, tuple};
use crate::support::in_process::start_empty;
use crate::support::plain_http::{exchange, post, request, send};
use crate::support::process::{Bundle, Server};

#[tokio::test]
async fn nothing_loaded_is_unavailable() {
    let server = start_empty("", &[]).await;
    let reply = post(&server, EVALUATION, &tuple("alice", "read", "record-1")).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(reply.message(), "no policies are loaded");
}

#[tokio::test]
async fn bodies_and_headers_have_limits() {
    let server = certified("[limits]\nmessage_bytes = 4096\nheader_bytes = 4096\n").await;
    let json = ("content-type", "application/json");
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(5_000));
    let reply = send(server.http_address, "POST", EVALUATION, &[json], &large).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let long = "x".repeat(5_000);
    let headers = [json, ("x-filler", long.as_str())];
    let reply = send(server.http_address, "POST", EVALUATION, &headers, "{}").await;
    assert_eq!(reply.status, 431, "{reply:?}");
    let question = tuple("alice", "read", "record-1").to_string();
    let reply = send(server.http_address, "POST", EVALUATION, &[json], &question).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_at_the_deadline_and_holds_a_place_until_then() {
    let server =
        certified("[limits]\ndeadline_ms = 300\nstale_wait_ms = 0\nconcurrent_requests = 1\n")
            .await;
    let mut slow = TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let head = "POST /access/v1/evaluation HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("sent");
    let question = tuple("alice", "read", "record-1");
    // The slow one has the only place as soon as its head has arrived.
    let shed = loop {
        let reply = post(&server, EVALUATION, &question).await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert_eq!(shed.status, 503, "{shed:?}");
    assert!(shed.message().contains("limits.concurrent_requests"));
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(post(&server, EVALUATION, &question).await.status, 200);
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_two_authorizations_are_none() {
    let config = format!(
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"] }}\n",
        digest("edge")
    );
    let server = certified(&config).await;
    let question = tuple("alice", "read", "record-1").to_string();
    let json = ("content-type", "application/json");
    let bearer = ("authorization", "Bearer edge");
    let last = request("POST", EVALUATION, &[json, bearer], &question);
    let first = String::from_utf8(last.clone())
        .expect("text")
        .replace("connection: close\r\n", "");
    let both = [first.as_bytes(), &last].concat();
    let stream = TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let reply = exchange(stream, &both).await;
    assert_eq!(reply.body.matches("HTTP/1.1 200").count(), 1, "{reply:?}");
    let reply = send(
        server.http_address,
        "POST",
        EVALUATION,
        &[json, bearer, bearer],
        &question,
    )
    .await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_url_with_user_and_password_will_do_where_nothing_else_can_be_sent() {
    let config = format!(
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"] }}\n",
        digest("t0ken")
    );
    let server = certified(&config).await;
    let question = tuple("alice", "read", "record-1").to_string();
    let json = ("content-type", "application/json");
    for (credentials, status) in [
        // edge:t0ken
        ("Basic ZWRnZTp0MGtlbg==", 200),
        ("basic ZWRnZTp0MGtlbg==", 200),
        // other:t0ken, edge:wrong, no colon, no base64, nothing
        ("Basic b3RoZXI6dDBrZW4=", 401),
        ("Basic ZWRnZTp3cm9uZw==", 401),
        ("Basic ZWRnZQ==", 401),
        ("Basic !", 401),
        ("Basic ", 401),
    ] {
        let headers = [json, ("authorization", credentials)];
        let reply = send(server.http_address, "POST", EVALUATION, &headers, &question).await;
        assert_eq!(reply.status, status, "{credentials}: {reply:?}");
    }
}

#[tokio::test]
async fn without_callers_only_this_machine_by_its_own_name_is_answered() {
    let open = certified("").await;
    let config = format!(
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"] }}\n",
        digest("edge")
    );
    let closed = certified(&config).await;
    let question = tuple("alice", "read", "record-1").to_string();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer edge"),
    ];
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:8180", 200),
        ("127.1.2.3", 200),
        ("[::1]:8180", 200),
        ("evil.example:8180", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
        ("a@localhost", 403),
        ("", 403),
    ] {
        let text = request("POST", EVALUATION, &headers, &question);
        let text = String::from_utf8(text).expect("text");
        let text = text.replace("host: localhost:8180", &format!("host: {host}"));
        for (server, wanted) in [(&open, status), (&closed, 200)] {
            let stream = TcpStream::connect(server.http_address)
                .await
                .expect("a connection");
            let reply = exchange(stream, text.as_bytes()).await;
            assert_eq!(reply.status, wanted, "{host}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_under_way_and_closes_idle_connections() {
    let mut server = certified("").await;
    let idle = TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let mut slow = TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let question = tuple("alice", "read", "record-1").to_string();
    let headers = [
        ("content-type", "application/json"),
        ("expect", "100-continue"),
    ];
    let whole = request("POST", EVALUATION, &headers, &question);
    let (head, body) = whole.split_at(whole.len() - question.len());
    slow.write_all(head).await.expect("sent");
    // The server asks for the body once it has begun with the request.
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on)
        .await
        .expect("an interim answer");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop();
    let reply = exchange(slow, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    drop(idle);
    server.ended().await.expect("a clean end");
}

async fn connect(
    address: std::net::SocketAddr,
    authority: &Authority,
    protocols: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(pem.as_bytes()).map(|it| it.expect("PEM")),
    );
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn with_certificates_it_speaks_tls_to_clients_of_http_1_and_nothing_else() {
    let authority = Authority::new();
    let config = format!(
        "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n\
         [[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"toolhive.Decision\"], assert_identity = true }}\n",
        digest("edge")
    );
    let server = start_tls(&authority, &config).await;
    let question = json!({
        "principal": {"sub": "ana"}, "operation": "mcp:tool:call", "resource": "mrn:mcp:git:tool:log",
        "context": {"mcp": {"args": {}}},
    });
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer edge"),
    ];
    let whole = request(
        "POST",
        "/toolhive/decision",
        &headers,
        &question.to_string(),
    );
    for protocols in [&[][..], &[b"http/1.1".as_slice()]] {
        let stream = connect(server.http_address, &authority, protocols)
            .await
            .expect("a connection");
        let reply = exchange(stream, &whole).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"allow": true})));
    }
    let discover = request("GET", "/.well-known/authzen-configuration", &[], "");
    let stream = connect(server.http_address, &authority, &[])
        .await
        .expect("a connection");
    let document = exchange(stream, &discover).await.json();
    assert_eq!(document["policy_decision_point"], "https://localhost:8180");

    assert!(
        connect(server.http_address, &Authority::new(), &[])
            .await
            .is_err()
    );
    let mut cleartext = TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let _ = cleartext.write_all(&whole).await;
    let mut answer = Vec::new();
    let _ = cleartext.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn the_program_itself_listens_where_it_is_told_to() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let address = server.http_target().parse().expect("an address");
    let json = [("content-type", "application/json")];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (tool, wanted) in [("list_notes", true), ("drop_notes", false)] {
        let question = json!({
            "principal": {"sub": "alice"}, "operation": "mcp:tool:call",
            "resource": format!("mrn:mcp:notes:tool:{tool}"), "context": {"mcp": {"args": {}}},
        })
        .to_string();
        let path = "/toolhive/decision";
        let reply = runtime.block_on(send(address, "POST", path, &json, &question));
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"allow": wanted})),
            "{tool}"
        );
    }
    let (ended, log) = server.stop();
    assert!(ended.success(), "{log}");
}
