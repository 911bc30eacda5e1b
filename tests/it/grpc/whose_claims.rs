//! Whose the claims of a token are, at every door, with what real gateways send: a person's own are the person's, an
//! agent has those in its `act`, and nobody is left out for whom an agent acts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate::proto::agentgateway::ext_mcp::McpRequest;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as Outcome;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, HttpRequest, Metadata, Request,
};
use callgate::proto::v1;
use serde_json::{Value as Json, json};

use crate::agentgateway::ext_mcp::{authorization, client};
use crate::grpc::transport::digest;
use crate::support::bundle_dir::BundleDir;
use crate::support::clock::HandClock;
use crate::support::in_process::{Running, call, context, entity};
use crate::support::plain_http::{post, post_as};
use crate::support::wire::structure;

const AGENTGATEWAY: &str = include_str!("../gateways/agentgateway.json");
const ENVOY: &str = include_str!("../gateways/envoy.json");
pub const TOOLHIVE: &str = include_str!("../gateways/toolhive.json");

pub const CONFIG: &str = r#"
[ext_mcp]
[[ext_mcp.identity]]
from = "jwt"
key = "jwt"
claims = true

[envoy]
servers = [{ path = "/mcp", server = "git" }]
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
claims = true
"#;

/// Who is behind ToolHive.
const BARE: &str = "[toolhive]\nagent = \"bare\"\n";

const POLICIES: &str = r#"
@id("writers") permit (principal in Mcp::Group::"claim:writers", action, resource);
@id("editors") permit (principal in Mcp::Group::"role:editors", action, resource);
@id("scope") permit (principal in Mcp::Group::"scope:mcp:write", action == Mcp::Action::"list_tools", resource);
@id("helper") permit (principal == Mcp::Agent::"helper", action, resource);
@id("ana") permit (principal == Mcp::User::"ana", action, resource);
@id("no-agents-at-night") @reason("agents rest")
forbid (principal == Mcp::Agent::"sleeper", action, resource);
"#;

pub const MAPPING: &str = r#"
[[claims.groups]]
claim = "groups"
[[claims.groups]]
claim = "realm_access.roles"
prefix = "role:"
[[claims.groups]]
claim = "scope"
prefix = "scope:"
"#;

/// The server `git`, and agents of Ana.
pub fn directory() -> BundleDir {
    BundleDir::new()
        .config(MAPPING)
        .policies(POLICIES)
        .user("ana", &[])
        .user("dora", &[])
        .agent("bare", "ana", &[])
        .agent("helper", "ana", &[])
        .agent("sleeper", "ana", &[])
        .server("git", "ana")
        .tool("commit", "write")
}

async fn start(config: &str) -> Running {
    directory().start(config).await
}

pub fn read(fixture: &str) -> Json {
    serde_json::from_str(fixture).expect("JSON")
}

/// The token of the fixtures with other members, or without those that are null.
pub fn token(other: &Json) -> Json {
    let mut token = read(AGENTGATEWAY)["jwt"].take();
    for (name, value) in other.as_object().expect("an object") {
        token[name] = value.clone();
    }
    token
        .as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    token
}

/// What agentgateway asks with this token.
pub fn agentgateways_question(token: &Json, method: &str) -> McpRequest {
    let mut metadata = read(AGENTGATEWAY);
    metadata["jwt"] = token.clone();
    let params = json!({"name": "commit", "arguments": {"message": "done"}});
    McpRequest {
        service_names: vec!["git".to_owned()],
        method: method.to_owned(),
        metadata_context: Some(structure(&metadata)),
        mcp_request: (method == "tools/call").then(|| params.to_string().into()),
        headers: Vec::new(),
    }
}

/// The reason through agentgateway, or `allow`.
async fn by_agentgateway(server: &Running, token: &Json, method: &str) -> String {
    let request = agentgateways_question(token, method);
    let answer = client(server).await.check_request(request).await;
    match answer.expect("an answer").into_inner().result {
        Some(Outcome::Error(error)) => match authorization(&error)["reason"].as_str() {
            Some(reason) => reason.to_owned(),
            None => error.reason.clone(),
        },
        _ => "allow".to_owned(),
    }
}

