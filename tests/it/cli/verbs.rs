//! `callgate authorize` and `callgate serve`, as a person runs them.

use std::process::Output;

use serde_json::Value as Json;

use crate::support::process::{Bundle, Server, wait_for};

const READ: &[&str] = &[
    "authorize",
    "--agent",
    "helper",
    "--server",
    "notes",
    "--tool",
    "list_notes",
];
const DROP: &[&str] = &[
    "authorize",
    "--agent",
    "helper",
    "--server",
    "notes",
    "--tool",
    "drop_notes",
];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[test]
fn the_exit_code_is_the_answer() {
    let bundle = Bundle::notes();
    let allowed = bundle.run(READ);
    assert_eq!(allowed.status.code(), Some(0), "{}", text(&allowed));
    let said = text(&allowed);
    assert!(
        said.starts_with("allow\n") && said.contains("notes.read, owned by notes-team"),
        "{said}"
    );

    let denied = bundle.run(DROP);
    assert_eq!(denied.status.code(), Some(2), "{}", text(&denied));
    let said = text(&denied);
    assert!(
        said.contains("notes are never dropped by an agent (FORBIDDEN)"),
        "{said}"
    );
    assert!(said.contains("by notes.never-drop"), "{said}");

    for arguments in [
        &["authorize", "--server", "notes"][..],
        &["authorize", "--agent", "helper"],
        &[
            "authorize",
            "--agent",
            "helper",
            "--server",
            "notes",
            "--arg",
            "a=1",
        ],
        &with(READ, &["--arg", "=1"]),
        &with(READ, &["--arg", "a=1", "--arg", "a=2"]),
        &with(READ, &["--arguments", "[1]"]),
        &with(READ, &["--endpoint", "http://127.0.0.1:1"]),
        &with(READ, &["--endpoint", "https://127.0.0.1:1"]),
        &with(READ, &["--endpoint", "127.0.0.1:1"]),
        &with(READ, &["--delegation", "delegation-1"]),
        &with(READ, &["--task", "task-1"]),
        &with(READ, &["--approval", "approval-1"]),
        &with(READ, &["--ca", "ca.pem"]),
        &["authorize", "--file", "absent.json"],
    ] {
        let output = bundle.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            text(&output)
        );
    }

    bundle.file("broken.cedar", "permit (principal, action, resource");
    assert_eq!(bundle.run(READ).status.code(), Some(3));
    let served = bundle.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(served.status.code(), Some(3));
    assert!(text(&served).contains("broken.cedar"), "{}", text(&served));
}

#[test]
fn the_configuration_may_lie_elsewhere() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", "[limits]\nbatch = 0\n");
    bundle.file("../elsewhere.toml", "[listen]\ngrpc = \"0.0.0.0:50051\"\n");
    let inside = bundle.run(&["serve"]);
    assert_eq!(inside.status.code(), Some(3));
    assert!(
        text(&inside).contains("`limits.batch` is 0"),
        "{}",
        text(&inside)
    );
    let elsewhere = bundle.run(&["serve", "--config", "elsewhere.toml"]);
    assert_eq!(elsewhere.status.code(), Some(3));
    let said = text(&elsewhere);
    assert!(
        said.contains("elsewhere.toml:2") && said.contains("cleartext on `0.0.0.0:50051`"),
        "{said}"
    );
    let absent = bundle.run(&["serve", "--config", "absent.toml"]);
    assert_eq!(absent.status.code(), Some(3), "{}", text(&absent));
}

#[test]
fn verbs_without_a_server_read_the_configuration_that_is_named() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", "require_delegation = true\n");
    bundle.file("../elsewhere.toml", "require_delegation = false\n");
    let config = ["--config", "elsewhere.toml"];
    let own = bundle.run(READ);
    assert_eq!(own.status.code(), Some(2), "{}", text(&own));
    for verb in [READ, &with(&["explain"], &READ[1..])] {
        let other = bundle.run(&with(verb, &config));
        assert_eq!(other.status.code(), Some(0), "{}", text(&other));
    }
    // A level that no policy keeps to, to see that it is read.
    bundle.file("../strict.toml", "[bundle]\nstrict = true\n");
    let config = ["--config", "strict.toml"];
    for verb in [
        &["check"][..],
        &["test"],
        &["access"],
        &["prove"],
        &["replay"],
    ] {
        let told = bundle.run(&with(verb, &config));
        assert_eq!(told.status.code(), Some(3), "{verb:?}: {}", text(&told));
        let said = text(&told);
        assert!(
            said.contains("this file is not read: the configuration is `strict.toml`"),
            "{verb:?}: {said}"
        );
    }
}

