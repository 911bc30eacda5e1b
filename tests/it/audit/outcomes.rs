//! What became of a call is on record as the client was told it, whatever the server says.

use callgate::audit::outcome_record::Status;
use callgate::proto::agentgateway::ext_mcp::McpResponse;
use callgate::proto::agentgateway::ext_mcp::mcp_response_result::Result as Checked;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::agentgateway::ext_mcp;
use crate::audit::log_reading::Contents;
use crate::audit::records::start;
use crate::envoy::ext_proc::Exchange;
use crate::replay::stage::Stage;
use crate::support::wire::structure;

/// Waits for so many outcomes: nobody's answer waits for them.
async fn outcomes(stage: &Stage, count: usize) -> Contents {
    for _ in 0..200 {
        let contents = stage.contents();
        if contents.outcomes.len() >= count {
            return contents;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?}", stage.contents().outcomes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_sees_of_a_response_is_on_record() {
    let stage = start().await;
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "log", "arguments": {}}});
    let result =
        json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [], "isError": true}}).to_string();
    let error =
        json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": "no"}}).to_string();
    let event = format!(
        "data: {}\n\n",
        json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}})
    );
    for (of_type, body) in [
        ("application/json", result.as_bytes()),
        ("application/json", error.as_bytes()),
        ("text/event-stream", event.as_bytes()),
    ] {
        let mut exchange = Exchange::open_with(stage.server.channel().await, None).await;
        exchange.pass(&message).await;
        exchange.answered_with(of_type).await.unwrap();
        exchange.body(&[body]).await.unwrap();
    }
    let mut exchange = Exchange::open_with(stage.server.channel().await, None).await;
    exchange.pass(&message).await;
    drop(exchange);
    // An error that cannot be read.
    let mut exchange = Exchange::open_with(stage.server.channel().await, None).await;
    exchange.pass(&message).await;
    let unclear = "text/plain; as=application/json";
    exchange.answered_under("400", unclear).await.unwrap();
    exchange.body(&[error.as_bytes()]).await.unwrap();
    let contents = outcomes(&stage, 5).await;
    let seen: Vec<_> = contents
        .outcomes
        .iter()
        .map(|it| (it.status(), it.size))
        .collect();
    let length = |text: &str| text.len() as u64;
    assert_eq!(
        seen,
        [
            (Status::ToolError, length(&result)),
            (Status::Error, length(&error)),
            (Status::Result, length(&event)),
            (Status::NoResponse, 0),
            // Known by its headers.
            (Status::Withheld, 0),
        ]
    );
    for outcome in &contents.outcomes {
        let id = Uuid::from_slice(&outcome.decision_id).unwrap().to_string();
        assert_eq!(contents.decision(&id).adapter, "ext_proc");
        assert_eq!(outcome.adapter, "ext_proc");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agentgateway_shows_of_a_response_is_on_record() {
    let stage = start().await;
    let mut client = ext_mcp::client(&stage.server).await;
    let id = Uuid::now_v7();
    let response = |metadata| McpResponse {
        service_names: vec!["git".into()],
        method: "tools/call".into(),
        metadata_context: Some(structure(&metadata)),
        mcp_response: json!({"content": []}).to_string().into(),
    };
    client
        .check_response(response(json!({"agent": "coder"})))
        .await
        .unwrap();
    let named = json!({"agent": "coder", "decision_id": id.to_string()});
    client.check_response(response(named)).await.unwrap();
    let contents = outcomes(&stage, 2).await;
    let [first, second] = contents.outcomes.as_slice() else {
        panic!("{:?}", contents.outcomes);
    };
    assert_eq!(
        (&*first.operation, &*first.servers),
        ("tools/call", &["git".to_owned()][..])
    );
    assert!(first.decision_id.is_empty());
    assert_eq!(&*second.decision_id, id.as_bytes());
    assert_eq!((second.status(), second.size), (Status::Result, 14));
}

/// What a server sends to the call with the id 7, what the client hears of replies, and what is on record.
type Told<'a> = (&'a [&'a str], &'a [&'a str], Status);

const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
const AS_TEXT: &str = r#"{"jsonrpc":"2.0","id":"7","result":{"content":[]}}"#;
const ANOTHER: &str = r#"{"jsonrpc":"2.0","id":8,"result":{"content":[]}}"#;
const TWOFOLD: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"content":[1]}}"#;
const TWOFOLD_OTHER: &str = r#"{"jsonrpc":"2.0","id":8,"result":{"content":[],"content":[1]}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no"}}"#;
const ERROR_AS_TEXT: &str = r#"{"jsonrpc":"2.0","id":"7","error":{"code":-1,"message":"no"}}"#;
const OF_NONE: &str = r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}"#;
const OF_NULL: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}"#;
const OF_SERVER: &str =
    r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-1,"message":"no"}}"#;
