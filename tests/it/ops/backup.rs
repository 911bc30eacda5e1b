//! Copies of the store of a running server, as an operator makes them.

use serde_json::Value as Json;

use crate::support::process::{Bundle, Server};

fn json(output: &std::process::Output) -> Json {
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = serde_json::from_str(&text);
    parsed.unwrap_or_else(|error| panic!("{error}: {text} {}", stderr(output)))
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_running_server_is_copied_and_what_it_held_comes_back() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let made = bundle.run(&["backup", "copy.db", "--output", "json"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let made = json(&made);
    assert_eq!(made["revision"], 1, "{made}");
    assert_eq!(made["schemaVersion"], 2, "{made}");

    let again = bundle.run(&["backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("`copy.db` is there already"),
        "{}",
        stderr(&again)
    );
    let refused = bundle.run(&["restore", "copy.db", "--replace"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("another process has it open"), "{said}");
    drop(server);

    let refused = bundle.run(&["restore", "copy.db"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("`--replace`"),
        "{}",
        stderr(&refused)
    );
    let restored = bundle.run(&["restore", "copy.db", "--replace"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    let said = String::from_utf8_lossy(&restored.stdout);
    assert!(said.starts_with("./callgate.db: restored"), "{said}");
    assert!(said.contains("callgate.db.replaced-"), "{said}");
    // It serves without a flag, from where the copy was made.
    drop(Server::start(&bundle, &[]));
}

const GOVERN: &str = r#"
@id("govern") @owner("security")
permit (principal == Mcp::User::"alice", action in Mcp::Action::"govern", resource);
"#;

/// Runs a verb that asks the server; what it prints.
fn ask(bundle: &Bundle, server: &Server, arguments: &[&str]) -> String {
    let endpoint = format!("http://{}", server.target());
    let output = bundle.run_with(&[("CALLGATE_ENDPOINT", &endpoint)], arguments);
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output)
}

const STOP: [&str; 6] = [
    "--as",
    "user:alice",
    "--reason",
    "leaking",
    "--output",
    "json",
];

#[test]
fn after_a_restore_no_revision_comes_again_and_the_log_says_that_there_was_one() {
    let bundle = Bundle::notes();
    bundle.file("govern.cedar", GOVERN);
    let server = Server::start(&bundle, &[]);
    assert!(bundle.run(&["backup", "copy.db"]).status.success());
    let stopped = ask(
        &bundle,
        &server,
        &[&["stop", "agent:helper"], &STOP[..]].concat(),
    );
    assert!(stopped.contains("\"revision\": \"2\""), "{stopped}");
    server.stop();
    let restored = bundle.run(&["restore", "copy.db", "--replace", "--output", "json"]);
    assert_eq!(json(&restored)["goesOnAt"], 3);

    let server = Server::start(&bundle, &[]);
    // Whoever has followed the changes is told to read anew, also one that had come to the copy's.
    for after in ["1", "2"] {
        let told = ask(&bundle, &server, &["changes", "--after", after]);
        assert!(told.contains("read the state anew"), "{after}: {told}");
    }
    let again = ask(
        &bundle,
        &server,
        &[&["stop", "user:bob"], &STOP[..]].concat(),
    );
    assert!(again.contains("\"revision\": \"4\""), "{again}");
    server.stop();
    let said = bundle.run(&["audit", "query", "--kind", "notice"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let told = "turned back: the state of revision 1 is in service again, as revision 3: restored";
    assert!(said.contains(told), "{said}");
    let verified = bundle.run(&["audit", "verify"]);
    let verified = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.starts_with("ok"), "{verified}");
    assert!(
        verified.contains("the state of revision 1 is in service again, as revision 3"),
        "{verified}"
    );

    // By hand, and without the marker, nobody but the log knows.
    let place = |name: &str| bundle.folder().join(name);
    std::fs::copy(place("copy.db"), place("callgate.db")).unwrap();
    for gone in ["callgate.db.id", "callgate.db-wal"] {
        let _ = std::fs::remove_file(place(gone));
    }
    let server = Server::start(&bundle, &[]);
    let again = ask(
        &bundle,
        &server,
        &[&["stop", "user:bob"], &STOP[..]].concat(),
    );
    assert!(again.contains("\"revision\": \"6\""), "{again}");
    server.stop();
    // It is told once.
    Server::start(&bundle, &[]).stop();
    let said = bundle.run(&["audit", "query", "--kind", "notice"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("of revision 1 is in service again, as revision 5: older"),
        "{said}"
    );
    assert_eq!(said.matches("turned back").count(), 2, "{said}");
}

#[test]
fn a_database_is_not_taken_for_a_file() {
    let bundle = Bundle::notes();
    let url = "postgres://callgate@localhost/callgate";
    for verb in ["backup", "restore"] {
        let refused = bundle.run(&[verb, "copy.db", "--state", url]);
        assert!(!refused.status.success(), "{verb}");
        let said = stderr(&refused);
        assert!(said.contains("PostgreSQL's own tools"), "{verb}: {said}");
    }
    let refused = bundle.run(&["serve", "--without-callers", "--replica", "eu-1"]);
    assert!(!refused.status.success());
    let said = stderr(&refused);
    assert!(said.contains("`--replica` is for a database"), "{said}");
}
