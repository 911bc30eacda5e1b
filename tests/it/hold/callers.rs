//! What is configured of a caller changes what is decided for it, one setting at a time.

use std::collections::BTreeMap;

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as CheckClient;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, HttpRequest, Metadata, Request as Checked,
};
use callgate::proto::v1;
use serde_json::json;
use tonic::Request;

use crate::hold::attack::TOKEN;
use crate::support::in_process::{Running, call_for, context, entity};
use crate::support::wire::structure;
use crate::support::worlds;

const TOKEN_DIGEST: &str = "df594d71a145abdc3d2b8d6c6fa910dd4bb21f63de731ecd11fe97b6ff6ce691";

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource);
@id("nothing-private-out") forbid (principal is Mcp::Agent, action, resource == Mcp::Tool::"git/push")
when { context has labels && context.labels.contains("private") };
@id("in-person") forbid (principal is Mcp::User, action in Mcp::Action::"call_tool", resource)
when { context.identity has through_agent && context.identity.through_agent };
"#;

/// A server with one caller, of which this is configured besides what every test needs.
async fn with_caller(setting: &str) -> Running {
    let config = format!(
        r#"
[[callers]]
id = "edge"
token_sha256 = ["{TOKEN_DIGEST}"]
rights = {{ rpcs = ["*", "ext_authz.Check"], assert_identity = true, assert_delegation = true{setting} }}

[envoy]
servers = [{{ path = "/mcp", server = "git" }}]
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#
    );
    let world = worlds::small()
        .policies(POLICIES)
        .server("git", "ana")
        .agent("tester", "ana", &["developers"])
        .tool_with("log", "read", json!({"yields": ["private"]}))
        .tool("status", "read")
        .tool("push", "write");
    world.start(&config).await
}

fn by_edge<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {TOKEN}").parse().expect("a header");
    request.metadata_mut().insert("authorization", token);
    request
}

/// Whether the tool may be called for Ana in a session.
async fn is_allowed(server: &Running, tool: &str, session: &str) -> bool {
    let mut request = call_for(tool, "ana");
    context(&mut request)
        .workflow
        .get_or_insert_default()
        .session_id = session.into();
    let answer = server.client().await.authorize(by_edge(request)).await;
    answer.expect("an answer").into_inner().decision == i32::from(v1::Decision::Allow)
}

#[tokio::test]
async fn a_caller_vouches_for_its_sessions_only_if_that_is_configured() {
    for (setting, is_vouched) in [
        (", vouch_sessions = true", true),
        (", vouch_sessions = false", false),
        ("", false),
    ] {
        let server = with_caller(setting).await;
        assert!(is_allowed(&server, "log", "s-1").await, "{setting}");
        assert!(!is_allowed(&server, "push", "s-1").await, "{setting}");
        let anew = is_allowed(&server, "push", "s-2").await;
        assert_eq!(anew, is_vouched, "{setting}");
    }
}

/// Whether the tester may call the tool for Ana in a session, by itself or under the coder.
async fn may_tester(server: &Running, tool: &str, session: &str, is_under_coder: bool) -> bool {
    let mut request = call_for(tool, "ana");
    let context = context(&mut request);
    context.workflow.get_or_insert_default().session_id = session.into();
    context.subject.get_or_insert_default().entity = entity("Mcp::Agent", "tester");
    let coder = entity("Mcp::Agent", "coder").filter(|_| is_under_coder);
    context.delegation.get_or_insert_default().actors = Vec::from_iter(coder);
    let answer = server.client().await.authorize(by_edge(request)).await;
    answer.expect("an answer").into_inner().decision == i32::from(v1::Decision::Allow)
}

#[tokio::test]
async fn a_session_that_is_vouched_for_keeps_what_came_from_a_delegator() {
    let server = with_caller(", vouch_sessions = true").await;
    assert!(is_allowed(&server, "log", "of the coder").await);
    // Nothing of it has come to the tester yet.
    assert!(may_tester(&server, "push", "before", false).await);
    assert!(may_tester(&server, "status", "both", true).await);
    assert!(!may_tester(&server, "push", "both", true).await);
    // The chain is left out: the conversation is the same.
    assert!(!may_tester(&server, "push", "both", false).await);
    assert!(may_tester(&server, "push", "another", false).await);
}

/// Whether Ana, whom a token names without an agent, may call a tool through Envoy.
async fn is_allowed_through_envoy(server: &Running) -> bool {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "push", "arguments": {}},
    });
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: "/mcp".to_owned(),
        host: "gateway.example.org".to_owned(),
        size: -1,
        headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        raw_body: body.to_string().into(),
        ..HttpRequest::default()
    };
    let payload = json!({"jwt_payload": {"sub": "ana"}});
    let name = "envoy.filters.http.jwt_authn".to_owned();
    let attributes = Some(AttributeContext {
        request: Some(Checked { http: Some(http) }),
        metadata_context: Some(Metadata {
            filter_metadata: BTreeMap::from([(name, structure(&payload))]),
        }),
        ..AttributeContext::default()
    });
    let mut client = CheckClient::new(server.channel().await);
    let answer = client.check(by_edge(CheckRequest { attributes })).await;
    let answer = answer.expect("an answer").into_inner();
    answer.status.is_some_and(|it| it.code == 0)
}

#[tokio::test]
async fn people_act_in_person_only_if_that_is_configured() {
    for (setting, is_in_person) in [
        (", people_in_person = true", true),
        (", people_in_person = false", false),
        ("", false),
    ] {
        let server = with_caller(setting).await;
        let allowed = is_allowed_through_envoy(&server).await;
        assert_eq!(allowed, is_in_person, "{setting}");
    }
}