/// What Envoy asks with this token.
pub fn envoys_question(token: &Json) -> CheckRequest {
    let mut payload = read(ENVOY);
    payload["jwt_payload"] = token.clone();
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "commit", "arguments": {"message": "done"}},
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
    let metadata = BTreeMap::from([(
        "envoy.filters.http.jwt_authn".to_owned(),
        structure(&payload),
    )]);
    let attributes = Some(AttributeContext {
        request: Some(Request { http: Some(http) }),
        metadata_context: Some(Metadata {
            filter_metadata: metadata,
        }),
        ..AttributeContext::default()
    });
    CheckRequest { attributes }
}

/// The same through Envoy.
async fn by_envoy(server: &Running, token: &Json) -> String {
    let mut client = AuthorizationClient::new(server.channel().await);
    let answer = client.check(envoys_question(token)).await;
    let answer = answer.expect("an answer").into_inner();
    let told = answer.dynamic_metadata.as_ref().expect("a decision");
    let reasons = told.fields.get("reasons").map(|it| format!("{it:?}"));
    match answer.status.is_some_and(|it| it.code == 0) {
        true => "allow".to_owned(),
        false => {
            let codes = [
                "NO_PERMIT",
                "DELEGATOR_DENIED",
                "CONTEXT_MISSING",
                "CONTEXT_INVALID",
                "FORBIDDEN",
                "DELEGATION_EXPIRED",
                "DELEGATION_OUT_OF_SCOPE",
            ];
            let reasons = reasons.unwrap_or_default();
            let code = codes.iter().find(|code| reasons.contains(*code));
            code.unwrap_or_else(|| panic!("{reasons}")).to_string()
        }
    }
}

/// The same question natively, with the claims where they belong.
pub fn native_question(token: &Json) -> v1::AuthorizeRequest {
    let mut token = token.clone();
    let act = token.as_object_mut().and_then(|it| it.remove("act"));
    let mut request = call("commit");
    let asked = context(&mut request);
    let subject = asked.subject.as_mut().expect("somebody");
    let sub = token["sub"].as_str().expect("a name").to_owned();
    match act {
        None => {
            subject.entity = entity("User", &sub);
            subject.claims = Some(structure(&token));
            asked.delegation = None;
        }
        Some(act) => {
            subject.entity = entity("Agent", act["sub"].as_str().expect("a name"));
            subject.claims = Some(structure(&act));
            asked.delegation = Some(v1::Delegation {
                root: entity("User", &sub),
                verified: true,
                root_claims: Some(structure(&token)),
                ..v1::Delegation::default()
            });
        }
    }
    request
}

/// The same natively.
async fn natively(server: &Running, token: &Json) -> String {
    let request = native_question(token);
    let answer = server.client().await.authorize(request).await;
    first_reason(&answer.expect("an answer").into_inner())
}

/// The code of the first reason, or `allow`.
fn first_reason(answer: &v1::AuthorizeResponse) -> String {
    match answer.reasons.first() {
        None => "allow".to_owned(),
        Some(reason) => short(reason.code().as_str_name()),
    }
}

fn short(code: &str) -> String {
    code.trim_start_matches("REASON_CODE_").to_owned()
}

