use callgate_engine::cedar::Literal;

use super::*;
use crate::domain::fixtures;
use crate::domain::schema;

/// Whether attributes of an entity can be changed to these.
fn can_be(ty: &str, id: &str, attributes: &[(&str, Value)]) -> bool {
    let snapshot = fixtures::world("permit (principal, action, resource);");
    let uid = format!("Mcp::{ty}::\"{id}\"").parse().expect("a uid");
    let stated = attributes.iter().cloned();
    let stated = stated.map(|(name, value)| (SmolStr::new(name), value));
    with_attributes(&snapshot, &uid, stated.collect()).is_some()
}

fn entity(uid: EntityUID) -> Value {
    Value::from(Literal::from(uid))
}

#[test]
fn no_attribute_gets_a_value_of_another_type() {
    let (person, agent) = (fixtures::person("mallory"), fixtures::agent("helper"));
    for (ty, id) in [("Tool", "github/create_issue"), ("Server", "github")] {
        assert!(can_be(ty, id, &[("owner", entity(person.clone()))]), "{id}");
        assert!(!can_be(ty, id, &[("owner", entity(agent.clone()))]), "{id}");
    }
    assert!(!can_be(
        "Server",
        "github",
        &[("active", Value::from("no"))]
    ));
    assert!(!can_be(
        "Server",
        "github",
        &[("colour", Value::from("red"))]
    ));
}

#[test]
fn what_is_proposed_of_a_tool_changes_with_its_confirmation_only() {
    let proposed = "github/merge";
    let (read, confirmed) = (Value::from("read"), Value::from(true));
    assert!(!can_be("Tool", proposed, &[("egress", Value::from(false))]));
    assert!(!can_be("Tool", proposed, &[("access", read.clone())]));
    assert!(can_be(
        "Tool",
        proposed,
        &[("access", read), ("confirmed", confirmed)]
    ));
}

#[test]
fn what_follows_from_the_name_of_a_resource_stays() {
    let snapshot = fixtures::world("permit (principal, action, resource);");
    let page = schema::entity_uid(
        &crate::domain::schema::TYPES.resource,
        "https://example.org/",
    );
    let with = |name: &'static str| {
        with_entity(&snapshot, &page, |parts| {
            let value = PartialValue::from(Value::from(true));
            parts.attributes.insert(SmolStr::new_static(name), value);
            true
        })
    };
    assert!(with("sensitivity").is_some());
    assert!(with("public").is_none());
}
