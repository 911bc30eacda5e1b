//! A real Envoy with external processing as `deploy/` configures it, between a real MCP client and real MCP
//! servers that ask their clients for something: lists are filtered, what servers ask for is decided, and without
//! Callgate nothing passes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::envoy::{Running, newest, releases, run_envoy, shipped, tokens};
use crate::support::parts::npm;
use crate::support::process::{Bundle, Server, client, free_port, on_lines, python};
use crate::support::worlds;

const PROC: &str = "envoy/ext-proc.yaml";

const SETTINGS: &str = r#"
[envoy]

[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

/// What any server may do, `SERVER` being its name: to ask for a form only of those who are with Alice.
const POLICIES: &str = r#"
@id("staff.look")
permit (principal in Mcp::Group::"staff", action in Mcp::Action::"discover", resource in Mcp::Server::"SERVER");

@id("staff.call")
permit (principal in Mcp::Group::"staff", action in [Mcp::Action::"call_read", Mcp::Action::"call_write"], resource in Mcp::Server::"SERVER");

@id("never") @reason("nobody may use this")
forbid (principal, action, resource)
when { resource == Mcp::Tool::"curious/hidden" || resource == Mcp::Tool::"everything/get-env" };

@id("ask.form")
permit (principal == Mcp::Server::"SERVER", action == Mcp::Action::"elicit_form", resource)
when { context has delegation && context.delegation has root && context.delegation.root == Mcp::User::"alice" };

@id("ask.no-password") @reason("passwords are not for forms")
forbid (principal is Mcp::Server, action == Mcp::Action::"elicit_form", resource)
when { context.elicitation.field_names.contains("password") };

@id("ask.url")
permit (principal == Mcp::Server::"SERVER", action == Mcp::Action::"elicit_url", resource)
when { context.elicitation has host && context.elicitation.host == "github.com" };

@id("ask.sampling")
permit (principal == Mcp::Server::"SERVER", action == Mcp::Action::"sample", resource)
when { context.sampling.max_tokens <= 100 };
"#;

/// Callgate, and Envoy in front of one server.
struct Stage {
    callgate: Server,
    url: String,
    /// Of Alice, Carol and Bob, for whom the same agent acts.
    tokens: Vec<Json>,
    _envoy: Running,
    _folder: TempDir,
    _bundle: Bundle,
}

impl Stage {
    fn of(release: &Path, server: &str, tools: &[&str], server_port: u16) -> Self {
        let mut world = worlds::notes()
            .config(SETTINGS)
            .policies(&POLICIES.replace("SERVER", server))
            .user("carol", &["staff"])
            .server(server, "alice");
        for tool in tools {
            world = world.tool(tool, "write");
        }
        let bundle = Bundle::of(&world);
        let callgate = Server::start(&bundle, &[]);
        let (_, callgate_port) = callgate.target().rsplit_once(':').unwrap();

        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("jwks.json");
        let claims =
            ["alice", "carol", "bob"].map(|sub| json!({"sub": sub, "act": {"sub": "helper"}}));
        let tokens = tokens(&keys, &claims);
        let port = free_port();
        let mut text = shipped(PROC);
        let numbered = |port: &dyn std::fmt::Display| format!("port_value: {port}}}");
        for (from, to) in [
            (numbered(&10_000), numbered(&port)),
            (numbered(&8_000), numbered(&server_port)),
            (numbered(&50_051), numbered(&callgate_port)),
            (
                "/etc/envoy/jwks.json".to_owned(),
                keys.to_str().unwrap().to_owned(),
            ),
            ("value: notes".to_owned(), format!("value: {server}")),
            // The machine that runs the tests may be busy with others.
            (
                "message_timeout: 0.5s".to_owned(),
                "message_timeout: 10s".to_owned(),
            ),
        ] {
            assert!(text.contains(&from), "the configuration has `{from}`");
            text = text.replace(&from, &to);
        }
        let config = folder.path().join("envoy.yaml");
        fs::write(&config, text).unwrap();
        let envoy = run_envoy(release, &config, folder.path(), port);
        Self {
            callgate,
            url: format!("http://127.0.0.1:{port}/mcp"),
            tokens,
            _envoy: envoy,
            _folder: folder,
            _bundle: bundle,
        }
    }

    fn talk(&self, lines: &[Json]) -> Vec<Json> {
        talk(&self.url, lines)
    }
}

fn talk(url: &str, lines: &[Json]) -> Vec<Json> {
    on_lines(
        Command::new(python()).arg(client("mcp_talk.py")).arg(url),
        lines,
    )
}

fn call(tool: &str, arguments: Json) -> Json {
    json!({"tool": tool, "arguments": arguments})
}

fn reason(step: &Json) -> &str {
    let reason = &step["data"]["authorization"]["reason"];
    reason
        .as_str()
        .unwrap_or_else(|| panic!("no reason in {step}"))
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn what_a_server_of_either_era_asks_for_reaches_the_client_if_policies_say_so() {
    for release in releases(PROC) {
        println!("{}", release.display());
        what_a_server_asks_for_is_decided(&release);
    }
}

fn what_a_server_asks_for_is_decided(release: &Path) {
    const TOOLS: [&str; 6] = [
        "plain",
        "hidden",
        "ask_name",
        "ask_password",
        "ask_model",
        "ask_folders",
    ];
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Command::new(python());
    server.arg(client("mcp_asks.py")).arg(port.to_string());
    let _server = Running::start(&mut server, port, &folder.path().join("server.log"));
    let stage = Stage::of(release, "curious", &TOOLS, port);
    let steps = json!([
        "tools",
        call("plain", json!({})),
        call("hidden", json!({})),
        call("ask_name", json!({})),
        call("ask_password", json!({})),
        call("ask_model", json!({"tokens": 50})),
        call("ask_model", json!({"tokens": 500})),
        call("ask_folders", json!({})),
    ]);
    for (mode, era) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let line = |token: &Json| json!({"token": token, "mode": mode, "steps": steps});
        let tokens = &stage.tokens;
        let seen = stage.talk(&[
            line(&tokens[0]),
            line(&tokens[1]),
            line(&tokens[2]),
            line(&Json::Null),
        ]);
        let [alice, carol, bob, nobody] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!(alice["era"], era, "{alice}");
        let shown = json!([
            "ask_folders",
            "ask_model",
            "ask_name",
            "ask_password",
            "plain"
        ]);
        assert_eq!(alice["steps"][0], shown, "{era}");
        assert_eq!(alice["steps"][1], json!({"text": "plain"}), "{era}");
        assert_eq!(alice["steps"][2]["message"], "nobody may use this", "{era}");
        assert_eq!(alice["steps"][3], json!({"text": "hello Ana"}), "{era}");
        assert_eq!(
            alice["steps"][5],
            json!({"text": "it wrote a sampled text"}),
            "{era}"
        );
        assert_eq!(
            alice["asked"],
            json!(["form", "sampling"]),
            "{era}: {alice}"
        );
        assert_eq!(carol["asked"], json!(["sampling"]), "{era}: {carol}");
        let denied = [
            (alice, 4),
            (alice, 6),
            (alice, 7),
            (carol, 3),
            (carol, 4),
            (carol, 6),
            (carol, 7),
        ];
        for (person, step) in denied {
            let step = &person["steps"][step];
            match mode {
                // The server asked, and heard from the client that there is no such thing.
                "legacy" => {
                    let said = format!("{} {}", step["failed"], step["message"]);
                    assert!(said.contains("Method not found"), "{step}");
                }
                // The client's call came to an error.
                _ => assert!(["FORBIDDEN", "NO_PERMIT"].contains(&reason(step)), "{step}"),
            }
        }
        // Bob has delegated nothing to the agent, so it may not even begin.
        assert_eq!(reason(bob), "DELEGATOR_DENIED", "{era}");
        assert!(nobody.get("steps").is_none(), "{era}: {nobody}");
        assert_eq!((&bob["asked"], &nobody["asked"]), (&json!([]), &json!([])));
    }

    let (ended, _) = stage.callgate.stop();
    assert!(ended.success());
    let seen = talk(
        &stage.url,
        &[json!({"token": stage.tokens[0], "steps": ["tools"]})],
    );
    assert!(seen[0].get("steps").is_none(), "{}", seen[0]);
}

/// Sends a request over a connection of its own, and reads the headers of the answer. What follows is its body.
fn open(
    url: &str,
    token: &Json,
    request: &str,
    headers: &str,
    body: &str,
) -> (Vec<String>, BufReader<TcpStream>) {
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut connection = TcpStream::connect(address).unwrap();
    let token = token.as_str().unwrap();
    let length = body.len();
    write!(
        connection,
        "{request} /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = BufReader::new(connection);
    let lines = answer.by_ref().lines().map(|line| line.unwrap());
    let headers = lines.take_while(|line| !line.is_empty()).collect();
    (headers, answer)
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_stream_that_is_open_ends_with_callgate_and_not_as_if_it_were_complete() {
    for release in releases(PROC) {
        println!("{}", release.display());
        an_open_stream_ends_with_callgate(&release);
    }
}

fn an_open_stream_ends_with_callgate(release: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Command::new(python());
    server.arg(client("mcp_asks.py")).arg(port.to_string());
    let _server = Running::start(&mut server, port, &folder.path().join("server.log"));
    let stage = Stage::of(release, "curious", &["plain"], port);
    let token = &stage.tokens[0];
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    }});
    let (headers, _) = open(&stage.url, token, "POST", "", &initialize.to_string());
    let session = headers
        .iter()
        .find(|line| line.starts_with("mcp-session-id"))
        .unwrap_or_else(|| panic!("{headers:?}"));
    let (headers, mut stream) = open(&stage.url, token, "GET", &format!("{session}\r\n"), "");
    assert_eq!(headers[0], "HTTP/1.1 200 OK", "{headers:?}");
    assert!(
        headers
            .iter()
            .any(|line| line == "transfer-encoding: chunked")
    );

    // It is killed, and says nothing more.
    drop(stage.callgate);
    let mut rest = String::new();
    // A connection that is reset is as good an end.
    let _ = stream.read_to_string(&mut rest);
    assert!(!rest.ends_with("0\r\n\r\n"), "a complete answer: {rest:?}");
}

