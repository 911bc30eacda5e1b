use std::sync::Arc;

use callgate_engine::cedar::{Context, Value};

use super::*;
use crate::domain::fixtures::agent;
use crate::domain::schema::{entity_uid, server_uid, tool_uid};

fn entity_value(uid: EntityUID) -> Value {
    Value::new(uid, None)
}

fn context(attributes: Vec<(&str, Value)>) -> Context {
    let attributes = attributes.into_iter();
    Context::Value(Arc::new(
        attributes
            .map(|(name, value)| (name.into(), value))
            .collect(),
    ))
}

/// The conditions of a call, of which the action declares everything.
fn conditions(resource: &EntityUID, attributes: Vec<(&str, Value)>) -> Vec<String> {
    let (context, principal) = (context(attributes), agent("helper"));
    let asked = AskedOf {
        principal: &principal,
        resource,
        context: &context,
        overlays: &[],
        declares: &|_| true,
    };
    let kind = CallKind::from_context(asked).conditions(true);
    [kind, Circumstances::from_context(asked, false).conditions()].concat()
}

#[test]
fn a_server_is_named_where_nothing_else_tells_it() {
    let server = || vec![("server", entity_value(server_uid(&"notes".into())))];
    let said = |resource: &EntityUID| conditions(resource, server()).join("\n");
    let resource = entity_uid(&TYPES.resource, "file:///a");
    assert!(said(&resource).contains("context.server == Mcp::Server::\"notes\""));
    for resource in [tool_uid("notes", "read"), server_uid(&"notes".into())] {
        assert!(!said(&resource).contains("context.server"));
    }
}

#[test]
fn targets_are_named_in_the_part_that_they_play() {
    let tool = tool_uid("notes", "copy");
    let circumstances = |role: Option<&str>, file: &str| {
        let target = entity_uid(&TYPES.resource, format!("file:///{file}"));
        let role = role.map(|it| ("target_role", Value::new(SmolStr::new(it), None)));
        let attributes = [("target", entity_value(target))].into_iter().chain(role);
        let (context, principal) = (context(attributes.collect()), agent("helper"));
        let asked = AskedOf {
            principal: &principal,
            resource: &tool,
            context: &context,
            overlays: &[],
            declares: &|_| true,
        };
        Circumstances::from_context(asked, false)
    };
    let mut both = circumstances(Some("source"), "a");
    both.meet(circumstances(Some("destination"), "b"));
    assert_eq!(
        both.conditions(),
        ["context has target && (\
             (context has target_role && context.target_role == \"destination\" && context.target == Mcp::Resource::\"file:///b\") || \
             (context has target_role && context.target_role == \"source\" && context.target == Mcp::Resource::\"file:///a\"))"]
    );
    let plain = circumstances(None, "a").conditions();
    assert_eq!(
        plain,
        ["context has target && context.target == Mcp::Resource::\"file:///a\""]
    );
}

#[test]
fn texts_are_written_as_cedar_reads_them() {
    let quote = "a\"b\\c\nd\u{202e}";
    let said = quoted(quote);
    assert!(!said.contains('\n') && said.starts_with('"') && said.ends_with('"'));
    let policy = format!("permit (principal, action, resource) when {{ {said} == {said} }};");
    assert!(
        callgate_engine::cedar::parse_policyset(&policy).is_ok(),
        "{said}"
    );
    assert!(said.contains("\\\"b\\\\c\\n"), "{said}");
}
