//! What a caller meets that asks Callgate itself, over gRPC or plain HTTP, when Callgate is slow or gone. Gateways have
//! tests of their own, with their own times.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use callgate::proto::v1::authorization_client::AuthorizationClient;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::in_process::call_for;
use crate::support::plain_http::send;
use crate::support::process::{Bundle, Server, endpoint};

/// How long the callers of this test wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// More than that, and less than it would take to notice by other means.
const SOON: Duration = Duration::from_millis(1_500);

fn ask(runtime: &Runtime, channel: &Channel) -> (Result<(), Status>, Duration) {
    let begun = Instant::now();
    let answer = runtime.block_on(async {
        let mut request = Request::new(call_for("log", "alice"));
        request.set_timeout(PATIENCE);
        let mut client = AuthorizationClient::new(channel.clone());
        client.authorize(request).await.map(|_| ())
    });
    (answer, begun.elapsed())
}

/// The status of an evaluation, or why there is none.
fn post(runtime: &Runtime, address: SocketAddr) -> (Result<u16, &'static str>, Duration) {
    let question = json!({
        "subject": {"type": "Mcp::User", "id": "alice"},
        "action": {"name": "Mcp::Action::\"list_tools\""},
        "resource": {"type": "Mcp::Server", "id": "notes"},
    })
    .to_string();
    let begun = Instant::now();
    let answer = runtime.block_on(async {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return Err("no connection");
        }
        let json = [("content-type", "application/json")];
        let path = "/access/v1/evaluation";
        let reply = send(address, "POST", path, &json, &question);
        let reply = tokio::time::timeout(PATIENCE, reply).await;
        reply.map(|it| it.status).map_err(|_| "no answer")
    });
    (answer, begun.elapsed())
}

#[test]
fn whoever_asks_callgate_itself_is_not_answered_by_a_slow_one_and_told_of_one_that_is_gone() {
    let server = Server::start(&Bundle::notes(), &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let address = format!("http://{}", server.target());
    let channel = runtime.block_on(endpoint(address).connect());
    let channel = channel.expect("a connection");
    let http = server.http_target().parse().expect("an address");
    assert!(ask(&runtime, &channel).0.is_ok());
    assert_eq!(post(&runtime, http).0, Ok(200));

    server.signal("-STOP");
    let (answer, took) = ask(&runtime, &channel);
    let status = answer.expect_err("nobody answers");
    println!(
        "gRPC: slow: {:?} after {} ms",
        status.code(),
        took.as_millis()
    );
    // What the client's own deadline is called is up to the client.
    let codes = [Code::DeadlineExceeded, Code::Cancelled];
    assert!(codes.contains(&status.code()), "{status:?}");
    assert!(took >= PATIENCE && took < SOON, "{took:?}");
    let (answer, took) = post(&runtime, http);
    println!("HTTP: slow: {answer:?} after {} ms", took.as_millis());
    assert_eq!(answer, Err("no answer"));
    assert!(took >= PATIENCE && took < SOON, "{took:?}");

    // It answers again as soon as it runs again.
    server.signal("-CONT");
    assert!(ask(&runtime, &channel).0.is_ok());
    assert_eq!(post(&runtime, http).0, Ok(200));

    drop(server);
    let (answer, took) = ask(&runtime, &channel);
    let status = answer.expect_err("nobody is there");
    println!(
        "gRPC: gone: {:?} after {} ms",
        status.code(),
        took.as_millis()
    );
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(took < PATIENCE, "{took:?}");
    let (answer, took) = post(&runtime, http);
    println!("HTTP: gone: {answer:?} after {} ms", took.as_millis());
    assert_eq!(answer, Err("no connection"));
    assert!(took < PATIENCE, "{took:?}");
}
