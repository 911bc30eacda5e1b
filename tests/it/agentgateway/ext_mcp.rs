//! agentgateway's `ExtMcp`, through gRPC, before a server sees a request: what passes, what is refused and how,
//! and that it decides as the native RPC does.

use callgate::proto::agentgateway::ext_mcp::authorization_error::Code as ErrorCode;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as Outcome;
use callgate::proto::agentgateway::ext_mcp::{
    AuthorizationError, McpHeader, McpRequest, McpRequestResult, McpResponse,
};
use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use prost_types::Value as WireValue;
use prost_types::value::Kind as WireKind;
use serde_json::{Value as Json, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::support::in_process::{Running, entity};
use crate::support::wire::structure;
use crate::support::worlds;

pub const CONFIG: &str = r#"
[ext_mcp]
task_key = "task"
approvals_key = "approvals"
verified_servers = ["git"]

[[ext_mcp.identity]]
from = "jwt"
key = "jwt"

[[ext_mcp.identity]]
from = "keys"
agent = "agent"
person = "person"
verified = true
"#;

const POLICIES: &str = r#"
@id("read") @obligation("log:full")
permit (principal, action in Mcp::Action::"call_read", resource);

@id("look")
permit (principal, action in Mcp::Action::"discover", resource)
unless { resource == Mcp::Server::"vault" };

@id("look-at-the-vault")
permit (principal in Mcp::Group::"developers", action in Mcp::Action::"discover", resource);

@id("write-by-developers")
permit (principal, action in Mcp::Action::"call_write", resource)
when { principal in Mcp::Group::"developers" };

@id("never-purge") @reason("history is kept")
forbid (principal, action, resource == Mcp::Tool::"git/purge");

@id("use")
permit (principal, action in Mcp::Action::"use_context", resource);

@id("no-secrets")
forbid (principal, action in Mcp::Action::"use_context", resource in Mcp::Resource::"file:///secret");

@id("ask")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_form", resource)
when { context.identity.verified };

@id("open-tasks")
permit (principal, action == Mcp::Action::"open_task", resource);
"#;

/// Three servers: `git` and `notes`, and `vault`, which only developers may look at.
pub async fn start(config: &str) -> Running {
    let world = worlds::small()
        .policies(POLICIES)
        .agent("guest", "bob", &[])
        .server("notes", "ana")
        .tools(&[("list", "read"), ("add_note", "write")])
        .server("vault", "ana")
        .tool("open", "read");
    world.start(config).await
}

pub type Client = ExtMcpClient<Channel>;

pub async fn client(server: &Running) -> Client {
    Client::new(server.channel().await)
}

/// A request of `coder` to `git`.
fn request(method: &str, params: Option<Json>) -> McpRequest {
    McpRequest {
        service_names: vec!["git".to_owned()],
        method: method.to_owned(),
        metadata_context: Some(structure(&json!({"agent": "coder"}))),
        mcp_request: params.map(|params| params.to_string().into()),
        headers: Vec::new(),
    }
}

fn tool_call(tool: &str) -> McpRequest {
    request("tools/call", Some(json!({"name": tool, "arguments": {}})))
}

fn raw(method: &str, params: &str) -> McpRequest {
    McpRequest {
        mcp_request: Some(params.to_owned().into()),
        ..request(method, None)
    }
}

fn knowing(metadata: &Json, request: McpRequest) -> McpRequest {
    McpRequest {
        metadata_context: Some(structure(metadata)),
        ..request
    }
}

fn to(servers: &[&str], request: McpRequest) -> McpRequest {
    McpRequest {
        service_names: servers.iter().map(|it| (*it).to_owned()).collect(),
        ..request
    }
}

fn with(mut request: McpRequest, headers: &[(&str, &str)]) -> McpRequest {
    for (name, value) in headers {
        request.headers.push(McpHeader {
            key: (*name).to_owned(),
            value: (*value).to_owned().into(),
        });
    }
    request
}

async fn check(client: &mut Client, request: McpRequest) -> McpRequestResult {
    let answer = client.check_request(request).await;
    answer.expect("an answer").into_inner()
}

fn passes(answer: &McpRequestResult) -> bool {
    match answer.result.as_ref().expect("a result") {
        Outcome::Pass(_) => true,
        Outcome::Error(_) => {
            assert_eq!(answer.header_mutation, None, "nothing goes on");
            false
        }
        Outcome::Mutated(_) => panic!("{answer:?}"),
    }
}

fn error(answer: &McpRequestResult) -> &AuthorizationError {
    match &answer.result {
        Some(Outcome::Error(error)) => error,
        _ => panic!("{answer:?}"),
    }
}

/// The structured part of an error.
pub fn authorization(error: &AuthorizationError) -> Json {
    let data = error.mcp_error.as_ref().expect("data");
    let data: Json = serde_json::from_slice(data).expect("JSON");
    data["authorization"].clone()
}

/// A field of the metadata that the gateway may use.
fn told(answer: &McpRequestResult, name: &str) -> Json {
    fn json(value: &WireValue) -> Json {
        match value.kind.as_ref().unwrap() {
            WireKind::StringValue(text) => json!(text),
            WireKind::NumberValue(number) => json!(number),
            WireKind::ListValue(list) => list.values.iter().map(json).collect(),
            other => panic!("{other:?}"),
        }
    }
    json(&answer.metadata.as_ref().expect("metadata").fields[name])
}

#[tokio::test]
async fn an_allow_passes_and_a_deny_is_an_error_of_the_request() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;

    let allowed = check(&mut client, tool_call("log")).await;
    assert!(passes(&allowed), "{allowed:?}");
    assert_eq!(told(&allowed, "decision"), "allow");
    assert_eq!(told(&allowed, "reasons"), json!([]));
    assert_eq!(told(&allowed, "obligations"), json!(["log:full"]));
    assert_eq!(told(&allowed, "revision"), 1.0);
    let id = told(&allowed, "decision_id");
    assert_eq!(told(&allowed, "decision_ids"), json!([id]));
    let headers = allowed.header_mutation.unwrap();
    let set: Vec<_> = headers
        .set
        .iter()
        .map(|it| (it.key.as_str(), str::from_utf8(&it.value).unwrap()))
        .collect();
    assert_eq!(
        set,
        [
            ("x-callgate-decision-id", id.as_str().unwrap()),
            ("x-callgate-obligations", "log:full")
        ]
    );
    assert_eq!(
        headers.remove,
        ["x-callgate-obligation-details", "x-callgate-enforced"]
    );

    // What a client sends under these names does not get through.
    let commit = check(&mut client, tool_call("commit")).await;
    assert!(passes(&commit));
    let removed = commit.header_mutation.unwrap().remove;
    assert_eq!(
        removed,
        [
            "x-callgate-obligations",
            "x-callgate-obligation-details",
            "x-callgate-enforced"
        ]
    );

    let denied = check(&mut client, tool_call("purge")).await;
    assert!(!passes(&denied));
    let error = error(&denied);
    assert_eq!(error.code(), ErrorCode::PermissionDenied);
    assert_eq!(error.reason, "history is kept");
    let data = authorization(error);
    assert_eq!(data["reason"], "FORBIDDEN");
    assert_eq!(data["authorizationContextId"], told(&denied, "decision_id"));
    let text = String::from_utf8_lossy(error.mcp_error.as_ref().unwrap()).into_owned();
    assert!(!text.contains("never-purge"), "no policy is named: {text}");
}

