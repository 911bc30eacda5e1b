use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::names::check_server_name;

fn source(text: &str) -> SourceFile {
    SourceFile {
        kind: crate::bundle::files::FileKind::Registration,
        file: Arc::from("tools/git.json"),
        stem: Arc::from("git"),
        text: Arc::from(text),
        digest: None,
    }
}

fn faults(text: &str) -> Vec<(Option<u32>, String)> {
    let mut faults = Vec::new();
    let parsed = parse(&source(text), &mut faults);
    assert_eq!(parsed.is_none(), !faults.is_empty());
    faults
        .into_iter()
        .map(|fault| (fault.line, fault.message))
        .collect()
}

const SERVER: &str = r#""server": {"name": "git", "owner": "owen"}"#;

#[test]
fn the_least_a_registration_needs() {
    let entry = r#"{"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}"#;
    let text = format!("{{{SERVER}, \"tools\": {{\"git_log\": {entry}}}}}");
    let mut faults = Vec::new();
    let registration = parse(&source(&text), &mut faults).expect("no faults");
    assert!(registration.server.active);
    let entities = registration.entities();
    assert_eq!(entities[1].0, ["tools", "git_log"]);
    assert_eq!(entities[1].1["uid"]["id"], "git/git_log");
    // Whoever owns the server owns its tools.
    assert_eq!(entities[1].1["attrs"]["owner"]["id"], "owen");
    assert!(entities[1].1["attrs"].get("target_arguments").is_none());
}

#[test]
fn a_target_that_cannot_work_is_told_at_its_place() {
    let text = r#"{
 "server": {"name": "git", "owner": "owen"},
 "tools": {"git_add": {
  "access": "write", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal",
  "target_arguments": [
   "repo_path",
   "repo",
   {"argument": "files",
    "kind": "uuid",
    "base": "repo_path"},
   {"argument": "note",
    "kind": "path"},
   {"argument": "count", "kind": "path"},
   {"argument": "files", "kind": "path", "base": "repo_path", "role": "source"}],
  "input_schema": {
   "properties": {
    "repo_path": {"type": "string"}, "note": {"type": "string"}, "count": {"type": "integer"},
    "files": {"type": "array", "items": {"type": "string"}}},
   "required": ["repo_path", "files", "count"]}}}}"#;
    let told = faults(text);
    let lines: Vec<_> = told.iter().map(|(line, _)| line.unwrap_or(0)).collect();
    assert_eq!(lines, [7, 10, 11, 13], "{told:?}");
    for ((_, message), said) in told.iter().zip([
        "`argument`: `repo` is not among the arguments",
        "`base`: is for arguments of the kinds `path` and `url`",
        "mark it `\"optional\": true`",
        "`kind`: `count` cannot be of the kind `path`",
    ]) {
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn an_argument_schema_that_is_none_is_told_at_its_place() {
    let with = |schema: &str| {
        format!(
            "{{{SERVER},\n\"tools\": {{\"log\": {{\"access\": \"read\", \"status\": \"confirmed\", \"yields\": [], \"egress\": false, \"sensitivity\": \"internal\",\n\"target_arguments\": [\"repo_path\"],\n\"input_schema\": {schema}}}}}}}"
        )
    };
    for (schema, said) in [
        ("\"nonsense\"", "`input_schema` is not an object"),
        ("[]", "`input_schema` is not an object"),
        (
            r#"{"type": "object", "required": "repo_path", "properties": {"repo_path": {"type": "string"}}}"#,
            "`input_schema`: `required` is not a list of names",
        ),
        (
            r#"{"type": "object", "required": ["repo_path"], "properties": {"repo_path": {"type": "strng"}}}"#,
            "`input_schema`: `properties.repo_path.type` is `strng`",
        ),
    ] {
        let told = faults(&with(schema));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, Some(4), "{told:?}");
        assert!(told[0].1.contains(said), "{told:?}");
    }
}

#[test]
fn targets_become_an_attribute() {
    let entry = r#"{"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal",
        "target_arguments": ["path", {"argument": "to", "kind": "email", "role": "recipient", "optional": true}]}"#;
    let text = format!("{{{SERVER}, \"tools\": {{\"send\": {entry}}}}}");
    let registration = parse(&source(&text), &mut Vec::new()).expect("no faults");
    let entities = registration.entities();
    let wanted = json!([
        {"argument": "path", "optional": false},
        {"argument": "to", "kind": "email", "role": "recipient", "optional": true},
    ]);
    assert_eq!(entities[1].1["attrs"]["target_arguments"], wanted);
}

