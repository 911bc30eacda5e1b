//! Observe mode: every adapter allows, says so, and records what would have been decided.

use callgate::audit::record::schema::Verdict;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as OfRequest;
use callgate::proto::agentgateway::ext_mcp::{McpHeader, McpRequest};
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient as EnvoyClient;
use callgate::proto::envoy::auth::check_response::HttpResponse;
use callgate::proto::envoy::auth::{AttributeContext, CheckRequest, HttpRequest, Request};
use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::json;

use crate::agentgateway::ext_mcp;
use crate::audit::log_reading::Contents;
use crate::replay::stage::Stage;
use crate::support::in_process::{call, call_for, context, entity};
use crate::support::plain_http::post;
use crate::support::wire::structure;

const OBSERVED: &str = r#"
without_callers = true

[observe]
service = true

[envoy]
servers = [{ path = "/mcp", server = "git" }]

[[envoy.identity]]
from = "header"
agent = "x-agent"
verified = true

[ext_mcp]

[[ext_mcp.identity]]
from = "keys"
agent = "agent"
verified = true
"#;

const ENFORCED: &str = r#"
@id("held") @mode("enforce") forbid (principal, action, resource == Mcp::Tool::"git/commit");
"#;

const GOVERN: &str = r#"
@id("stops") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_denied_is_allowed_and_says_so() {
    let stage = Stage::new(OBSERVED, &[]).await;
    let mut client = stage.server.client().await;

    let purged = client.authorize(call("purge")).await.unwrap().into_inner();
    assert_eq!(purged.decision(), v1::Decision::Allow);
    assert!(purged.observed);
    assert_eq!(purged.observed_decision(), v1::Decision::Deny);
    assert_eq!(purged.reasons[0].code(), v1::ReasonCode::Forbidden);
    assert!(purged.determining_policies.is_empty() && purged.approval.is_none());

    let unknown = client
        .authorize(call("new_one"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(unknown.decision(), v1::Decision::Allow);
    assert_eq!(unknown.reasons[0].code(), v1::ReasonCode::ToolUnknown);

    let evidence = client
        .authorize(call_for("log", "nobody"))
        .await
        .unwrap()
        .into_inner();
    assert!(evidence.observed);

    let allowed = client.authorize(call("log")).await.unwrap().into_inner();
    assert_eq!(allowed.decision(), v1::Decision::Allow);
    assert!(allowed.observed && allowed.reasons.is_empty());
    assert_eq!(allowed.observed_decision(), v1::Decision::Allow);

    let requests = vec![call("purge"), call("log")];
    let batch = client
        .authorize_batch(v1::AuthorizeBatchRequest { requests })
        .await;
    let batch = batch.unwrap().into_inner().responses;
    assert!(
        batch
            .iter()
            .all(|it| it.observed && it.decision() == v1::Decision::Allow)
    );

    let listed = v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: vec!["log".into(), "purge".into(), "new_one".into()],
        ..Default::default()
    };
    let listed = client.filter_tools(listed).await.unwrap().into_inner();
    assert_eq!(
        (listed.tools.len(), listed.observed),
        (3, true),
        "{listed:?}"
    );

    let cedar = v1::IsAuthorizedRequest {
        principal: entity("Mcp::User", "ana"),
        action: entity("Mcp::Action", "govern"),
        resource: entity("Mcp::User", "bob"),
        ..Default::default()
    };
    let cedar = client.is_authorized(cedar).await.unwrap().into_inner();
    assert_eq!(cedar.observed_decision(), v1::Decision::Deny);
    assert_eq!(cedar.decision(), v1::Decision::Allow);

    let contents = Contents::read(stage.folder.path());
    for (id, is_deny) in [
        (&purged.decision_id, true),
        (&unknown.decision_id, true),
        (&allowed.decision_id, false),
        (&cedar.decision_id, true),
    ] {
        let record = contents.decision(id);
        assert!(record.is_observed);
        assert_eq!(record.verdict() == Verdict::Deny, is_deny, "{record:?}");
        assert!(contents.with_capsule.contains(id));
    }
    let record = contents.decision(&listed.decision_id);
    assert_eq!(
        (record.kept, record.hidden, record.is_observed),
        (1, 2, true)
    );
    assert_eq!(record.shown, 2, "nothing was hidden from the client");
    // What is counted is what is on record.
    let waived = stage.server.service.observe_status().waived;
    let decisions = contents.decisions.values().map(|(_, decision)| decision);
    let observed = decisions.filter(|it| it.is_observed);
    let denied = observed.clone().filter(|it| it.verdict() == Verdict::Deny);
    assert_eq!(waived.denies, denied.count() as u64);
    assert_eq!(waived.entries, observed.map(|it| it.shown).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_observed_deny_leaves_behind_is_on_record_and_nothing_of_a_dry_run() {
    let stage = Stage::new(OBSERVED, &[]).await;
    let mut client = stage.server.client().await;
    let mut made = call("new_one");
    context(&mut made).workflow = Some(v1::Workflow {
        session_id: "observed".into(),
        ..Default::default()
    });
    let tried = v1::AuthorizeRequest {
        dry_run: true,
        ..made.clone()
    };
    let tried = client.authorize(tried).await.unwrap().into_inner();
    let made = client.authorize(made).await.unwrap().into_inner();
    assert!(made.observed && tried.observed);
    let contents = stage.contents();
    let record = contents.decision(&made.decision_id);
    let left = record.side_effects.as_ref().expect("labels");
    assert_eq!(left.added_labels, ["untrusted"]);
    assert!(record.would_use.is_none());
    let record = contents.decision(&tried.decision_id);
    let would = record.would_use.as_ref().expect("labels");
    assert_eq!(would.added_labels, ["untrusted"]);
    assert!(record.side_effects.is_none());
    // A deny that held leaves nothing.
    let held = ENFORCED;
    let stage = Stage::new(OBSERVED, &[("held.cedar", held)]).await;
    let mut client = stage.server.client().await;
    let denied = client.authorize(call("commit")).await.unwrap().into_inner();
    assert_eq!(denied.decision(), v1::Decision::Deny);
    let contents = stage.contents();
    assert!(
        contents
            .decision(&denied.decision_id)
            .side_effects
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn authzen_and_toolhive_say_so_too() {
    let stage = Stage::new(OBSERVED, &[]).await;
    let evaluation = json!({
        "subject": {"type": "Mcp::User", "id": "ana"},
        "action": {"name": "govern"},
        "resource": {"type": "Mcp::User", "id": "bob"},
    });
    let reply = post(&stage.server, "/access/v1/evaluation", &evaluation).await;
    let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(said["decision"], true, "{said}");
    assert_eq!(said["context"]["enforced"], false, "{said}");
    assert_eq!(said["context"]["observed_decision"], "deny", "{said}");
    assert!(said["context"]["reason"].is_string(), "{said}");

    let question = json!({
        "principal": {"sub": "ana"}, "operation": "mcp:tool:call", "resource": "mrn:mcp:git:tool:purge",
        "context": {"mcp": {"feature": "tool", "operation": "call", "resource_id": "purge", "args": {}}},
    });
    let reply = post(&stage.server, "/toolhive/decision", &question).await;
    assert_eq!(reply.json(), json!({"allow": true}));
    assert_eq!(reply.header("x-callgate-enforced"), Some("false"));
}

/// Whether metadata says that nothing is enforced, and what would have been.
fn says_so(metadata: Option<&Struct>) -> bool {
    let fields = metadata.map(|it| &it.fields);
    let kind = |name: &str| fields?.get(name)?.kind.clone();
    kind("enforced") == Some(Kind::BoolValue(false))
        && kind("observed_decision") == Some(Kind::StringValue("deny".into()))
        && kind("decision") == Some(Kind::StringValue("allow".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_hear_it_in_headers_and_metadata() {
    let stage = Stage::new(OBSERVED, &[]).await;
    let params = json!({"name": "purge", "arguments": {}});

    let mut client = ext_mcp::client(&stage.server).await;
    let request = McpRequest {
        service_names: vec!["git".into()],
        method: "tools/call".into(),
        metadata_context: Some(structure(&json!({"agent": "coder"}))),
        mcp_request: Some(params.to_string().into()),
        headers: Vec::new(),
    };
    let answer = client.check_request(request).await.unwrap().into_inner();
    assert!(
        matches!(answer.result, Some(OfRequest::Pass(_))),
        "{answer:?}"
    );
    let headers = answer.header_mutation.as_ref().expect("headers");
    let is_said = |it: &McpHeader| it.key == "x-callgate-enforced" && &*it.value == b"false";
    assert!(headers.set.iter().any(is_said), "{answer:?}");
    assert!(says_so(answer.metadata.as_ref()), "{answer:?}");

    let mut client = EnvoyClient::new(stage.server.channel().await);
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    let headers = [("x-agent", "coder"), ("content-type", "application/json")];
    let http = HttpRequest {
        method: "POST".into(),
        path: "/mcp".into(),
        host: "gateway.example.org".into(),
        size: -1,
        headers: headers
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        raw_body: message.to_string().into_bytes().into(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        request: Some(Request { http: Some(http) }),
        ..AttributeContext::default()
    };
    let attributes = Some(attributes);
    let answer = client
        .check(CheckRequest { attributes })
        .await
        .unwrap()
        .into_inner();
    let Some(HttpResponse::OkResponse(passed)) = &answer.http_response else {
        panic!("{answer:?}");
    };
    let headers = passed.headers.iter().filter_map(|it| it.header.as_ref());
    let mut named = headers.filter(|it| it.key == "x-callgate-enforced");
    assert!(named.next().is_some(), "{answer:?}");
    assert!(says_so(answer.dynamic_metadata.as_ref()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbid_marked_enforce_and_a_stop_are_not_waived() {
    let stage = Stage::new(
        OBSERVED,
        &[("held.cedar", ENFORCED), ("govern.cedar", GOVERN)],
    )
    .await;
    let mut client = stage.server.client().await;
    let held = client.authorize(call("commit")).await.unwrap().into_inner();
    assert_eq!(
        (held.decision(), held.observed),
        (v1::Decision::Deny, false)
    );
    assert_eq!(held.reasons[0].code(), v1::ReasonCode::Forbidden);
    let contents = Contents::read(stage.folder.path());
    assert!(!contents.decision(&held.decision_id).is_observed);

    let listed = v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: vec!["log".into(), "commit".into()],
        ..Default::default()
    };
    let listed = client.filter_tools(listed).await.unwrap().into_inner();
    assert_eq!(listed.tools, ["log"]);

    let mut control = ControlClient::new(stage.server.channel().await);
    let stopped = control
        .stop_entity(v1::StopEntityRequest {
            actor: Some(v1::Actor {
                entity: entity("Mcp::User", "ana"),
                ..Default::default()
            }),
            uid: entity("Mcp::Agent", "coder"),
            reason: "leaking".into(),
            ..Default::default()
        })
        .await;
    stopped.expect("it is stopped");
    for tool in ["log", "purge", "new_one"] {
        let denied = client.authorize(call(tool)).await.unwrap().into_inner();
        assert_eq!(
            (denied.decision(), denied.observed),
            (v1::Decision::Deny, false),
            "{tool}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_named_is_observed_and_a_reload_ends_it() {
    let config = "without_callers = true\n[observe]\nservers = [\"wiki\"]\n";
    let stage = Stage::new(config, &[]).await;
    let mut client = stage.server.client().await;
    let denied = client.authorize(call("purge")).await.unwrap().into_inner();
    assert_eq!(
        (denied.decision(), denied.observed),
        (v1::Decision::Deny, false)
    );
    let mut on_wiki = call("page");
    let context = on_wiki.call_context.as_mut().unwrap();
    context.operation.as_mut().unwrap().server = "wiki".into();
    let observed = client
        .authorize(on_wiki.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(observed.decision(), v1::Decision::Allow);
    assert_eq!(observed.reasons[0].code(), v1::ReasonCode::ServerUnknown);

    stage.server.service.set_observe(&Default::default());
    let denied = client.authorize(on_wiki).await.unwrap().into_inner();
    assert_eq!(
        (denied.decision(), denied.observed),
        (v1::Decision::Deny, false)
    );
}
