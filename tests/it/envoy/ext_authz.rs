//! Envoy's external authorization, through gRPC: what passes, what is turned away and how.

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderMap, HeaderValue,
    HttpRequest, Metadata, Peer, Request,
};
use prost_types::Value as WireValue;
use prost_types::value::Kind as WireKind;
use serde_json::{Value as Json, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::support::in_process::start;
use crate::support::wire::structure;

const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "git" }]
task_header = "x-task"
approval_header = "x-approvals"

[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"

[[envoy.identity]]
from = "spiffe"
prefix = "spiffe://example.org/agent/"

[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
"#;

const MCP: &str = "envoy.filters.http.mcp";
const JWT: &str = "envoy.filters.http.jwt_authn";

type Client = AuthorizationClient<Channel>;

/// A request to `/mcp` of the agent `coder`, named by a header.
fn post(body: impl Into<Vec<u8>>) -> HttpRequest {
    let headers = [("x-agent", "coder"), ("content-type", "application/json")];
    HttpRequest {
        method: "POST".to_owned(),
        path: "/mcp".to_owned(),
        host: "gateway.example.org".to_owned(),
        size: -1,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        raw_body: body.into().into(),
        ..HttpRequest::default()
    }
}

fn tool_call(tool: &str) -> Json {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

fn with(mut http: HttpRequest, name: &str, value: &str) -> HttpRequest {
    http.headers.insert(name.to_owned(), value.to_owned());
    http
}

fn attributes(http: HttpRequest) -> AttributeContext {
    AttributeContext {
        request: Some(Request { http: Some(http) }),
        ..AttributeContext::default()
    }
}

fn finding(mut attributes: AttributeContext, namespace: &str, found: &Json) -> AttributeContext {
    let metadata = attributes
        .metadata_context
        .get_or_insert_with(Metadata::default);
    metadata
        .filter_metadata
        .insert(namespace.to_owned(), structure(found));
    attributes
}

async fn check(client: &mut Client, attributes: AttributeContext) -> CheckResponse {
    let attributes = Some(attributes);
    let answer = client.check(CheckRequest { attributes }).await;
    answer.expect("an answer").into_inner()
}

fn is_ok(answer: &CheckResponse) -> bool {
    let is_ok = answer.status.as_ref().is_some_and(|it| it.code == 0);
    let has_ok = matches!(answer.http_response, Some(HttpResponse::OkResponse(_)));
    assert_eq!(is_ok, has_ok, "{answer:?}");
    is_ok
}

/// What the client of a request that was turned away sees: its HTTP status and JSON-RPC error.
fn seen(answer: &CheckResponse) -> (i32, Json, &DeniedHttpResponse) {
    assert!(!is_ok(answer));
    let Some(HttpResponse::DeniedResponse(denied)) = &answer.http_response else {
        panic!("{answer:?}");
    };
    let body = serde_json::from_str(&denied.body).expect("JSON");
    (denied.status.as_ref().unwrap().code, body, denied)
}

fn header<'a>(denied: &'a DeniedHttpResponse, name: &str) -> Option<&'a str> {
    let headers = denied.headers.iter().filter_map(|it| it.header.as_ref());
    headers
        .filter(|it| it.key == name)
        .map(|it| it.value.as_str())
        .next()
}

/// The texts of a list in the dynamic metadata.
fn listed(answer: &CheckResponse, name: &str) -> Vec<String> {
    let metadata = answer.dynamic_metadata.as_ref().expect("metadata");
    let Some(WireKind::ListValue(list)) = &metadata.fields[name].kind else {
        panic!("{metadata:?}");
    };
    let text = |value: &WireValue| match &value.kind {
        Some(WireKind::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    list.values.iter().map(text).collect()
}

#[tokio::test]
async fn an_allow_passes_and_a_deny_is_an_error_of_the_request() {
    let server = start(CONFIG).await;
    let mut client = Client::new(server.channel().await);

    let allowed = check(&mut client, attributes(post(tool_call("log").to_string()))).await;
    assert!(is_ok(&allowed), "{allowed:?}");
    assert_eq!(listed(&allowed, "obligations"), ["log:full"]);
    let id = listed(&allowed, "decision_ids").remove(0);
    let Some(HttpResponse::OkResponse(ok)) = &allowed.http_response else {
        panic!("{allowed:?}");
    };
    let headers: Vec<_> = ok
        .headers
        .iter()
        .map(|it| (it.header.as_ref().unwrap(), it.append_action))
        .map(|(header, action)| (header.key.as_str(), header.value.as_str(), action))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-callgate-decision-id", id.as_str(), 2),
            ("x-callgate-obligations", "log:full", 2)
        ]
    );

    let denied = check(
        &mut client,
        attributes(post(tool_call("purge").to_string())),
    )
    .await;
    let (status, body, response) = seen(&denied);
    assert_eq!(status, 200, "so that clients see the error");
    assert_eq!(body["id"], 7);
    assert_eq!(body["error"]["code"], -32001);
    assert_eq!(body["error"]["message"], "history is kept");
    let authorization = &body["error"]["data"]["authorization"];
    assert_eq!(authorization["reason"], "FORBIDDEN");
    let id = header(response, "x-callgate-decision-id");
    assert_eq!(authorization["authorizationContextId"].as_str(), id);
    assert_eq!(header(response, "content-type"), Some("application/json"));
    assert_eq!(listed(&denied, "reasons"), ["FORBIDDEN"]);
    assert!(
        !denied
            .dynamic_metadata
            .unwrap()
            .fields
            .contains_key("policies"),
        "no policy is named"
    );
}

#[tokio::test]
async fn whatever_two_readers_could_read_differently_is_turned_away() {
    let server = start(CONFIG).await;
    let mut client = Client::new(server.channel().await);
    let log = || post(tool_call("log").to_string());
    let found = |it: Json| finding(attributes(log()), MCP, &it);
    let long = "x".repeat(2_000);
    let named = |name: &str| {
        post(
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name}})
                .to_string(),
        )
    };
    let raw = |text: &str| attributes(post(text));
    let twice = || {
        let mut http = log();
        let header = |value: &str| HeaderValue {
            key: "Mcp-Name".to_owned(),
            raw_value: value.as_bytes().to_vec().into(),
            ..HeaderValue::default()
        };
        http.header_map = Some(HeaderMap {
            headers: vec![header("log"), header("commit")],
        });
        http
    };
    let table = [
        (
            "the method header",
            attributes(with(log(), "mcp-method", "tools/list")),
            400,
        ),
        (
            "the method header in capitals",
            attributes(with(log(), "mcp-method", "Tools/Call")),
            400,
        ),
        (
            "the name header",
            attributes(with(log(), "mcp-name", "purge")),
            400,
        ),
        (
            "the name header, encoded",
            attributes(with(log(), "mcp-name", "=?base64?cHVyZ2U=?=")),
            400,
        ),
        (
            "a name header in a broken encoding",
            attributes(with(log(), "mcp-name", "=?base64?bG9n")),
            400,
        ),
        (
            "two values in a name header",
            attributes(with(log(), "mcp-name", "log,log")),
            400,
        ),
        ("two name headers", attributes(twice()), 400),
        (
            "the metadata's method",
            found(json!({"method": "tools/list", "is_mcp_request": true})),
            400,
        ),
        (
            "the metadata's id",
            found(json!({"method": "tools/call", "id": 8})),
            400,
        ),
        (
            "the metadata's name",
            found(json!({"method": "tools/call", "params": {"name": "purge"}})),
            400,
        ),
        (
            "metadata of no MCP request",
            found(json!({"is_mcp_request": false})),
            400,
        ),
        (
            "a cut body",
            attributes(with(log(), "x-envoy-auth-partial-body", "true")),
            400,
        ),
        (
            "half a body",
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"tools/ca"#),
            400,
        ),
        (
            "a body of another size",
            attributes(HttpRequest {
                size: 9_999,
                ..log()
            }),
            400,
        ),
        (
            "two bodies",
            attributes(HttpRequest {
                body: "{}".to_owned(),
                ..log()
            }),
            400,
        ),
        ("no body", raw(""), 400),
        (
            "two sessions in one",
            attributes(with(log(), "mcp-session-id", "a,b")),
            400,
        ),
        (
            "two revisions in one",
            attributes(with(log(), "mcp-protocol-version", "2025-11-25,2026-07-28")),
            400,
        ),
        (
            "two revisions on a stream",
            attributes(HttpRequest {
                method: "GET".to_owned(),
                ..with(
                    with(log(), "mcp-session-id", "s-1"),
                    "mcp-protocol-version",
                    "2025-06-18,2025-11-25",
                )
            }),
            400,
        ),
        (
            "an override that some servers read",
            attributes(with(log(), "x_original_url", "/other")),
            400,
        ),
        (
            "a header that some servers read as Callgate's own",
            attributes(with(log(), "x_callgate_obligations", "none")),
            400,
        ),
        (
            "a compressed body",
            attributes(with(log(), "content-encoding", "gzip")),
            415,
        ),
        ("a batch", raw(&json!([tool_call("log")]).to_string()), 400),
        (
            "a method twice",
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#),
            400,
        ),
        (
            "a name twice",
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","name":"purge"}}"#,
            ),
            200,
        ),
        (
            "a name in two spellings",
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","Name":"purge"}}"#,
            ),
            200,
        ),
        (
            "an unknown method",
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"tools/delete"}"#),
            200,
        ),
        (
            "a method in capitals",
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"Tools/call","params":{"name":"log"}}"#),
            200,
        ),
        (
            "a server's method",
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#),
            200,
        ),
        ("a look-alike", attributes(named("l\u{43e}g")), 200),
        (
            "a name with something invisible",
            attributes(named("log\u{200b}")),
            200,
        ),
        (
            "a name with a control character",
            attributes(named("log\u{0}")),
            200,
        ),
        ("a name that is too long", attributes(named(&long)), 200),
        (
            "an argument beyond 64 bits",
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","arguments":{"n":18446744073709551616}}}"#,
            ),
            200,
        ),
        (
            "an argument below 64 bits",
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","arguments":{"n":-9223372036854775809}}}"#,
            ),
            200,
        ),
        (
            "a number beyond all",
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","arguments":{"n":1e999}}}"#,
            ),
            200,
        ),
        (
            "a body of too many levels",
            raw(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"log","arguments":{{"n":{}{}}}}}}}"#,
                "[".repeat(200),
                "]".repeat(200)
            )),
            200,
        ),
        (
            "an id beyond 64 bits",
            raw(r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#),
            400,
        ),
        (
            "a reply that tells",
            raw(r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#),
            403,
        ),
        (
            "an unknown notification",
            raw(r#"{"jsonrpc":"2.0","method":"notifications/else"}"#),
            403,
        ),
        (
            "another path",
            attributes(HttpRequest {
                path: "/mcp/".to_owned(),
                ..log()
            }),
            403,
        ),
        (
            "a path with dots",
            attributes(HttpRequest {
                path: "/x/../mcp".to_owned(),
                ..log()
            }),
            403,
        ),
        (
            "another HTTP method",
            attributes(HttpRequest {
                method: "PUT".to_owned(),
                ..log()
            }),
            405,
        ),
        (
            "a stream without a session",
            attributes(HttpRequest {
                method: "GET".to_owned(),
                ..log()
            }),
            405,
        ),
        (
            "a task's name with a line end",
            attributes(with(log(), "x-task", "a\nb")),
            400,
        ),
        (
            "an empty approval",
            attributes(with(log(), "x-approvals", "a,,b")),
            400,
        ),
    ];
    for (what, attributes, expected) in table {
        let answer = check(&mut client, attributes).await;
        let (status, body, _) = seen(&answer);
        assert_eq!(status, expected, "{what}: {body}");
        assert!(body["error"]["message"].is_string(), "{what}: {body}");
    }
    // What they all vary passes as it is, also with everything that agrees around it.
    let agreeing = with(
        with(log(), "mcp-method", "tools/call"),
        "mcp-name",
        "=?base64?bG9n?=",
    );
    let found = json!({"method": "tools/call", "id": 7, "jsonrpc": "2.0", "is_mcp_request": true, "params": {"name": "log"}});
    let agreeing = finding(
        attributes(with(agreeing, "x-envoy-auth-partial-body", "false")),
        MCP,
        &found,
    );
    assert!(is_ok(&check(&mut client, agreeing).await));
    // Its size is that of what came in; a filter has made this of it since.
    let rewritten = HttpRequest {
        size: 9_999,
        ..with(log(), "x-envoy-auth-partial-body", "false")
    };
    assert!(is_ok(&check(&mut client, attributes(rewritten)).await));
}

/// What Envoy makes of a text: one `!` for each byte that is not UTF-8.
fn as_envoy_writes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
}

