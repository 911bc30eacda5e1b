//! Envoy's external processing, through gRPC: requests are decided as `Check` decides them, and what servers
//! send is judged before it passes.

use std::collections::HashMap;

use callgate::proto::envoy::auth;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::processing::body_mutation::Mutation;
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{
    BodySendMode, HeaderMap, HeaderMutation, HeaderValue, HttpBody, HttpHeaders, HttpTrailers,
    ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use proptest::prelude::*;
use prost_types::value::Kind as WireKind;
use prost_types::{Struct, Value as WireValue};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::serving::{Running, start, start_with};

const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "git" }]
verified_servers = ["git"]
task_header = "x-task"

[[envoy.identity]]
from = "spiffe"
prefix = "spiffe://example.org/agent/"

[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
"#;

/// What the server `git` may ask of its clients.
const ASKING: &str = r#"
@id("ask.forms")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_form", resource)
when { context.elicitation.secret_fields.isEmpty() };

@id("ask.urls")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_url", resource)
when { context.elicitation has host && context.elicitation.host == "github.com" };

@id("ask.sampling")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"sample", resource)
when { context.sampling.max_tokens <= 100 };
"#;

/// One exchange, as Envoy leads it.
struct Exchange {
    tell: mpsc::Sender<ProcessingRequest>,
    told: Streaming<ProcessingResponse>,
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: pairs.iter().map(header).collect(),
        }),
        end_of_stream,
    }
}

fn body(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody {
        body: bytes.to_vec().into(),
        end_of_stream,
    }
}

/// The first message of an Envoy that is configured as it has to be.
fn first(request: Request) -> ProcessingRequest {
    ProcessingRequest {
        request: Some(request),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            response_body_mode: BodySendMode::FullDuplexStreamed.into(),
        }),
        ..ProcessingRequest::default()
    }
}

const POST: [(&str, &str); 5] = [
    (":method", "POST"),
    (":path", "/mcp"),
    (":authority", "gateway.example.org"),
    ("content-type", "application/json"),
    ("x-agent", "coder"),
];

impl Exchange {
    async fn open(server: &Running) -> Self {
        Self::open_with(server.channel().await, None).await
    }

    async fn open_with(channel: Channel, named: Option<&'static str>) -> Self {
        let (tell, requests) = mpsc::channel(64);
        let mut request = tonic::Request::new(ReceiverStream::new(requests));
        if let Some(named) = named {
            let named = named.parse().expect("a header");
            request.metadata_mut().insert("callgate-server", named);
        }
        let mut client = ExternalProcessorClient::new(channel);
        let told = client.process(request).await.expect("a stream");
        Self {
            tell,
            told: told.into_inner(),
        }
    }

    async fn say(&self, request: ProcessingRequest) {
        self.tell.send(request).await.expect("somebody listens");
    }

    async fn tell(&self, request: Request) {
        let request = Some(request);
        self.say(ProcessingRequest {
            request,
            ..ProcessingRequest::default()
        })
        .await;
    }

    async fn hear(&mut self) -> Result<Response, Status> {
        let told = self.told.message().await?.expect("no end without an error");
        Ok(told.response.expect("a response"))
    }

    /// Sends a request with headers of the test's own, up to the decision.
    async fn ask(&mut self, headers: &[(&str, &str)], text: &[u8]) -> Result<Response, Status> {
        let headers = self::headers(headers, false);
        self.say(first(Request::RequestHeaders(headers))).await;
        match self.hear().await? {
            Response::RequestHeaders(_) => {}
            other => return Ok(other),
        }
        self.tell(Request::RequestBody(body(text, true))).await;
        self.hear().await
    }

    /// Sends a message that is allowed.
    async fn pass(&mut self, message: &Json) {
        let told = self.ask(&POST, message.to_string().as_bytes()).await;
        assert!(matches!(told, Ok(Response::RequestBody(_))), "{told:?}");
    }

    /// Opens the stream of a session.
    async fn listen(&mut self) {
        let get = [
            (":method", "GET"),
            (":path", "/mcp"),
            (":authority", "gateway.example.org"),
            ("x-agent", "coder"),
            ("mcp-session-id", "s-1"),
        ];
        let request = Request::RequestHeaders(headers(&get, true));
        self.say(first(request)).await;
        let told = self.hear().await;
        assert!(matches!(told, Ok(Response::RequestHeaders(_))), "{told:?}");
    }

    /// The server begins to answer with this type.
    async fn answered_with(&mut self, of_type: &str) -> Result<Response, Status> {
        let answer = [(":status", "200"), ("content-type", of_type)];
        self.tell(Request::ResponseHeaders(headers(&answer, false)))
            .await;
        self.hear().await
    }

