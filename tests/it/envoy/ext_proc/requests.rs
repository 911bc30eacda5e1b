//! Requests are decided as `Check` decides them, for those who may ask.

use std::collections::BTreeMap;

use callgate::proto::envoy::auth;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::processing::ProcessingRequest;
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use prost_types::value::Kind as WireKind;
use prost_types::{Struct, Value as WireValue};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::metadata::AsciiMetadataValue;

use crate::envoy::ext_proc::{
    CONFIG, Exchange, POST, body, first, headers, list, mutated, request, seen,
};
use crate::support::in_process::start;
use crate::support::worlds;

/// Two denies differ in the name of the decision.
fn without_id(mut body: Json) -> Json {
    if let Some(id) = body.pointer_mut("/error/data/authorization/authorizationContextId") {
        assert!(id.take().is_string());
    }
    body
}

/// A request: what is special about it, its headers beside the usual ones, and its body.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, String);

#[tokio::test]
async fn requests_are_decided_as_check_decides_them() {
    let server = start(CONFIG).await;
    let mut check = AuthorizationClient::new(server.channel().await);
    let call = |tool: &str| request("tools/call", json!({"name": tool})).to_string();
    let raw = |text: &str| text.to_owned();
    let mut table: Vec<Case<'_>> = vec![
        ("allowed", vec![], call("log")),
        ("denied", vec![], call("purge")),
        ("of nobody known", vec![], call("other")),
        ("a list", vec![], list().to_string()),
        ("for a person", vec![("x-person", "ana")], call("commit")),
        ("for another", vec![("x-person", "bob")], call("commit")),
        ("by nobody", vec![("x-agent", "")], call("log")),
        ("another path", vec![(":path", "/x/../mcp")], call("log")),
        ("another method", vec![(":method", "PUT")], call("log")),
        (
            "the method header",
            vec![("mcp-method", "tools/list")],
            call("log"),
        ),
        (
            "the name header",
            vec![("mcp-name", "=?base64?cHVyZ2U=?=")],
            call("log"),
        ),
        (
            "an agreeing header",
            vec![("mcp-name", "=?base64?bG9n?=")],
            call("log"),
        ),
        (
            "compressed",
            vec![("content-encoding", "gzip")],
            call("log"),
        ),
        (
            "a task with a line end",
            vec![("x-task", "a\nb")],
            call("log"),
        ),
        ("nothing", vec![], String::new()),
        ("a batch", vec![], format!("[{}]", call("log"))),
        (
            "half a message",
            vec![],
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"tools/ca"#),
        ),
        (
            "a key twice",
            vec![],
            raw(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#),
        ),
        (
            "a key in two spellings",
            vec![],
            raw(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"log","Name":"purge"}}"#,
            ),
        ),
        (
            "an unknown method",
            vec![],
            request("tools/delete", json!({})).to_string(),
        ),
        (
            "a server's method",
            vec![],
            request("sampling/createMessage", json!({})).to_string(),
        ),
        ("a look-alike", vec![], call("l\u{43e}g")),
        (
            "a notification",
            vec![],
            raw(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        ),
        (
            "an unknown one",
            vec![],
            raw(r#"{"jsonrpc":"2.0","method":"notifications/else"}"#),
        ),
        (
            "an empty reply",
            vec![],
            raw(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        ),
    ];
    table.push(("two agents", vec![("x-agent", "coder, ghost")], call("log")));
    let mut allowed = 0;
    for (what, others, text) in table {
        let mut all: Vec<_> = POST.into_iter().collect();
        for (name, value) in &others {
            all.retain(|(known, _)| known != name);
            all.push((*name, *value));
        }
        let told = Exchange::open(&server)
            .await
            .ask(&all, text.as_bytes())
            .await;
        let told = told.unwrap_or_else(|status| panic!("{what}: {status}"));

        let find = |name: &str| {
            all.iter()
                .find(|(key, _)| *key == name)
                .unwrap()
                .1
                .to_owned()
        };
        let http = auth::HttpRequest {
            method: find(":method"),
            path: find(":path"),
            host: find(":authority"),
            headers: all
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            raw_body: text.into_bytes().into(),
            ..auth::HttpRequest::default()
        };
        let attributes = auth::AttributeContext {
            request: Some(auth::Request { http: Some(http) }),
            ..auth::AttributeContext::default()
        };
        let question = auth::CheckRequest {
            attributes: Some(attributes),
        };
        let checked = check.check(question).await.expect("an answer").into_inner();
        match (told, checked.http_response.expect("a response")) {
            (Response::RequestBody(told), HttpResponse::OkResponse(ok)) => {
                let mutation = told.response.unwrap().header_mutation.unwrap();
                let mut removed = mutation.remove_headers.clone();
                assert_eq!(removed.pop().as_deref(), Some("accept-encoding"), "{what}");
                assert_eq!(removed, ok.headers_to_remove, "{what}");
                let mut set: Vec<_> = mutated(Some(mutation)).into_keys().collect();
                set.sort_unstable();
                let names = ok.headers.into_iter().filter_map(|it| it.header);
                let mut names: Vec<_> = names.map(|it| it.key).collect();
                names.sort_unstable();
                assert_eq!(set, names, "{what}");
                allowed += 1;
            }
            (Response::ImmediateResponse(told), HttpResponse::DeniedResponse(denied)) => {
                let (status, headers, body) = seen(told);
                assert_eq!(status, denied.status.unwrap().code, "{what}");
                let expected: Json = serde_json::from_str(&denied.body).unwrap();
                assert_eq!(without_id(body), without_id(expected), "{what}");
                let names = denied.headers.into_iter().filter_map(|it| it.header);
                for header in names {
                    assert!(headers.contains_key(&header.key), "{what}: {}", header.key);
                }
            }
            (told, checked) => panic!("{what}: {told:?} and {checked:?}"),
        }
    }
    assert!(allowed >= 5, "{allowed}");
}

#[tokio::test]
async fn servers_and_identities_come_from_what_envoy_alone_can_say() {
    let server = start(CONFIG).await;
    let attributes = |principal: &str| {
        let text = |text: &str| WireValue {
            kind: Some(WireKind::StringValue(text.to_owned())),
        };
        let fields = [
            ("source.address".to_owned(), text("10.0.0.1:4711")),
            (
                "connection.uri_san_peer_certificate".to_owned(),
                text(principal),
            ),
        ];
        let found = Struct {
            fields: fields.into(),
        };
        BTreeMap::from([("envoy.filters.http.ext_proc".to_owned(), found)])
    };
    for (named, principal, expected) in [
        (None, "spiffe://example.org/agent/coder", Some(403)),
        (Some("git"), "spiffe://example.org/agent/coder", None),
        (Some("other"), "spiffe://example.org/agent/coder", Some(200)),
        (Some("git"), "spiffe://example.org/agent/ghost", Some(200)),
        (Some("git"), "spiffe://example.org/person/ana", Some(403)),
        (Some("git"), "", Some(401)),
    ] {
        let mut exchange = Exchange::open_with(server.channel().await, named).await;
        let call = request("tools/call", json!({"name": "log"})).to_string();
        let elsewhere = [
            (":method", "POST"),
            (":path", "/else"),
            (":authority", "h"),
            ("content-type", "application/json"),
        ];
        let mut message = first(Request::RequestHeaders(headers(&elsewhere, false)));
        message.attributes = attributes(principal);
        exchange.say(message).await;
        exchange.hear().await.expect("wait");
        exchange
            .tell(Request::RequestBody(body(call.as_bytes(), true)))
            .await;
        match (exchange.hear().await.expect("a decision"), expected) {
            (Response::RequestBody(_), None) => {}
            (Response::ImmediateResponse(told), Some(status)) => {
                assert_eq!(seen(told).0, status, "{named:?} {principal}");
            }
            (told, _) => panic!("{named:?} {principal}: {told:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_whose_name_cannot_be_read_is_not_taken_for_another() {
    let server = start(CONFIG).await;
    for (named, expected) in [
        (&b"git"[..], Ok(None)),
        // No server of that name is registered: `git`, which the path would name, is not asked instead.
        ("d\u{e9}p\u{f4}t".as_bytes(), Ok(Some(200))),
        (b"oth\xe9r", Err(Code::InvalidArgument)),
    ] {
        let (tell, requests) = mpsc::channel(8);
        let mut asks = tonic::Request::new(ReceiverStream::new(requests));
        let value = AsciiMetadataValue::try_from(named).expect("a header");
        asks.metadata_mut().insert("callgate-server", value);
        let mut client = ExternalProcessorClient::new(server.channel().await);
        let call = request("tools/call", json!({"name": "log"})).to_string();
        let message = first(Request::RequestHeaders(headers(&POST, false)));
        tell.send(message).await.expect("somebody listens");
        let told = match client.process(asks).await {
            Ok(told) => Ok(told.into_inner()),
            Err(status) => Err(status.code()),
        };
        let (mut told, expected) = match (told, expected) {
            (Ok(told), Ok(expected)) => (told, expected),
            (told, expected) => {
                assert_eq!(told.err(), expected.err(), "{named:?}");
                continue;
            }
        };
        told.message().await.expect("wait").expect("a message");
        let message = ProcessingRequest {
            request: Some(Request::RequestBody(body(call.as_bytes(), true))),
            ..ProcessingRequest::default()
        };
        tell.send(message).await.expect("somebody listens");
        let decided = told.message().await.expect("a decision");
        match (decided.and_then(|it| it.response), expected) {
            (Some(Response::RequestBody(_)), None) => {}
            (Some(Response::ImmediateResponse(told)), Some(status)) => {
                let (was, _, body) = seen(told);
                assert_eq!(was, status, "{named:?}");
                let reason = &body["error"]["data"]["authorization"]["reason"];
                assert_eq!(reason, "SERVER_UNKNOWN", "{named:?}: {body}");
            }
            (told, _) => panic!("{named:?}: {told:?}"),
        }
    }
}

#[tokio::test]
async fn only_callers_with_the_right_are_served_and_only_as_long_as_there_is_room() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (rpcs, expected) in [
        (r#""*", "ext_authz.Check""#, Code::PermissionDenied),
        (r#""ext_proc.Process""#, Code::Ok),
    ] {
        let config = format!(
            "{CONFIG}\n[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{digest}\"]\nrights = {{ rpcs = [{rpcs}] }}\n"
        );
        let server = start(&config).await;
        let mut client = ExternalProcessorClient::new(server.channel().await);
        let stranger = client
            .process(tokio_stream::empty())
            .await
            .expect_err("nobody");
        assert_eq!(stranger.code(), Code::Unauthenticated);
        let mut request = tonic::Request::new(tokio_stream::empty());
        let token = "Bearer abc".parse().expect("a header");
        request.metadata_mut().insert("authorization", token);
        let code = client
            .process(request)
            .await
            .map_or_else(|it| it.code(), |_| Code::Ok);
        assert_eq!(code, expected, "{rpcs}");
    }
    let server = start(&format!("{CONFIG}\n[limits]\nopen_streams = 1\n")).await;
    let open = Exchange::open(&server).await;
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let shed = client
        .process(tokio_stream::empty())
        .await
        .expect_err("no room");
    assert_eq!(shed.code(), Code::ResourceExhausted);
    drop(open);
}

#[tokio::test]
async fn policies_alone_decide_what_a_client_tells_a_server() {
    const TELLING: &str = r#"
@id("no-passwords") @reason("passwords are not for servers")
forbid (principal, action == Mcp::Action::"connect", resource)
when { context has answers && !context.answers.secret_fields.isEmpty() };
"#;
    let telling = worlds::small().file("telling.cedar", TELLING);
    let server = telling.start(CONFIG).await;
    for (field, expected) in [("colour", None), ("password", Some("FORBIDDEN"))] {
        let reply = json!({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {field: "x"}}});
        let mut exchange = Exchange::open(&server).await;
        let told = exchange.ask(&POST, reply.to_string().as_bytes()).await;
        match (told.expect("a decision"), expected) {
            (Response::RequestBody(_), None) => {}
            (Response::ImmediateResponse(told), Some(expected)) => {
                let (status, _, body) = seen(told);
                let reason = &body["error"]["data"]["authorization"]["reason"];
                assert_eq!((status, reason), (403, &json!(expected)), "{body}");
            }
            (told, _) => panic!("{field}: {told:?}"),
        }
    }
}
