//! JSON in UTF-8 and nothing else, on the way in and on the way out.

use callgate::proto::envoy::processing::processing_response::Response;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::Exchange;
use crate::http::authzen::EVALUATION;
use crate::one_reading::results::listing;
use crate::one_reading::world::{Doors, Said, start};

const READ: [&str; 8] = [
    "application/json",
    "Application/JSON",
    "application/json;",
    "application/json;charset=utf-8",
    "application/json; charset=utf-8",
    "application/json; charset=UTF-8",
    "application/json ; charset=\"UTF-8\"",
    "application/json;charset=\"utf-8\"",
];

const NOT_READ: [&str; 30] = [
    "application/json; charset=utf-7",
    "application/json; charset=UTF-7",
    "application/json;charset=utf-16",
    "application/json; charset=utf-16le",
    "application/json; charset=utf-32",
    "application/json; charset=iso-8859-1",
    "application/json; charset=latin1",
    "application/json; charset=us-ascii",
    "application/json; charset=utf8",
    "application/json; charset=",
    "application/json; charset",
    "application/json; charset = utf-8",
    "application/json; charset=utf-8; charset=utf-7",
    "application/json; charset=utf-7; charset=utf-8",
    "application/json; charset='utf-8'",
    "application/json; charset*=utf-8''utf-7",
    "application/json; boundary=x",
    "application/json, text/plain",
    "application/json;charset=utf-8, application/json;charset=utf-7",
    "application/jsonl",
    "application/json5",
    "application/x-ndjson",
    "application/json-seq",
    "application/json-rpc",
    "text/plain",
    "text/plain; charset=utf-8; x=application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "*/*",
    "",
];

/// Another JSON that no client sends and that no server has to read.
const OTHER_JSON: [&str; 3] = [
    "text/json",
    "application/vnd.api+json",
    "application/problem+json",
];

#[tokio::test]
async fn requests_are_read_in_utf_8_alone() {
    let mut doors = Doors::open(start(&[]).await).await;
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "read_text_file", "arguments": {"path": "/a"}}});
    let toolhive = json!({"principal": {"sub": "ana"}, "operation": "mcp:tool:call",
        "resource": "mrn:mcp:files:tool:read_text_file", "context": {"mcp": {"args": {"path": "/a"}}}});
    let authzen = json!({"subject": {"type": "Mcp::User", "id": "ana"},
        "action": {"name": "call_read"}, "resource": {"type": "Mcp::Tool", "id": "files/free"}});
    let texts = [call, toolhive, authzen].map(|it| it.to_string());
    let [call, toolhive, authzen] = texts.each_ref().map(|it| it.as_bytes());

    let refused = NOT_READ.iter().chain(&OTHER_JSON).map(|it| Some(*it));
    let refused = refused.chain([None]).map(|it| (it, false));
    let read = READ.iter().map(|it| (Some(*it), true));
    for (of_type, is_read) in read.chain(refused) {
        let expected = match is_read {
            true => Said::Allowed,
            false => Said::Refused,
        };
        assert_eq!(
            doors.ext_authz(call, of_type).await,
            expected,
            "{of_type:?}"
        );
        assert_eq!(doors.ext_proc(call, of_type).await, expected, "{of_type:?}");
        for (path, text) in [("/toolhive/decision", toolhive), (EVALUATION, authzen)] {
            let reply = doors.post(path, text, of_type).await;
            let status = if is_read { 200 } else { 400 };
            assert_eq!(reply.status, status, "{path} {of_type:?}: {reply:?}");
            if !is_read {
                assert!(reply.message().contains("UTF-8"), "{reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_only_another_charset_shows_is_none() {
    let mut doors = Doors::open(start(&[]).await).await;
    // In UTF-7 it calls `write_file`.
    let call = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read_text_file","arguments":{"path":"/a","x":"+ACIAfQAs-"}}}"#;
    let mut said = Vec::new();
    for of_type in ["application/json", "application/json; charset=utf-7"] {
        said.push(doors.ext_authz(call, Some(of_type)).await);
        said.push(doors.ext_proc(call, Some(of_type)).await);
    }
    assert_eq!(
        said,
        [Said::Allowed, Said::Allowed, Said::Refused, Said::Refused]
    );
}

/// What comes of a server's list under a type: the client's bytes, or nothing of it.
async fn answered(doors: &Doors, of_type: Option<&str>, text: &str) -> Option<Vec<u8>> {
    let mut exchange = Exchange::open_with(doors.channel.clone(), None).await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    exchange.pass(&list).await;
    match exchange
        .answered_with_any(of_type)
        .await
        .expect("an answer")
    {
        Response::ResponseHeaders(_) => {
            Some(exchange.body(&[text.as_bytes()]).await.expect("a body"))
        }
        Response::ImmediateResponse(_) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_are_read_in_utf_8_alone() {
    let doors = Doors::open(start(&[]).await).await;
    let (text, kept) = listing(&["read_text_file", "write_file"], &["read_text_file"]);
    for of_type in READ.iter().chain(&OTHER_JSON) {
        let passed = answered(&doors, Some(of_type), &text).await.expect(of_type);
        let passed: Json = serde_json::from_slice(&passed).expect("JSON");
        assert_eq!(passed["result"]["tools"], kept, "{of_type}");
    }
    let events = format!("data: {text}\n\n");
    for of_type in ["text/event-stream", "text/event-stream; charset=utf-8"] {
        let passed = answered(&doors, Some(of_type), &events)
            .await
            .expect(of_type);
        let passed = String::from_utf8(passed).expect("text");
        assert!(
            passed.contains("read_text_file") && !passed.contains("write_file"),
            "{passed}"
        );
    }
    let others = [
        "text/event-stream; charset=utf-7",
        "text/event-stream; charset=utf-16",
        "text/event-streams",
    ];
    let refused = NOT_READ.iter().chain(&others).map(|it| Some(*it));
    for of_type in refused.chain([None]) {
        for text in [&text, &events] {
            let passed = answered(&doors, of_type, text).await.unwrap_or_default();
            let passed = String::from_utf8_lossy(&passed);
            assert!(!passed.contains("_file"), "{of_type:?}: {passed}");
        }
    }
}
