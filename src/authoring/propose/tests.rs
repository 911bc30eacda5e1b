use serde_json::{Value as Json, json};

use super::*;
use crate::authoring::tool_list;
use crate::bundle::registration::{Effect, Sensitivity};

fn listed(definition: Json) -> ListedTool {
    let text = json!({"tools": [definition]}).to_string();
    let file = std::sync::Arc::from("list.json");
    let origin = crate::bundle::fault::Origin {
        file: &file,
        text: &text,
    };
    tool_list::parse(origin).expect("a list").remove(0)
}

fn propose_alone(tool: &ListedTool) -> ToolEntry {
    propose(tool, &Prefixes::default())
}

fn effect_of(name: &str, annotations: Json) -> Effect {
    propose_alone(&listed(json!({"name": name, "annotations": annotations}))).effect
}

#[test]
fn names_say_what_a_tool_does() {
    for name in [
        "get_issue",
        "list-channels",
        "search.code",
        "git_log",
        "readFile",
        "a/b/show",
    ] {
        assert_eq!(effect_of(name, json!({})), Effect::Read, "{name}");
    }
    for name in [
        "create_issue",
        "slack_post_message",
        "git-commit",
        "updateUser",
        "get_and_update",
    ] {
        assert_eq!(effect_of(name, json!({})), Effect::Write, "{name}");
    }
    for name in [
        "delete_file",
        "merge_pull_request",
        "run_query",
        "get_token",
        "list_and_delete",
        "execSQL",
        "frobnicate",
        "日本",
    ] {
        assert_eq!(effect_of(name, json!({})), Effect::Admin, "{name}");
    }
}

#[test]
fn hints_make_worse_and_never_better() {
    let hints = |read_only: Json, destructive: Json| json!({"readOnlyHint": read_only, "destructiveHint": destructive});
    let names = [
        "get_issue",
        "create_issue",
        "delete_file",
        "frobnicate",
        "run_query",
    ];
    for name in names {
        let without = effect_of(name, json!({}));
        for read_only in [json!(true), json!(false), json!(null), json!("yes")] {
            for destructive in [json!(true), json!(false), json!(null)] {
                assert!(
                    effect_of(name, hints(read_only.clone(), destructive)) >= without,
                    "{name}"
                );
            }
        }
    }
    assert_eq!(
        effect_of("get_issue", json!({"readOnlyHint": false})),
        Effect::Write
    );
    assert_eq!(
        effect_of("get_issue", json!({"destructiveHint": true})),
        Effect::Admin
    );
    assert_eq!(
        effect_of("write_file", json!({"destructiveHint": true})),
        Effect::Admin
    );
    assert_eq!(
        effect_of("create_issue", json!({"readOnlyHint": true})),
        Effect::Write
    );
}

#[test]
fn statements_are_whatever_they_say() {
    let with_argument = |name: &str, argument: &str| {
        let schema = json!({"properties": {argument: {"type": "string"}}});
        propose_alone(&listed(json!({"name": name, "inputSchema": schema})))
    };
    let entry = with_argument("get_rows", "sql");
    assert_eq!(entry.effect, Effect::Admin);
    assert!(entry.why["effect"].contains("whatever its statement says"));
    // A search's query is what is searched for.
    assert_eq!(with_argument("search_code", "query").effect, Effect::Read);
}

fn proposed(name: &str, schema: Json) -> Vec<Json> {
    let entry = propose_alone(&listed(json!({"name": name, "inputSchema": schema})));
    let faults =
        crate::call::target::check::check(&entry.target_arguments, entry.input_schema.as_ref());
    assert_eq!(faults, [], "what is proposed can be served");
    let json = |it| serde_json::to_value(it).expect("JSON");
    entry.target_arguments.iter().map(json).collect()
}

