//! How the command line reaches a server, and what the server says of those who cannot: the environment names it, the
//! system's roots are trusted, and handshakes that fail leave a line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use serde_json::Value as Json;

use crate::grpc::certificates::Authority;
use crate::support::process::{Bundle, Server, wait_for};

const CALL: [&str; 9] = [
    "authorize",
    "--agent",
    "helper",
    "--server",
    "notes",
    "--tool",
    "list_notes",
    "--output",
    "json",
];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn authorize_asks_the_server_that_the_environment_names() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let endpoint = format!("http://{}", server.target());
    let here = [("CALLGATE_ENDPOINT", endpoint.as_str())];
    let nowhere = [("CALLGATE_ENDPOINT", "http://127.0.0.1:1")];
    let decided = bundle.run_with(&here, &CALL);
    assert_eq!(decided.status.code(), Some(0), "{}", text(&decided));
    let task = [&CALL[..], &["--task", "absent"]].concat();
    let decided = bundle.run_with(&here, &task);
    assert_eq!(decided.status.code(), Some(2), "only a server knows tasks");
    assert!(text(&decided).contains("TASK_CLOSED"), "{}", text(&decided));
    let unreached = bundle.run_with(&nowhere, &CALL);
    assert_eq!(unreached.status.code(), Some(1));
    assert!(
        text(&unreached).contains("`http://127.0.0.1:1` cannot be reached"),
        "{}",
        text(&unreached)
    );
    // What is typed wins.
    let named = [&CALL[..], &["--endpoint", &endpoint]].concat();
    assert_eq!(bundle.run_with(&nowhere, &named).status.code(), Some(0));
    let directory = [&CALL[..], &["--policies", "policies"]].concat();
    assert_eq!(bundle.run_with(&nowhere, &directory).status.code(), Some(0));
    assert_eq!(bundle.run_with(&here, &["status"]).status.code(), Some(0));
    let other = bundle.run_with(&[("CALLGATE_ENDPOINT", "127.0.0.1:50051")], &CALL);
    assert!(
        text(&other).contains("is not an address of a server"),
        "{}",
        text(&other)
    );
}

/// A server over TLS with a certificate for `localhost`, and who signed it.
fn accept_tls() -> (Bundle, Server, Authority) {
    let bundle = Bundle::notes();
    let authority = Authority::new();
    let (cert, key) = authority.server();
    bundle.file("../server.pem", &cert);
    bundle.file("../server.key", &key);
    bundle.file("../ca.pem", &authority.pem());
    bundle.file("../token", "open sesame\n");
    bundle.file(
        "callgate.toml",
        // sha256 of `open sesame`
        "[tls]\ncert = \"../server.pem\"\nkey = \"../server.key\"\n\
         [[callers]]\nid = \"edge\"\n\
         token_sha256 = [\"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"]\n\
         rights = { rpcs = [\"*\", \"GetStatus\"], assert_identity = true }\n",
    );
    let server = Server::listening(&bundle, &[]);
    (bundle, server, authority)
}

fn port(target: &str) -> &str {
    target.rsplit(':').next().unwrap()
}

#[test]
fn https_trusts_what_the_system_trusts_unless_an_authority_is_named() {
    let (bundle, server, _) = accept_tls();
    let endpoint = format!("https://localhost:{}", port(server.target()));
    let call = [
        &CALL[..],
        &["--endpoint", &endpoint, "--token-file", "token"],
    ]
    .concat();
    let trusted = bundle.run_with(&[("SSL_CERT_FILE", "ca.pem")], &call);
    assert_eq!(trusted.status.code(), Some(0), "{}", text(&trusted));
    let status = ["status", "--endpoint", &endpoint, "--token-file", "token"];
    let told = bundle.run_with(&[("SSL_CERT_FILE", "ca.pem")], &status);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told));

    bundle.file("../other.pem", &Authority::new().pem());
    let others = bundle.run_with(&[("SSL_CERT_FILE", "other.pem")], &call);
    assert_eq!(others.status.code(), Some(1), "{}", text(&others));
    let named = [&call[..], &["--ca", "ca.pem"]].concat();
    let named = bundle.run_with(&[("SSL_CERT_FILE", "other.pem")], &named);
    assert_eq!(named.status.code(), Some(0), "{}", text(&named));
    // One that is named is the only one.
    let other = [&call[..], &["--ca", "other.pem"]].concat();
    let other = bundle.run_with(&[("SSL_CERT_FILE", "ca.pem")], &other);
    assert_eq!(other.status.code(), Some(1), "{}", text(&other));
}

#[test]
fn a_handshake_that_fails_leaves_one_line_on_every_listener() {
    let (bundle, server, _) = accept_tls();
    for target in [server.target(), server.http_target()] {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(target).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            // An alert, and the end; or the end alone.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let lines = || -> Vec<Json> {
        let log = server.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let failed = lines.filter(|line: &Json| line["message"] == "a TLS handshake failed");
        failed.collect()
    };
    wait_for("the lines", || (lines().len() >= 2).then_some(()));
    let lines = lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, target) in lines.iter().zip([server.target(), server.http_target()]) {
        assert_eq!(line["level"], "WARN", "{line}");
        assert_eq!(line["listener"], target, "{line}");
        let peer = line["peer"].as_str().unwrap();
        assert!(peer.starts_with("127.0.0.1:"), "{line}");
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains("corrupt message"), "{line}");
    }
    // Those who speak TLS are answered all the same.
    let endpoint = format!("https://localhost:{}", port(server.target()));
    let call = [
        &CALL[..],
        &[
            "--endpoint",
            &endpoint,
            "--ca",
            "ca.pem",
            "--token-file",
            "token",
        ],
    ]
    .concat();
    let decided = bundle.run(&call);
    assert_eq!(decided.status.code(), Some(0), "{}", text(&decided));
}
