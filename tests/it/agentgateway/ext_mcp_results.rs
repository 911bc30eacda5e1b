//! agentgateway's `ExtMcp`, through gRPC, before a client sees a result: lists are filtered, and what servers ask
//! for is decided in their names.

use callgate::proto::agentgateway::ext_mcp::authorization_error::Code as ErrorCode;
use callgate::proto::agentgateway::ext_mcp::mcp_response_result::Result as Outcome;
use callgate::proto::agentgateway::ext_mcp::{McpHeader, McpRequest, McpResponse};
use callgate::proto::v1;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::agentgateway::ext_mcp::{CONFIG, Client, authorization, client, start};
use crate::grpc::fuzz::{change, changed, send};
use crate::support::in_process::entity;
use crate::support::wire::structure;

/// What becomes of a result.
#[derive(Debug, PartialEq)]
enum Seen {
    Unchanged,
    Changed(Json),
    /// With the code of the first reason, if it was decided.
    Refused(ErrorCode, String),
}

fn response(servers: &[&str], method: &str, result: &Json) -> McpResponse {
    McpResponse {
        service_names: servers.iter().map(|it| (*it).to_owned()).collect(),
        method: method.to_owned(),
        metadata_context: Some(structure(&json!({"agent": "coder"}))),
        mcp_response: result.to_string().into(),
    }
}

fn of(agent: &str, response: McpResponse) -> McpResponse {
    McpResponse {
        metadata_context: Some(structure(&json!({"agent": agent}))),
        ..response
    }
}

async fn check(client: &mut Client, response: McpResponse) -> Seen {
    let answer = client.check_response(response).await.expect("an answer");
    match answer.into_inner().result.expect("a result") {
        Outcome::Pass(_) => Seen::Unchanged,
        Outcome::Mutated(bytes) => Seen::Changed(serde_json::from_slice(&bytes).expect("JSON")),
        Outcome::Error(error) => {
            assert!(!error.reason.is_empty());
            let said = match &error.mcp_error {
                Some(_) => authorization(&error)["reason"].as_str().unwrap().to_owned(),
                None => error.reason.clone(),
            };
            Seen::Refused(error.code(), said)
        }
    }
}

fn is_refused(seen: &Seen, code: ErrorCode) -> bool {
    matches!(seen, Seen::Refused(found, _) if *found == code)
}

/// A list whose entries have these names, and members that must survive.
fn list(member: &str, name: &str, names: &[&str]) -> Json {
    let entry = |called: &&str| {
        let mut entry = json!({"description": "what it does", "inputSchema": {"type": "object"}});
        entry[name] = json!(called);
        entry
    };
    let mut result = json!({"nextCursor": "c-1", "ttlMs": 0});
    result[member] = names.iter().map(entry).collect();
    result
}

