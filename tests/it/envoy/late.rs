//! A Callgate that does not answer, and one that is gone, behind a real Envoy with the times that are shipped.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::envoy::{free_port, newest, serve_notes, start_as, tokens};
use crate::support::plain_http::{Reply, send};
use crate::support::process::{Bundle, Server};

const SETTINGS: &str = r#"
[[envoy.identity]]
from = "jwt"
payload = "jwt_payload"
"#;

/// Posts a call of a tool.
fn call(port: u16, token: &Json) -> (Reply, Duration) {
    let bearer = format!("Bearer {}", token.as_str().expect("a token"));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_notes", "arguments": {}}});
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let address = ([127, 0, 0, 1], port).into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = Instant::now();
    let reply = runtime.block_on(send(address, "POST", "/mcp", &headers, &body.to_string()));
    (reply, started.elapsed())
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn envoy_refuses_what_a_slow_or_absent_callgate_does_not_answer() {
    for (file, slow, gone) in [
        ("envoy/ext-authz.yaml", 403, 403),
        ("envoy/ext-proc.yaml", 504, 500),
    ] {
        let bundle = Bundle::small();
        bundle.file("callgate.toml", SETTINGS);
        let callgate = Server::start(&bundle, &[]);
        let callgate_port = callgate.port();
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran.log");
        let notes_port = free_port();
        let _notes = serve_notes(notes_port, &ran);
        let keys = folder.path().join("jwks.json");
        let token = tokens(&keys, &[json!({"sub": "alice", "act": {"sub": "helper"}})]).remove(0);
        let port = free_port();
        let ports = [
            (port, "10000"),
            (notes_port, "8000"),
            (callgate_port, "50051"),
        ];
        let _envoy = start_as(
            file,
            "timeout: 0.5s",
            &newest(),
            folder.path(),
            ports,
            &keys,
        );
        // Something is open already: a connection to what is gone is another matter than one to what never was.
        call(port, &token);
        callgate.signal("-STOP");
        let (reply, took) = call(port, &token);
        println!(
            "{file}: slow: {} after {} ms",
            reply.status,
            took.as_millis()
        );
        assert_eq!(reply.status, slow, "{reply:?}");
        assert!(
            took >= Duration::from_millis(450) && took < Duration::from_secs(5),
            "{took:?}"
        );
        drop(callgate);
        let (reply, took) = call(port, &token);
        println!(
            "{file}: gone: {} after {} ms",
            reply.status,
            took.as_millis()
        );
        assert_eq!(reply.status, gone, "{reply:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        let ran = std::fs::read_to_string(ran).unwrap();
        assert!(!ran.contains("runs"), "{ran}");
    }
}
