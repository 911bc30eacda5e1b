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