    /// What passes of a body that comes in these pieces, to its end.
    async fn body(&mut self, pieces: &[&[u8]]) -> Result<Vec<u8>, Status> {
        let last = pieces.len() - 1;
        for (at, piece) in pieces.iter().enumerate() {
            self.tell(Request::ResponseBody(body(piece, at == last)))
                .await;
        }
        self.rest().await
    }

    async fn rest(&mut self) -> Result<Vec<u8>, Status> {
        let mut passed = Vec::new();
        loop {
            let (bytes, is_last) = self.piece().await?;
            passed.extend(bytes);
            if is_last {
                return Ok(passed);
            }
        }
    }

    async fn piece(&mut self) -> Result<(Vec<u8>, bool), Status> {
        let told = self.hear().await?;
        let Response::ResponseBody(told) = told else {
            panic!("{told:?}");
        };
        let mutation = told.response.unwrap().body_mutation.unwrap().mutation;
        let Some(Mutation::StreamedResponse(streamed)) = mutation else {
            panic!("{mutation:?}");
        };
        Ok((streamed.body.to_vec(), streamed.end_of_stream))
    }
}

async fn asking() -> Running {
    start_with(CONFIG, &[("asking.cedar", ASKING)]).await
}

fn request(method: &str, params: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn list() -> Json {
    request("tools/list", json!({}))
}

fn event(message: &Json) -> String {
    format!("event: message\nid: e-1\ndata: {message}\n\n")
}

/// The message of the only event.
fn message_of(events: &[u8]) -> Json {
    let text = std::str::from_utf8(events).expect("text");
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.unwrap_or_else(|| panic!("no data in {text:?}"))).expect("JSON")
}

fn mutated(mutation: Option<HeaderMutation>) -> HashMap<String, String> {
    let set = mutation.unwrap_or_default().set_headers.into_iter();
    set.filter_map(|it| it.header)
        .map(|it| (it.key, String::from_utf8(it.raw_value.to_vec()).unwrap()))
        .collect()
}

/// What a client sees in place of an answer.
fn seen(immediate: ImmediateResponse) -> (i32, HashMap<String, String>, Json) {
    let status = immediate.status.expect("a status").code;
    let body = serde_json::from_slice(&immediate.body).expect("JSON");
    (status, mutated(immediate.headers), body)
}

/// Two denies differ in the name of the decision.
fn without_id(mut body: Json) -> Json {
    if let Some(id) = body.pointer_mut("/error/data/authorization/authorizationContextId") {
        assert!(id.take().is_string());
    }
    body
}

