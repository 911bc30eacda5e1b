//! What cannot be judged does not pass, and what cannot go on ends with an error: Envoy takes an end
//! without one for leave to pass everything.

use std::sync::Arc;

use callgate::config::limits::Limits;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{
    BodySendMode, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
};
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::envoy::ext_proc::{CONFIG, Exchange, POST, body, first, headers, list, request, seen};
use crate::support::in_process::start;

#[tokio::test]
async fn an_answer_that_takes_too_long_to_judge_ends_with_an_error() {
    let config = format!("{CONFIG}\n[limits]\nmessage_bytes = 16777216\n");
    let server = start(&config).await;
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let limits = Limits {
        tools: 10_000,
        message_bytes: 16_777_216,
        deadline_ms: 5,
        ..Limits::default()
    };
    server.doors.limits.store(Arc::new(limits));
    let tools: Vec<Json> = (0..10_000)
        .map(|number| json!({"name": format!("tool-{number}")}))
        .collect();
    let answer = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": tools}}).to_string();
    let late = exchange.body(&[answer.as_bytes()]).await;
    let late = late.expect_err("an end with an error");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
}

#[tokio::test]
async fn too_much_is_cut_loudly() {
    let config = format!("{CONFIG}\n[limits]\nmessage_bytes = 4096\n");
    let server = start(&config).await;
    let long = "x".repeat(3_000);
    let piece = format!("data: {long}");
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    let cut = exchange.body(&[piece.as_bytes(), piece.as_bytes()]).await;
    let cut = cut.expect_err("an end with an error");
    assert_eq!(cut.code(), Code::Aborted);
    assert!(cut.message().contains("limits.message_bytes"), "{cut}");

    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let passed = exchange
        .body(&[piece.as_bytes(), piece.as_bytes(), b"!"])
        .await;
    let passed: Json = serde_json::from_slice(&passed.expect("a body")).expect("JSON");
    let said = passed["error"]["message"].as_str().expect("a message");
    assert!(said.contains("4096 bytes"), "{said}");
    assert_eq!(passed["id"], 7);

    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    let cut = exchange
        .body(&[b"Data: {}\n\n"])
        .await
        .expect_err("no event");
    assert_eq!(cut.code(), Code::Aborted);
}

#[tokio::test]
async fn what_nobody_could_judge_does_not_pass() {
    let server = start(CONFIG).await;
    for (status, answer, expected) in [
        // Readers could disagree.
        (
            "200",
            &[
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
            ][..],
            None,
        ),
        (
            "200",
            &[("content-type", "application/json, text/event-stream")],
            None,
        ),
        (
            "200",
            &[
                ("content-type", "application/json"),
                ("content-type", "text/plain"),
            ],
            None,
        ),
        // No MCP, so nothing is there.
        ("200", &[("content-type", "text/html")], Some("")),
        ("404", &[], Some("")),
        // The text of an error.
        (
            "404",
            &[("content-type", "text/plain")],
            Some("{\"tools\":[]}"),
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let all: Vec<_> = [(":status", status)]
            .into_iter()
            .chain(answer.iter().copied())
            .collect();
        exchange
            .tell(Request::ResponseHeaders(headers(&all, false)))
            .await;
        match (exchange.hear().await.expect("an answer"), expected) {
            (Response::ImmediateResponse(told), None) => {
                let (status, _, body) = seen(told);
                assert_eq!((status, &body["id"]), (502, &json!(7)), "{answer:?}");
            }
            (Response::ResponseHeaders(_), Some(expected)) => {
                let passed = exchange.body(&[b"{\"tools\":[]}"]).await.expect("a body");
                assert_eq!(String::from_utf8(passed).unwrap(), expected, "{answer:?}");
            }
            (told, _) => panic!("{answer:?}: {told:?}"),
        }
    }
    // A message that was accepted has no answer.
    let mut exchange = Exchange::open(&server).await;
    exchange
        .pass(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    let accepted = headers(&[(":status", "202")], true);
    exchange.tell(Request::ResponseHeaders(accepted)).await;
    let told = exchange.hear().await;
    assert!(matches!(told, Ok(Response::ResponseHeaders(_))), "{told:?}");
}

#[tokio::test]
async fn what_comes_out_of_order_ends_with_an_error() {
    let server = start(CONFIG).await;
    let post = || Request::RequestHeaders(headers(&POST, false));
    let ok = || Request::ResponseHeaders(headers(&[(":status", "200")], false));
    let piece = || Request::ResponseBody(body(b"{}", true));
    let call = request("tools/call", json!({"name": "log"})).to_string();
    let asked = || Request::RequestBody(body(call.as_bytes(), true));
    for (said, messages) in [
        ("a request's body came first", vec![asked()]),
        ("a response's headers came first", vec![ok()]),
        ("a response's body came first", vec![piece()]),
        (
            "a response's trailers came first",
            vec![Request::ResponseTrailers(HttpTrailers::default())],
        ),
        (
            "a request's headers came after a request's headers",
            vec![post(), post()],
        ),
        (
            "a response's headers came after a request's headers",
            vec![post(), ok()],
        ),
        (
            "a response's body came after a request",
            vec![post(), asked(), piece()],
        ),
        (
            "a request's body came after a request",
            vec![post(), asked(), asked()],
        ),
        (
            "a response's headers came after a response's headers",
            vec![post(), asked(), ok(), ok()],
        ),
        (
            "a response's body came after the end",
            vec![post(), asked(), ok(), piece(), piece()],
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        let mut messages = messages.into_iter();
        exchange.say(first(messages.next().unwrap())).await;
        for message in messages {
            exchange.tell(message).await;
        }
        let error = loop {
            match exchange.hear().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.code(), error.message()),
            (Code::FailedPrecondition, said)
        );
    }
    // Envoy's own answer to what it did not let as far as here passes, and nothing that reads like MCP.
    for (of_type, expected) in [("text/plain", "Jwt is missing"), ("application/json", "")] {
        let mut exchange = Exchange::open(&server).await;
        let refused = headers(&[(":status", "401"), ("content-type", of_type)], false);
        exchange.say(first(Request::ResponseHeaders(refused))).await;
        exchange.hear().await.expect("go on");
        let passed = exchange.body(&[b"Jwt is missing"]).await.expect("a body");
        assert_eq!(String::from_utf8(passed).unwrap(), expected);
    }
}

#[tokio::test]
async fn an_envoy_that_shows_too_little_is_not_served() {
    use BodySendMode::{Buffered, FullDuplexStreamed, None as Nothing, Streamed};
    let server = start(CONFIG).await;
    let modes = |request: BodySendMode, response: BodySendMode| ProtocolConfiguration {
        request_body_mode: request.into(),
        response_body_mode: response.into(),
    };
    for (protocol_config, observability_mode) in [
        (None, false),
        (Some(modes(Buffered, Nothing)), false),
        (Some(modes(Nothing, FullDuplexStreamed)), false),
        (Some(modes(Streamed, FullDuplexStreamed)), false),
        (Some(modes(Buffered, FullDuplexStreamed)), true),
    ] {
        let mut exchange = Exchange::open(&server).await;
        let message = ProcessingRequest {
            protocol_config,
            observability_mode,
            ..first(Request::RequestHeaders(headers(&POST, false)))
        };
        exchange.say(message).await;
        let error = exchange.hear().await.expect_err("refused");
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_stops_cuts_streams_that_have_no_end() {
    let mut server = start(CONFIG).await;
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    server.stop();
    let error = exchange.hear().await.expect_err("an end with an error");
    assert_eq!(error.code(), Code::Unavailable);
    server.ended().await.expect("an end");
}
