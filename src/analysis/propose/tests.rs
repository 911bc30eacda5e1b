use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::tool_list;
use crate::bundle::parse::registration::AccessLevel;

pub(super) fn listed(definition: Json) -> ListedTool {
    let text = json!({"tools": [definition]}).to_string();
    let file = std::sync::Arc::from("list.json");
    let origin = crate::bundle::diagnostic::SourceText {
        file: &file,
        text: &text,
    };
    tool_list::parse(origin).expect("a list").remove(0)
}

pub(super) fn propose_alone(tool: &ListedTool) -> ToolEntry {
    propose(tool, &Prefixes::default())
}

fn access_of(name: &str, annotations: Json) -> AccessLevel {
    propose_alone(&listed(json!({"name": name, "annotations": annotations}))).access
}

#[test]
fn names_say_what_a_tool_does() {
    for name in [
        "get_issue",
        "list-channels",
        "search.code",
        "file_info",
        "getURLsOfPage",
        "list_commits",
        "get_pull_request",
        "web_search",
        "directory_tree",
        "readFile",
        "a/b/show",
    ] {
        assert_eq!(access_of(name, json!({})), AccessLevel::Read, "{name}");
    }
    for name in [
        "create_issue",
        "slack_post_message",
        "git-commit",
        "updateUser",
        "get_and_update",
    ] {
        assert_eq!(access_of(name, json!({})), AccessLevel::Write, "{name}");
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
        assert_eq!(access_of(name, json!({})), AccessLevel::Admin, "{name}");
    }
}

/// Kinds that a list of servers nobody here had seen got wrong.
#[test]
fn what_makes_vanish_and_gives_powers_is_administration_and_adjectives_are_no_verbs() {
    for name in [
        "expire",
        "evict_keys",
        "invalidate_session",
        "grant_role",
        "list_and_grant",
        "get_grant",
    ] {
        assert_eq!(access_of(name, json!({})), AccessLevel::Admin, "{name}");
    }
    for name in ["semantic_search", "fuzzy-find", "client_list"] {
        assert_eq!(access_of(name, json!({})), AccessLevel::Read, "{name}");
    }
    assert_eq!(access_of("unwatch_topic", json!({})), AccessLevel::Write);
}

#[test]
fn a_question_is_put_to_whoever_answers_it() {
    let asks = |argument: &str| {
        let schema = json!({"properties": {argument: {"type": "string"}}});
        let tool = json!({"name": "search_documents", "inputSchema": schema});
        propose_alone(&listed(tool)).egress
    };
    for argument in ["question", "prompt", "instructions", "message"] {
        assert!(asks(argument), "{argument}");
    }
    assert!(!asks("query"), "documents are searched inside");
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
        let without = access_of(name, json!({}));
        for read_only in [json!(true), json!(false), json!(null), json!("yes")] {
            for destructive in [json!(true), json!(false), json!(null)] {
                assert!(
                    access_of(name, hints(read_only.clone(), destructive)) >= without,
                    "{name}"
                );
            }
        }
    }
    assert_eq!(
        access_of("get_issue", json!({"readOnlyHint": false})),
        AccessLevel::Write
    );
    assert_eq!(
        access_of("get_issue", json!({"destructiveHint": true})),
        AccessLevel::Admin
    );
    assert_eq!(
        access_of("write_file", json!({"destructiveHint": true})),
        AccessLevel::Admin
    );
    assert_eq!(
        access_of("create_issue", json!({"readOnlyHint": true})),
        AccessLevel::Write
    );
}

#[test]
fn statements_are_whatever_they_say() {
    let with_argument = |name: &str, argument: &str| {
        let schema = json!({"properties": {argument: {"type": "string"}}});
        propose_alone(&listed(json!({"name": name, "inputSchema": schema})))
    };
    let entry = with_argument("get_rows", "sql");
    assert_eq!(entry.access, AccessLevel::Admin);
    assert!(entry.why["access"].contains("whatever its language says"));
    // A search's query is what is searched for.
    assert_eq!(
        with_argument("search_code", "query").access,
        AccessLevel::Read
    );
}