#[tokio::test]
async fn requests_are_decided_as_check_decides_them() {
    let server = start(CONFIG).await;
    let mut check = AuthorizationClient::new(server.channel().await);
    let call = |tool: &str| request("tools/call", json!({"name": tool})).to_string();
    let raw = |text: &str| text.to_owned();
    let mut table: Vec<(&str, Vec<(&str, &str)>, String)> = vec![
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
        HashMap::from([("envoy.filters.http.ext_proc".to_owned(), found)])
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
        let elsewhere = [(":method", "POST"), (":path", "/else"), (":authority", "h")];
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
async fn lists_lose_what_the_client_may_not_use() {
    let server = asking().await;
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let listed = |id: Json| json!({"jsonrpc": "2.0", "id": id, "result": {"tools": [tool("log"), tool("purge"), tool("what")], "nextCursor": "c"}});
    let kept = json!({"tools": [tool("log")], "nextCursor": "c"});
    let events = |id: Json| {
        let noise = ": hello\n\nid: 1\ndata: \n\nretry: 5\n\n";
        format!("{noise}{}", event(&listed(id)))
    };
    for (of_type, text) in [
        ("application/json", listed(json!(7)).to_string()),
        ("text/event-stream", events(json!(7))),
        // An id that nobody waits for: some clients take any reply for the one they wait for.
        ("text/event-stream", events(json!(8))),
        ("text/event-stream", events(json!("7"))),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let told = exchange.answered_with(of_type).await;
        assert!(matches!(told, Ok(Response::ResponseHeaders(_))), "{told:?}");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let text = String::from_utf8(passed.clone()).expect("text");
        let message = match of_type {
            "application/json" => serde_json::from_slice(&passed).expect("JSON"),
            _ => {
                assert!(text.starts_with(": hello\n\nid: 1\ndata: \n\nretry: 5\n\n"));
                assert!(text.contains("event: message\nid: e-1\n"), "{text}");
                let (_, event) = text.split_at(text.find("event").unwrap());
                message_of(event.as_bytes())
            }
        };
        assert_eq!(message["result"], kept, "{of_type}");
    }

    // What says nothing of lists passes byte by byte, in an answer to a call even if it looks like one.
    let unchanged = "{ \"jsonrpc\" : \"2.0\", \"id\":7,\n \"result\": {\"tools\": [{\"name\": \"purge\"}], \"x\": 1.50} }";
    let mut exchange = Exchange::open(&server).await;
    exchange
        .pass(&request("tools/call", json!({"name": "log"})))
        .await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let passed = exchange
        .body(&[&unchanged.as_bytes()[..9], &unchanged.as_bytes()[9..]])
        .await;
    assert_eq!(passed.expect("a body"), unchanged.as_bytes());
}

#[tokio::test]
async fn what_a_server_asks_for_is_decided_in_its_name() {
    let server = asking().await;
    let form = |field: &str| json!({"message": "m", "requestedSchema": {"type": "object", "properties": {field: {"type": "string"}}}});
    let sampling = |tokens: i64| json!({"messages": [], "maxTokens": tokens});
    let visit =
        |url: &str| json!({"mode": "url", "elicitationId": "e", "message": "m", "url": url});
    let asks = |method: &str, params: Json| json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
    let visit_first = |url: &str| json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32042, "message": "m", "data": {"elicitations": [visit(url)]}}});
    let input = |params: Json| json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create", "params": params}}}});
    for (message, expected) in [
        (asks("elicitation/create", form("colour")), None),
        (
            asks("elicitation/create", form("password")),
            Some("NO_PERMIT"),
        ),
        (
            asks("elicitation/create", visit("https://github.com/login")),
            None,
        ),
        (
            asks(
                "elicitation/create",
                visit("https://evil.example.com/login"),
            ),
            Some("NO_PERMIT"),
        ),
        (asks("sampling/createMessage", sampling(100)), None),
        (
            asks("sampling/createMessage", sampling(101)),
            Some("NO_PERMIT"),
        ),
        (asks("roots/list", json!({})), Some("NO_PERMIT")),
        (asks("ping", json!({})), None),
        (asks("tools/delete", json!({})), Some("-32601")),
        (asks("sampling/createMessage", json!({})), Some("-32602")),
        (visit_first("https://github.com/login"), None),
        (
            visit_first("https://evil.example.com/login"),
            Some("NO_PERMIT"),
        ),
        (input(form("colour")), None),
        (input(form("password")), Some("NO_PERMIT")),
    ] {
        for is_call in [true, false] {
            let mut exchange = Exchange::open(&server).await;
            match is_call {
                true => {
                    exchange
                        .pass(&request("tools/call", json!({"name": "log"})))
                        .await
                }
                false => exchange.listen().await,
            }
            exchange
                .answered_with("text/event-stream")
                .await
                .expect("go on");
            let text = event(&message);
            let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
            let Some(expected) = expected else {
                assert_eq!(String::from_utf8(passed).unwrap(), text);
                continue;
            };
            assert!(passed.starts_with(b"event: message\nid: e-1\n"));
            let passed = message_of(&passed);
            assert_eq!(passed["id"], message["id"]);
            let said = if message["method"].is_string() {
                assert_eq!(passed["method"], "callgate/denied", "no client has it");
                &passed["params"]
            } else {
                assert_eq!(passed["result"], Json::Null);
                &passed["error"]
            };
            let reason = &said["data"]["authorization"]["reason"];
            let reason = reason
                .as_str()
                .map_or(said["code"].to_string(), str::to_owned);
            assert_eq!(reason, expected, "{message}");
        }
    }
}

