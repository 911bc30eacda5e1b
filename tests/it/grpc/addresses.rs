//! The client's address, at every door that has one: a rule about IPv4 holds however the address is written, and one
//! that cannot be read is told and not left out.

use callgate::proto::agentgateway::ext_mcp::authorization_error::Code;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as Outcome;
use callgate::proto::agentgateway::ext_mcp::{McpHeader, McpRequest};
use callgate::proto::envoy::auth;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as ExtAuthzClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::processing;
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request as Heard;
use callgate::proto::envoy::processing::processing_response::Response as Told;
use callgate::proto::v1;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::json;

use crate::support::in_process::{Running, call, context};
use crate::support::process::Bundle;
use crate::support::worlds;

const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "git" }]

[[envoy.identity]]
from = "header"
agent = "x-agent"

[ext_mcp]
source_key = "source"

[[ext_mcp.identity]]
from = "keys"
agent = "agent"
"#;

const POLICY: &str = r#"
@id("not-from-there")
forbid (principal, action, resource)
when { context.environment has source_address && context.environment.source_address.isInRange(ip("10.9.0.0/16")) };
"#;

/// Whether the call passes, or why it is refused.
type Answer = Result<bool, String>;

fn body() -> Vec<u8> {
    let params = json!({"name": "log", "arguments": {}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        .to_string()
        .into_bytes()
}

fn texts(members: &[(&str, &str)]) -> Struct {
    let value = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    Struct {
        fields: members
            .iter()
            .map(|(name, text)| ((*name).to_owned(), value(text)))
            .collect(),
    }
}

async fn native(server: &Running, source: &str) -> Answer {
    let mut request = call("log");
    context(&mut request).environment = Some(v1::Environment {
        source_address: source.to_owned(),
    });
    match server.client().await.authorize(request).await {
        Ok(answer) => Ok(answer.into_inner().decision() == v1::Decision::Allow),
        Err(status) => Err(status.message().to_owned()),
    }
}

async fn ext_authz(server: &Running, address: Option<auth::Address>) -> Answer {
    let headers = [("x-agent", "coder"), ("content-type", "application/json")];
    let http = auth::HttpRequest {
        method: "POST".to_owned(),
        path: "/mcp".to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        raw_body: body().into(),
        ..auth::HttpRequest::default()
    };
    let attributes = auth::AttributeContext {
        request: Some(auth::Request { http: Some(http) }),
        source: Some(auth::Peer {
            address,
            ..auth::Peer::default()
        }),
        ..auth::AttributeContext::default()
    };
    let mut client = ExtAuthzClient::new(server.channel().await);
    let attributes = Some(attributes);
    let answer = client.check(auth::CheckRequest { attributes }).await;
    match answer.expect("an answer").into_inner().http_response {
        Some(HttpResponse::DeniedResponse(denied)) => {
            refused_or_denied(denied.status.map(|it| it.code), &denied.body)
        }
        _ => Ok(true),
    }
}

fn refused_or_denied(status: Option<i32>, body: &str) -> Answer {
    match status {
        Some(400) => Err(body.to_owned()),
        _ => Ok(false),
    }
}

async fn ext_authz_from(server: &Running, source: &str) -> Answer {
    let address = auth::SocketAddress {
        address: source.to_owned(),
    };
    let address = auth::Address {
        socket_address: Some(address),
    };
    ext_authz(server, Some(address)).await
}

async fn ext_proc(server: &Running, attributes: Struct) -> Answer {
    let header = |(key, value): (&str, &str)| processing::HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    let headers = [
        (":method", "POST"),
        (":path", "/mcp"),
        ("content-type", "application/json"),
        ("x-agent", "coder"),
    ];
    let headers = processing::HttpHeaders {
        headers: Some(processing::HeaderMap {
            headers: headers.map(header).into(),
        }),
        end_of_stream: false,
    };
    let first = processing::ProcessingRequest {
        request: Some(Heard::RequestHeaders(headers)),
        attributes: [("envoy.filters.http.ext_proc".to_owned(), attributes)].into(),
        protocol_config: Some(processing::ProtocolConfiguration {
            request_body_mode: processing::BodySendMode::Buffered.into(),
            response_body_mode: processing::BodySendMode::FullDuplexStreamed.into(),
        }),
        ..processing::ProcessingRequest::default()
    };
    let whole = processing::HttpBody {
        body: body().into(),
        end_of_stream: true,
    };
    let second = processing::ProcessingRequest {
        request: Some(Heard::RequestBody(whole)),
        ..processing::ProcessingRequest::default()
    };
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let told = client.process(tokio_stream::iter([first, second])).await;
    let mut told = told.expect("a stream").into_inner();
    loop {
        let message = told.message().await.expect("a message");
        match message.expect("an answer").response.expect("a response") {
            Told::RequestHeaders(_) => {}
            Told::ImmediateResponse(turned) => {
                let text = String::from_utf8_lossy(&turned.body);
                return refused_or_denied(turned.status.map(|it| it.code), &text);
            }
            _ => return Ok(true),
        }
    }
}

async fn ext_mcp(server: &Running, metadata: &[(&str, &str)]) -> Answer {
    let header = |(key, value): (&str, &str)| McpHeader {
        key: key.to_owned(),
        value: value.as_bytes().to_vec().into(),
    };
    let members = [&[("agent", "coder")], metadata].concat();
    let request = McpRequest {
        method: "tools/call".to_owned(),
        service_names: vec!["git".to_owned()],
        mcp_request: Some(
            json!({"name": "log", "arguments": {}})
                .to_string()
                .into_bytes()
                .into(),
        ),
        headers: vec![header(("content-type", "application/json"))],
        metadata_context: Some(texts(&members)),
    };
    let mut client = ExtMcpClient::new(server.channel().await);
    let answer = client.check_request(request).await.expect("an answer");
    match answer.into_inner().result {
        Some(Outcome::Error(error)) if error.code() == Code::Invalid => Err(error.reason),
        Some(Outcome::Error(_)) => Ok(false),
        _ => Ok(true),
    }
}

/// The answer of each door that tells an address, by its name.
async fn each(server: &Running, source: &str) -> [(&'static str, Answer); 4] {
    [
        ("native", native(server, source).await),
        ("ext_authz", ext_authz_from(server, source).await),
        (
            "ext_proc",
            ext_proc(server, texts(&[("source.address", source)])).await,
        ),
        ("ext_mcp", ext_mcp(server, &[("source", source)]).await),
    ]
}

async fn with_policy() -> Running {
    worlds::small()
        .file("net.cedar", POLICY)
        .start(CONFIG)
        .await
}

#[tokio::test]
async fn a_rule_about_an_address_holds_however_it_is_written() {
    let server = with_policy().await;
    for (source, passes) in [
        ("10.9.1.2", false),
        ("10.9.1.2:51234", false),
        ("::ffff:10.9.1.2", false),
        ("::FFFF:0a09:0102", false),
        ("0:0:0:0:0:ffff:10.9.1.2", false),
        ("[::ffff:10.9.1.2]", false),
        ("[::ffff:10.9.1.2]:443", false),
        ("10.8.1.2", true),
        ("::ffff:10.8.1.2", true),
        ("2001:db8::1", true),
        ("[2001:db8::1]:443", true),
    ] {
        for (door, answer) in each(&server, source).await {
            assert_eq!(answer, Ok(passes), "{door}: {source}");
        }
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_told() {
    let server = with_policy().await;
    for source in [
        "localhost",
        "10.9.1",
        "010.009.001.002",
        "10.9.1.2/8",
        "10.9.1.2:99999",
        "fe80::1%eth0",
        "10.9.1.2, 10.8.1.2",
        " ",
        "[10.9.1.2]",
    ] {
        for (door, answer) in each(&server, source).await {
            let said = answer.expect_err(door);
            assert!(said.contains("an IP address"), "{door} {source}: {said}");
        }
    }
    let said = ext_authz_from(&server, "").await.expect_err("empty");
    assert!(
        said.contains("`source.address` `` is not an IP address"),
        "{said}"
    );
    let number = Value {
        kind: Some(Kind::NumberValue(167_837_954.0)),
    };
    let number = Struct {
        fields: [("source.address".to_owned(), number)].into(),
    };
    let said = ext_proc(&server, number).await.expect_err("a number");
    assert!(said.contains("`source.address`"), "{said}");
}

#[tokio::test]
async fn a_peer_without_an_address_has_none() {
    let server = with_policy().await;
    assert_eq!(native(&server, "").await, Ok(true));
    assert_eq!(ext_authz(&server, None).await, Ok(true));
    let pipe = auth::Address::default();
    assert_eq!(ext_authz(&server, Some(pipe)).await, Ok(true));
    assert_eq!(ext_proc(&server, Struct::default()).await, Ok(true));
    let null = Value {
        kind: Some(Kind::NullValue(0)),
    };
    let null = Struct {
        fields: [("source.address".to_owned(), null)].into(),
    };
    assert_eq!(ext_proc(&server, null).await, Ok(true));
    for peer in ["", "/run/agent.sock", "@agent", "envoy://internal/1"] {
        let attributes = texts(&[("source.address", peer)]);
        assert_eq!(ext_proc(&server, attributes).await, Ok(true), "{peer}");
    }
    assert_eq!(ext_mcp(&server, &[]).await, Ok(true));
    assert_eq!(ext_mcp(&server, &[("source", "")]).await, Ok(true));
}

#[test]
fn the_command_line_takes_the_same_addresses() {
    let bundle = Bundle::notes();
    bundle.file("net.cedar", POLICY);
    for (source, status, wanted) in [
        ("10.8.1.2", 0, "allow"),
        ("10.9.1.2", 2, "deny"),
        ("::ffff:10.9.1.2", 2, "deny"),
        ("[::ffff:10.9.1.2]:80", 2, "deny"),
        ("fe80::1%eth0", 1, "is not an IP address"),
    ] {
        let output = bundle.run(&[
            "authorize",
            "--agent",
            "helper",
            "--user",
            "alice",
            "--server",
            "notes",
            "--tool",
            "list_notes",
            "--source-address",
            source,
        ]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(wanted), "{source}: {said}");
        assert_eq!(output.status.code(), Some(status), "{source}: {said}");
    }
}
