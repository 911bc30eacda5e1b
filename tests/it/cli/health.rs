//! `callgate health`, as the probe of a container runs it: the exit code is what counts.

use std::process::Output;

use crate::support::process::{Bundle, Server, wait_for};

fn ask(bundle: &Bundle, server: &Server, more: &[&str]) -> (Option<i32>, String) {
    let endpoint = format!("http://{}", server.target());
    said(&bundle.run(&[&["health", "--endpoint", &endpoint], more].concat()))
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    (output.status.code(), text.concat())
}

#[test]
fn it_needs_no_credential_and_ends_with_0_only_while_it_is_served() {
    let bundle = Bundle::notes();
    bundle.file(
        "callgate.toml",
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = \
         [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\n\
         [callers.rights]\nrpcs = [\"*\"]\n",
    );
    let server = Server::start(&bundle, &[]);
    assert_eq!(
        ask(&bundle, &server, &[]),
        (Some(0), "SERVING\n".to_owned())
    );
    let (code, text) = ask(&bundle, &server, &["--output", "json"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"status\": \"SERVING\""), "{text}");
    let (code, text) = ask(&bundle, &server, &["--service", "callgate.nothing"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no part `callgate.nothing`"), "{text}");

    // Faults on disk are no reason to take the server out of service; who asks about the directory hears of them.
    bundle.file("policies.cedar", "permit (");
    wait_for("the directory to have faults", || {
        let (code, text) = ask(&bundle, &server, &["--service", "callgate.bundle"]);
        (code == Some(1) && text == "NOT_SERVING\n").then_some(())
    });
    assert_eq!(ask(&bundle, &server, &[]).0, Some(0));

    let endpoint = format!("http://{}", server.target());
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let (code, text) = said(&bundle.run(&["health", "--endpoint", &endpoint]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cannot be reached"), "{text}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_not_healthy() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let (code, text) = said(&Bundle::empty().run(&["health", "--endpoint", &endpoint]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("did not answer within 5 s"), "{text}");
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn the_admin_listener_says_the_same_without_the_addresses_of_the_service() {
    let bundle = Bundle::notes();
    let (server, admin) = crate::ops::admin::start(&bundle);
    let url = format!("http://{admin}");
    let probed = |more: &[&str]| said(&bundle.run(&[&["health", "--admin", &url], more].concat()));
    assert_eq!(probed(&[]), (Some(0), "ready\n".to_owned()));
    let (code, text) = probed(&["--output", "json"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"status\": 200"), "{text}");
    // Something else that speaks HTTP is not healthy.
    let elsewhere = format!("http://{}", server.target());
    let (code, text) = said(&bundle.run(&["health", "--admin", &elsewhere]));
    assert_eq!(code, Some(1), "{text}");
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let (code, text) = probed(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cannot reach `http://127.0.0.1:"), "{text}");
    let (code, text) = said(&bundle.run(&["health", "--admin", "127.0.0.1:9464"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is not a URL such as"), "{text}");
}
