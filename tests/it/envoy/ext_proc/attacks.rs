//! What servers and clients try so that something passes that nobody decided about.

use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::{
    Exchange, POST, asking, event, headers, list, message_of, request, seen,
};

#[tokio::test]
async fn a_server_cannot_ask_for_secrets_in_other_words() {
    let server = asking().await;
    let form = |message: &str, schema: Json| json!({"message": message, "requestedSchema": schema});
    let field = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}});
    for (params, refused) in [
        (form("m", field("\u{440}\u{430}ssword")), "NO_PERMIT"),
        (form("m", field("pass\u{200b}word")), "-32602"),
        (form("m", field("p4ssw0rd")), "NO_PERMIT"),
        (
            form("\u{8bf7}\u{8f93}\u{5165}\u{5bc6}\u{7801}", field("x")),
            "NO_PERMIT",
        ),
        (form("Type your pass-phrase below", field("x")), "NO_PERMIT"),
        (
            form(
                "m",
                json!({"properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {"y": {"title": "PIN"}}}),
            ),
            "NO_PERMIT",
        ),
        (
            form(
                "m",
                json!({"properties": {}, "allOf": [{"properties": {"x": {"title": "y"}}}]}),
            ),
            "CONTEXT_MISSING",
        ),
        (
            form(
                "m",
                json!({"properties": {"x": {}}, "Properties": {"y": {}}}),
            ),
            "-32602",
        ),
        (
            json!({"message": "m", "requestedSchema": field("x"), "url": "https://evil.example"}),
            "-32602",
        ),
        (
            json!({"mode": "url", "message": "m", "url": "https://github.com", "URL": "https://evil.example"}),
            "-32602",
        ),
        (
            json!({"mode": "url", "message": "m", "url": "https://github.com\\@evil.example"}),
            "CONTEXT_INVALID",
        ),
        (
            json!({"mode": "url", "message": "m", "url": "javascript://github.com/%0aalert(1)"}),
            "CONTEXT_INVALID",
        ),
    ] {
        let asks =
            json!({"jsonrpc": "2.0", "id": 3, "method": "elicitation/create", "params": params});
        let input = json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create", "params": params}}}});
        for message in [asks, input] {
            let mut exchange = Exchange::open(&server).await;
            exchange
                .pass(&request("tools/call", json!({"name": "log"})))
                .await;
            let told = exchange.answered_with("text/event-stream").await;
            told.expect("go on");
            let passed = exchange.body(&[event(&message).as_bytes()]).await;
            let passed = message_of(&passed.expect("a body"));
            let error = match passed["params"].is_object() {
                true => &passed["params"],
                false => &passed["error"],
            };
            let reason = error["data"]["authorization"]["reason"].as_str();
            let said = reason.map_or_else(|| error["code"].to_string(), str::to_owned);
            assert_eq!(said, refused, "{message}");
        }
    }
}

#[tokio::test]
async fn an_error_does_not_hide_what_it_asks_for_behind_its_spelling() {
    let server = asking().await;
    let visit = json!([{"mode": "url", "message": "m", "url": "https://evil.example"}]);
    for error in [
        json!({"code": -32042, "message": "m", "data": {"elicitations": visit}}),
        json!({"code": -32042.0, "message": "m", "data": {"Elicitations": visit}}),
        json!({"Code": -32042, "message": "m", "Data": {"Elicitations": visit}}),
        json!({"code": -32000, "message": "m", "data": {"ELICITATIONS": visit}}),
        json!({"code": -32042, "message": "m"}),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let told = exchange.answered_with("application/json").await;
        told.expect("go on");
        let message = json!({"jsonrpc": "2.0", "id": 7, "error": error});
        let passed = exchange.body(&[message.to_string().as_bytes()]).await;
        let passed: Json = serde_json::from_slice(&passed.expect("a body")).expect("JSON");
        assert!(!passed.to_string().contains("evil"), "{error}: {passed}");
        assert!(passed["error"].is_object() && passed["id"] == 7);
    }
}

#[tokio::test]
async fn a_server_cannot_send_the_client_elsewhere() {
    let server = asking().await;
    for status in ["301", "302", "303", "307", "308"] {
        for is_all in [true, false] {
            let mut exchange = Exchange::open(&server).await;
            exchange.pass(&list()).await;
            let answer = [
                (":status", status),
                ("location", "https://evil.example/mcp"),
            ];
            let answer = headers(&answer, is_all);
            exchange.tell(Request::ResponseHeaders(answer)).await;
            let told = exchange.hear().await.expect("an answer");
            let Response::ImmediateResponse(immediate) = told else {
                panic!("{status}: {told:?}");
            };
            let (status, _, body) = seen(immediate);
            assert_eq!((status, &body["id"]), (502, &json!(7)));
        }
    }
}

#[tokio::test]
async fn a_request_does_not_become_another_one_on_its_way() {
    let server = asking().await;
    for header in [
        ("upgrade", "websocket"),
        ("x-original-url", "/other"),
        ("x-rewrite-url", "/other"),
        ("x-http-method-override", "DELETE"),
        ("x_http_method-override", "DELETE"),
        ("mcp_session_id", "another"),
    ] {
        let mut exchange = Exchange::open(&server).await;
        let told = exchange
            .ask(
                &[&POST[..], &[header]].concat(),
                list().to_string().as_bytes(),
            )
            .await;
        let Ok(Response::ImmediateResponse(immediate)) = told else {
            panic!("{header:?}: {told:?}");
        };
        assert_eq!(seen(immediate).0, 400, "{header:?}");
    }
}

#[tokio::test]
async fn what_a_server_says_in_an_error_of_its_own_is_its_own() {
    let server = asking().await;
    for data in [
        r#"{"Code":"AccessDenied","Message":"x"}"#,
        r#"{"headers":{"Date":1,"date":2},"a":1,"A":2}"#,
        r#"{"a":{"elicitations":1,"Elicitations":2},"n":1e400}"#,
        r#"["elicitations"]"#,
        "null",
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let told = exchange.answered_with("application/json").await;
        told.expect("go on");
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":-32000,"message":"m","data":{data}}}}}"#
        );
        let passed = exchange.body(&[message.as_bytes()]).await;
        let passed = String::from_utf8(passed.expect("a body")).expect("text");
        assert_eq!(passed, message);
    }
    // What decides is found however it is spelled, and wherever an error of a call is.
    let task = request("tasks/get", json!({"taskId": "t"}));
    let visit = r#"[{"mode":"url","message":"m","url":"https://evil.example"}]"#;
    for data in [
        format!(r#"{{"elicitations":[],"elicitations":{visit}}}"#),
        format!(r#"{{"Elicitations":{visit}}}"#),
        format!(r#"{{"elicitations\u200b":{visit}}}"#),
        format!(r#"{{"elicitations":{visit}}}"#),
    ] {
        let error = format!(r#"{{"code":-32000,"message":"m","data":{data}}}"#);
        for member in [
            format!(r#""error":{error}"#),
            format!(r#""result":{{"taskId":"t","status":"failed","error":{error}}}"#),
            format!(r#""result":{{"taskId":"t","status":"failed","Error":{error}}}"#),
        ] {
            let mut exchange = Exchange::open(&server).await;
            exchange.pass(&task).await;
            let told = exchange.answered_with("application/json").await;
            told.expect("go on");
            let message = format!(r#"{{"jsonrpc":"2.0","id":7,{member}}}"#);
            let passed = exchange.body(&[message.as_bytes()]).await;
            let passed = String::from_utf8(passed.expect("a body")).expect("text");
            assert!(!passed.contains("evil"), "{message}: {passed}");
        }
    }
}

#[tokio::test]
async fn a_request_that_makes_a_task_of_the_client_is_denied_at_once() {
    let server = asking().await;
    let form = json!({"message": "m", "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let sampling = json!({"messages": [], "maxTokens": 1});
    for (method, params) in [
        ("elicitation/create", form),
        ("sampling/createMessage", sampling),
    ] {
        for (task, is_put) in [
            (json!({"task": {"ttl": 1}}), false),
            (json!({"Task": {"ttl": 1}}), false),
            (json!({"task": null}), true),
            (json!({}), true),
        ] {
            let mut params = params.clone();
            let members = params.as_object_mut().expect("an object");
            members.extend(task.as_object().expect("an object").clone());
            let asks = json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
            let mut exchange = Exchange::open(&server).await;
            exchange.listen().await;
            let told = exchange.answered_with("text/event-stream").await;
            told.expect("go on");
            let passed = exchange.body(&[event(&asks).as_bytes()]).await;
            let passed = message_of(&passed.expect("a body"));
            let expected = if is_put { method } else { "callgate/denied" };
            assert_eq!(passed["method"], expected, "{asks}");
        }
    }
}

#[tokio::test]
async fn no_server_sends_headers_that_only_callgate_sends() {
    let server = asking().await;
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    let answer = [
        (":status", "403"),
        ("content-type", "text/plain"),
        ("X-Callgate-Decision-Id", "0199"),
        ("x_callgate_obligations", "log"),
        ("x-callgate", "mine"),
    ];
    let answer = Request::ResponseHeaders(headers(&answer, false));
    exchange.tell(answer).await;
    let told = exchange.hear().await.expect("an answer");
    let Response::ResponseHeaders(told) = told else {
        panic!("{told:?}");
    };
    let mutation = told.response.and_then(|it| it.header_mutation);
    let removed = mutation.expect("something is removed").remove_headers;
    assert_eq!(
        removed,
        ["x-callgate-decision-id", "x_callgate_obligations"]
    );
}
