//! Sockets, certificates, tokens and rights.

use callgate::config::Config;
use callgate::config::listen::SocketMode;
use callgate::proto::v1;
use callgate::proto::v1::Decision;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::server::listen::{ListenError, Listener};
use sha2::{Digest, Sha256};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::support::in_process::{call, call_for, context, start};

/// What the configuration holds of a token.
pub fn digest(token: &str) -> String {
    Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A request that shows a token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(
        "authorization",
        format!("Bearer {token}").parse().expect("a header"),
    );
    request
}

#[tokio::test]
async fn a_unix_socket_answers_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let mut server = start("").await;
    let mode = std::fs::metadata(&server.socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let endpoint =
        Endpoint::from_shared(format!("unix:{}", server.socket.display())).expect("an endpoint");
    let mut client = AuthorizationClient::new(endpoint.connect().await.expect("a connection"));
    let answer = client
        .authorize(call("log"))
        .await
        .expect("an answer")
        .into_inner();
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
    let first = Listener::unix(&path, SocketMode(0o600))
        .await
        .expect("a socket");
    assert!(matches!(
        Listener::unix(&path, SocketMode(0o600)).await,
        Err(ListenError::InUse(_))
    ));
    drop(first);
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "left behind by a process that has ended");
    let third = Listener::unix(&path, SocketMode(0o600))
        .await
        .expect("a socket");
    drop(third);
    std::fs::write(&path, "precious").expect("a file");
    assert!(matches!(
        Listener::unix(&path, SocketMode(0o600)).await,
        Err(ListenError::NotASocket(_))
    ));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), "precious");
}

#[tokio::test]
async fn cleartext_beyond_loopback_is_refused_with_what_to_set() {
    let address = "0.0.0.0:0".parse().expect("an address");
    let Err(error) = Listener::tcp(address, false).await else {
        panic!("it listens")
    };
    let said = error.to_string();
    for part in [
        "cleartext on `0.0.0.0:0`",
        "set `[tls]` with `cert` and `key`",
        "127.0.0.1:50051",
        "Unix socket",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(Listener::tcp(address, true).await.is_ok());
}

/// `edge` may do everything and has two tokens, `listing` little and one.
pub fn two_callers() -> String {
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
        assert!(
            client
                .authorize(with_token(call("log"), token))
                .await
                .is_ok()
        );
    }
    let code = |result: Result<_, Status>| {
        result
            .map(|_: tonic::Response<v1::AuthorizeResponse>| ())
            .expect_err("refused")
            .code()
    };
    assert_eq!(
        code(client.authorize(call("log")).await),
        Code::Unauthenticated
    );
    assert_eq!(
        code(client.authorize(with_token(call("log"), "edge-3")).await),
        Code::Unauthenticated
    );
    // Who may not ask learns nothing about what is wrong with the question.
    let nonsense = v1::AuthorizeRequest::default();
    assert_eq!(
        code(client.authorize(nonsense).await),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn rights_bound_what_a_caller_may_ask_and_see() {
    let server = start(&two_callers()).await;
    let mut client = server.client().await;

    let batch = v1::AuthorizeBatchRequest {
        requests: vec![call("log")],
    };
    let status = client
        .authorize_batch(with_token(batch.clone(), "listing"))
        .await
        .expect_err("no right");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "caller `listing` has no right to use `AuthorizeBatch`: add it to `rights.rpcs`"
    );
    assert!(
        client
            .authorize_batch(with_token(batch, "edge-1"))
            .await
            .is_ok()
    );

    let purge = v1::AuthorizeRequest {
        explain: true,
        ..call("purge")
    };
    let seen = client
        .authorize(with_token(purge.clone(), "edge-1"))
        .await
        .expect("an answer")
        .into_inner();
    assert!(seen.explanation.is_some() && seen.reasons[0].policy_ids == ["never-purge"]);
    let seen = client
        .authorize(with_token(purge, "listing"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(seen.reasons[0].message, "history is kept");
    assert!(seen.explanation.is_none() && seen.reasons[0].policy_ids.is_empty());
    assert!(seen.determining_policies.is_empty() && seen.reasons[0].detail.is_empty());
    let seen = client
        .authorize(with_token(call("log"), "listing"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(
        (
            seen.obligations[0].id.as_str(),
            seen.obligations[0].policy_id.as_str()
        ),
        ("log:full", "")
    );

    let delegated = client
        .authorize(with_token(call_for("log", "ana"), "listing"))
        .await;
    let delegated = delegated.expect("an answer").into_inner();
    assert_eq!(
        delegated.reasons[0].code(),
        v1::ReasonCode::CallerNotTrusted
    );
}

#[tokio::test]
async fn a_reload_of_callers_reaches_open_streams() {
    let server = start(&two_callers()).await;
    let (questions, asked) = tokio::sync::mpsc::channel(1);
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = server
        .client()
        .await
        .authorize_stream(with_token(asked, "edge-1"))
        .await
        .expect("a stream")
        .into_inner();
    let question = || v1::AuthorizeStreamRequest {
        correlation_id: "c".into(),
        request: Some(call("log")),
    };
    questions.send(question()).await.expect("sent");
    assert!(answers.message().await.expect("an answer").is_some());

    let without_edge_1 = two_callers().replace(&digest("edge-1"), &digest("edge-9"));
    let config = Config::from_toml(&without_edge_1, "callgate.toml").expect("no faults");
    server.doors.apply(&config);
    questions.send(question()).await.expect("sent");
    assert_eq!(
        answers
            .message()
            .await
            .expect_err("the token is gone")
            .code(),
        Code::Unauthenticated
    );

    let nobody = Config::from_toml("", "callgate.toml").expect("no faults");
    server.doors.apply(&nobody);
    let status = server
        .client()
        .await
        .authorize(with_token(call("log"), "edge-2"))
        .await
        .expect_err("nobody");
    assert_eq!(
        status.code(),
        Code::Unauthenticated,
        "no callers left must not mean that everyone may ask"
    );
}

#[tokio::test]
async fn a_trace_that_makes_no_sense_does_not_refuse_a_call() {
    let server = start("").await;
    let mut request = call("log");
    context(&mut request).trace = Some(v1::TraceContext {
        traceparent: "nonsense".repeat(10_000),
        tracestate: "x".into(),
    });
    let mut request = Request::new(request);
    request
        .metadata_mut()
        .insert("traceparent", "also nonsense".parse().expect("a header"));
    assert!(server.client().await.authorize(request).await.is_ok());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_comes_back() {
    let server = start("[limits]\nconnections = 2\n").await;
    let mut first = server.client().await;
    assert!(first.authorize(call("log")).await.is_ok());
    let mut second = server.client().await;
    assert!(second.authorize(call("log")).await.is_ok());
    let endpoint =
        Endpoint::from_shared(format!("http://{}", server.address)).expect("an endpoint");
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
