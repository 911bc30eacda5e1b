use serde_json::{Value as Json, json};

use crate::analysis::propose::tests::{proposed, with};
use crate::bundle::parse::registration::AccessLevel;

fn text() -> Json {
    json!({"type": "string"})
}

/// A target of one argument as it is written.
fn target_of(tool: &str, argument: &str) -> Json {
    let schema = json!({"properties": {argument: text()}, "required": [argument]});
    let mut list = proposed(tool, schema);
    assert_eq!(list.len(), 1, "{tool} {argument}: {list:?}");
    list.remove(0)
}

#[test]
fn what_a_tool_of_files_takes_from_or_puts_somewhere_is_a_path() {
    for (tool, argument, role) in [
        ("move_file", "source", "source"),
        ("move_file", "destination", "destination"),
        ("copy_directory", "src", "source"),
        ("rename_folder", "dst", "destination"),
        ("link_files", "dest", "destination"),
        ("convert_file", "out", "destination"),
        ("convert_file", "output", "destination"),
    ] {
        let wanted = json!({"argument": argument, "kind": "path", "role": role});
        assert_eq!(target_of(tool, argument), wanted, "{tool}");
    }
    let elsewhere = json!({"argument": "source", "role": "source"});
    assert_eq!(target_of("copy_object", "source"), elsewhere);
}

#[test]
fn places_to_write_to_are_targets() {
    for argument in ["out", "output", "dest", "dst", "dest_bucket"] {
        let wanted = json!({"argument": argument, "role": "destination"});
        assert_eq!(target_of("get_doc", argument), wanted);
    }
    for argument in [
        "save_to",
        "save_as",
        "write_to",
        "dump_to",
        "store_as",
        "download_to",
    ] {
        let wanted = json!({"argument": argument, "kind": "path", "role": "destination"});
        assert_eq!(target_of("get_doc", argument), wanted);
    }
}

#[test]
fn who_is_told_and_what_is_reached_is_a_target_and_leads_out() {
    for (argument, role) in [
        ("deliver_to", Some("recipient")),
        ("post_to", Some("recipient")),
        ("share_with", Some("recipient")),
        ("notify", Some("recipient")),
        ("upload_to", Some("destination")),
        ("push_to", Some("destination")),
        ("src", Some("source")),
        ("img_src", Some("source")),
        ("resource_uri", None),
        ("fileUri", None),
        ("document_uri", None),
    ] {
        let entry = with("get_doc", json!({argument: text()}));
        assert!(entry.egress, "{argument}");
        let [target] = entry.target_arguments.as_slice() else {
            panic!("{argument}: {:?}", entry.target_arguments);
        };
        assert_eq!(target.role.as_deref(), role, "{argument}");
    }
    let entry = with("get_doc", json!({"notify": {"type": "boolean"}}));
    assert_eq!(entry.target_arguments, []);
}

#[test]
fn only_what_is_in_a_repository_of_somebody_has_a_path_without_kind() {
    let schema =
        |properties: Json, required: Json| json!({"properties": properties, "required": required});
    let local = schema(json!({"repo": text(), "path": text()}), json!(["path"]));
    assert_eq!(
        proposed("read_file", local),
        [json!({"argument": "path", "kind": "path"})]
    );
    let based = schema(
        json!({"repo": text(), "path": text()}),
        json!(["repo", "path"]),
    );
    let wanted = json!({"argument": "path", "kind": "path", "base": "repo"});
    assert_eq!(proposed("read_file", based), [wanted]);
    let remote = schema(
        json!({"owner": text(), "repo": text(), "path": text()}),
        json!(["owner", "repo", "path"]),
    );
    assert_eq!(proposed("read_file", remote), [json!("path")]);
    let remote = schema(
        json!({"repo": text(), "path": text()}),
        json!(["repo", "path"]),
    );
    assert_eq!(proposed("github_read_file", remote), [json!("path")]);
}

#[test]
fn a_list_of_texts_or_objects_is_a_target() {
    let item =
        |inner: &str| json!({"anyOf": [text(), {"type": "object", "properties": {inner: text()}}]});
    let files = |inner: &str| json!({"type": "array", "items": item(inner)});
    let wanted = json!({"argument": "files", "kind": "path", "optional": true});
    let entry = with("get_doc", json!({"files": files("name")}));
    assert_eq!(
        serde_json::to_value(&entry.target_arguments).expect("JSON"),
        json!([wanted])
    );
    assert_eq!(entry.access, AccessLevel::Read);
    // With both, a call with either would be denied.
    let entry = with("get_doc", json!({"files": files("path")}));
    assert_eq!(
        serde_json::to_value(&entry.target_arguments).expect("JSON"),
        json!([wanted])
    );
    assert_eq!(entry.access, AccessLevel::Admin);
    let nested = json!({"type": "array", "items": {"type": "array", "items": text()}});
    let entry = with("get_doc", json!({"paths": nested}));
    assert_eq!(entry.target_arguments[0].argument, "paths[][]");
}

#[test]
fn the_ends_of_a_relation_are_no_sender_and_recipient() {
    let relations = json!({"relations": {"type": "array", "items": {
        "type": "object",
        "properties": {"from": text(), "to": text(), "relationType": text()},
        "required": ["from", "to"],
    }}});
    let found = proposed(
        "create_relations",
        json!({"properties": relations, "required": ["relations"]}),
    );
    assert_eq!(
        found,
        [
            json!({"argument": "relations[].from", "role": "source"}),
            json!({"argument": "relations[].to", "role": "destination"}),
        ]
    );
    let mail = json!({"properties": {"from": text(), "to": text()}, "required": ["from", "to"]});
    let found = proposed("send_mail", mail);
    assert_eq!(found, [json!({"argument": "to", "role": "recipient"})]);
}

#[test]
fn whom_a_message_goes_to_is_a_target() {
    for (tool, argument) in [
        ("send_dm", "user_id"),
        ("post_to_room", "room"),
        ("sendMessage", "chatId"),
        ("reply", "channel_name"),
        ("notify_person", "person"),
        ("broadcast", "groups"),
        ("create_message", "room_id"),
    ] {
        let wanted = json!({"argument": argument, "kind": "id", "role": "recipient"});
        assert_eq!(target_of(tool, argument), wanted, "{tool}");
    }
    let number = json!({"properties": {"chat_id": {"type": "integer"}}, "required": ["chat_id"]});
    let wanted = json!({"argument": "chat_id", "kind": "id", "role": "recipient"});
    assert_eq!(proposed("send_message", number), [wanted]);
    // What says nothing to anybody names somebody for another reason.
    for (tool, argument) in [
        ("get_user", "user_id"),
        ("list_messages", "channel_id"),
        ("get_post", "user"),
        ("send_dm", "text"),
    ] {
        let schema = json!({"properties": {argument: text()}, "required": [argument]});
        assert!(proposed(tool, schema).is_empty(), "{tool} {argument}");
    }
}
