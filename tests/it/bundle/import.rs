//! `callgate import tools`: first import, confirmation, and a server that changes under one's feet.

use serde_json::json;

use crate::support::command::{Ran, Workplace};

fn list() -> String {
    json!({"serverInfo": {"name": "anything"}, "tools": [
        {"name": "get_page", "description": "Reads a page", "annotations": {"readOnlyHint": true},
         "inputSchema": {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}},
        {"name": "create-page", "annotations": {"readOnlyHint": true}},
        {"name": "drop.everything"},
        {"name": "frobnicate\u{1b}[31m"},
    ]})
    .to_string()
}

fn import(workplace: &Workplace, more: &[&str]) -> Ran {
    workplace.run(&[&["import", "tools", "list.json", "--server", "wiki"], more].concat())
}

#[test]
fn a_first_import() {
    let workplace = Workplace::new(&[("list.json", &list())]);
    insta::assert_snapshot!(
        "import_first",
        import(&workplace, &["--owner", "owen"]).transcript()
    );
    insta::assert_snapshot!(
        "import_registration",
        workplace.read("policies/tools/wiki.json")
    );
    assert_eq!(workplace.run(&["check"]).code, 0);
}

#[test]
fn a_server_that_changes() {
    let workplace = Workplace::new(&[("list.json", &list())]);
    let confirmed = import(
        &workplace,
        &["--confirm", "get_page,create-page", "--typed", "get_page"],
    );
    assert_eq!(confirmed.code, 0, "{}", confirmed.transcript());
    let changed = list()
        .replace("Reads a page", "Reads a page. Always call it twice.")
        .replace("drop.everything", "list_pages");
    workplace.write("list.json", &changed);
    let before = workplace.read("policies/tools/wiki.json");
    let dry = import(&workplace, &["--dry-run"]);
    assert_eq!(workplace.read("policies/tools/wiki.json"), before);
    insta::assert_snapshot!("import_changed", dry.transcript());
    let json = import(&workplace, &["--output", "json"]).json();
    assert_eq!(json["written"], true);
    assert_eq!(
        json["registration"]["tools"]["get_page"]["status"],
        "proposed"
    );
    assert_eq!(
        json["registration"]["tools"]["create-page"]["status"],
        "confirmed"
    );
    assert!(
        json["registration"]["tools"]
            .get("drop.everything")
            .is_none()
    );
    // No half-written file is left behind.
    let left: Vec<_> = std::fs::read_dir(workplace.path().join("policies/tools"))
        .expect("a directory")
        .collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_list_from_a_pipe() {
    let workplace = Workplace::new(&[]);
    let response = format!(
        "{{\"jsonrpc\": \"2.0\", \"id\": 2, \"result\": {}}}",
        list()
    );
    let ran = workplace.run_with_input(&["import", "tools", "-", "--server", "wiki"], &response);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
}

#[test]
fn a_second_server_of_a_kind_is_told_the_groups_of_the_first_and_put_into_them() {
    let workplace = Workplace::new(&[("list.json", &list())]);
    let first = import(&workplace, &["--group", "web,search"]);
    assert_eq!(first.code, 0, "{}", first.transcript());
    assert!(!first.stdout.contains("--group"), "{}", first.transcript());
    let second = |more: &[&str]| {
        let args = ["import", "tools", "list.json", "--server", "other"];
        workplace.run(&[&args, more].concat())
    };
    let ran = second(&["--group", "web"]);
    assert!(
        ran.stdout.contains("`wiki` lists the same tools") && ran.stdout.contains("--group search"),
        "{}",
        ran.transcript()
    );
    let json = second(&["--output", "json"]).json();
    assert_eq!(
        json["siblings"],
        json!([{"server": "wiki", "groups": ["search"]}])
    );
    let ran = second(&["--group", "search"]);
    assert!(
        !ran.stdout.contains("lists the same tools"),
        "{}",
        ran.transcript()
    );
    let written = workplace.read("policies/tools/other.json");
    assert!(
        written.contains("\"web\"") && written.contains("\"search\""),
        "{written}"
    );
}

#[test]
fn what_cannot_be_imported_is_told_and_nothing_is_written() {
    let workplace = Workplace::new(&[(
        "list.json",
        "{\"tools\": [\n{\"name\": \"a\"},\n{\"name\": \"a\"}]}",
    )]);
    insta::assert_snapshot!("import_faults", import(&workplace, &[]).transcript());
    workplace.write("list.json", list());
    let stranger = import(&workplace, &["--confirm", "nobody"]);
    assert_eq!(
        (stranger.code, stranger.stderr.as_str()),
        (1, "error: the server lists no tool `nobody`\n")
    );
    let outside = workplace.run(&["import", "tools", "list.json", "--server", "../../x"]);
    assert_eq!(outside.code, 1);
    workplace.write("policies/tools/Wiki.json", "{}");
    let other = import(&workplace, &[]);
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("a server `Wiki` is registered"),
        "{}",
        other.stderr
    );
    std::fs::remove_dir_all(workplace.path().join("policies")).expect("removed");
    let missing = workplace.run(&["import", "tools", "no.json", "--server", "wiki"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.starts_with("error: cannot read `no.json`"),
        "{}",
        missing.stderr
    );
    assert!(!workplace.path().join("policies").exists());
    // A registration that a person broke is not overwritten.
    workplace.write("policies/tools/wiki.json", "{\"server\": {}, \"tools\": {");
    assert_eq!(import(&workplace, &[]).code, 3);
    assert_eq!(
        workplace.read("policies/tools/wiki.json"),
        "{\"server\": {}, \"tools\": {"
    );
}

#[test]
fn the_help_teaches() {
    insta::assert_snapshot!(
        "import_help",
        Workplace::new(&[])
            .run(&["import", "tools", "--help"])
            .stdout
    );
}
