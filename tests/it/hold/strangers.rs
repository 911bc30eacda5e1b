//! Strangers cost next to nothing: whatever they do, gateways are answered.

use std::time::Duration;

use crate::hold::attack::{self, Fared, Target, begin, connected, gateway, resident_kib};
use crate::support::process::{Bundle, Server};

/// What strangers may add to what the server occupies, a debug build and all of it included.
const MOST_KIB: u64 = 200 * 1_024;

fn start() -> (Bundle, Server, Target) {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", attack::SETTINGS);
    let server = Server::start(&bundle, &[("RUST_LOG", "warn,callgate=info")]);
    let target = Target {
        grpc: server.target().to_owned(),
        http: server.http_target().to_owned(),
    };
    (bundle, server, target)
}

/// How a gateway fares while this is done to the server, and what that adds to its memory.
async fn during(name: &str, target: &Target, pid: u32) -> (Fared, u64) {
    let connection = connected(target).await;
    let before = resident_kib(pid);
    let held = begin(name, target).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let fared = gateway(target, &connection, 200).await;
    let added = resident_kib(pid).saturating_sub(before);
    drop(held);
    (fared, added)
}

fn holds(name: &str) {
    let (_bundle, server, target) = start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fared, added) = runtime.block_on(during(name, &target, server.pid()));
    assert!(
        fared.success() >= 0.99,
        "{name}: {fared:?}\n{}",
        server.log()
    );
    assert!(added <= MOST_KIB, "{name}: {added} KiB more");
}

#[test]
fn against_headers_without_a_body() {
    holds("headers_without_body");
}

#[test]
fn against_bodies_that_dribble() {
    holds("dribbling_bodies");
}

#[test]
fn against_messages_without_end() {
    holds("messages_without_end");
}

#[test]
fn against_watches_of_health() {
    holds("health_watches");
}

#[test]
fn against_checks_of_health_without_a_body() {
    holds("health_checks");
}

#[test]
fn against_streams_of_reflection() {
    holds("reflection_streams");
}

#[test]
fn against_silent_connections() {
    holds("silent_connections");
}

#[test]
fn against_slow_headers_over_http() {
    holds("slow_http_headers");
}

#[test]
fn the_benchmark_does_all_of_it() {
    assert_eq!(attack::NAMES.len(), 8, "one test above for each");
}
