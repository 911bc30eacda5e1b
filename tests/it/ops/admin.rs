//! The admin listener of a real server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::plain_http::{Reply, send};
use crate::support::process::{Bundle, Server, free_address};

/// A server with an admin listener.
pub fn start(bundle: &Bundle) -> (Server, SocketAddr) {
    let admin = free_address();
    let text = format!("[listen]\nadmin = \"{admin}\"\n");
    bundle.file("callgate.toml", &text);
    (Server::start(bundle, &[]), admin)
}

fn ask(address: SocketAddr, method: &str, path: &str, accept: &str) -> Reply {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(send(address, method, path, &[("accept", accept)], ""))
}

pub fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, "GET", path, "*/*")
}

/// One decision over gRPC.
pub fn decide(bundle: &Bundle, server: &Server) {
    let endpoint = format!("http://{}", server.target());
    let call = [
        "--agent",
        "helper",
        "--user",
        "alice",
        "--server",
        "notes",
        "--tool",
        "list_notes",
    ];
    let out = bundle.run(&[&["authorize", "--endpoint", &endpoint][..], &call].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(matches!(out.status.code(), Some(0 | 2)), "{said}");
}

#[test]
fn probes_are_answered_without_a_credential_and_nothing_else_is() {
    let bundle = Bundle::notes();
    let (_server, admin) = start(&bundle);
    assert_eq!(get(admin, "/livez").body, "ok\n");
    let ready = get(admin, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    assert_eq!(ask(admin, "HEAD", "/readyz", "*/*").status, 200);
    let posted = ask(admin, "POST", "/readyz", "*/*");
    assert_eq!(posted.status, 405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    for path in [
        "/",
        "/livez/",
        "/access/v1/evaluation",
        "/.well-known/authzen-configuration",
    ] {
        assert_eq!(get(admin, path).status, 404, "{path}");
    }
}

#[test]
fn statusz_says_what_get_status_says_and_tells_a_fault_of_the_directory() {
    let bundle = Bundle::notes();
    let (_server, admin) = start(&bundle);
    let told = get(admin, "/statusz").json();
    assert_eq!(told["ready"], true);
    assert_eq!(told["certificates"], Json::Null);
    let status = &told["status"];
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["revision"], "1");
    assert_eq!(status["audit"]["mode"], "written");
    assert!(status["directory"]["faultCount"].is_null(), "{status}");

    bundle.file("policies.cedar", "permit (");
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let told = get(admin, "/statusz").json();
        if told["status"]["directory"]["faultCount"].is_string() {
            assert_eq!(told["ready"], true, "the last good one stays: {told}");
            return;
        }
        assert!(Instant::now() < patience, "{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn statusz_says_how_the_exporters_fare() {
    let bundle = Bundle::notes();
    let admin = free_address();
    bundle.file("callgate.toml", &format!("[listen]\nadmin = \"{admin}\"\n"));
    let gone = format!("http://user:secret@{}/?token=secret", free_address());
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", gone.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let server = Server::start(&bundle, &variables);
    let before = get(admin, "/statusz").json()["exporters"].clone();
    assert_eq!(before["metrics"], Json::Null);
    assert_eq!(before["logs"], Json::Null);
    assert_eq!(before["traces"]["protocol"], "grpc");
    let endpoint = before["traces"]["endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    decide(&bundle, &server);
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let told = get(admin, "/statusz");
        let traces = &told.json()["exporters"]["traces"];
        if traces["failingSince"].is_string() {
            assert!(traces["failures"].as_u64() >= Some(1), "{traces}");
            assert!(traces["error"].is_string(), "{traces}");
            assert_eq!(traces["exportedAt"], Json::Null);
            assert!(!told.body.contains("secret"), "{traces}");
            return;
        }
        assert!(Instant::now() < patience, "{traces}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn metrics_are_scraped_in_both_formats() {
    let bundle = Bundle::notes();
    let (server, admin) = start(&bundle);
    decide(&bundle, &server);
    let plain = get(admin, "/metrics");
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), Some(content_type));
    assert!(
        plain.body.contains("\ncallgate_snapshot_revision 1\n"),
        "{}",
        plain.body
    );
    let counted = plain
        .body
        .lines()
        .find(|line| line.starts_with("callgate_decisions_total{"));
    let counted = counted.unwrap_or_else(|| panic!("{}", plain.body));
    assert!(counted.contains("callgate_adapter=\"grpc\""), "{counted}");
    assert!(counted.ends_with(" 1"), "{counted}");

    let open = ask(
        admin,
        "GET",
        "/metrics",
        "application/openmetrics-text; version=1.0.0",
    );
    assert!(open.body.ends_with("\n# EOF\n"), "{}", open.body);
    let content_type = open.header("content-type").expect("a type");
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
}

#[test]
fn addresses_of_probes_are_checked_like_others() {
    let bundle = Bundle::notes();
    bundle.file(
        "callgate.toml",
        "[listen]\ngrpc = \"127.0.0.1:9\"\nadmin = [\"0.0.0.0:9\", \"127.0.0.1:9\"]\n",
    );
    let out = bundle.run(&["check", "policies"]);
    assert_eq!(out.status.code(), Some(3));
    let said =
        String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(
        said.contains("`listen.admin[1]` names `127.0.0.1:9` twice"),
        "{said}"
    );
    assert!(
        !said.contains("listen.admin[0]"),
        "any address will do: {said}"
    );
}
