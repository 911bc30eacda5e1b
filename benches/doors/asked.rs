//! The question, as each door has it: whether the agent `support` may look an issue up for `sam`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use callgate::proto::agentgateway::ext_mcp::McpRequest;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as Outcome;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as EnvoyClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, HttpRequest, Metadata, Request,
};
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{
    self, BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, ProcessingRequest,
    ProtocolConfiguration, processing_request,
};
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message as _;
use prost_types::Struct;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::served::load::{Ask, Load};
use crate::served::{Fault, bundle};
use crate::web::{Web, post};
use crate::wire::structure;

/// Where Envoy's requests come from, in the measurement and in front of a server.
const SETTINGS: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "github" }]
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
[ext_mcp]
[[ext_mcp.identity]]
from = "jwt"
key = "jwt"
"#;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Says in a directory's settings what Envoy's requests mean.
pub fn configure(dir: &Path) -> Result<(), Fault> {
    let path = dir.join("callgate.toml");
    let mut file = OpenOptions::new().append(true).open(path)?;
    Ok(file.write_all(SETTINGS.as_bytes())?)
}

/// The call as MCP has it.
pub fn message() -> Json {
    json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "get_issue", "arguments": {"owner": "acme", "repo": "shop", "issue_number": 4711}},
    })
}

/// Sees to it that what is measured are allows.
pub async fn assert_allowed(channel: Channel) -> Result<(), Fault> {
    let mut client = AuthorizationClient::new(channel.clone());
    let native = client.authorize(bundle::typical_call()).await?.into_inner();
    assert_eq!(native.decision(), v1::Decision::Allow, "{native:?}");
    let mut client = EnvoyClient::new(channel.clone());
    let envoy = client.check(check()).await?.into_inner();
    let is_ok = matches!(envoy.http_response, Some(HttpResponse::OkResponse(_)));
    assert!(is_ok, "{envoy:?}");
    let mut client = ExtMcpClient::new(channel);
    let gateway = client.check_request(mcp_request()).await?.into_inner();
    let is_ok = matches!(gateway.result, Some(Outcome::Pass(_)));
    assert!(is_ok, "{gateway:?}");
    Ok(())
}

/// `callgate.v1.Authorization/Authorize`.
pub fn native(channel: Channel) -> Load {
    let request = bundle::typical_call().encode_to_vec();
    Load::new(channel, "/callgate.v1.Authorization/Authorize", request)
}

/// `envoy.service.auth.v3.Authorization/Check`.
pub fn ext_authz(channel: Channel) -> Load {
    let path = "/envoy.service.auth.v3.Authorization/Check";
    Load::new(channel, path, check().encode_to_vec())
}

const HEADERS: [(&str, &str); 11] = [
    (":method", "POST"),
    (":path", "/mcp"),
    (":authority", "mcp.example.org"),
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("user-agent", "python-httpx/0.28.1"),
    ("mcp-session-id", "0197-session"),
    ("mcp-protocol-version", "2025-11-25"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "f2b7c5a8-6f0e-4f57-9a53-0a8f7c1f7f10"),
    ("traceparent", TRACE),
];

/// What the gateway's token filter has verified.
fn token() -> Json {
    json!({
        "iss": "https://login.example.org", "aud": "mcp", "sub": "sam", "scope": "tools", "act": {"sub": "support"},
    })
}

/// What Envoy's token filter keeps.
fn found() -> BTreeMap<String, Struct> {
    let namespace = "envoy.filters.http.jwt_authn".to_owned();
    [(namespace, structure(&json!({"jwt_payload": token()})))].into()
}

fn check() -> CheckRequest {
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: "/mcp".to_owned(),
        host: "mcp.example.org".to_owned(),
        size: -1,
        headers: HEADERS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        raw_body: message().to_string().into(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http) }),
            metadata_context: Some(Metadata {
                filter_metadata: found(),
            }),
            ..AttributeContext::default()
        }),
    }
}

/// agentgateway's `CheckRequest`.
pub fn ext_mcp(channel: Channel) -> Load {
    let path = "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest";
    Load::new(channel, path, mcp_request().encode_to_vec())
}