#[tokio::test]
async fn a_text_that_envoy_may_have_altered_is_no_request() {
    let plain = r#"
[[envoy.routes]]
method = "GET"
path = "/repos/{name}/log"
server = "git"
tool = "log"
"#;
    let strict = start(&format!("{CONFIG}{plain}")).await;
    let trusting = CONFIG.replacen("[envoy]", "[envoy]\ntrust_text = true", 1);
    let trusting = start(&format!("{trusting}{plain}")).await;
    let call = |argument: &[u8]| {
        let text = tool_call("log").to_string();
        let (before, after) = text.split_once("\"arguments\":{").expect("arguments");
        let parts: [&[u8]; 5] = [
            before.as_bytes(),
            b"\"arguments\":{\"text\":\"",
            argument,
            b"\"",
            after.as_bytes(),
        ];
        parts.concat()
    };
    let as_text = |argument: &[u8]| HttpRequest {
        body: as_envoy_writes(&call(argument)),
        raw_body: Vec::new().into(),
        ..with(post(""), "x-envoy-auth-partial-body", "false")
    };
    let get = |path: &str| HttpRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        ..post("")
    };
    let shown = |path: &str, raw: &[u8]| {
        let header = |key: &str, raw_value: &[u8]| HeaderValue {
            key: key.to_owned(),
            raw_value: raw_value.to_vec().into(),
            ..HeaderValue::default()
        };
        HttpRequest {
            headers: Default::default(),
            header_map: Some(HeaderMap {
                headers: vec![header("x-agent", b"coder"), header(":path", raw)],
            }),
            ..get(path)
        }
    };
    for (what, http, passes) in [
        ("bytes", post(call("h\u{e9}llo!".as_bytes())), [true; 2]),
        ("text", as_text("h\u{e9}llo".as_bytes()), [true; 2]),
        ("an escape", as_text(b"hello\\u0021"), [true; 2]),
        ("a mark of the client", as_text(b"hello!"), [false, true]),
        ("a mark of Envoy", as_text(b"hello\xff"), [false, true]),
        (
            "a mark of others",
            as_text("hello\u{fffd}".as_bytes()),
            [false, true],
        ),
        ("a path", get("/repos/a/log"), [true; 2]),
        (
            "an escaped mark in a path",
            get("/repos/a%21/log"),
            [true; 2],
        ),
        ("a mark in a path", get("/repos/a!/log"), [false, true]),
        (
            "a path that is shown",
            shown("/repos/a!/log", b"/repos/a!/log"),
            [true; 2],
        ),
        (
            "a path of other bytes",
            shown("/repos/a!/log", b"/repos/a\xff/log"),
            [false, true],
        ),
    ] {
        for (server, passes) in [&strict, &trusting].into_iter().zip(passes) {
            let mut client = Client::new(server.channel().await);
            let answer = check(&mut client, attributes(http.clone())).await;
            assert_eq!(is_ok(&answer), passes, "{what}: {answer:?}");
            if !passes {
                assert_eq!(seen(&answer).0, 400, "{what}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_route_that_names_its_server_takes_no_path_that_leads_elsewhere() {
    let server = start(CONFIG).await;
    let mut client = Client::new(server.channel().await);
    for (path, passes) in [
        ("/git/mcp", true),
        ("/git/mcp/?next=/../other", true),
        ("/git/../other/mcp", false),
        ("/git/%2e%2e/other/mcp", false),
        ("/git/..;/other/mcp", false),
        ("/git/..%2fother/mcp", false),
        ("//other/mcp", false),
        ("*", false),
        ("", false),
    ] {
        let mut named = attributes(HttpRequest {
            path: path.to_owned(),
            ..post(tool_call("log").to_string())
        });
        let extension = ("callgate.server".to_owned(), "git".to_owned());
        named.context_extensions = [extension].into();
        let answer = check(&mut client, named).await;
        assert_eq!(is_ok(&answer), passes, "{path}: {answer:?}");
        if !passes {
            assert_eq!(seen(&answer).0, 400, "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_conversation_needs_no_more_than_the_right_to_look() {
    let server = start(CONFIG).await;
    let mut client = Client::new(server.channel().await);
    for body in [
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":"a","method":"server/discover"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"declined"}}"#,
    ] {
        let answer = check(&mut client, attributes(post(body))).await;
        assert!(is_ok(&answer), "{body}: {answer:?}");
    }
    for method in ["GET", "DELETE"] {
        let method = method.to_owned();
        let http = HttpRequest {
            method,
            ..with(post(""), "mcp-session-id", "s-1")
        };
        assert!(is_ok(&check(&mut client, attributes(http)).await));
    }
    let mut nobody = post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    nobody.headers.remove("x-agent");
    let answer = check(&mut client, attributes(nobody)).await;
    let (status, body, response) = seen(&answer);
    assert_eq!((status, &body["id"]), (401, &json!(1)));
    assert_eq!(header(response, "www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn identities_come_from_where_the_configuration_says() {
    let server = start(CONFIG).await;
    let mut client = Client::new(server.channel().await);
    let commit = || {
        let mut http = post(tool_call("commit").to_string());
        http.headers.remove("x-agent");
        attributes(http)
    };
    let spiffe = |principal: &str| AttributeContext {
        source: Some(Peer {
            principal: principal.to_owned(),
            address: None,
        }),
        ..commit()
    };
    let token = |payload: Json| finding(commit(), JWT, &json!({"jwt_payload": payload}));
    let by_header = |person: &str| {
        let http = with(post(tool_call("commit").to_string()), "x-person", person);
        attributes(http)
    };
    for (what, attributes, expected) in [
        (
            "an agent by its certificate",
            spiffe("spiffe://example.org/agent/coder"),
            "allow",
        ),
        (
            "another trust domain",
            spiffe("spiffe://example.com/agent/coder"),
            "403",
        ),
        (
            "nobody after the prefix",
            spiffe("spiffe://example.org/agent/"),
            "403",
        ),
        ("a person", token(json!({"sub": "ana"})), "allow"),
        (
            "a person who may not",
            token(json!({"sub": "bob"})),
            "NO_PERMIT",
        ),
        (
            "an agent for a person",
            token(json!({"sub": "ana", "act": {"sub": "coder"}})),
            "allow",
        ),
        (
            "an agent for one who may not",
            token(json!({"sub": "bob", "act": {"sub": "coder"}})),
            "DELEGATOR_DENIED",
        ),
        (
            "an agent nobody knows in between",
            token(json!({"sub": "ana", "act": {"sub": "coder", "act": {"sub": "ghost"}}})),
            "SUBJECT_UNKNOWN",
        ),
        (
            "a token that is over",
            token(json!({"sub": "ana", "exp": 1, "act": {"sub": "coder"}})),
            "DELEGATION_EXPIRED",
        ),
        (
            "a token without a person",
            token(json!({"act": {"sub": "coder"}})),
            "403",
        ),
        (
            "a token with a person in a list",
            token(json!({"sub": ["ana"]})),
            "403",
        ),
        (
            "an actor that is no object",
            token(json!({"sub": "ana", "act": "coder"})),
            "403",
        ),
        (
            "another key",
            finding(commit(), JWT, &json!({"other": {"sub": "ana"}})),
            "401",
        ),
        ("headers", by_header("ana"), "allow"),
        (
            "headers of one who may not",
            by_header("bob"),
            "DELEGATOR_DENIED",
        ),
        ("an empty header", by_header(""), "403"),
        ("nothing", commit(), "401"),
    ] {
        let answer = check(&mut client, attributes).await;
        let shown = match is_ok(&answer) {
            true => "allow".to_owned(),
            false => {
                let (status, body, _) = seen(&answer);
                match body["error"]["data"]["authorization"]["reason"].as_str() {
                    Some(reason) => reason.to_owned(),
                    None => status.to_string(),
                }
            }
        };
        assert_eq!(shown, expected, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_passes_unconfigured_or_without_the_right() {
    let server = start("").await;
    let mut client = Client::new(server.channel().await);
    let answer = check(&mut client, attributes(post(tool_call("log").to_string()))).await;
    assert_eq!(seen(&answer).0, 403);

    // The digest of `abc`, and a star, which opens no door.
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (rpcs, expected) in [
        (r#""*", "Control/*""#, Err(Code::PermissionDenied)),
        (r#""ext_authz.Check""#, Ok(false)),
    ] {
        let config = format!(
            "{CONFIG}\n[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{digest}\"]\nrights = {{ rpcs = [{rpcs}] }}\n"
        );
        let server = start(&config).await;
        let mut client = Client::new(server.channel().await);
        let ask = || CheckRequest {
            attributes: Some(attributes(post(tool_call("log").to_string()))),
        };
        let stranger = client.check(ask()).await.expect_err("nobody");
        assert_eq!(stranger.code(), Code::Unauthenticated);
        let mut request = tonic::Request::new(ask());
        let token = "Bearer abc".parse().expect("a header");
        request.metadata_mut().insert("authorization", token);
        let answer = client.check(request).await.map(|it| is_ok(it.get_ref()));
        assert_eq!(answer.map_err(|it| it.code()), expected, "{rpcs}");
    }
    let empty = client.check(CheckRequest::default()).await;
    assert_eq!(empty.expect_err("nothing").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_source_counts_for_the_callers_it_names() {
    let digest = |byte: &str| byte.repeat(32);
    // Of `abc`.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let rights = r#"{ rpcs = ["ext_authz.Check"], assert_identity = true }"#;
    for (named, status) in [("edge", None), ("other", Some(401))] {
        let config = format!(
            r#"
[envoy]
servers = [{{ path = "/mcp", server = "git" }}]
[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
callers = ["{named}"]
[[callers]]
id = "edge"
token_sha256 = ["{abc}"]
rights = {rights}
[[callers]]
id = "other"
token_sha256 = ["{}"]
rights = {rights}
"#,
            digest("5a")
        );
        let server = start(&config).await;
        let mut client = Client::new(server.channel().await);
        let mut ask = async |http: HttpRequest| {
            let attributes = Some(attributes(http));
            let mut request = tonic::Request::new(CheckRequest { attributes });
            let token = "Bearer abc".parse().expect("a header");
            request.metadata_mut().insert("authorization", token);
            client.check(request).await.expect("an answer").into_inner()
        };
        let log = || post(tool_call("log").to_string());
        let answer = ask(log()).await;
        match status {
            None => assert!(is_ok(&answer), "{answer:?}"),
            Some(status) => assert_eq!(seen(&answer).0, status),
        }
        if status.is_none() {
            // It may say who acts, and not for whom.
            let answer = ask(with(log(), "x-person", "ana")).await;
            assert_eq!(listed(&answer, "reasons"), ["CALLER_NOT_TRUSTED"]);
        }
    }
}

/// Whether a request passes a server with these further settings.
async fn passes(settings: &str, attributes: AttributeContext) -> Result<(), i32> {
    let config = CONFIG.replace("[envoy]\n", &format!("[envoy]\n{settings}\n"));
    let server = start(&config).await;
    let mut client = Client::new(server.channel().await);
    let answer = check(&mut client, attributes).await;
    match is_ok(&answer) {
        true => Ok(()),
        false => Err(seen(&answer).0),
    }
}

#[tokio::test]
async fn settings_open_what_they_name_and_no_more() {
    let reply = || {
        attributes(post(
            r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#,
        ))
    };
    assert_eq!(passes("", reply()).await, Err(403));
    assert_eq!(passes("pass_replies = true", reply()).await, Ok(()));

    let purge = || attributes(post(tool_call("purge").to_string()));
    assert_eq!(passes("denied_status = 403", purge()).await, Err(403));

    let found = |name: &str| {
        let found = json!({"method": "tools/call", "id": 7, "is_mcp_request": true, "params": {"name": name}});
        finding(attributes(post("")), MCP, &found)
    };
    let optional = "body = \"optional\"";
    assert_eq!(passes("", found("log")).await, Err(400));
    assert_eq!(
        passes(optional, found("log")).await,
        Err(200),
        "not all is told"
    );
    let told_or_not = "body = \"optional\"\nrequire_arguments = false";
    assert_eq!(passes(told_or_not, found("log")).await, Ok(()));
    assert_eq!(passes(told_or_not, found("purge")).await, Err(200));
    let not_mcp = finding(
        attributes(post("")),
        MCP,
        &json!({"method": "tools/call", "id": 7}),
    );
    assert_eq!(passes(optional, not_mcp).await, Err(400));
    let reply = json!({"method": "__jsonrpc_response", "id": 7, "is_mcp_request": true});
    let reply = finding(attributes(post("")), MCP, &reply);
    assert_eq!(
        passes(optional, reply).await,
        Err(403),
        "what it tells is not seen"
    );

    let routed = |server: &str| {
        let mut attributes = attributes(HttpRequest {
            path: "/elsewhere".to_owned(),
            ..post(tool_call("log").to_string())
        });
        let extension = ("callgate.server".to_owned(), server.to_owned());
        attributes.context_extensions.extend([extension]);
        attributes
    };
    assert_eq!(passes("", routed("git")).await, Ok(()));
    assert_eq!(passes("", routed("other")).await, Err(200));
    assert_eq!(passes("", routed("")).await, Err(403));
}

#[tokio::test]
async fn plain_requests_are_decided_where_a_route_says_what_they_are() {
    let routes = r#"
[[envoy.routes]]
method = "GET"
path = "/repos/{name}/log"
server = "git"
tool = "log"
query = ["most"]

[[envoy.routes]]
method = "DELETE"
path = "/repos/{name}"
server = "git"
tool = "purge"
"#;
    let server = start(&format!("{CONFIG}\n{routes}")).await;
    let mut client = Client::new(server.channel().await);
    let plain = |method: &str, path: &str| HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        ..post("")
    };
    let allowed = check(&mut client, attributes(plain("GET", "/repos/a/log?most=7"))).await;
    assert!(is_ok(&allowed), "{allowed:?}");
    assert_eq!(listed(&allowed, "obligations"), ["log:full"]);

    let denied = check(&mut client, attributes(plain("DELETE", "/repos/a"))).await;
    let (status, body, response) = seen(&denied);
    let id = header(response, "x-callgate-decision-id");
    let expected = json!({
        "type": "about:blank", "title": "Forbidden", "status": 403, "detail": "history is kept",
        "reason": "FORBIDDEN", "decision_id": id,
    });
    assert_eq!((status, body), (403, expected));
    let problem = Some("application/problem+json");
    assert_eq!(header(response, "content-type"), problem);
    assert_eq!(listed(&denied, "reasons"), ["FORBIDDEN"]);

    let mut nobody = plain("GET", "/repos/a/log");
    nobody.headers.remove("x-agent");
    for (what, http, expected, said) in [
        (
            "no route",
            plain("PUT", "/repos/a"),
            403,
            "no server is configured for this host and path",
        ),
        (
            "a step up",
            plain("GET", "/repos/a/../log"),
            400,
            "the path is not plain",
        ),
        (
            "a key twice",
            plain("GET", "/repos/a/log?most=1&most=2"),
            400,
            "the query has a key twice",
        ),
        (
            "nobody",
            nobody,
            401,
            "nobody is known to make this request",
        ),
        (
            "an override",
            with(
                plain("GET", "/repos/a/log"),
                "x-http-method-override",
                "DELETE",
            ),
            400,
            "a header asks for another method",
        ),
    ] {
        let answer = check(&mut client, attributes(http)).await;
        let (status, body, response) = seen(&answer);
        assert_eq!(status, expected, "{what}: {body}");
        assert_eq!(body["status"], expected, "{what}: {body}");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with(said), "{what}: {body}");
        assert_eq!(header(response, "content-type"), problem, "{what}");
    }
    // MCP stays what it was.
    let answer = check(
        &mut client,
        attributes(post(tool_call("purge").to_string())),
    )
    .await;
    assert_eq!(seen(&answer).1["error"]["code"], -32001);
}

#[tokio::test]
async fn a_body_beyond_the_limit_gets_no_answer_that_could_be_an_allow() {
    let server = start(&format!("{CONFIG}\n[limits]\nmessage_bytes = 4096\n")).await;
    let mut client = Client::new(server.channel().await);
    let mut long = tool_call("log");
    long["params"]["arguments"] = json!({"text": "x".repeat(5_000)});
    let attributes = Some(attributes(post(long.to_string())));
    let answer = client.check(CheckRequest { attributes }).await;
    assert_eq!(
        answer.expect_err("too long").code(),
        Code::ResourceExhausted
    );
}
