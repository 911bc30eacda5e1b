//! Whoever set up a gateway learns from the log why nothing gets through, whichever door turned it away, and
//! nobody else's values from it.

use std::collections::BTreeMap;

use callgate::proto::agentgateway::ext_mcp::McpRequest;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as ExtAuthzClient;
use callgate::proto::envoy::auth::{AttributeContext, CheckRequest, HttpRequest, Request};
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use serde_json::Value as Json;
use tonic::transport::{Channel, Endpoint};

use crate::support::in_process;
use crate::support::process::{Bundle, Server};

const SECRET: &str = "10.11.12.13 is nobody's business";

/// What a log says of refusals: door, kind and sentence of each.
fn refusals(log: &str) -> Vec<[String; 3]> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let ours = lines.filter(|line: &Json| line["target"] == "callgate::rejection");
    let text = |line: &Json, name| line[name].as_str().unwrap_or_default().to_owned();
    ours.map(|line| ["adapter", "why", "said"].map(|name| text(&line, name)))
        .collect()
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.target())).unwrap();
    endpoint.connect().await.unwrap()
}

async fn ask(channel: Channel) {
    let mut question = in_process::call("log");
    let call = question.call_context.as_mut().expect("a call");
    call.environment = Some(v1::Environment {
        source_address: SECRET.to_owned(),
    });
    let mut native = AuthorizationClient::new(channel.clone());
    native.authorize(question).await.expect_err("no address");

    let http = HttpRequest {
        method: "POST".to_owned(),
        path: format!("/{SECRET}"),
        headers: BTreeMap::new(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        request: Some(Request { http: Some(http) }),
        ..AttributeContext::default()
    };
    let question = CheckRequest {
        attributes: Some(attributes),
    };
    let mut envoy = ExtAuthzClient::new(channel.clone());
    envoy.check(question).await.expect("an answer");

    let question = McpRequest {
        service_names: vec!["notes".to_owned()],
        method: "tools/call".to_owned(),
        mcp_request: Some(br#"{"name": "list_notes"}"#.to_vec().into()),
        ..McpRequest::default()
    };
    let mut agentgateway = ExtMcpClient::new(channel);
    agentgateway
        .check_request(question)
        .await
        .expect("an answer");
}

#[test]
fn the_log_tells_why_nothing_gets_through() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { ask(channel(&server).await).await });
    let (_, log) = server.stop();
    assert!(!log.contains(SECRET), "{log}");
    let warnings = log.matches("may approve as anybody").count();
    assert_eq!(warnings, 1, "no callers are configured: {log}");
    let found = refusals(&log);
    let [native, envoy, agentgateway] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(native[..2], ["grpc", "malformed"]);
    assert_eq!(native[2], "`call_context.environment.source_address`");
    assert_eq!(envoy[..2], ["ext_authz", "malformed"]);
    assert!(envoy[2].contains("`envoy.servers`"), "{envoy:?}");
    assert_eq!(agentgateway[..2], ["ext_mcp", "not_entitled"]);
    assert!(
        agentgateway[2].contains("`[[ext_mcp.identity]]`"),
        "{agentgateway:?}"
    );
}