fn mcp_request() -> McpRequest {
    let params = message()["params"].take();
    let metadata = json!({
        "jwt": token(), "session": "0197-session", "source": "10.1.2.3", "traceparent": TRACE,
    });
    McpRequest {
        service_names: vec!["github".to_owned()],
        method: "tools/call".to_owned(),
        metadata_context: Some(structure(&metadata)),
        mcp_request: Some(params.to_string().into()),
        headers: Vec::new(),
    }
}

/// Envoy's external processing: one exchange a decision, up to where the request passes.
#[derive(Clone)]
pub struct Exchange {
    client: ExternalProcessorClient<Channel>,
    messages: [ProcessingRequest; 2],
}

impl Ask for Exchange {
    async fn ask(&mut self) -> Result<(), Fault> {
        let (tell, messages) = mpsc::channel(2);
        for message in self.messages.clone() {
            tell.send(message).await?;
        }
        let told = self.client.process(ReceiverStream::new(messages)).await?;
        let mut told = told.into_inner();
        let mut next = async || told.message().await.map(|it| it.and_then(|it| it.response));
        let at_headers = next().await?;
        let at_body = next().await?;
        drop(tell);
        match (at_headers, at_body) {
            (Some(Response::RequestHeaders(_)), Some(Response::RequestBody(_))) => Ok(()),
            other => Err(format!("another answer: {other:?}").into()),
        }
    }
}

/// Envoy's external processing.
pub fn ext_proc(channel: Channel) -> Exchange {
    let header = |(key, value): (&str, &str)| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    let at_headers = ProcessingRequest {
        request: Some(processing_request::Request::RequestHeaders(HttpHeaders {
            headers: Some(HeaderMap {
                headers: HEADERS.map(header).into(),
            }),
            end_of_stream: false,
        })),
        metadata_context: Some(processing::Metadata {
            filter_metadata: found(),
        }),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            response_body_mode: BodySendMode::FullDuplexStreamed.into(),
        }),
        ..ProcessingRequest::default()
    };
    let at_body = ProcessingRequest {
        request: Some(processing_request::Request::RequestBody(HttpBody {
            body: message().to_string().into(),
            end_of_stream: true,
        })),
        ..ProcessingRequest::default()
    };
    Exchange {
        client: ExternalProcessorClient::new(channel),
        messages: [at_headers, at_body],
    }
}

/// AuthZEN's evaluation. It knows no chains: the person asks, with all facts of the call as context.
pub fn authzen(port: u16) -> Web {
    let body = json!({
        "subject": {"type": "Mcp::User", "id": "sam"},
        "action": {"name": "Mcp::Action::\"call_read\""},
        "resource": {"type": "Mcp::Tool", "id": "github/get_issue"},
        "context": {
            "initiator": "client",
            "identity": {"verified": true, "method": "jwt", "asserted_groups": [], "asserted_attributes": []},
            "environment": {
                "now": {"__extn": {"fn": "datetime", "arg": "2026-07-28T12:00:00Z"}},
                "source_address": {"__extn": {"fn": "ip", "arg": "10.1.2.3"}},
                "gateway": {"__entity": {"type": "Mcp::Gateway", "id": "local"}},
            },
            "arguments": {"names": ["owner", "repo", "issue_number"], "untyped": [], "undeclared": []},
            "purpose": "customer question",
        },
    });
    let answer = "\"decision\":true";
    Web::new(
        port,
        post(port, "/access/v1/evaluation", TRACE, &body),
        answer,
    )
}

/// ToolHive's decision point. It knows no chains either.
pub fn toolhive(port: u16) -> Web {
    let arguments = message()["params"]["arguments"].take();
    let body = json!({
        "principal": {"sub": "sam", "iss": "https://login.example.org", "aud": "mcp", "scope": "tools"},
        "operation": "mcp:tool:call",
        "resource": "mrn:mcp:github:tool:get_issue",
        "context": {"mcp": {"feature": "tool", "operation": "call", "resource_id": "get_issue", "args": arguments}},
    });
    let answer = "\"allow\":true";
    Web::new(port, post(port, "/toolhive/decision", TRACE, &body), answer)
}