/// The names that are left of a list.
fn left(seen: &Seen, member: &str, name: &str) -> Vec<String> {
    let Seen::Changed(result) = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(result["nextCursor"], "c-1");
    let entries = result[member].as_array().unwrap().iter();
    entries
        .inspect(|entry| assert_eq!(entry["description"], "what it does"))
        .map(|entry| entry[name].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_shows_what_the_native_filter_keeps() {
    let server = start(CONFIG).await;
    let mut native = server.client().await;
    let mut client = client(&server).await;
    let names = ["log", "commit", "purge", "other", "git_log", "Log"];
    let (mut unchanged, mut compared) = (0, 0);
    for agent in ["coder", "guest", "ghost"] {
        for person in [None, Some("ana"), Some("bob"), Some("nobody")] {
            for chosen in 0..1_usize << names.len() {
                let chosen: Vec<_> = (0..names.len())
                    .filter(|at| chosen >> at & 1 == 1)
                    .map(|at| names[at])
                    .collect();
                let subject = v1::Subject {
                    entity: entity("Agent", agent),
                    identity: Some(v1::Identity {
                        method: "metadata".to_owned(),
                        verified: true,
                    }),
                    claims: None,
                };
                let context = v1::CallContext {
                    subject: Some(subject),
                    delegation: person.map(|person| v1::Delegation {
                        root: entity("User", person),
                        verified: true,
                        ..v1::Delegation::default()
                    }),
                    ..v1::CallContext::default()
                };
                let filter = v1::FilterToolsRequest {
                    call_context: Some(Box::new(context)),
                    server: "git".to_owned(),
                    tools: chosen.iter().map(|it| (*it).to_owned()).collect(),
                    at_least_revision: 0,
                };
                let kept = native.filter_tools(filter).await.expect("an answer");
                let kept = kept.into_inner().tools;

                let mut metadata = json!({"agent": agent});
                if let Some(person) = person {
                    metadata["person"] = json!(person);
                }
                let response = McpResponse {
                    metadata_context: Some(structure(&metadata)),
                    ..response(&["git"], "tools/list", &list("tools", "name", &chosen))
                };
                let seen = check(&mut client, response).await;
                compared += 1;
                if kept.len() == chosen.len() {
                    assert_eq!(seen, Seen::Unchanged, "{agent} for {person:?}: {chosen:?}");
                    unchanged += 1;
                } else {
                    let left = left(&seen, "tools", "name");
                    assert_eq!(left, kept, "{agent} for {person:?}: {chosen:?}");
                }
            }
        }
    }
    assert!(
        compared > 700 && unchanged > 10,
        "{unchanged} of {compared}"
    );
}

#[tokio::test]
async fn merged_lists_are_read_by_the_names_of_their_servers() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let tools = [
        "git_log",
        "git_purge",
        "notes_list",
        "vault_open",
        // Nobody's.
        "log",
        "other_log",
        "Git_log",
        "git+log",
    ];
    let all = ["git", "notes", "vault"];
    let result = list("tools", "name", &tools);
    let seen = check(&mut client, response(&all, "tools/list", &result)).await;
    let shown = ["git_log", "notes_list", "vault_open"];
    assert_eq!(left(&seen, "tools", "name"), shown);
    // A guest may not look at the vault, so nothing of it is shown, whatever could be called there.
    let guest = of("guest", response(&all, "tools/list", &result));
    let seen = check(&mut client, guest).await;
    assert_eq!(left(&seen, "tools", "name"), ["git_log", "notes_list"]);
    let nothing = list("tools", "name", &["git_log", "notes_list"]);
    let seen = check(&mut client, response(&all, "tools/list", &nothing)).await;
    assert_eq!(seen, Seen::Unchanged);

    let prompts = list("prompts", "name", &["git_review", "review", "vault_key"]);
    let guest = of("guest", response(&all, "prompts/list", &prompts));
    let seen = check(&mut client, guest).await;
    assert_eq!(left(&seen, "prompts", "name"), ["git_review"]);

    let uris = [
        "git+file:///readme",
        "git+file:///secret",
        "vault+memo:key",
        "notes+memo:today",
        "ui://notes+board.html",
        "ui://board.html",
        "file:///readme",
        "relative",
    ];
    let shown = [uris[0], uris[3], uris[4]];
    for (method, member, name) in [
        ("resources/list", "resources", "uri"),
        (
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
        ),
    ] {
        let resources = list(member, name, &uris);
        let guest = of("guest", response(&all, method, &resources));
        let seen = check(&mut client, guest).await;
        assert_eq!(left(&seen, member, name), shown, "{method}");
    }
}

#[tokio::test]
async fn names_are_read_as_the_gateway_is_configured() {
    let names = ["log", "git_log"];
    for (mode, servers, expected) in [
        ("conditional", &["git"][..], &["log"][..]),
        ("conditional", &["git", "notes"], &["git_log"]),
        ("always", &["git"], &["git_log"]),
        ("always", &["git", "notes"], &["git_log"]),
        ("never", &["git"], &["log"]),
        ("never", &["git", "notes"], &[]),
    ] {
        let setting = format!("[ext_mcp]\nprefix_mode = \"{mode}\"\n");
        let server = start(&CONFIG.replace("[ext_mcp]\n", &setting)).await;
        let mut client = client(&server).await;
        let result = list("tools", "name", &names);
        let seen = check(&mut client, response(servers, "tools/list", &result)).await;
        assert_eq!(left(&seen, "tools", "name"), expected, "{mode} {servers:?}");
    }
}

fn asking(requests: &Json) -> Json {
    json!({"resultType": "input_required", "requestState": "s", "inputRequests": requests})
}

fn form() -> Json {
    json!({"method": "elicitation/create", "params": {
        "message": "Which branch?",
        "requestedSchema": {"type": "object", "properties": {"branch": {"type": "string"}}},
    }})
}

fn sampling() -> Json {
    json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 10}})
}