#[tokio::test]
async fn a_persons_claims_are_the_persons_and_an_agents_are_in_act() {
    let server = start(CONFIG).await;
    for (what, other, expected) in [
        (
            "as recorded: the agent has no right",
            json!({}),
            "NO_PERMIT",
        ),
        (
            "the person has one by her claims, and the agent its own",
            json!({"sub": "dora", "act": {"sub": "helper"}}),
            "allow",
        ),
        (
            "the person has none without them",
            json!({"sub": "dora", "act": {"sub": "helper"}, "groups": null, "realm_access": null}),
            "DELEGATOR_DENIED",
        ),
        (
            "what is said of the agent is not the person's",
            json!({"sub": "dora", "act": {"sub": "bare", "groups": ["writers"]}, "groups": null, "realm_access": null}),
            "DELEGATOR_DENIED",
        ),
        (
            "each has its own",
            json!({"sub": "dora", "act": {"sub": "bare", "groups": ["writers"]}}),
            "allow",
        ),
        (
            "one between them has none",
            json!({"act": {"sub": "helper", "act": {"sub": "bare"}}}),
            "DELEGATOR_DENIED",
        ),
        (
            "a claim in an object",
            json!({"sub": "dora", "act": null, "groups": null}),
            "allow",
        ),
        (
            "a name with a space is one name",
            json!({"sub": "dora", "act": null, "groups": "not writers", "realm_access": null}),
            "NO_PERMIT",
        ),
        (
            "a text is one group",
            json!({"sub": "dora", "act": null, "groups": "writers", "realm_access": null}),
            "allow",
        ),
        (
            "a group that is no text",
            json!({"sub": "dora", "act": {"sub": "helper"}, "groups": [7]}),
            "CONTEXT_INVALID",
        ),
        (
            "a number that no double holds, of which nothing is made",
            json!({"sub": "dora", "act": {"sub": "helper", "n": 9_007_199_254_740_993_i64}, "n": [1_122_334_455_667_788_990_i64]}),
            "allow",
        ),
        (
            "a group that is such a number",
            json!({"sub": "dora", "act": {"sub": "helper"}, "groups": 1_122_334_455_667_788_990_i64}),
            "CONTEXT_INVALID",
        ),
    ] {
        let token = token(&other);
        assert_eq!(
            by_agentgateway(&server, &token, "tools/call").await,
            expected,
            "agentgateway: {what}"
        );
        assert_eq!(by_envoy(&server, &token).await, expected, "Envoy: {what}");
        if token["act"]["act"].is_null() {
            assert_eq!(natively(&server, &token).await, expected, "native: {what}");
        }
    }
}

#[tokio::test]
async fn without_act_toolhives_caller_is_the_person_unless_an_agent_is_configured() {
    let allow = |server: Running, question: Json| async move {
        let reply = post(&server, "/toolhive/decision", &question).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["allow"].as_bool().expect("a boolean")
    };
    let question = |sub: &str| {
        let mut question = read(TOOLHIVE);
        question["principal"]["sub"] = json!(sub);
        question
    };
    assert!(allow(start("").await, question("ana")).await);
    // The agent has no right, whatever the person's token says.
    assert!(!allow(start(BARE).await, question("ana")).await);
    let behind = |agent: &str| format!("[toolhive]\nagent = \"{agent}\"\n");
    assert!(allow(start(&behind("helper")).await, question("dora")).await);
    assert!(!allow(start(&behind("sleeper")).await, question("ana")).await);
    assert!(!allow(start(&behind("ghost")).await, question("ana")).await);
    let mut without = question("dora");
    without["principal"]["groups"] = json!([]);
    assert!(!allow(start(&behind("helper")).await, without).await);
    // ToolHive's other name for `scope` is known.
    let mut list = question("dora");
    list["principal"]["groups"] = json!(null);
    list["operation"] = json!("mcp:tool:list");
    list["resource"] = json!("mrn:mcp:git:tool:");
    list["context"] = json!({});
    assert!(allow(start("").await, list).await);
}

