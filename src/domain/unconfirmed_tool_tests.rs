use callgate_engine::cedar::Value;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::entity_json::parse_value;
use crate::domain::schema;

/// An attribute of a tool that is registered with `access: read`, no egress and public data, as policies may read it.
fn read(confirmed: bool, name: &str) -> Option<Json> {
    let owner = json!({"type": "Mcp::User", "id": "ana"});
    let entity = json!({
        "uid": {"type": "Mcp::Tool", "id": "notes/get"},
        "attrs": {
            "access": "read", "confirmed": confirmed, "yields": ["private"], "egress": false,
            "sensitivity": "public", "owner": {"__entity": owner},
        },
        "parents": [],
    });
    let entity = parse_value(None, entity).expect("the entity parses");
    let json = entity.to_json_value().expect("the entity can be written");
    json["attrs"].get(name).cloned()
}

#[test]
fn nothing_that_is_proposed_of_a_tool_makes_a_call_easier() {
    for (name, confirmed, proposed) in [
        ("access", json!("read"), json!("admin")),
        ("egress", json!(false), json!(true)),
        ("sensitivity", json!("public"), json!("restricted")),
        (
            "yields",
            json!(["private"]),
            json!(["private", "untrusted"]),
        ),
        ("confirmed", json!(true), json!(false)),
    ] {
        assert_eq!(
            read(true, name),
            Some(confirmed),
            "{name} of a confirmed tool"
        );
        assert_eq!(
            read(false, name),
            Some(proposed),
            "{name} of a proposed one"
        );
    }
    assert_eq!(read(false, "owner"), read(true, "owner"));
}

#[test]
fn what_a_caller_says_of_an_unconfirmed_tool_counts_as_little() {
    let tool = schema::entity_uid(&TYPES.tool, "notes/get");
    let access = |confirmed: bool| {
        let overlay = asserted_in_force(Overlay {
            attributes: vec![
                ("confirmed".into(), Value::from(confirmed)),
                ("access".into(), Value::from("read")),
            ],
            ..Overlay::bare(tool.clone())
        });
        let mut attributes = overlay.attributes.into_iter();
        attributes.find_map(|(name, value)| (name == "access").then_some(value))
    };
    assert_eq!(access(true), Some(Value::from("read")));
    assert_eq!(access(false), Some(Value::from("admin")));
}
