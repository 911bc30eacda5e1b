//! What counts comes once: two tokens are none, through whichever door, with callers and without.

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::grpc::transport::{two_callers, with_token};
use crate::support::in_process::{Running, call, start};

fn twice<T>(mut request: Request<T>, name: &'static str, value: &str) -> Request<T> {
    for _ in 0..2 {
        let value = value.parse().expect("a header");
        request.metadata_mut().append(name, value);
    }
    request
}

#[tokio::test]
async fn two_tokens_are_refused_over_grpc() {
    for config in ["", &two_callers()] {
        let server = start(config).await;
        let mut client = server.client().await;
        for second in ["Bearer edge-1", "Bearer listing", "", "Basic x"] {
            let mut request = with_token(call("log"), "edge-1");
            let value = second.parse().expect("a header");
            request.metadata_mut().append("authorization", value);
            let status = client.authorize(request).await.expect_err("refused");
            assert_eq!(status.code(), Code::Unauthenticated, "{second}");
            assert_eq!(
                status.message(),
                "the `authorization` header comes twice: send it once"
            );
        }
        let mut control = ControlClient::new(server.channel().await);
        let request = twice(
            Request::new(v1::GetStatusRequest {}),
            "authorization",
            "Bearer edge-1",
        );
        let status = control.get_status(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn other_headers_that_count_come_once_over_grpc() {
    let server = start(&two_callers()).await;
    let mut client = server.client().await;
    for (name, value) in [("grpc-timeout", "1S"), ("x-request-id", "r")] {
        let request = twice(with_token(call("log"), "edge-1"), name, value);
        let status = client.authorize(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        let said = format!("the `{name}` header comes twice: send it once");
        assert_eq!(status.message(), said);
    }
    // A trace is no reason to refuse a call.
    let request = with_token(call("log"), "edge-1");
    assert!(
        client
            .authorize(twice(request, "traceparent", "x"))
            .await
            .is_ok()
    );
}

/// The status and the body of an answer over HTTP.
async fn post(server: &Running, path: &str, headers: &str) -> (String, String) {
    let mut connection = TcpStream::connect(server.http_address).await.expect("one");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\
         content-length: 2\r\n\r\n{{}}"
    );
    connection
        .write_all(request.as_bytes())
        .await
        .expect("sent");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .await
        .expect("an answer");
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    (status, answer)
}

#[tokio::test]
async fn what_counts_comes_once_over_http() {
    let config =
        two_callers().replace("[\"*\"]", "[\"authzen.Evaluation\", \"toolhive.Decision\"]");
    let server = start(&config).await;
    let token = "authorization: Bearer edge-1\r\n";
    for path in ["/access/v1/evaluation", "/toolhive/decision"] {
        let (status, answer) = post(&server, path, &token.repeat(2)).await;
        assert_eq!(status, "401", "{answer}");
        assert!(
            answer.contains("the `authorization` header comes twice"),
            "{answer}"
        );
        for header in ["x-request-id: r\r\n", "content-type: application/json\r\n"] {
            let (status, answer) =
                post(&server, path, &format!("{token}{}", header.repeat(2))).await;
            assert_eq!(status, "400", "{answer}");
            assert!(answer.contains("header comes twice"), "{answer}");
        }
        let two_hosts = format!("{token}host: localhost\r\n");
        let (status, answer) = post(&server, path, &two_hosts).await;
        assert_eq!(status, "400", "{answer}");
    }
}