#[test]
fn targets_are_proposed_with_kind_role_and_what_may_be_left_out() {
    let text = || json!({"type": "string"});
    let proposed = proposed(
        "move_file",
        json!({
            "properties": {
                "source": text(), "destination": text(), "path": text(),
                "urls": {"type": "array", "items": text()},
                "uri": {"type": "boolean"}, "absolutePath": text(), "note": text(),
            },
            "required": ["source", "destination", "urls", "uri", "absolutePath"],
        }),
    );
    for wanted in [
        json!({"argument": "source", "role": "source"}),
        json!({"argument": "destination", "role": "destination"}),
        json!({"argument": "path", "kind": "path", "optional": true}),
        json!({"argument": "urls", "kind": "url"}),
        json!({"argument": "absolutePath", "kind": "path"}),
    ] {
        assert!(proposed.contains(&wanted), "{wanted} in {proposed:?}");
    }
    assert_eq!(proposed.len(), 5, "{proposed:?}");
}

#[test]
fn targets_are_found_in_lists_and_objects() {
    let text = || json!({"type": "string"});
    let file = json!({"type": "object", "properties": {"path": text(), "content": text()}, "required": ["path"]});
    let found = proposed(
        "save",
        json!({
            "properties": {
                "files": {"type": "array", "items": file},
                "others": {"type": "array", "items": {"$ref": "#/$defs/File"}},
                "options": {"type": "object", "properties": {"target_file": text()}},
                "recipients": {"type": "array", "items": text()},
                "participants": {"anyOf": [{"type": "array", "items": {"type": "string", "format": "email"}}, {"type": "null"}]},
            },
            "required": ["files", "recipients"],
            "$defs": {"File": {"type": "object", "properties": {"path": text()}}},
        }),
    );
    for wanted in [
        json!({"argument": "files[].path", "kind": "path"}),
        json!({"argument": "others[].path", "kind": "path", "optional": true}),
        json!({"argument": "options.target_file", "kind": "path", "optional": true}),
        json!({"argument": "recipients", "role": "recipient"}),
        json!({"argument": "participants", "kind": "email", "role": "recipient", "optional": true}),
    ] {
        assert!(found.contains(&wanted), "{wanted} in {found:?}");
    }
    let git = proposed(
        "git_add",
        json!({
            "properties": {"repo_path": text(), "files": {"type": "array", "items": text()}},
            "required": ["repo_path", "files"],
        }),
    );
    assert!(git.contains(&json!({"argument": "files", "kind": "path", "base": "repo_path"})));
    // A path in a repository elsewhere is no path of this machine.
    let github = proposed(
        "get_file_contents",
        json!({"properties": {"repo": text(), "path": text()}, "required": ["repo", "path"]}),
    );
    assert_eq!(github, [json!("path")]);
}

#[test]
fn labels_and_egress_err_on_the_side_of_suspicion() {
    let fetch = propose_alone(&listed(
        json!({"name": "fetch", "inputSchema": {"properties": {"url": {"type": "string"}}}}),
    ));
    assert!(fetch.egress && fetch.yields.contains(&"untrusted".to_owned()));
    let closed = json!({"name": "read_file", "annotations": {"openWorldHint": false}});
    let file = propose_alone(&listed(closed));
    assert!(!file.egress);
    assert_eq!(file.yields, ["private"]);
    let unknown = propose_alone(&listed(json!({"name": "frobnicate"})));
    assert!(unknown.egress && unknown.yields.contains(&"untrusted".to_owned()));
    assert_eq!(
        propose_alone(&listed(json!({"name": "get-env"}))).sensitivity,
        Sensitivity::Restricted
    );
    let post = propose_alone(&listed(
        json!({"name": "post_message", "annotations": {"openWorldHint": false}}),
    ));
    assert!(post.egress);
}

#[test]
fn nothing_is_confirmed_by_itself() {
    assert_eq!(
        propose_alone(&listed(json!({"name": "get_issue"}))).status,
        Status::Proposed
    );
}
