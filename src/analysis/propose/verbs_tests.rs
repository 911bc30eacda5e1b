use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::propose::tests::{listed, propose_alone};
use crate::bundle::parse::registration::{AccessLevel, ToolEntry};

/// A tool that calls itself harmless.
fn harmless(name: &str, properties: Json) -> ToolEntry {
    propose_alone(&listed(json!({
        "name": name,
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
        "inputSchema": {"type": "object", "properties": properties},
    })))
}

#[test]
fn a_verb_made_from_another_one_does_not_read() {
    for name in [
        "read_undo",
        "view_rekey",
        "find_unfriend",
        "list_onboard_user",
        "read_mark_unread",
        "get_reinstate",
        "get_defrag",
        "get_reimage",
        "get_poweroff",
        "get_rid_of_user",
        "show_relabel",
        // Their siblings.
        "get_unfollow",
        "read_deauthorize",
        "view_unmount",
        "show_redeploy",
        "find_reassign",
        "get_delist",
        "read_unlist",
        "view_rehost",
        "get_reflash",
        "get_shut_down",
        "get_log_out",
        "show_sign_out",
        "find_opt_out",
        "view_re-index",
        "get_un_friend",
        "get_softdelete",
        "list_bulkupdate",
        "read_autodelete",
        "get_disenroll",
        "get_spindown",
        "get_scaleup",
        "get_deduplicate",
        "find_disassociate",
        "view_reparent",
        "get_rebrand",
        "get_rehydrate",
        "show_mark_done",
        "get_restock",
        "list_recertify",
        "get_unmask",
        "get_repopulate",
        "view_switch_off",
        "get_logoff",
        "getitemdelete",
        "get_itemdelete",
    ] {
        let entry = harmless(name, json!({}));
        assert!(entry.access > AccessLevel::Read, "{name}");
    }
    for name in [
        "get_rid_of_user",
        "get_poweroff",
        "get_power_off",
        "view_rekey",
        "get_reimage",
        "list_offboard_user",
        "get_decommission_host",
        "get_reinstall",
        "get_deauthorize",
        "get_softdelete",
        "get_denylist",
        "get_white_list",
        "list_allow_list",
        "get_eject",
        "view_nullify",
        "show_blacklist",
    ] {
        let entry = harmless(name, json!({}));
        assert_eq!(entry.access, AccessLevel::Admin, "{name}");
    }
    let entry = harmless("get_whitelist", json!({"ip": {"type": ["string", "null"]}}));
    assert_eq!(entry.access, AccessLevel::Admin);
}

#[test]
fn nouns_that_begin_or_end_like_such_verbs_still_read() {
    for name in [
        "list_reports",
        "get_details",
        "list_resources",
        "get_profile",
        "get_unread_messages",
        "get_discount",
        "get_offset",
        "get_research",
        "list_deleted_items",
        "get_person",
        "list_versions",
        "get_session",
        "get_feedback",
        "get_dependencies",
        "get_department",
        "get_design",
        "list_devices",
        "list_releases",
        "get_input",
        "get_timeout",
        "list_options",
        "list_groups",
        "get_layout",
        "get_region",
        "get_revenue",
        "list_recipients",
        "get_relations",
        "get_reminders",
        "get_unit",
        "get_delivery",
        "get_deadline",
        "get_description",
        "get_distance",
        "get_discussion",
        "list_online_users",
        "get_office",
        "list_offers",
        "get_oncall",
        "get_overview",
        "get_software",
        "list_replies",
    ] {
        let entry = harmless(name, json!({}));
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Read, "{name}: {why}");
    }
}

#[test]
fn two_words_of_one_verb_are_joined() {
    let joined = |name: &str| join(crate::analysis::propose::words::split(name)).join(" ");
    assert_eq!(joined("re-index_all"), "reindex all");
    assert_eq!(joined("host_power_off"), "host poweroff");
    assert_eq!(joined("un_friend"), "unfriend");
    assert_eq!(joined("get_order_in_store"), "get order in store");
    assert_eq!(joined("list_on_board"), "list on board");
    assert_eq!(joined("get_de_text"), "get de text");
}

#[test]
fn a_tool_that_calls_another_one_is_admin() {
    let text = || json!({"type": ["string", "null"]});
    let object = || json!({"type": "object"});
    for (name, properties) in [
        ("query_graph", json!({"document": text()})),
        (
            "get_dispatch",
            json!({"tool_name": text(), "tool_input": object()}),
        ),
        // Their siblings.
        (
            "graphql",
            json!({"operation_text": text(), "operation": text()}),
        ),
        ("query_api", json!({"body": text()})),
        ("get_graphql", json!({"document": text()})),
        (
            "list_mutations",
            json!({"selection": text(), "variables": object()}),
        ),
        (
            "get_result",
            json!({"document": text(), "variables": object()}),
        ),
        (
            "get_result",
            json!({"document": text(), "operationName": text()}),
        ),
        (
            "get_result",
            json!({"function": text(), "function_args": object()}),
        ),
        (
            "get_result",
            json!({"toolId": text(), "toolArguments": object()}),
        ),
        (
            "get_result",
            json!({"methodName": text(), "params_json": text()}),
        ),
        (
            "get_result",
            json!({"agent": text(), "agent_input": object()}),
        ),
        ("get_result", json!({"tool": text(), "input": text()})),
        (
            "get_result",
            json!({"procedure_name": text(), "arguments": text()}),
        ),
        (
            "get_result",
            json!({"capability": text(), "request": object()}),
        ),
        ("get_result", json!({"rpc": text(), "payload": object()})),
        (
            "get_result",
            json!({"skill_slug": text(), "skill_params": object()}),
        ),
        (
            "get_result",
            json!({"handler": text(), "event_payload": object()}),
        ),
        (
            "get_result",
            json!({"plugin_id": text(), "options": object()}),
        ),
        (
            "get_result",
            json!({"api": text(), "query_parameters": object()}),
        ),
        (
            "get_result",
            json!({"command_name": text(), "args": {"type": "object"}}),
        ),
    ] {
        let entry = harmless(name, properties.clone());
        let why = &entry.why["access"];
        assert_eq!(
            entry.access,
            AccessLevel::Admin,
            "{name} {properties}: {why}"
        );
    }
    for (name, properties) in [
        (
            "get_result",
            json!({"agent": text(), "limit": {"type": "integer"}}),
        ),
        ("get_result", json!({"document": text()})),
        ("search_documents", json!({"text": text()})),
    ] {
        let entry = harmless(name, properties.clone());
        let why = &entry.why["access"];
        assert_eq!(
            entry.access,
            AccessLevel::Read,
            "{name} {properties}: {why}"
        );
    }
}

#[test]
fn who_gets_in_and_what_moves_is_administration() {
    for name in [
        "recover_account",
        "unlock_door",
        // Their siblings.
        "restore_account",
        "unlock_user",
        "reset_account",
        "suspend_user",
        "reactivate_employee",
        "freeze_card",
        "unlock_device",
        "transfer_profile",
        "switch_account",
        "provision_user",
        "resume_account",
        "open_garage",
        "lock_doors",
        "start_vehicle",
        "disarm_alarm",
        "open_valve",
        "set_thermostat",
        "move_robot",
        "start_pump",
        "open_gate",
    ] {
        let entry = harmless(name, json!({}));
        assert_eq!(entry.access, AccessLevel::Admin, "{name}");
    }
    for name in [
        "update_user",
        "create_account",
        "unlock_issue",
        "open_issue",
        "restore_page",
    ] {
        let entry = harmless(name, json!({}));
        assert_eq!(entry.access, AccessLevel::Write, "{name}");
    }
}
