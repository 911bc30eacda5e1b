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