pub(super) fn proposed(name: &str, schema: Json) -> Vec<Json> {
    let entry = propose_alone(&listed(json!({"name": name, "inputSchema": schema})));
    let faults = crate::domain::request::target::check::check(
        &entry.target_arguments,
        entry.input_schema.as_ref(),
    );
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
        json!({"argument": "source", "kind": "path", "role": "source"}),
        json!({"argument": "destination", "kind": "path", "role": "destination"}),
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
        json!({"properties": {"owner": text(), "repo": text(), "path": text()}, "required": ["owner", "repo", "path"]}),
    );
    assert_eq!(github, [json!("path")]);
}

#[test]
fn an_argument_within_one_without_a_name_is_no_other_argument() {
    let path = json!({"type": "string"});
    let unnamed = json!({"type": "object", "properties": {"path": path}});
    let schema = json!({"type": "object", "properties": {"": unnamed, "path": path}});
    let targets = proposed("read_file", schema);
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert_eq!(targets[0]["argument"], "path");
}

#[test]
fn nothing_is_confirmed_by_itself() {
    assert_eq!(
        propose_alone(&listed(json!({"name": "get_issue"}))).status,
        ConfirmationStatus::Proposed
    );
}

#[test]
fn names_with_a_word_that_reads_in_them_do_not_read() {
    for name in [
        "apply_diff",
        "clear_history",
        "log_work",
        "flush_tree",
        "reset_head",
        "push_log",
        "set_status",
        "update_status",
        "mark_as_read",
        "mark_read",
        "find_and_replace",
        "search_replace",
        "get_or_create",
        "fetch_and_store",
        "read_write",
        "list_then_purge",
        "status_update",
        "history_clear",
        "diff_apply",
        "view_reset",
        "dequeue_list",
        "rebuild_tree",
        "rewrite_history",
        "sync_list",
        "pin_view",
        "share_view",
        "subscribe_list",
        "import_list",
        "generate_diff",
        "frob_list",
        "wobble_get_item",
        "nuke_stats",
        "toggle_view",
        "open_search",
        "save_search",
        "stop_search",
        "show_notification",
        "show_message",
        "ping_user",
        "check_in",
        "checkout_branch",
        "lookup_or_insert",
        "peek_and_pop",
        "get_and_run",
        "describe_then_drop",
        "count_and_reset",
        "resolve_status",
        "close_view",
        "log",
        "diff_and_commit",
        "add_info",
        "edit_history",
        "log_message",
        "head",
        "snapshot",
        "getOrCreate",
        "findOneAndUpdate",
        "bulk_archive",
        "accept_invite",
        "unarchive",
        "vacuum",
        "reindex",
        "g\u{435}t_file",
        "get\u{200b}deletefile_delete",
        "getanddelete",
    ] {
        assert!(
            access_of(name, json!({"readOnlyHint": true})) > AccessLevel::Read,
            "{name}"
        );
    }
}

#[test]
fn powers_machines_and_what_cannot_be_undone_are_admin() {
    for name in [
        "set_page_restrictions",
        "update_branch_protection",
        "add_collaborator",
        "set_config_value",
        "create_webhook",
        "create_api_key",
        "add_ssh_key",
        "kubectl_scale",
        "docker_start",
        "share_document",
        "merge_pull_request",
        "get_secret",
        "publish_package",
        "transfer_ownership",
        "create_role",
        "bash",
        "runTerminal",
        "cancel_order",
    ] {
        assert_eq!(access_of(name, json!({})), AccessLevel::Admin, "{name}");
    }
}

pub(super) fn with(name: &str, properties: Json) -> ToolEntry {
    let definition =
        json!({"name": name, "inputSchema": {"type": "object", "properties": properties}});
    propose_alone(&listed(definition))
}