const NOTICE: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;

/// Replies as `id result`, or `id code` of an error.
fn replies<'a>(messages: impl Iterator<Item = &'a str>) -> Vec<String> {
    let messages = messages.map(|it| serde_json::from_str::<Json>(it).expect(it));
    let replies = messages.filter(|it| it["method"].is_null());
    let said = replies.map(|it| match it["result"].is_null() {
        true => format!("{} {}", it["id"], it["error"]["code"]),
        false => format!("{} result", it["id"]),
    });
    said.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_chooses_what_is_on_record_but_by_what_the_client_is_told() {
    let of_events: &[Told<'_>] = &[
        (&[RESULT], &["7 result"], Status::Result),
        // What names no request settles nothing.
        (&[OF_NONE, RESULT], &["null -1", "7 result"], Status::Result),
        (&[OF_NULL, RESULT], &["null -1", "7 result"], Status::Result),
        (&["{}", RESULT], &["7 result"], Status::Result),
        (&["[", NOTICE, RESULT], &["7 result"], Status::Result),
        // Unless nothing else comes.
        (&[OF_NONE], &["null -1"], Status::Error),
        (&["{}"], &["7 -32001"], Status::Withheld),
        (&["{}", NOTICE], &["7 -32001"], Status::Withheld),
        (&[NOTICE], &[], Status::NoResponse),
        // Some clients take the one id for the other.
        (&[AS_TEXT], &["7 result"], Status::Result),
        (&[ERROR_AS_TEXT], &["7 -1"], Status::Error),
        (&[ANOTHER], &["7 -32001"], Status::Withheld),
        (&[ANOTHER, RESULT], &["7 result"], Status::Result),
        (&[OF_SERVER, RESULT], &["7 result"], Status::Result),
        (&[TWOFOLD_OTHER, ERROR], &["7 -1"], Status::Error),
        // The first reply is the only one.
        (&[RESULT, ERROR], &["7 result"], Status::Result),
        (&[ERROR, RESULT], &["7 -1"], Status::Error),
        (&[ERROR, AS_TEXT, NOTICE], &["7 -1"], Status::Error),
        (&[TWOFOLD, RESULT], &["7 -32001"], Status::Withheld),
        (&[RESULT, TWOFOLD], &["7 result"], Status::Result),
    ];
    let of_whole: &[Told<'_>] = &[
        (&[RESULT], &["7 result"], Status::Result),
        (&[AS_TEXT], &["7 result"], Status::Result),
        (&[ERROR_AS_TEXT], &["7 -1"], Status::Error),
        (&[OF_NULL], &["7 -1"], Status::Error),
        (&[OF_SERVER], &["7 -1"], Status::Error),
        (&["{}"], &["7 -32001"], Status::Withheld),
        (&[TWOFOLD], &["7 -32001"], Status::Withheld),
        (&[ANOTHER], &["7 -32001"], Status::Withheld),
        (&[TWOFOLD_OTHER], &["7 -32001"], Status::Withheld),
    ];
    let stage = start().await;
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "log", "arguments": {}}});
    let mut expected = Vec::new();
    for (of_type, cases) in [
        ("text/event-stream", of_events),
        ("application/json", of_whole),
    ] {
        for (sent, heard, status) in cases {
            let mut exchange = Exchange::open_with(stage.server.channel().await, None).await;
            exchange.pass(&call).await;
            exchange.answered_with(of_type).await.unwrap();
            let bodies: Vec<String> = match of_type {
                "application/json" => sent.iter().map(|it| (*it).to_owned()).collect(),
                _ => sent.iter().map(|it| format!("data: {it}\n\n")).collect(),
            };
            let bodies: Vec<&[u8]> = bodies.iter().map(|it| it.as_bytes()).collect();
            let passed = exchange.body(&bodies).await.unwrap();
            let passed = String::from_utf8(passed).unwrap();
            let found = match of_type {
                "application/json" => replies(std::iter::once(&*passed)),
                _ => replies(passed.lines().filter_map(|it| it.strip_prefix("data: "))),
            };
            assert_eq!(&found, heard, "{of_type} {sent:?}");
            expected.push(*status);
        }
    }
    let contents = outcomes(&stage, expected.len()).await;
    let seen: Vec<Status> = contents.outcomes.iter().map(|it| it.status()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_read_is_on_record_as_withheld() {
    let stage = start().await;
    let mut client = ext_mcp::client(&stage.server).await;
    let id = Uuid::now_v7();
    let named = json!({"agent": "coder", "decision_id": id.to_string()});
    for metadata in [json!({"agent": "coder"}), named] {
        let response = McpResponse {
            service_names: vec!["git".into()],
            method: "tools/call".into(),
            metadata_context: Some(structure(&metadata)),
            mcp_response: r#"{"content":[],"content":[1]}"#.into(),
        };
        let answer = client.check_response(response).await.unwrap().into_inner();
        assert!(
            matches!(answer.result, Some(Checked::Error(_))),
            "{answer:?}"
        );
    }
    let contents = outcomes(&stage, 2).await;
    let [first, second] = contents.outcomes.as_slice() else {
        panic!("{:?}", contents.outcomes);
    };
    assert_eq!((first.status(), first.size), (Status::Withheld, 28));
    assert_eq!(&*first.operation, "tools/call");
    assert_eq!(second.status(), Status::Withheld);
    assert_eq!(&*second.decision_id, id.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_refused_unread_is_on_record_as_withheld() {
    let stage = start().await;
    let mut client = ext_mcp::client(&stage.server).await;
    let id = Uuid::now_v7();
    let response = |method: &str, metadata: Json, text: &str| McpResponse {
        service_names: vec!["git".into()],
        method: method.into(),
        metadata_context: Some(structure(&metadata)),
        mcp_response: text.to_owned().into(),
    };
    let coder = || json!({"agent": "coder"});
    for refused in [
        // Nobody was asked before the server was.
        response("completion/complete", coder(), "{}"),
        // Whose it is is not known.
        response("tools/call", json!({"decision_id": id.to_string()}), "{}"),
        // The message around it: what it asks for would not be found in it.
        response("tools/call", coder(), RESULT),
        response("tools/call", coder(), "\u{feff}{}"),
        response("tools/call", coder(), r#"[{"content":[]}]"#),
    ] {
        let answer = client.check_response(refused.clone()).await.unwrap();
        let result = answer.into_inner().result;
        assert!(matches!(result, Some(Checked::Error(_))), "{refused:?}");
    }
    let contents = outcomes(&stage, 5).await;
    let seen = contents.outcomes.iter();
    let seen: Vec<_> = seen
        .map(|it| (it.status(), &*it.operation, it.decision_id.is_empty()))
        .collect();
    let of_call = (Status::Withheld, "tools/call", true);
    assert_eq!(
        seen,
        [
            (Status::Withheld, "completion/complete", true),
            (Status::Withheld, "", false),
            of_call,
            of_call,
            of_call,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_client_takes_for_a_result_is_on_record_as_none() {
    const EVENTS: &str = "text/event-stream";
    const JSON: &str = "application/json";
    const PAGE: &str = "text/html";
    let event = |message: &str| format!("data: {message}\n\n");
    let named = |name: &str, message: &str| format!("event: {name}\ndata: {message}\n\n");
    let with_id = |id: &str| RESULT.replace(":7,", &format!(":{id},"));
    let is_error = |value: &str| RESULT.replace("[]", &format!(r#"[],"isError":{value}"#));
    /// Status, type and body of a response, the replies that are heard if any passes, and what is on record.
    type Case = (
        &'static str,
        &'static str,
        String,
        Option<&'static [&'static str]>,
        Status,
    );
    let cases: [Case; 23] = [
        // An event of another name is none to a client: the true reply is.
        (
            "200",
            EVENTS,
            named("ping", RESULT),
            Some(&[]),
            Status::NoResponse,
        ),
        (
            "200",
            EVENTS,
            named("ping", ERROR) + &event(RESULT),
            Some(&["7 result"]),
            Status::Result,
        ),
        (
            "200",
            EVENTS,
            named("message\nevent: ping", RESULT),
            Some(&[]),
            Status::NoResponse,
        ),
        (
            "200",
            EVENTS,
            named("message", RESULT),
            Some(&["7 result"]),
            Status::Result,
        ),
        (
            "200",
            EVENTS,
            named("", RESULT),
            Some(&["7 result"]),
            Status::Result,
        ),
        // So is a result under a status that says that there is none.
        (
            "202",
            JSON,
            RESULT.to_owned(),
            Some(&["7 -32001"]),
            Status::Withheld,
        ),
        (
            "202",
            EVENTS,
            event(RESULT),
            Some(&["7 -32001"]),
            Status::Withheld,
        ),
        (
            "202",
            JSON,
            ERROR.to_owned(),
            Some(&["7 -32001"]),
            Status::Withheld,
        ),
        (
            "500",
            JSON,
            RESULT.to_owned(),
            Some(&["7 -32001"]),
            Status::Withheld,
        ),
        (
            "500",
            JSON,
            ERROR.to_owned(),
            Some(&["7 -1"]),
            Status::Error,
        ),
        (
            "201",
            JSON,
            RESULT.to_owned(),
            Some(&["7 result"]),
            Status::Result,
        ),
        // Clients differ in whether they take these for the id.
        (
            "200",
            JSON,
            with_id("7.0"),
            Some(&["7 result"]),
            Status::Result,
        ),
        (
            "200",
            EVENTS,
            event(&with_id("7e0")),
            Some(&["7 result"]),
            Status::Result,
        ),
        // And in what these mean.
        (
            "200",
            JSON,
            is_error("\"true\""),
            Some(&["7 -32602"]),
            Status::Withheld,
        ),
        (
            "200",
            JSON,
            is_error("1"),
            Some(&["7 -32602"]),
            Status::Withheld,
        ),
        (
            "200",
            JSON,
            is_error("null"),
            Some(&["7 result"]),
            Status::Result,
        ),
        (
            "200",
            JSON,
            RESULT.replace("[]", r#"[],"IsError":true"#),
            Some(&["7 -32602"]),
            Status::Withheld,
        ),
        // Some clients read an error whatever its type.
        (
            "400",
            PAGE,
            ERROR.to_owned(),
            Some(&["7 -1"]),
            Status::Error,
        ),
        (
            "400",
            PAGE,
            ANOTHER.to_owned(),
            Some(&["7 -32001"]),
            Status::Withheld,
        ),
        (
            "400",
            "text/plain",
            event(ERROR),
            Some(&[]),
            Status::Withheld,
        ),
        (
            "404",
            "text/plain",
            "not found".to_owned(),
            Some(&[]),
            Status::NoResponse,
        ),
        // Nothing of a piece that breaks off goes on to the client.
        (
            "200",
            EVENTS,
            event(RESULT) + "Data: x\n\n",
            None,
            Status::Withheld,
        ),
        (
            "200",
            EVENTS,
            "Data: x\n\n".to_owned(),
            None,
            Status::Withheld,
        ),
    ];
    let stage = start().await;
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "log", "arguments": {}}});
    let expected: Vec<Status> = cases.iter().map(|(.., status)| *status).collect();
    for (at, (status, of_type, sent, heard, _)) in cases.into_iter().enumerate() {
        let mut exchange = Exchange::open_with(stage.server.channel().await, None).await;
        exchange.pass(&call).await;
        exchange.answered_under(status, of_type).await.unwrap();
        let passed = exchange.body(&[sent.as_bytes()]).await.ok();
        let passed = passed.map(|it| String::from_utf8(it).unwrap());
        let found = passed.as_deref().map(|passed| match of_type {
            JSON | PAGE => replies(std::iter::once(passed)),
            _ => replies(passed.lines().filter_map(|it| it.strip_prefix("data: "))),
        });
        let heard: Option<Vec<String>> =
            heard.map(|heard| heard.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(found, heard, "{status} {sent}");
        drop(exchange);
        outcomes(&stage, at + 1).await;
    }
    let contents = outcomes(&stage, expected.len()).await;
    let seen: Vec<Status> = contents.outcomes.iter().map(|it| it.status()).collect();
    assert_eq!(seen, expected);
}