#[tokio::test]
async fn whatever_two_readers_could_read_differently_is_refused() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let invalid = ErrorCode::Invalid;
    let denied = ErrorCode::PermissionDenied;
    let deep = format!(
        "{{\"name\":\"log\",\"arguments\":{}1{}}}",
        "[".repeat(40),
        "]".repeat(40)
    );
    let long = json!({"name": "x".repeat(2_000)});
    let many: Vec<String> = (0..300).map(|at| format!("s{at}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let table = [
        (
            "a name twice",
            raw("tools/call", r#"{"name":"log","name":"purge"}"#),
            invalid,
        ),
        (
            "a name in two spellings",
            raw("tools/call", r#"{"name":"log","Name":"purge"}"#),
            invalid,
        ),
        (
            "half of the parameters",
            raw("tools/call", r#"{"name":"log""#),
            invalid,
        ),
        ("nothing as parameters", raw("tools/call", ""), invalid),
        ("a list as parameters", raw("tools/call", "[]"), invalid),
        (
            "two values",
            raw("tools/call", r#"{"name":"log"}{}"#),
            invalid,
        ),
        (
            "no text",
            McpRequest {
                mcp_request: Some(vec![0xff, 0xfe].into()),
                ..tool_call("log")
            },
            invalid,
        ),
        (
            "an argument beyond 64 bits",
            raw(
                "tools/call",
                r#"{"name":"log","arguments":{"n":18446744073709551616}}"#,
            ),
            invalid,
        ),
        ("nested too deeply", raw("tools/call", &deep), invalid),
        (
            "a name that is too long",
            request("tools/call", Some(long)),
            invalid,
        ),
        (
            "a name with a control character",
            tool_call("log\u{0}"),
            invalid,
        ),
        (
            "no parameters where they are needed",
            request("tools/call", None),
            invalid,
        ),
        (
            "no parameters of a task",
            request("tasks/get", None),
            invalid,
        ),
        (
            "nobody knows what is listened to",
            request("subscriptions/listen", None),
            invalid,
        ),
        (
            "an unknown method",
            request("tools/delete", Some(json!({}))),
            invalid,
        ),
        (
            "a method in capitals",
            request("Tools/call", Some(json!({"name": "log"}))),
            invalid,
        ),
        (
            "a method of servers",
            request("sampling/createMessage", Some(json!({}))),
            invalid,
        ),
        ("no server", to(&[], tool_call("log")), invalid),
        ("an empty server", to(&[""], tool_call("log")), invalid),
        (
            "a server twice",
            to(&["git", "git"], request("tools/list", None)),
            invalid,
        ),
        (
            "several servers of a call",
            to(&["git", "notes"], tool_call("log")),
            invalid,
        ),
        (
            "several servers of a read",
            to(
                &["git", "notes"],
                request("resources/read", Some(json!({"uri": "file:///a"}))),
            ),
            invalid,
        ),
        (
            "too many servers",
            to(&many, request("tools/list", None)),
            invalid,
        ),
        (
            "the method header",
            with(tool_call("log"), &[("mcp-method", "tools/list")]),
            invalid,
        ),
        (
            "the name header",
            with(tool_call("log"), &[("mcp-name", "purge")]),
            invalid,
        ),
        (
            "the name header of another server",
            with(tool_call("log"), &[("mcp-name", "notes_log")]),
            invalid,
        ),
        (
            "a name header in a broken encoding",
            with(tool_call("log"), &[("mcp-name", "=?base64?bG9n")]),
            invalid,
        ),
        (
            "two name headers",
            with(
                tool_call("log"),
                &[("mcp-name", "log"), ("Mcp-Name", "purge")],
            ),
            invalid,
        ),
        (
            "a name where there is none",
            with(request("tools/list", None), &[("mcp-name", "log")]),
            invalid,
        ),
        (
            "the revision",
            with(
                request(
                    "tools/call",
                    Some(
                        json!({"name": "log", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}),
                    ),
                ),
                &[("mcp-protocol-version", "2025-11-25")],
            ),
            invalid,
        ),
        (
            "a task's name with a line end",
            knowing(&json!({"agent": "coder", "task": "a\nb"}), tool_call("log")),
            invalid,
        ),
        (
            "a task that is no text",
            knowing(&json!({"agent": "coder", "task": 7}), tool_call("log")),
            invalid,
        ),
        (
            "an empty approval",
            knowing(
                &json!({"agent": "coder", "approvals": "a,,b"}),
                tool_call("log"),
            ),
            invalid,
        ),
        (
            "an address that is none",
            knowing(
                &json!({"agent": "coder", "source": "here"}),
                tool_call("log"),
            ),
            invalid,
        ),
        ("nobody", knowing(&json!({}), tool_call("log")), denied),
        (
            "no metadata",
            McpRequest {
                metadata_context: None,
                ..tool_call("log")
            },
            denied,
        ),
    ];
    for (what, request, expected) in table {
        let answer = check(&mut client, request).await;
        assert!(!passes(&answer), "{what}");
        let error = error(&answer);
        assert_eq!(error.code(), expected, "{what}: {}", error.reason);
        assert!(
            !error.reason.is_empty() && error.mcp_error.is_none(),
            "{what}"
        );
        assert_eq!(answer.metadata, None, "{what}: nothing was decided");
    }
    // Of a server as a whole there may be none to tell.
    for params in [None, Some(json!({}))] {
        let answer = check(&mut client, request("tasks/list", params)).await;
        assert!(passes(&answer), "{answer:?}");
    }
    // What they vary passes as it is, also with everything that agrees around it.
    for headers in [
        [("mcp-method", "tools/call"), ("mcp-name", "log")],
        [
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "=?base64?bG9n?="),
        ],
        // As the client knows it, where the gateway merges several servers.
        [(":method", "POST"), ("mcp-name", "git_log")],
    ] {
        let answer = check(&mut client, with(tool_call("log"), &headers)).await;
        assert!(passes(&answer), "{headers:?}: {answer:?}");
    }
    let read = request("resources/read", Some(json!({"uri": "file:///a"})));
    let read = with(read, &[("mcp-name", "git+file:///a")]);
    assert!(passes(&check(&mut client, read).await));
    // The gateway's own `initialize` goes before a request of the client and has its headers.
    let own = with(
        request("initialize", None),
        &[("mcp-method", "tools/call"), ("mcp-name", "log")],
    );
    assert!(passes(&check(&mut client, own).await));
}

#[tokio::test]
async fn what_goes_to_several_servers_passes_if_one_of_them_may_be_asked() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let guest = json!({"agent": "guest"});
    for method in [
        "initialize",
        "server/discover",
        "ping",
        "logging/setLevel",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        for (servers, expected) in [
            (&["git", "vault"][..], true),
            (&["vault", "git"], true),
            (&["git", "notes"], true),
            (&["vault"], false),
            (&["vault", "nobody-knows"], false),
        ] {
            let request = knowing(&guest, to(servers, request(method, None)));
            let answer = check(&mut client, request).await;
            assert_eq!(passes(&answer), expected, "{method} of {servers:?}");
            let decision = if expected { "allow" } else { "deny" };
            assert_eq!(told(&answer, "decision"), decision);
        }
    }
}

#[tokio::test]
async fn identities_come_from_the_metadata_alone() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let nobody = "nobody is known to make this request";
    for (what, metadata, expected) in [
        ("a person", json!({"jwt": {"sub": "ana"}}), "allow"),
        (
            "a person who may not",
            json!({"jwt": {"sub": "bob"}}),
            "NO_PERMIT",
        ),
        (
            "an agent for a person",
            json!({"jwt": {"sub": "ana", "act": {"sub": "coder"}}}),
            "allow",
        ),
        (
            "an agent for one who may not",
            json!({"jwt": {"sub": "bob", "act": {"sub": "coder"}}}),
            "DELEGATOR_DENIED",
        ),
        (
            "an agent nobody knows in between",
            json!({"jwt": {"sub": "ana", "act": {"sub": "coder", "act": {"sub": "ghost"}}}}),
            "SUBJECT_UNKNOWN",
        ),
        (
            "a token that is over",
            json!({"jwt": {"sub": "ana", "exp": 1, "act": {"sub": "coder"}}}),
            "DELEGATION_EXPIRED",
        ),
        (
            "a token without a person",
            json!({"jwt": {"act": {"sub": "coder"}}}),
            "the token has no `sub`",
        ),
        (
            "a token that is no object",
            json!({"jwt": "ana"}),
            "the token's payload is no object",
        ),
        ("a token that is not there", json!({"jwt": null}), nobody),
        (
            "the first source counts",
            json!({"jwt": {"sub": "bob"}, "agent": "coder"}),
            "NO_PERMIT",
        ),
        ("names", json!({"agent": "coder", "person": "ana"}), "allow"),
        (
            "names of one who may not",
            json!({"agent": "coder", "person": "bob"}),
            "DELEGATOR_DENIED",
        ),
        ("a name alone", json!({"agent": "coder"}), "allow"),
        ("a person alone", json!({"person": "ana"}), nobody),
        (
            "a name that is no text",
            json!({"agent": ["coder"]}),
            "the metadata names something by what is no text",
        ),
        ("another key", json!({"sub": "ana"}), nobody),
    ] {
        let answer = check(&mut client, knowing(&metadata, tool_call("commit"))).await;
        let shown = match passes(&answer) {
            true => "allow".to_owned(),
            false => {
                let error = error(&answer);
                match &error.mcp_error {
                    Some(_) => authorization(error)["reason"].as_str().unwrap().to_owned(),
                    None => error.reason.clone(),
                }
            }
        };
        assert_eq!(shown, expected, "{what}");
    }
    // Headers name nobody.
    let headers = [
        ("agent", "coder"),
        ("x-agent", "coder"),
        ("authorization", "Bearer x"),
    ];
    let answer = check(
        &mut client,
        with(knowing(&json!({}), tool_call("log")), &headers),
    )
    .await;
    assert_eq!(error(&answer).reason, nobody);
}

#[tokio::test]
async fn nothing_passes_unconfigured_or_without_the_right() {
    let server = start("").await;
    let mut client = client(&server).await;
    for request in [tool_call("log"), request("ping", None)] {
        let answer = check(&mut client, request).await;
        assert_eq!(error(&answer).code(), ErrorCode::PermissionDenied);
    }

    // The digest of `abc`, and stars, which open no door.
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let other = "5a".repeat(32);
    for (rpcs, callers, expected) in [
        (
            r#""*", "Control/*", "ext_authz.Check""#,
            "",
            Err(Code::PermissionDenied),
        ),
        (r#""ext_mcp.Check""#, "", Ok(true)),
        (r#""ext_mcp.Check""#, r#"callers = ["edge"]"#, Ok(true)),
        (r#""ext_mcp.Check""#, r#"callers = ["other"]"#, Ok(false)),
    ] {
        let config = format!(
            r#"
[[ext_mcp.identity]]
from = "keys"
agent = "agent"
verified = true
{callers}
[[callers]]
id = "edge"
token_sha256 = ["{digest}"]
rights = {{ rpcs = [{rpcs}], assert_identity = true }}
[[callers]]
id = "other"
token_sha256 = ["{other}"]
"#
        );
        let server = start(&config).await;
        let mut client = self::client(&server).await;
        let stranger = client.check_request(tool_call("log")).await;
        assert_eq!(stranger.expect_err("nobody").code(), Code::Unauthenticated);
        let stranger = client.check_response(McpResponse::default()).await;
        assert_eq!(stranger.expect_err("nobody").code(), Code::Unauthenticated);
        let mut request = tonic::Request::new(tool_call("log"));
        let token = "Bearer abc".parse().expect("a header");
        request.metadata_mut().insert("authorization", token);
        let answer = client.check_request(request).await;
        let answer = answer.map(|it| passes(it.get_ref()));
        assert_eq!(answer.map_err(|it| it.code()), expected, "{rpcs} {callers}");
        let mut request = tonic::Request::new(McpResponse::default());
        let token = "Bearer abc".parse().expect("a header");
        request.metadata_mut().insert("authorization", token);
        let answer = client.check_response(request).await;
        assert_eq!(
            answer.map(|_| ()).map_err(|it| it.code()),
            expected.map(|_| ()),
            "{rpcs}"
        );
    }
}

#[tokio::test]
async fn a_spent_budget_is_an_exhausted_resource() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let mut control = ControlClient::new(server.channel().await);
    let scope = v1::Scope {
        servers: vec!["git".to_owned()],
        access: v1::AccessLevel::Write.into(),
        ..v1::Scope::default()
    };
    let task = v1::OpenTaskRequest {
        actor: Some(v1::Actor {
            entity: entity("User", "ana"),
            ..v1::Actor::default()
        }),
        agent: entity("Agent", "coder"),
        person: entity("User", "ana"),
        purpose: "release 1.2".into(),
        scope: Some(scope),
        call_budget: Some(1),
        deadline: Some((std::time::SystemTime::now() + std::time::Duration::from_secs(600)).into()),
        ..v1::OpenTaskRequest::default()
    };
    let task = control.open_task(task).await.expect("a task").into_inner();
    let metadata = json!({"agent": "coder", "person": "ana", "task": task.task.unwrap().id});
    let first = check(&mut client, knowing(&metadata, tool_call("log"))).await;
    assert!(passes(&first), "{first:?}");
    let second = check(&mut client, knowing(&metadata, tool_call("log"))).await;
    let error = error(&second);
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error:?}");
    assert_eq!(authorization(error)["reason"], "TASK_BUDGET_SPENT");
}

#[tokio::test]
async fn a_session_may_be_long_and_what_cannot_be_used_is_named() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let with = |key: &str, value: String| {
        let metadata = json!({"agent": "coder", key: value});
        knowing(&metadata, tool_call("log"))
    };
    assert!(passes(
        &check(&mut client, with("session", "s".repeat(1_036))).await
    ));
    for (key, value, wanted) in [
        (
            "session",
            "s".repeat(16_385),
            "the metadata's `session` has 16385 bytes, but at most 16384 are allowed",
        ),
        (
            "session",
            "a\u{7f}".to_owned(),
            "the metadata's `session` holds a control character",
        ),
        (
            "task",
            "t".repeat(1_025),
            "the metadata's `task` has 1025 bytes, but at most 1024 are allowed (`limits.id_bytes`)",
        ),
        (
            "approvals",
            ",".to_owned(),
            "the metadata's `approvals` is required",
        ),
        (
            "approvals",
            "a,".repeat(256) + "a",
            "the metadata's `approvals` has 257 items, but at most 256 are allowed (`limits.list_items`)",
        ),
    ] {
        let answer = check(&mut client, with(key, value)).await;
        assert_eq!(error(&answer).reason, wanted);
    }
}