#[test]
#[ignore = "needs the Python and npm packages that tests/run installs"]
fn the_public_everything_server_asks_only_for_what_policies_let_it() {
    const TOOLS: [&str; 6] = [
        "echo",
        "get-env",
        "get-roots-list",
        "trigger-sampling-request",
        "trigger-elicitation-request",
        "trigger-url-elicitation",
    ];
    let modules = npm();
    let main = modules.join("@modelcontextprotocol/server-everything/dist/index.js");
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Command::new("node");
    server
        .arg(main)
        .arg("streamableHttp")
        .env("PORT", port.to_string());
    let _server = Running::start(&mut server, port, &folder.path().join("server.log"));
    let stage = Stage::of(&newest(), "everything", &TOOLS, port);
    let visit = |url: &str, is_error: bool| {
        call(
            "trigger-url-elicitation",
            json!({"url": url, "errorPath": is_error}),
        )
    };
    let sample = |tokens: i64| {
        call(
            "trigger-sampling-request",
            json!({"prompt": "p", "maxTokens": tokens}),
        )
    };
    let steps = json!([
        "tools",
        call("echo", json!({"message": "hi"})),
        call("get-env", json!({})),
        sample(50),
        sample(500),
        call("trigger-elicitation-request", json!({})),
        visit("https://github.com/login", false),
        visit("https://evil.example.com/login", false),
        // Leads to another page, in an error instead of a request.
        visit("https://github.com/login", true),
        call("get-roots-list", json!({})),
    ]);
    let line = |token: &Json| json!({"token": token, "steps": steps});
    let seen = stage.talk(&[line(&stage.tokens[0]), line(&stage.tokens[1])]);
    let (alice, carol) = (&seen[0], &seen[1]);
    let mut shown = TOOLS.to_vec();
    shown.retain(|tool| *tool != "get-env");
    shown.sort_unstable();
    for person in [alice, carol] {
        let steps = &person["steps"];
        assert_eq!(
            steps[0],
            json!(shown),
            "what is not registered is not shown, either"
        );
        assert_eq!(steps[1], json!({"text": "Echo: hi"}));
        assert_eq!(reason(&steps[2]), "FORBIDDEN");
        assert!(
            steps[3]["text"]
                .as_str()
                .unwrap()
                .contains("a sampled text"),
            "{steps}"
        );
        assert!(
            steps[6]["text"]
                .as_str()
                .unwrap()
                .contains("User completed"),
            "{steps}"
        );
        for refused in [4, 7] {
            let said = steps[refused]["failed"].as_str().unwrap();
            assert!(
                said.contains("Method not found"),
                "the server hears of it: {said}"
            );
        }
        assert_eq!(reason(&steps[8]), "NO_PERMIT", "{}", steps[8]);
        let roots = steps[9]["text"].as_str().unwrap();
        assert!(!roots.contains("file:///home/ana"), "{roots}");
    }
    assert_eq!(alice["asked"], json!(["sampling", "form", "url"]));
    assert_eq!(carol["asked"], json!(["sampling", "url"]));
}
