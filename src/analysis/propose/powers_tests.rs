use serde_json::json;

use crate::analysis::propose::tests::{listed, propose_alone, with};
use crate::bundle::parse::registration::AccessLevel;

fn access_of(name: &str) -> AccessLevel {
    propose_alone(&listed(json!({"name": name}))).access
}

#[test]
fn money_rights_and_what_runs_later_are_administration() {
    for name in [
        // Money.
        "send_money",
        "schedule_transaction",
        "book_flight",
        "place_order",
        "create_charge",
        "upgrade_plan",
        "sign_transaction",
        "change_subscription",
        "reserve_hotel",
        "submit_trade",
        "add_funds",
        // Rights.
        "add_user_to_team",
        "create_user",
        "make_public",
        "make_document_public",
        "add_forwarding_address",
        "register_user",
        "add_users",
        // What runs later.
        "write_crontab",
        "add_cron_job",
        "create_function",
        "create_lambda",
        "set_env",
        "update_hook",
        "set_environment_variable",
        "add_plugin",
        "create_trigger",
        // Words that are verbs.
        "get_del",
        "get_sh",
        "show_off_share",
        "get_del\u{435}te",
    ] {
        assert_eq!(access_of(name), AccessLevel::Admin, "{name}");
    }
    assert_eq!(access_of("get_items_and_mail"), AccessLevel::Write);
    for name in [
        "get_transaction",
        "list_orders",
        "search_flights",
        "get_plan",
        "list_users",
        "get_function",
        "list_cron_jobs",
        "search_and_fetch",
        "get_天気",
    ] {
        assert_eq!(access_of(name), AccessLevel::Read, "{name}");
    }
    for name in [
        "create_plan",
        "create_user_story",
        "update_user",
        "add_comment",
        "trigger_build",
        "git_checkout",
    ] {
        assert_eq!(access_of(name), AccessLevel::Write, "{name}");
    }
}

#[test]
fn arguments_with_programs_are_found_by_their_kind() {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": text()});
    let objects = || json!({"type": "array", "items": {"type": "object"}});
    for properties in [
        json!({"exec": text()}),
        json!({"argv": texts()}),
        json!({"args": texts()}),
        json!({"lua": text()}),
        json!({"lambda": text()}),
        json!({"sql_text": text()}),
        json!({"where_clause": text()}),
        json!({"query_string": text()}),
        json!({"operations": texts()}),
        json!({"operations": objects()}),
        json!({"steps": texts()}),
        json!({"steps": objects()}),
        json!({"command": {"type": "object", "properties": {"line": text()}}}),
        // Their siblings.
        json!({"script_body": text()}),
        json!({"having_clause": text()}),
        json!({"code": {"type": "object", "properties": {"main": text()}}}),
        json!({"commands": {"type": "array", "items": {"type": "object", "properties": {"run": text()}}}}),
    ] {
        let entry = with("get_data", properties.clone());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Admin, "{properties}: {why}");
    }
    for properties in [
        json!({"steps": {"type": "integer"}}),
        json!({"verbs": texts()}),
        json!({"country_code": text()}),
        json!({"graph": {"type": "object", "properties": {"id": text()}}}),
        json!({"body": {"enum": ["html", "text"]}}),
    ] {
        let entry = with("get_data", properties.clone());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Read, "{properties}: {why}");
    }
}

#[test]
fn the_worst_of_all_choosers_counts() {
    let text = || json!({"type": "string"});
    let of = |values: &[&str]| json!({"enum": values});
    for properties in [
        json!({"action": of(&["get", "list"]), "method": text()}),
        json!({"action": of(&["get"]), "operation": of(&["get", "delete", "drop_all"])}),
        json!({"action": {"type": "array", "items": of(&["get", "delete"])}}),
        json!({"type": of(&["GET", "DELETE"])}),
        json!({"methods": of(&["get"]), "a": {"type": "object", "properties": {"op": of(&["get", "drop"])}}}),
        json!({"mode": of(&["list", "delete"])}),
        // One part of it can be anything.
        json!({"action": {"anyOf": [of(&["get"]), {"type": ["string", "null"]}]}}),
        json!({"tool": of(&["get"]), "command_name": text(), "args": {"type": "object"}}),
    ] {
        let entry = with("get_data", properties.clone());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Admin, "{properties}: {why}");
    }
    let hidden = json!({"prompt": of(&["a"]), "question": text()});
    assert!(
        with("search_documents", hidden).egress,
        "a second argument asks"
    );
    let hidden = json!({"document": of(&["a"]), "body": text()});
    assert_eq!(with("get_graphql", hidden).access, AccessLevel::Admin);
    for properties in [
        json!({"type": of(&["issue", "page"])}),
        json!({"state": of(&["open", "closed", "all"])}),
        json!({"mode": of(&["fast", "full"])}),
        json!({"permission": of(&["read", "write"])}),
        json!({"action": of(&["get", "list"]), "method": of(&["get"])}),
    ] {
        let entry = with("get_data", properties.clone());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Read, "{properties}: {why}");
    }
}