#[test]
fn what_does_not_speak_grpc_is_told_as_that() {
    let server = Server::start(&Bundle::notes(), &[]);
    let plain = format!("http://{}", server.http_target());
    let bundle = Bundle::notes();
    for verb in [
        with(READ, &["--endpoint", &plain]),
        vec!["health", "--endpoint", &plain],
        vec!["status", "--endpoint", &plain],
        vec![
            "stop",
            "agent:helper",
            "--reason",
            "x",
            "--as",
            "user:ana",
            "--endpoint",
            &plain,
        ],
    ] {
        let ran = bundle.run(&verb);
        assert_eq!(ran.status.code(), Some(1), "{verb:?}: {}", text(&ran));
        let said = text(&ran);
        assert!(
            said.contains("does not speak gRPC") && said.contains("[listen] grpc"),
            "{verb:?}: {said}"
        );
    }
    let secure = format!("https://{}", server.target());
    let ran = bundle.run(&["health", "--endpoint", &secure]);
    assert!(text(&ran).contains("does not speak TLS"), "{}", text(&ran));
}

#[test]
fn a_person_between_the_agent_and_the_tool_counts() {
    let bundle = Bundle::notes();
    let write = [
        "authorize",
        "--agent",
        "helper",
        "--server",
        "notes",
        "--tool",
        "add_note",
        "--explain",
    ];
    let run = |user: &str| {
        bundle.run(&with(
            &write,
            &["--user", user, "--arg", "title=Milk", "--arg", "n=3"],
        ))
    };
    assert_eq!(
        run("alice").status.code(),
        Some(0),
        "{}",
        text(&run("alice"))
    );
    let denied = run("bob");
    assert_eq!(denied.status.code(), Some(2));
    let said = text(&denied);
    for part in [
        "DELEGATOR_DENIED",
        "for Mcp::User::\"bob\"",
        "asked     Mcp::Agent::\"helper\"",
        "permit by notes.write",
    ] {
        assert!(said.contains(part), "{part} not in {said}");
    }
}

#[test]
fn a_call_may_come_from_a_file_in_either_spelling() {
    let bundle = Bundle::notes();
    let camel = r#"{"subject": {"entity": {"type": "Agent", "id": "helper"}},
        "operation": {"server": "notes", "callTool": {"tool": "list_notes", "arguments": {"limit": 5}}}}"#;
    let snake = camel.replace("callTool", "call_tool");
    for call in [camel, &snake] {
        bundle.file("../call.json", call);
        let output = bundle.run(&["authorize", "--file", "call.json", "--output", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let answer: Json = serde_json::from_slice(&output.stdout).expect("json");
        assert_eq!(answer["decision"], "DECISION_ALLOW");
        assert_eq!(answer["determiningPolicies"][0]["id"], "notes.read");
    }
    bundle.file("../call.json", &camel.replace("subject", "subjekt"));
    let output = bundle.run(&["authorize", "--file", "call.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("subjekt"), "{}", text(&output));
}

#[test]
fn a_running_server_gives_the_same_answer_and_takes_changes() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let endpoint = format!("http://{}", server.target());
    let remote = |arguments: &[&str]| bundle.run(&with(arguments, &["--endpoint", &endpoint]));
    assert_eq!(remote(READ).status.code(), Some(0));
    assert_eq!(remote(DROP).status.code(), Some(2));

    // sha256 of `open sesame`
    bundle.file(
        "callgate.toml",
        "[[callers]]\nid = \"edge\"\n\
         token_sha256 = [\"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"]\n\
         rights = { rpcs = [\"Authorize\"], assert_identity = true }\n",
    );
    let refused = wait_for("the callers to be in force", || {
        let output = remote(READ);
        (output.status.code() == Some(1)).then_some(output)
    });
    assert!(
        text(&refused).contains("Unauthenticated"),
        "{}",
        text(&refused)
    );
    assert_eq!(
        remote(&with(READ, &["--token", "open sesame"]))
            .status
            .code(),
        Some(0)
    );

    bundle.file("callgate.toml", "[limits]\nbatch = \"many\"\n");
    wait_for("the fault in the log", || {
        server.log().contains("limits.batch").then_some(())
    });
    assert_eq!(
        remote(&with(READ, &["--token", "open sesame"]))
            .status
            .code(),
        Some(0),
        "the last good one stays"
    );
    assert_eq!(remote(READ).status.code(), Some(1));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}
