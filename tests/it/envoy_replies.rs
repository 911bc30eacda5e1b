//! What a client replies to a server through `ext_authz`: nothing of it reaches the server, which hears an error in its
//! place, so that a tool that has asked for something ends instead of waiting.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::envoy::{Running, free_port, releases, start_shipped, tokens};
use crate::harness::{Bundle, Server, client, on_lines, python};

const AUTHZ: &str = "envoy/ext-authz.yaml";

const SETTINGS: &str = r#"
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource in Mcp::Server::"notes");
"#;

/// Tools of `mcp_asks.py` under the name that the shipped configuration has for its server.
fn bundle(more: &str) -> Bundle {
    let bundle = Bundle::small();
    bundle.file("callgate.toml", &format!("{more}{SETTINGS}"));
    bundle.file("all.cedar", POLICIES);
    let tool = json!({"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"});
    let names = ["plain", "ask_name", "ask_model", "ask_folders"];
    let tools: serde_json::Map<_, _> = names
        .map(|it| (it.to_owned(), tool.clone()))
        .into_iter()
        .collect();
    let notes = json!({"server": {"name": "notes", "owner": "alice"}, "tools": tools});
    bundle.file("tools/notes.json", &notes.to_string());
    bundle
}

/// What a client of 2025-11-25 sees of these calls, and how long all of them took.
fn seen(release: &Path, bundle: &Bundle, steps: &Json) -> (Json, Duration, String) {
    let folder = tempfile::tempdir().unwrap();
    let server_port = free_port();
    let mut server = Command::new(python());
    server
        .arg(client("mcp_asks.py"))
        .arg(server_port.to_string());
    let _server = Running::start(&mut server, server_port, &folder.path().join("server.log"));
    let callgate = Server::start(bundle, &[]);
    let callgate_port = callgate.port();
    let keys = folder.path().join("jwks.json");
    let token = tokens(&keys, &[json!({"sub": "alice", "act": {"sub": "helper"}})]).remove(0);
    let port = free_port();
    let ports = [
        (port, "10000"),
        (server_port, "8000"),
        (callgate_port, "50051"),
    ];
    let _envoy = start_shipped(AUTHZ, release, folder.path(), ports, &keys);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let mut talk = Command::new(python());
    talk.arg(client("mcp_talk.py")).arg(url);
    let started = Instant::now();
    let line = json!({"token": token, "mode": "legacy", "steps": steps});
    let seen = on_lines(&mut talk, &[line]).remove(0);
    (seen, started.elapsed(), callgate.log())
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_tool_that_has_asked_its_client_ends_and_hears_nothing_of_the_reply() {
    let call = |tool: &str, arguments: Json| json!({"tool": tool, "arguments": arguments});
    let steps = json!([
        call("ask_name", json!({})),
        call("ask_model", json!({"tokens": 50})),
        call("ask_folders", json!({})),
        call("plain", json!({})),
    ]);
    for release in releases(AUTHZ) {
        let (seen, took, log) = seen(&release, &bundle(""), &steps);
        assert_eq!(
            seen["asked"],
            json!(["form", "sampling", "roots"]),
            "{seen}"
        );
        for step in &seen["steps"].as_array().expect("steps")[..3] {
            let said = format!("{} {}", step["failed"], step["message"]);
            assert!(
                said.contains("replies to servers do not pass here"),
                "{step}\n{log}"
            );
            for told in ["Ana", "a sampled text", "file:///home"] {
                assert!(!said.contains(told), "{step}");
            }
        }
        assert_eq!(seen["steps"][3], json!({"text": "plain"}));
        // A client waits for 20 s for each of three calls.
        assert!(
            took < Duration::from_secs(40),
            "{}: {took:?}",
            release.display()
        );
        println!("{}: four calls in {took:?}", release.display());
    }
}