#[tokio::test]
async fn what_a_server_asks_for_is_decided_in_its_name() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let one = |request: Json| asking(&json!({"a": request}));
    for method in ["tools/call", "prompts/get", "resources/read", "tasks/get"] {
        for (what, servers, result, expected) in [
            ("its form", "git", one(form()), "pass"),
            (
                "two forms",
                "git",
                asking(&json!({"a": form(), "b": form()})),
                "pass",
            ),
            ("nothing", "git", asking(&json!({})), "pass"),
            (
                "a form and more",
                "git",
                asking(&json!({"a": form(), "b": sampling()})),
                "NO_PERMIT",
            ),
            // The gateway is not known to know this server by more than its address.
            ("a form of another", "notes", one(form()), "NO_PERMIT"),
            ("sampling", "git", one(sampling()), "NO_PERMIT"),
            (
                "the roots",
                "git",
                one(json!({"method": "roots/list"})),
                "NO_PERMIT",
            ),
        ] {
            let in_task = json!({"status": "completed", "result": result});
            for result in [result, in_task] {
                let seen = check(&mut client, response(&[servers], method, &result)).await;
                let shown = match seen {
                    Seen::Unchanged => "pass".to_owned(),
                    Seen::Refused(ErrorCode::PermissionDenied, reason) => reason,
                    other => panic!("{what}: {other:?}"),
                };
                assert_eq!(shown, expected, "{what} in {method}: {result}");
            }
        }
    }
    let unknown = one(json!({"method": "tools/delete", "params": {}}));
    for (servers, result) in [
        (&["git"][..], &unknown),
        (&["git", "notes"], &one(form())),
        (&["git"], &asking(&json!([form()]))),
        (&["git"], &asking(&json!({"a": {"params": {}}}))),
        (&["git"], &json!({"InputRequests": {"a": form()}})),
        (
            &["git"],
            &one(json!({"method": "elicitation/create", "params": {}})),
        ),
    ] {
        let seen = check(&mut client, response(servers, "tools/call", result)).await;
        assert!(is_refused(&seen, ErrorCode::Invalid), "{result}: {seen:?}");
    }
}