#[test]
fn what_can_be_anything_is_admin() {
    let text = || json!({"type": "string"});
    let any = || json!({"type": "object"});
    let optional = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
    for (name, properties) in [
        ("get_data", json!({"command": text()})),
        (
            "get_data",
            json!({"command": {"type": "array", "items": text()}}),
        ),
        ("list_things", json!({"script": optional.clone()})),
        (
            "get_page",
            json!({"actions": {"type": "array", "items": {"type": "object", "properties": {"code": text()}}}}),
        ),
        ("fetch_url", json!({"url": text(), "method": text()})),
        (
            "fetch_url",
            json!({"url": text(), "method": {"enum": ["GET", "DELETE"]}}),
        ),
        ("get_info", json!({"operation": text(), "id": text()})),
        (
            "create_thing",
            json!({"tool_name": text(), "arguments": any()}),
        ),
        ("get_thing", json!({"params": any()})),
        ("list_pods", json!({"query": text(), "sql": text()})),
        ("get_rows", json!({"query": text()})),
    ] {
        let entry = with(name, properties.clone());
        assert_eq!(
            entry.access,
            AccessLevel::Admin,
            "{name} {properties}: {}",
            entry.why["access"]
        );
        assert!(
            entry.egress && entry.yields.contains(&"untrusted".to_owned()),
            "{name}"
        );
    }
    let search = json!({"name": "search_rows", "description": "Searches with SQL", "inputSchema": {"properties": {"query": text()}}});
    assert_eq!(propose_alone(&listed(search)).access, AccessLevel::Admin);
    for (name, properties) in [
        ("get_country", json!({"country_code": text()})),
        ("get_status", json!({"code": {"type": "integer"}})),
        (
            "list_items",
            json!({"filter": any(), "mode": {"enum": ["a"]}}),
        ),
        (
            "get_page",
            json!({"method": {"enum": ["get", "get_comments"]}}),
        ),
    ] {
        let entry = with(name, properties);
        assert_eq!(
            entry.access,
            AccessLevel::Read,
            "{name}: {}",
            entry.why["access"]
        );
    }
}

#[test]
fn switches_places_and_descriptions_can_make_a_reader_write() {
    let switch = || json!({"type": "boolean"});
    for properties in [
        json!({"mark_as_read": switch()}),
        json!({"deleteAfter": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}),
        json!({"output_path": {"type": "string"}}),
        json!({"action": {"enum": ["list", "set"]}}),
    ] {
        let entry = with("get_mail", properties.clone());
        assert_eq!(
            entry.access,
            AccessLevel::Write,
            "{properties}: {}",
            entry.why["access"]
        );
    }
    let says = |description: &str| {
        propose_alone(&listed(
            json!({"name": "get_mail", "description": description}),
        ))
    };
    assert_eq!(says("Delete all mail").access, AccessLevel::Admin);
    assert_eq!(says("Create a mailbox").access, AccessLevel::Write);
    assert_eq!(says("Get mail; delete nothing").access, AccessLevel::Read);
}

#[test]
fn a_prefix_that_many_verbs_follow_names_the_server_and_not_an_action() {
    let tools: Vec<ListedTool> = [
        "acme_get_a",
        "acme_list_b",
        "acme_create_c",
        "acme_zap_list",
        "other_get_a",
    ]
    .iter()
    .map(|name| listed(json!({"name": name})))
    .collect();
    let prefixes = Prefixes::from_tools("wiki", &tools);
    let effects: Vec<AccessLevel> = tools
        .iter()
        .map(|tool| propose(tool, &prefixes).access)
        .collect();
    assert_eq!(
        effects,
        [
            AccessLevel::Read,
            AccessLevel::Read,
            AccessLevel::Write,
            AccessLevel::Admin,
            AccessLevel::Admin
        ]
    );
    let own = |name: &str| propose(&listed(json!({"name": name})), &prefixes).access;
    assert_eq!(own("wiki_get_page"), AccessLevel::Read);
    assert_eq!(own("mcp__far__get_page"), AccessLevel::Read);
}

#[test]
fn every_part_of_a_proposal_has_its_reason() {
    let entry = with("fetch_page", json!({"url": {"type": "string"}}));
    for field in ["access", "yields", "egress", "target_arguments"] {
        assert!(entry.why.contains_key(field), "{field} in {:?}", entry.why);
    }
}
