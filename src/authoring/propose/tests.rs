use serde_json::json;

use super::*;
use crate::authoring::tool_list;

fn listed(definition: Json) -> ListedTool {
    let text = json!({"tools": [definition]}).to_string();
    let file = std::sync::Arc::from("list.json");
    let origin = crate::bundle::fault::Origin {
        file: &file,
        text: &text,
    };
    tool_list::parse(origin).expect("a list").remove(0)
}

fn effect_of(name: &str, annotations: Json) -> Effect {
    propose(&listed(json!({"name": name, "annotations": annotations}))).effect
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
        propose(&listed(json!({"name": name, "inputSchema": schema})))
    };
    let entry = with_argument("get_rows", "sql");
    assert_eq!(entry.effect, Effect::Admin);
    assert!(entry.why["effect"].contains("whatever its statement says"));
    // A search's query is what is searched for.
    assert_eq!(with_argument("search_code", "query").effect, Effect::Read);
}

#[test]
fn targets_are_what_every_call_must_name() {
    let entry = propose(&listed(json!({"name": "move_file", "inputSchema": {
        "properties": {
            "source": {"type": "string"}, "destination": {"type": "string"},
            "path": {"type": "string"}, "urls": {"type": "array", "items": {"type": "string"}},
            "uri": {"type": "number"}, "repoPath": {"type": "string"},
        },
        "required": ["source", "destination", "urls", "uri", "repoPath"],
    }})));
    assert_eq!(
        entry.target_arguments,
        ["source", "destination", "urls", "repoPath"]
    );
}

#[test]
fn labels_and_egress_err_on_the_side_of_suspicion() {
    let fetch = propose(&listed(
        json!({"name": "fetch", "inputSchema": {"properties": {"url": {"type": "string"}}}}),
    ));
    assert!(fetch.egress && fetch.yields.contains(&"untrusted".to_owned()));
    let closed = json!({"name": "read_file", "annotations": {"openWorldHint": false}});
    let file = propose(&listed(closed));
    assert!(!file.egress);
    assert_eq!(file.yields, ["private"]);
    let unknown = propose(&listed(json!({"name": "frobnicate"})));
    assert!(unknown.egress && unknown.yields.contains(&"untrusted".to_owned()));
    assert_eq!(
        propose(&listed(json!({"name": "get-env"}))).sensitivity,
        Sensitivity::Restricted
    );
    let post = propose(&listed(
        json!({"name": "post_message", "annotations": {"openWorldHint": false}}),
    ));
    assert!(post.egress);
}

#[test]
fn nothing_is_confirmed_by_itself() {
    assert_eq!(
        propose(&listed(json!({"name": "get_issue"}))).status,
        Status::Proposed
    );
}
