//! A Callgate that does not answer, and one that is gone, behind a real Envoy with the times that are shipped.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::envoy::{
    Running, istio_envoy, newest, releases, serve_notes, start_as, start_shipped, tokens,
};
use crate::support::plain_http::{Reply, send};
use crate::support::process::{Bundle, Server, free_port};

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

/// Stops Callgate behind an Envoy that `start` starts in a folder with these ports (its own, the server's, Callgate's)
/// and keys, and then ends it. Clients hear `slow`, and then `gone`.
fn is_refused(
    what: &str,
    settings: &str,
    [slow, gone]: [u16; 2],
    start: impl FnOnce(&Path, [u16; 3], &Path) -> Running,
) {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", settings);
    let callgate = Server::start(&bundle, &[]);
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran.log");
    let notes_port = free_port();
    let _notes = serve_notes(notes_port, &ran);
    let keys = folder.path().join("jwks.json");
    let token = tokens(&keys, &[json!({"sub": "alice", "act": {"sub": "helper"}})]).remove(0);
    let port = free_port();
    let ports = [port, notes_port, callgate.port()];
    let _envoy = start(folder.path(), ports, &keys);
    // Something is open already: a connection to what is gone is another matter than one to what never was.
    call(port, &token);
    callgate.signal("-STOP");
    let (reply, took) = call(port, &token);
    println!(
        "{what}: slow: {} after {} ms",
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
        "{what}: gone: {} after {} ms",
        reply.status,
        took.as_millis()
    );
    assert_eq!(reply.status, gone, "{reply:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let ran = std::fs::read_to_string(ran).unwrap();
    assert!(!ran.contains("runs"), "{ran}");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn envoy_refuses_what_a_slow_or_absent_callgate_does_not_answer() {
    for (file, statuses) in [
        ("envoy/ext-authz.yaml", [403, 403]),
        ("envoy/ext-proc.yaml", [504, 500]),
    ] {
        is_refused(file, SETTINGS, statuses, |folder, ports, keys| {
            let [own, notes, callgate] = ports;
            let ports = [(own, "10000"), (notes, "8000"), (callgate, "50051")];
            start_as(file, "timeout: 0.5s", &newest(), folder, ports, keys)
        });
    }
    let settings =
        format!("[envoy]\nservers = [{{ path = \"/mcp\", server = \"notes\" }}]\n{SETTINGS}");
    let settings = settings.replace("jwt_payload", "payload");
    is_refused("Istio", &settings, [403, 403], |folder, ports, keys| {
        istio_envoy::start_as("0.5s", &newest(), folder, ports, keys)
    });
}

/// A server that answers one call once Callgate has stopped.
fn answer_late(listener: TcpListener, callgate: &Server) {
    const RESULT: &str =
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"unjudged"}]}}"#;
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 65_536];
    let mut read = 0;
    while !String::from_utf8_lossy(&request[..read]).contains("tools/call\"") {
        match stream.read(&mut request[read..]).unwrap() {
            0 => panic!("no request"),
            more => read += more,
        }
    }
    callgate.signal("-STOP");
    let length = RESULT.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{RESULT}"
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_response_that_waits_for_a_callgate_that_hangs_does_not_pass_and_ends() {
    const FILE: &str = "envoy/ext-proc.yaml";
    for release in releases(FILE) {
        let bundle = Bundle::notes();
        bundle.file("callgate.toml", SETTINGS);
        let callgate = Server::start(&bundle, &[]);
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let notes_port = listener.local_addr().unwrap().port();
        let keys = folder.path().join("jwks.json");
        let token = tokens(&keys, &[json!({"sub": "alice", "act": {"sub": "helper"}})]).remove(0);
        let port = free_port();
        let ports = [
            (port, "10000"),
            (notes_port, "8000"),
            (callgate.port(), "50051"),
        ];
        let _envoy = start_shipped(FILE, &release, folder.path(), ports, &keys);
        let (reply, took) = std::thread::scope(|scope| {
            scope.spawn(|| answer_late(listener, &callgate));
            call(port, &token)
        });
        println!(
            "{FILE}: hangs at the response: {} after {} ms",
            reply.status,
            took.as_millis()
        );
        assert!(reply.status >= 500, "{reply:?}");
        assert!(!reply.body.contains("unjudged"), "{reply:?}");
        // A sign of life is asked for after 2 s at most and waited for during 1 s; the machine may be busy with others.
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