#[tokio::test]
async fn notifications_and_what_cannot_be_read_are_dropped() {
    let server = asking().await;
    let harmless = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    for (data, expected) in [
        (harmless, harmless),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            "",
        ),
        (r#"{"jsonrpc":"2.0","method":"notifications/else"}"#, ""),
        ("hello", ""),
        ("[]", ""),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/message","method":"ping"}"#,
            "",
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.listen().await;
        exchange
            .answered_with("text/event-stream")
            .await
            .expect("go on");
        let text = format!("data: {data}\n\n: end\n\n");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let expected = match expected {
            "" => ": end\n\n".to_owned(),
            data => format!("data: {data}\n\n: end\n\n"),
        };
        assert_eq!(String::from_utf8(passed).unwrap(), expected, "{data}");
    }
    // What has an id is answered for the server.
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    let text = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{},\"Result\":{}}\n\n";
    let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
    assert_eq!(message_of(&passed)["error"]["code"], -32001);
    // A server that could not read a request says so to nobody; what it wants of a person is decided still.
    let nobody = |data: Json| json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32042, "message": "m", "data": data}});
    let visit = |url: &str| json!({"elicitations": [{"mode": "url", "elicitationId": "e", "message": "m", "url": url}]});
    for (message, expected) in [
        (nobody(json!({})), "-32602"),
        (nobody(json!({"elicitations": []})), "-32042"),
        (nobody(visit("https://github.com/a")), "-32042"),
        (nobody(visit("https://evil.example.com/a")), "-32001"),
        (
            json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "m"}}),
            "-32000",
        ),
        (json!({"jsonrpc": "2.0", "error": "m"}), "-32001"),
        (
            json!({"jsonrpc": "2.0", "id": null, "error": {}, "result": {}}),
            "-32001",
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let answer = [(":status", "404"), ("content-type", "application/json")];
        exchange
            .tell(Request::ResponseHeaders(headers(&answer, false)))
            .await;
        exchange.hear().await.expect("go on");
        let passed = exchange
            .body(&[message.to_string().as_bytes()])
            .await
            .expect("a body");
        let passed: Json = serde_json::from_slice(&passed).expect("JSON");
        assert_eq!(passed["error"]["code"].to_string(), expected, "{message}");
    }
    // So is a whole answer that is none.
    for text in [
        "hello",
        "[]",
        "{\"jsonrpc\":\"2.0\",\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":1,\"a\":2}}",
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        exchange
            .answered_with("application/json")
            .await
            .expect("go on");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let passed: Json = serde_json::from_slice(&passed).expect("JSON");
        assert_eq!(
            (&passed["id"], &passed["error"]["code"]),
            (&json!(7), &json!(-32001)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_event_passes_before_the_next_one_comes() {
    let server = asking().await;
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    for at in 0..3 {
        let text = event(
            &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": at}}),
        );
        let (early, late) = text.split_at(20);
        exchange
            .tell(Request::ResponseBody(body(early.as_bytes(), false)))
            .await;
        exchange
            .tell(Request::ResponseBody(body(late.as_bytes(), false)))
            .await;
        assert_eq!(
            exchange.piece().await.expect("a piece"),
            (text.into_bytes(), false)
        );
    }
    // An event without an end is none.
    exchange
        .tell(Request::ResponseBody(body(b"data: {}\n", false)))
        .await;
    exchange
        .tell(Request::ResponseTrailers(HttpTrailers::default()))
        .await;
    assert_eq!(
        exchange.piece().await.expect("a piece"),
        (Vec::new(), false)
    );
    let told = exchange.hear().await;
    assert!(
        matches!(told, Ok(Response::ResponseTrailers(_))),
        "{told:?}"
    );

    // A whole message may be followed by trailers, too.
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let text = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": []}}).to_string();
    exchange
        .tell(Request::ResponseBody(body(text.as_bytes(), false)))
        .await;
    exchange
        .tell(Request::ResponseTrailers(HttpTrailers::default()))
        .await;
    assert_eq!(
        exchange.piece().await.expect("a piece"),
        (text.into_bytes(), false)
    );
    let told = exchange.hear().await;
    assert!(
        matches!(told, Ok(Response::ResponseTrailers(_))),
        "{told:?}"
    );
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_a_stream_is_cut_does_not_change_what_passes(
        cuts in prop::collection::vec(0_usize..900, 0..8),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let tools = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": [{"name": "log"}, {"name": "purge"}]}});
        let asks = json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"});
        let harmless = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "\u{2028}x"}});
        let text = format!(": c\n\n{}data: nonsense\n\n{}{}", event(&harmless), event(&asks), event(&tools));
        let text = text.replace('\n', end);
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.push(&text.as_bytes()[from..cut]);
            from = cut;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (whole, cut) = runtime.block_on(async {
            let server = start(CONFIG).await;
            let mut passed = Vec::new();
            for pieces in [vec![text.as_bytes()], pieces] {
                let mut exchange = Exchange::open(&server).await;
                exchange.pass(&list()).await;
                exchange.answered_with("text/event-stream").await.unwrap();
                passed.push(exchange.body(&pieces).await.unwrap());
            }
            // The denies are decided twice, so they are called differently.
            let plain = |bytes: &Vec<u8>| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let (before, after) = text.split_once("authorizationContextId\":\"").expect("a deny");
                (before.to_owned(), after[36..].to_owned())
            };
            (plain(&passed[0]), plain(&passed[1]))
        });
        prop_assert_eq!(whole, cut);
    }
}
