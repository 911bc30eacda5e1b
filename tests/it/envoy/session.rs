//! No client chooses the session that its labels gather in: behind a real Envoy, as it is shipped by itself and as
//! Istio's sidecar, the session is the token's, whatever headers a client sends.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::envoy::{Running, istio_envoy, releases, serve_notes, start_shipped, tokens};
use crate::support::plain_http::send;
use crate::support::process::{Bundle, Server, free_port};

/// The session of the first token is ended.
const ENDED: &str = "SESSION_ENDED";

/// Who may end one.
const ENDING: &str = r#"
@id("ending") permit (principal == Mcp::User::"alice", action == Mcp::Action::"end_session", resource);
"#;

fn bundle(payload: &str) -> Bundle {
    let bundle = Bundle::notes();
    let settings = format!(
        "[envoy]\nservers = [{{ path = \"/mcp\", server = \"notes\" }}]\nsession_header = \"x-callgate-session\"\n[[envoy.identity]]\nfrom = \"jwt\"\npayload = \"{payload}\"\n[[envoy.identity]]\nfrom = \"header\"\nagent = \"x-test-agent\"\nperson = \"x-test-user\"\nverified = true\n"
    );
    bundle.file("callgate.toml", &settings);
    bundle.file("ending.cedar", ENDING);
    bundle
}

/// What a call of a tool hears.
fn call(port: u16, token: &Json, headers: &[(&str, &str)]) -> String {
    let bearer = token.as_str().map(|token| format!("Bearer {token}"));
    let bearer = bearer.as_deref().map(|it| ("authorization", it));
    let mut sent = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    sent.extend(bearer);
    sent.extend(headers);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_notes", "arguments": {}}});
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reply = runtime.block_on(send(address, "POST", "/mcp", &sent, &body.to_string()));
    reply.body
}

fn chooses_no_session(
    what: &str,
    bundle: &Bundle,
    start: impl FnOnce(&Path, [u16; 3], &Path) -> Running,
) {
    let callgate = Server::start(bundle, &[]);
    let folder = tempfile::tempdir().unwrap();
    let notes = free_port();
    let _notes = serve_notes(notes, &folder.path().join("ran.log"));
    let keys = folder.path().join("jwks.json");
    let token = |jti: Json| json!({"sub": "alice", "act": {"sub": "helper"}, "jti": jti});
    let nameless = json!({"sub": "alice", "act": {"sub": "helper"}});
    let claims = [token(json!("one")), token(json!("two")), nameless];
    let tokens = tokens(&keys, &claims);
    let port = free_port();
    let _envoy = start(folder.path(), [port, notes, callgate.port()], &keys);
    for token in &tokens {
        let said = call(port, token, &[]);
        assert!(!said.contains(ENDED), "{what}: {said}");
    }

    let endpoint = format!("http://{}", callgate.target());
    let end = [
        "session",
        "end",
        "--as",
        "user:alice",
        "--endpoint",
        &endpoint,
        "one",
    ];
    let ended = bundle.run(&end);
    assert!(ended.status.success(), "{ended:?}");
    let fresh = [
        vec![],
        vec![("x-callgate-session", "fresh")],
        vec![("X-Callgate-Session", "fresh")],
        vec![
            ("x-callgate-session", "fresh"),
            ("x-callgate-session", "two"),
        ],
        vec![("x-callgate-session", "")],
        vec![("mcp-session-id", "fresh")],
    ];
    for headers in &fresh {
        let said = call(port, &tokens[0], headers);
        assert!(said.contains(ENDED), "{what} {headers:?}: {said}");
    }
    // Nor is anybody put into the session of another, without a token neither.
    for token in tokens[1..].iter().chain([&Json::Null]) {
        for header in ["x-callgate-session", "X-CALLGATE-SESSION", "mcp-session-id"] {
            let named = [("x-test-agent", "helper"), ("x-test-user", "alice")];
            let said = call(port, token, &[&named[..], &[(header, "one")]].concat());
            assert!(!said.contains(ENDED), "{what} {header}: {said}");
        }
    }
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn no_client_chooses_its_session_whatever_headers_it_sends() {
    for file in ["envoy/ext-authz.yaml", "envoy/ext-proc.yaml"] {
        for release in releases(file) {
            let what = format!("{file} {}", release.display());
            chooses_no_session(&what, &bundle("jwt_payload"), |folder, ports, keys| {
                let [own, notes, callgate] = ports;
                let ports = [(own, "10000"), (notes, "8000"), (callgate, "50051")];
                start_shipped(file, &release, folder, ports, keys)
            });
        }
    }
    for release in releases(istio_envoy::OLDEST) {
        let what = format!("Istio {}", release.display());
        chooses_no_session(&what, &bundle("payload"), |folder, ports, keys| {
            istio_envoy::start(&release, folder, ports, keys)
        });
    }
}
