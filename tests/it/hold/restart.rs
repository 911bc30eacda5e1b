//! A configuration that was lost does not open the server, and what strangers cost is told.

use std::process::Output;

use crate::hold::attack;
use crate::support::process::{Bundle, Server};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_whose_configuration_was_lost_does_not_start() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", attack::SETTINGS);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let (status, _) = Server::start(&bundle, &[]).stop();
    assert!(status.success());
    for left in [None, Some(""), Some("[limits]\nbatch = 2\n")] {
        std::fs::remove_file(bundle.policies().join("callgate.toml")).ok();
        if let Some(text) = left {
            bundle.file("callgate.toml", text);
        }
        let output = bundle.run(&serve);
        assert_eq!(output.status.code(), Some(1), "{left:?}: {}", said(&output));
        let said = said(&output);
        for part in [
            "callgate.toml` configures no `[[callers]]`",
            "without_callers = true",
            "--without-callers",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn who_wants_no_callers_says_so() {
    let bundle = Bundle::notes();
    let (_, log) = Server::start(&bundle, &[]).stop();
    assert!(log.contains("no `[[callers]]` are configured"), "{log}");
    bundle.file(
        "callgate.toml",
        &format!("without_callers = true\n{}", attack::SETTINGS),
    );
    let output = bundle.run(&["serve"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("`without_callers` is `true`"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_status_tells_what_was_turned_away() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", attack::SETTINGS);
    let server = Server::start(&bundle, &[]);
    let endpoint = format!("http://{}", server.target());
    let ask = ["status", "--endpoint", &endpoint];
    let refused = bundle.run(&ask);
    assert_eq!(refused.status.code(), Some(1));
    let told = bundle.run(&[&ask[..], &["--token", attack::TOKEN]].concat());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for part in [
        "1 of 1024 requests",
        "of 256 MiB of bodies",
        "of 512 connections",
        "of 128 by strangers",
        "1 requests of those who may not ask",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
