//! What a client replies to a server through `ext_authz`: nothing of it reaches the server, which hears an error in its
//! place, so that a tool that has asked for something ends instead of waiting.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::envoy::{Running, releases, start_shipped, tokens};
use crate::support::process::{Bundle, Server, client, free_port, on_lines, python};
use crate::support::worlds;

const AUTHZ: &str = "envoy/ext-authz.yaml";

const SETTINGS: &str = r#"
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource in Mcp::Server::"notes");
"#;

/// Tools of `mcp_asks.py` under the name that the shipped configurations have for their server.
pub fn bundle(settings: &str) -> Bundle {
    let asking = ["plain", "ask_name", "ask_model", "ask_folders"];
    let world = worlds::notes().config(settings).file("all.cedar", POLICIES);
    let world = world.server("notes", "alice");
    Bundle::of(&world.tools(&asking.map(|name| (name, "read"))))
}

/// Has a client of 2025-11-25 call tools that ask it and one that does not, behind an Envoy that `start` starts in a
/// folder with these ports (its own, the server's, Callgate's) and keys. The tools end, and hear nothing of the replies.
pub fn tools_end(bundle: &Bundle, start: impl FnOnce(&Path, [u16; 3], &Path) -> Running) {
    let folder = tempfile::tempdir().unwrap();
    let server_port = free_port();
    let mut server = Command::new(python());
    server
        .arg(client("mcp_asks.py"))
        .arg(server_port.to_string());
    let _server = Running::start(&mut server, server_port, &folder.path().join("server.log"));
    let callgate = Server::start(bundle, &[]);
    let keys = folder.path().join("jwks.json");
    let token = tokens(&keys, &[json!({"sub": "alice", "act": {"sub": "helper"}})]).remove(0);
    let port = free_port();
    let ports = [port, server_port, callgate.port()];
    let _envoy = start(folder.path(), ports, &keys);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let mut talk = Command::new(python());
    talk.arg(client("mcp_talk.py")).arg(url);
    let call = |tool: &str, arguments: Json| json!({"tool": tool, "arguments": arguments});
    let steps = json!([
        call("ask_name", json!({})),
        call("ask_model", json!({"tokens": 50})),
        call("ask_folders", json!({})),
        call("plain", json!({})),
    ]);
    let started = Instant::now();
    let line = json!({"token": token, "mode": "legacy", "steps": steps});
    let seen = on_lines(&mut talk, &[line]).remove(0);
    let took = started.elapsed();
    assert_eq!(
        seen["asked"],
        json!(["form", "sampling", "roots"]),
        "{seen}"
    );
    for step in &seen["steps"].as_array().expect("steps")[..3] {
        let said = format!("{} {}", step["failed"], step["message"]);
        assert!(
            said.contains("replies to servers do not pass here"),
            "{step}\n{}",
            callgate.log()
        );
        for told in ["Ana", "a sampled text", "file:///home"] {
            assert!(!said.contains(told), "{step}");
        }
    }
    assert_eq!(seen["steps"][3], json!({"text": "plain"}));
    // A client waits for 20 s for each of three calls.
    assert!(took < Duration::from_secs(40), "{took:?}");
    println!("four calls in {took:?}");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_tool_that_has_asked_its_client_ends_and_hears_nothing_of_the_reply() {
    for release in releases(AUTHZ) {
        println!("{}", release.display());
        tools_end(
            &bundle(SETTINGS),
            |folder, [port, server, callgate], keys| {
                let ports = [(port, "10000"), (server, "8000"), (callgate, "50051")];
                start_shipped(AUTHZ, &release, folder, ports, keys)
            },
        );
    }
}