#[tokio::test]
async fn other_results_pass_as_they_are_unless_they_cannot_be_read() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let text = json!({"content": [{"type": "text", "text": "tools"}], "isError": false});
    for (method, result) in [
        ("tools/call", &text),
        ("ping", &json!({})),
        (
            "initialize",
            &json!({"instructions": "Be careful.", "capabilities": {}}),
        ),
        ("resources/read", &json!({"contents": []})),
    ] {
        let seen = check(&mut client, response(&["git"], method, result)).await;
        assert_eq!(seen, Seen::Unchanged, "{method}");
    }
    // Nobody knows what it answers, so nobody has decided about it.
    let list = list("tools", "name", &["log"]);
    let seen = check(&mut client, response(&["git"], "tools/all", &list)).await;
    assert!(is_refused(&seen, ErrorCode::Invalid), "{seen:?}");

    let raw = |text: &str| McpResponse {
        mcp_response: text.to_owned().into(),
        ..response(&["git"], "tools/list", &json!({}))
    };
    let nameless = raw(r#"{"tools":[{}]}"#);
    let seen = check(&mut client, nameless).await;
    assert_eq!(
        seen,
        Seen::Changed(json!({"tools": []})),
        "a tool without a name"
    );
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let names: Vec<String> = (0..1_001).map(|at| format!("t{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let many = self::list("tools", "name", &names);
    for (what, response, code) in [
        ("no result", raw(""), ErrorCode::Invalid),
        ("half a result", raw(r#"{"tools":["#), ErrorCode::Invalid),
        ("a list", raw("[]"), ErrorCode::Invalid),
        (
            "a member twice",
            raw(r#"{"tools":[],"tools":[{"name":"purge"}]}"#),
            ErrorCode::Invalid,
        ),
        (
            "a member in another spelling",
            raw(r#"{"tools":[],"Tools":[{"name":"purge"}]}"#),
            ErrorCode::Invalid,
        ),
        (
            "tools that are no list",
            raw(r#"{"tools":{}}"#),
            ErrorCode::Invalid,
        ),
        ("nested too deeply", raw(&deep), ErrorCode::Invalid),
        (
            "too many tools",
            response(&["git"], "tools/list", &many),
            ErrorCode::Invalid,
        ),
        (
            "no server",
            response(&[], "tools/call", &text),
            ErrorCode::Invalid,
        ),
        (
            "nobody",
            McpResponse {
                metadata_context: None,
                ..raw("{}")
            },
            ErrorCode::PermissionDenied,
        ),
        (
            "completions",
            response(&["git"], "completion/complete", &json!({"completion": {}})),
            ErrorCode::PermissionDenied,
        ),
    ] {
        let seen = check(&mut client, response).await;
        assert!(is_refused(&seen, code), "{what}: {seen:?}");
    }
}

#[tokio::test]
async fn completions_pass_if_the_configuration_says_so() {
    let setting = "[ext_mcp]\npass_completions = true\n";
    let server = start(&CONFIG.replace("[ext_mcp]\n", setting)).await;
    let mut client = client(&server).await;
    let completion = json!({"completion": {"values": ["a"]}});
    let response = response(&["git"], "completion/complete", &completion);
    assert_eq!(check(&mut client, response).await, Seen::Unchanged);
}

#[tokio::test]
async fn what_is_asked_about_only_on_the_way_back_is_decided_or_refused() {
    let (empty, task) = (json!({}), json!({"taskId": "t", "status": "working"}));
    let methods = [
        ("resources/unsubscribe", &empty),
        ("tasks/get", &task),
        ("tasks/result", &task),
        ("tasks/list", &empty),
        ("tasks/cancel", &task),
        ("tasks/update", &empty),
    ];
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    for (method, result) in methods {
        // A guest may not meet the vault, so nothing that its server has answered reaches one.
        let asked = response(&["vault"], method, result);
        assert_eq!(
            check(&mut client, asked.clone()).await,
            Seen::Unchanged,
            "{method}"
        );
        let seen = check(&mut client, of("guest", asked)).await;
        let denied = Seen::Refused(ErrorCode::PermissionDenied, "NO_PERMIT".to_owned());
        assert_eq!(seen, denied, "{method}");
    }
    for method in ["resources/subscribe", "subscriptions/listen"] {
        let asked = response(&["git"], method, &empty);
        let Seen::Refused(ErrorCode::PermissionDenied, said) = check(&mut client, asked).await
        else {
            panic!("{method}")
        };
        assert!(
            said.starts_with("subscriptions are not let through"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn subscriptions_pass_if_the_configuration_says_so_to_whoever_may_meet_the_server() {
    let setting = "[ext_mcp]\npass_subscriptions = true\n";
    let server = start(&CONFIG.replace("[ext_mcp]\n", setting)).await;
    let mut client = client(&server).await;
    for method in ["resources/subscribe", "subscriptions/listen"] {
        let asked = response(&["vault"], method, &json!({}));
        assert_eq!(
            check(&mut client, asked.clone()).await,
            Seen::Unchanged,
            "{method}"
        );
        let seen = check(&mut client, of("guest", asked)).await;
        assert!(
            is_refused(&seen, ErrorCode::PermissionDenied),
            "{method}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn instructions_of_servers_that_may_not_be_met_are_left_out() {
    let server = start(CONFIG).await;
    let mut client = client(&server).await;
    let greeting = json!({"protocolVersion": "2025-11-25", "instructions": "[vault]\nThe key is under the mat."});
    for method in ["initialize", "server/discover"] {
        for (agent, servers, is_told) in [
            ("coder", &["git", "vault"][..], true),
            ("guest", &["git", "notes"], true),
            ("guest", &["git", "vault"], false),
        ] {
            let response = of(agent, response(servers, method, &greeting));
            let expected = match is_told {
                true => Seen::Unchanged,
                false => Seen::Changed(json!({"protocolVersion": "2025-11-25"})),
            };
            let seen = check(&mut client, response).await;
            assert_eq!(seen, expected, "{method} {agent} {servers:?}");
        }
    }
}

const RPCS: [&str; 2] = [
    "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest",
    "/agentgateway.dev.ext_mcp.ExtMcp/CheckResponse",
];

/// Good messages, rich in fields.
fn good(rpc: usize) -> Vec<u8> {
    let metadata = json!({"jwt": {"sub": "ana", "act": {"sub": "coder"}, "exp": 4e9}, "session": "s", "source": "::1"});
    if rpc == 0 {
        let params = json!({"name": "log", "arguments": {"n": [1, {"a": null}]}});
        return McpRequest {
            service_names: vec!["git".to_owned()],
            method: "tools/call".to_owned(),
            metadata_context: Some(structure(&metadata)),
            mcp_request: Some(params.to_string().into()),
            headers: vec![McpHeader {
                key: "mcp-name".to_owned(),
                value: "log".into(),
            }],
        }
        .encode_to_vec();
    }
    let mut result = asking(&json!({"a": form(), "b": sampling()}));
    result["tools"] = json!([{"name": "git_log"}, {"name": "git_purge"}]);
    McpResponse {
        metadata_context: Some(structure(&metadata)),
        ..response(&["git", "notes"], "tools/list", &result)
    }
    .encode_to_vec()
}

#[test]
fn no_bytes_bring_the_server_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime.block_on(start(CONFIG));
    let channel = runtime.block_on(server.channel());
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let refused = std::cell::Cell::new(0_u32);
    let changes = prop::collection::vec(change(), 1..6);
    runner
        .run(&(0..RPCS.len(), changes), |(rpc, changes)| {
            let bytes = changed(good(rpc), &changes);
            if let Err(status) = runtime.block_on(send(&channel, RPCS[rpc], bytes)) {
                prop_assert_eq!(status.code(), Code::InvalidArgument, "{:?}", status);
                refused.set(refused.get() + 1);
            }
            runtime
                .block_on(send(&channel, RPCS[rpc], good(rpc)))
                .expect("the next question is answered");
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(refused.get() > cases / 20, "{}", refused.get());
}