#[tokio::test]
async fn the_agent_behind_toolhive_is_that_of_its_caller() {
    let caller = |id: &str, more: &str| {
        let token = digest(id);
        format!(
            "[[callers]]\nid = \"{id}\"\ntoken_sha256 = [\"{token}\"]\n{more}\n[callers.rights]\nrpcs = [\"toolhive.Decision\"]\nassert_identity = true\nassert_delegation = true\nassert_claims = true\n"
        )
    };
    let callers = [
        caller("of-helper", "toolhive_agent = \"helper\""),
        caller("of-sleeper", "toolhive_agent = \"sleeper\""),
        caller("of-nobody", ""),
    ]
    .concat();
    // Rules about agents apply: `bare` has no right, and `sleeper` rests.
    for (config, of_nobody) in [("", true), (BARE, false)] {
        let server = start(&format!("{config}{callers}")).await;
        for (caller, allowed) in [
            ("of-helper", true),
            ("of-sleeper", false),
            ("of-nobody", of_nobody),
        ] {
            let question = read(TOOLHIVE);
            let reply = post_as(&server, caller, "/toolhive/decision", &question).await;
            assert_eq!(
                reply.json()["allow"],
                allowed,
                "{config} {caller}: {reply:?}"
            );
            // Should it pass `act` on, nobody is taken for a person who acts herself.
            let mut question = question;
            question["principal"]["act"] = json!({"sub": "bare"});
            let reply = post_as(&server, caller, "/toolhive/decision", &question).await;
            let is_refused = caller == "of-nobody" && config.is_empty();
            assert_eq!(
                reply.status,
                if is_refused { 400 } else { 200 },
                "{reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_call_that_has_to_name_a_person_names_one() {
    let server = start(&format!("require_delegation = true\n{CONFIG}")).await;
    let keys = "[[ext_mcp.identity]]\nfrom = \"keys\"\nagent = \"agent\"\nperson = \"person\"\nverified = true\n";
    let by_keys = start(&format!("require_delegation = true\n{keys}")).await;
    for method in ["tools/call", "tools/list", "initialize"] {
        let params = json!({"name": "commit", "arguments": {}});
        let asked = |metadata: Json| McpRequest {
            service_names: vec!["git".to_owned()],
            method: method.to_owned(),
            metadata_context: Some(structure(&metadata)),
            mcp_request: (method == "tools/call").then(|| params.to_string().into()),
            headers: Vec::new(),
        };
        let mut client = client(&by_keys).await;
        let alone = client
            .check_request(asked(json!({"agent": "helper"})))
            .await;
        let alone = alone.expect("an answer").into_inner().result;
        let Some(Outcome::Error(error)) = alone else {
            panic!("{method}: {alone:?}");
        };
        assert_eq!(
            authorization(&error)["reason"],
            "CONTEXT_MISSING",
            "{method}"
        );
        let both = json!({"agent": "helper", "person": "ana"});
        let both = client.check_request(asked(both)).await;
        let both = both.expect("an answer").into_inner().result;
        assert!(
            !matches!(both, Some(Outcome::Error(_))),
            "{method}: {both:?}"
        );
    }
    // A person who acts is one.
    let person = token(&json!({"act": null}));
    assert_eq!(
        by_agentgateway(&server, &person, "tools/call").await,
        "allow"
    );
    assert_eq!(by_envoy(&server, &person).await, "allow");

    // A gateway that forgets both, identity and delegation.
    let mut request = call("commit");
    let asked = context(&mut request);
    asked.delegation = None;
    let subject = asked.subject.as_mut().expect("somebody");
    subject.entity = entity("Agent", "helper");
    subject.identity = None;
    let answer = server.client().await.authorize(request.clone()).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!(answer.decision(), v1::Decision::Deny);
    assert_eq!(answer.reasons[0].code(), v1::ReasonCode::ContextMissing);
    assert_eq!(answer.reasons[0].missing, ["delegation"]);
    // An agent at the root is no person.
    context(&mut request).delegation = Some(v1::Delegation {
        root: entity("Agent", "bare"),
        verified: true,
        ..v1::Delegation::default()
    });
    let answer = server.client().await.authorize(request.clone()).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!(answer.reasons[0].missing, ["delegation.root"]);
    context(&mut request).delegation = Some(v1::Delegation {
        root: entity("User", "ana"),
        verified: true,
        ..v1::Delegation::default()
    });
    let answer = server.client().await.authorize(request).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
}

/// The whole second that the clocks of these tests show, far from the machine's own.
const NOW: u64 = 2_000_000_000;

/// A server whose clock stands still, with so many seconds of tolerance.
async fn start_still(skew: u64) -> Running {
    let config = format!("{CONFIG}\n[limits]\nclock_skew_seconds = {skew}\n");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let clock = Arc::new(HandClock::at(now));
    directory().start_at(&config, clock).await
}

/// `helper` for `ana`, until this second by the call's own word.
fn native_until(end: u64) -> v1::AuthorizeRequest {
    let mut request = native_question(&token(&json!({"act": {"sub": "helper"}, "exp": null})));
    let delegation = context(&mut request).delegation.as_mut();
    delegation.expect("a delegation").expires_at = Some(prost_types::Timestamp {
        seconds: end.try_into().expect("small"),
        nanos: 0,
    });
    request
}

/// What every native RPC says of this.
async fn natively_everywhere(server: &Running, request: v1::AuthorizeRequest) -> Vec<String> {
    let mut client = server.client().await;
    let alone = client.authorize(request.clone()).await;
    let mut answers = vec![alone.expect("an answer").into_inner()];
    let batch = v1::AuthorizeBatchRequest {
        requests: vec![request.clone()],
    };
    let batch = client.authorize_batch(batch).await;
    answers.extend(batch.expect("an answer").into_inner().responses);
    let stream = tokio_stream::once(v1::AuthorizeStreamRequest {
        correlation_id: "1".to_owned(),
        request: Some(request.clone()),
    });
    let stream = client.authorize_stream(stream).await;
    let streamed = stream.expect("a stream").into_inner().message().await;
    match streamed.expect("an answer").and_then(|it| it.outcome) {
        Some(v1::authorize_stream_response::Outcome::Response(response)) => answers.push(response),
        other => panic!("{other:?}"),
    }
    let mut said: Vec<String> = answers.iter().map(first_reason).collect();
    let list = v1::FilterToolsRequest {
        call_context: request.call_context,
        server: "git".to_owned(),
        tools: vec!["commit".to_owned()],
        ..v1::FilterToolsRequest::default()
    };
    let list = client.filter_tools(list).await.expect("an answer");
    let hidden = list.into_inner().hidden;
    said.push(hidden.first().map_or_else(
        || "allow".to_owned(),
        |tool| short(tool.code().as_str_name()),
    ));
    said
}

/// Whether ToolHive is let through with a principal that has such a claim.
async fn by_toolhive(server: &Running, name: &str, at: u64) -> bool {
    let mut question = read(TOOLHIVE);
    question["principal"][name] = json!(at);
    let reply = post(server, "/toolhive/decision", &question).await;
    reply.json()["allow"].as_bool().expect("a boolean")
}

/// One setting for every door: to the second at which a token or a delegation has begun or is over, each clock may be
/// off by what is configured and by nothing more.
#[tokio::test]
async fn clocks_may_be_off_by_as_much_as_is_configured() {
    const OVER: &str = "DELEGATION_EXPIRED";
    const TOO_EARLY: &str = "DELEGATION_OUT_OF_SCOPE";
    for skew in [0, 1, 60, 300] {
        let server = start_still(skew).await;
        for (name, at, expected) in [
            ("exp", NOW - skew + 1, "allow"),
            ("exp", NOW - skew, OVER),
            ("exp", NOW - skew - 1, OVER),
            ("nbf", NOW + skew, "allow"),
            ("nbf", NOW + skew + 1, TOO_EARLY),
        ] {
            let what = format!("{skew} s: {name} {at}");
            let mut token = token(&json!({"act": {"sub": "helper"}}));
            token[name] = json!(at);
            for method in ["tools/call", "tools/list", "initialize"] {
                let said = by_agentgateway(&server, &token, method).await;
                assert_eq!(said, expected, "{method}, {what}");
            }
            assert_eq!(by_envoy(&server, &token).await, expected, "{what}");
            // So it is where a person acts herself.
            token.as_object_mut().expect("an object").remove("act");
            assert_eq!(by_envoy(&server, &token).await, expected, "{what}");
            let said = by_agentgateway(&server, &token, "tools/call").await;
            assert_eq!(said, expected, "{what}");
            // Natively and by ToolHive, which passes claims on: those of a person who acts herself.
            assert_eq!(natively(&server, &token).await, expected, "{what}");
            let allowed = by_toolhive(&server, name, at).await;
            assert_eq!(allowed, expected == "allow", "ToolHive, {what}");
            token["act"] = json!({"sub": "helper"});
            let mut questions = vec![native_question(&token)];
            if name == "exp" {
                questions.push(native_until(at));
            }
            for question in questions {
                for said in natively_everywhere(&server, question).await {
                    assert_eq!(said, expected, "natively, {what}");
                }
            }
        }
    }
}
