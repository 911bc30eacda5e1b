//! Connections that say nothing, or not enough: on every listener they end, and new ones come in for them.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::grpc::certificates::{Authority, connect, start_tls};
use crate::grpc::transport::{two_callers, with_token};
use crate::hold::attack::silent;
use crate::support::in_process::{Running, call, start};

const LIMITS: &str = "[limits]\nfirst_request_ms = 300\nidle_ms = 1000\nconnections = 16\n";

fn settings(tls: &str) -> String {
    format!("{tls}{}\n{LIMITS}", two_callers())
}

const TLS: &str = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n";

/// Reads until the other end closes, which must be soon.
async fn ends(mut connection: impl tokio::io::AsyncRead + Unpin, what: &str) {
    let mut heard = Vec::new();
    let end = connection.read_to_end(&mut heard);
    let end = tokio::time::timeout(Duration::from_secs(5), end).await;
    assert!(end.is_ok(), "{what} stays open");
}

#[tokio::test]
async fn a_connection_without_a_request_ends_on_every_listener() {
    let server = start(&settings("")).await;
    let authority = Authority::new();
    let secure = start_tls(&authority, &settings(TLS)).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    let cases = [
        (server.address, b"".as_slice(), "grpc, nothing said"),
        (server.address, &preface[..10], "grpc, half a preface"),
        (server.address, preface, "grpc, a preface alone"),
        (server.http_address, b"", "http, nothing said"),
        (server.http_address, b"POST /access", "http, half a line"),
        (server.http_address, preface, "http, a preface alone"),
        (secure.address, b"", "grpc with TLS, nothing said"),
        (
            secure.address,
            b"\x16\x03\x01\x02",
            "grpc with TLS, half a hello",
        ),
        (secure.http_address, b"", "http with TLS, nothing said"),
        (
            secure.http_address,
            b"\x16\x03\x01\x02",
            "http with TLS, half a hello",
        ),
    ];
    for (address, first, what) in cases {
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        connection.write_all(first).await.expect("sent");
        ends(connection, what).await;
    }
    let connection = UnixStream::connect(&server.socket).await;
    ends(connection.expect("a connection"), "unix, nothing said").await;
}

#[tokio::test]
async fn a_connection_ends_once_it_has_asked_nothing_for_long() {
    let server = start(&settings("")).await;
    let mut connection = TcpStream::connect(server.http_address).await.expect("one");
    let ask =
        b"POST /access/v1/evaluation HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let begun = Instant::now();
    connection.write_all(ask).await.expect("sent");
    ends(connection, "an idle connection").await;
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "not before its time"
    );
}

#[tokio::test]
async fn a_gateway_that_asks_is_never_taken_for_silent() {
    let server = start(&settings("")).await;
    let mut client = server.client().await;
    let _silent = silent(&server.address.to_string(), 64, b"").await;
    for _ in 0..8 {
        let answer = client.authorize(with_token(call("log"), "edge-1")).await;
        assert!(answer.is_ok(), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn comes_in(server: &Running, authority: &Authority) {
    let mut client = connect(server, authority, None)
        .await
        .expect("a connection");
    let answer = client.authorize(with_token(call("log"), "edge-1")).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn handshakes_that_never_end_keep_no_gateway_out() {
    let authority = Authority::new();
    let patient = settings(TLS).replace("first_request_ms = 300", "first_request_ms = 60000");
    let server = start_tls(&authority, &patient).await;
    let hello = b"\x16\x03\x01\x02".as_slice();
    let _grpc = silent(&server.address.to_string(), 64, hello).await;
    let _http = silent(&server.http_address.to_string(), 64, hello).await;
    for _ in 0..20 {
        comes_in(&server, &authority).await;
    }
}