#[test]
fn contents_of_files_are_texts_of_the_schema() {
    let with = |contents: &str| {
        format!(
            "{{{SERVER},\n\"tools\": {{\"write\": {{\"access\": \"write\", \"status\": \"confirmed\", \"yields\": [], \"egress\": true, \"sensitivity\": \"internal\",\n\"file_contents\": {contents},\n\"input_schema\": {{\"properties\": {{\"content\": {{\"type\": \"string\"}}, \"parts\": {{\"type\": \"array\", \"items\": {{\"type\": \"string\"}}}}, \"size\": {{\"type\": \"integer\"}}}}}}}}}}}}"
        )
    };
    let text = with(r#"["content", "parts", "parts[]"]"#);
    let registration = parse(&source(&text), &mut Vec::new()).expect("no faults");
    let entities = registration.entities();
    let wanted = json!(["content", "parts", "parts[]"]);
    assert_eq!(entities[1].1["attrs"]["file_contents"], wanted);
    for (contents, said) in [
        (r#"["contents"]"#, "`contents` is not among the arguments"),
        (
            r#"["size"]"#,
            "`size` is no text in the tool's `input_schema`",
        ),
        (r#"["content[]"]"#, "`content` is not a list"),
        (r#"["a..b"]"#, "`a..b` is not the name of an argument"),
    ] {
        let told = faults(&with(contents));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, Some(3), "{told:?}");
        assert!(told[0].1.contains(said), "{told:?}");
    }
}

#[test]
fn every_entry_that_is_wrong_is_told_at_its_field() {
    let text = r#"{
 "server": {"name": "git", "owner": "", "colour": "red"},
 "tools": {
  "a": {"access": "peek",
        "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"},
  "b": {"access": "read", "status": "confirmed", "yields": [],
        "egress": "no", "sensitivity": "internal"},
  "c": {"access": "read", "status": "confirmed", "yields": ["Very Private"], "egress": false, "sensitivity": "internal",
        "digest": "sha256:12"},
  "d": {"access": "read"},
  "e": {"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal",
        "typed": true}
 },
 "extra": 1
}"#;
    let found = faults(text);
    let told: Vec<(u32, &str)> = found
        .iter()
        .map(|(line, message)| (line.unwrap_or(0), message.as_str()))
        .collect();
    let expected = [
        (14, "unknown field `extra`, expected `server` or `tools`"),
        (2, "unknown field `colour`"),
        (
            4,
            "`access`: unknown variant `peek`, expected one of `read`, `write`, `admin`",
        ),
        (
            7,
            "`egress`: invalid type: string \"no\", expected a boolean",
        ),
        (9, "`digest` is not `sha256:`"),
        (8, "`Very Private` is not a label"),
        (10, "missing field `status`"),
        (12, "a typed tool needs its `input_schema`"),
    ];
    for (line, message) in expected {
        assert!(
            told.iter()
                .any(|(at, text)| *at == line && text.contains(message)),
            "{line} {message}: {told:#?}"
        );
    }
}

#[test]
fn the_file_is_called_after_its_server() {
    let text = r#"{"server": {"name": "github", "owner": "o"}, "tools": {}}"#;
    assert_eq!(
        faults(text)[0].1,
        "the file of the server `github` is called `github.json`, not `git.json`"
    );
}

#[test]
fn other_shapes_are_faults() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"server": 1, "tools": []}"#,
        "{\"tools\": {\"\": {}}}",
    ] {
        assert!(!faults(text).is_empty(), "{text}");
    }
    let twice = format!("{{{SERVER}, \"tools\": {{\"a\": {{}}, \"a\": {{}}}}}}");
    assert!(faults(&twice)[0].1.contains("the key `a` occurs twice"));
}

#[test]
fn names_of_servers_fit_into_paths_and_ids() {
    for name in ["git", "mcp-server.v2_x", "9p"] {
        assert_eq!(check_server_name(name), Ok(()));
    }
    for name in ["", "a/b", "..", "-x", "a b", "ä", &"x".repeat(65)] {
        assert!(check_server_name(name).is_err(), "{name}");
    }
}

#[test]
fn what_nobody_confirmed_is_admin() {
    let text = r#"{"access": "read", "status": "proposed", "yields": [], "egress": false, "sensitivity": "public"}"#;
    let entry: ToolEntry = serde_json::from_str(text).expect("an entry");
    assert_eq!(entry.effective_access(), AccessLevel::Admin);
}

#[test]
fn the_former_name_of_access_is_told() {
    let entry = r#"{"effect": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}"#;
    let text = format!("{{{SERVER}, \"tools\": {{\"git_log\": {entry}}}}}");
    let told = faults(&text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("it is called `access`"), "{told:?}");
}

#[test]
fn an_empty_label_is_refused_and_the_api_names_its_place() {
    let entry = r#"{"access": "read", "status": "confirmed", "yields": ["private", ""], "egress": false,
        "sensitivity": "internal"}"#;
    let text = format!("{{{SERVER}, \"tools\": {{\"git_log\": {entry}}}}}");
    assert_eq!(faults(&text).len(), 1);
    let entry: ToolEntry = serde_json::from_str(entry).expect("an entry");
    assert_eq!(entry.errors()[0].path(), "yields[1]");
}

#[test]
fn an_order_of_what_is_no_argument_is_told_at_its_place() {
    let text = |order: &str| {
        format!(
            r#"{{{SERVER}, "tools": {{"log": {{
 "access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal",
 "input_schema": {{"properties": {{"path": {{"type": "string"}}, "max": {{"type": "integer"}}}}}},
 "argument_order": {order}}}}}}}"#
        )
    };
    assert_eq!(faults(&text(r#"["path", "max"]"#)), []);
    assert_eq!(faults(&text(r#"["path"]"#)), []);
    let told = faults(&text(r#"["pth", "max"]"#));
    let said = "`argument_order`: `pth` is not among the arguments in the tool's `input_schema`";
    assert_eq!(told, [(Some(4), said.to_owned())]);
}
