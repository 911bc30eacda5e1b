use serde_json::json;

use super::*;
use crate::domain::fixtures::world;
use crate::domain::request::target;
use crate::domain::schema;

fn at(text: &str) -> Target {
    target::parse_one("slack", text).unwrap()
}

fn place(text: &str) -> EntityUID {
    at(text).uid().clone()
}

fn tool_use() -> ToolUse {
    ToolUse {
        tool: schema::tool_uid("slack", "post"),
        targets: vec![place("C04"), place("/srv/shop")],
        arguments: vec![AllowedValues {
            argument: "n".into(),
            values: vec!["1".into(), "\"a\"".into(), "{\"a\":1,\"b\":2}".into()],
        }],
        max_calls: Some(2),
    }
}

fn covers(targets: &[&str], arguments: Json) -> Result<(), String> {
    let targets: Vec<Target> = targets.iter().map(|text| at(text)).collect();
    let arguments = arguments.as_object().unwrap();
    let covered = tool_use().covers(&world(""), &targets, arguments);
    covered.map_err(|outside| outside.to_string())
}

#[test]
fn a_tool_is_for_its_targets_and_what_lies_within_them() {
    let one = || json!({"n": 1, "other": "x"});
    assert_eq!(covers(&["C04"], one()), Ok(()));
    assert_eq!(covers(&["C04", "/srv/shop/a/b"], one()), Ok(()));
    for (targets, said) in [
        (
            &["C05"][..],
            "`slack/post` is not for acting upon `slack:C05`",
        ),
        (
            &["C04", "C05"],
            "`slack/post` is not for acting upon `slack:C05`",
        ),
        (
            &["/srv/shop-2"],
            "`slack/post` is not for acting upon `file:///srv/shop-2`",
        ),
        (
            &["/srv"],
            "`slack/post` is not for acting upon `file:///srv`",
        ),
        (
            &[],
            "`slack/post` is for some targets only, and the call names none",
        ),
    ] {
        assert_eq!(covers(targets, one()), Err(said.to_owned()));
    }
}

#[test]
fn arguments_have_the_values_that_are_named() {
    for named in [json!(1), json!("a"), json!({"b": 2, "a": 1})] {
        assert_eq!(covers(&["C04"], json!({ "n": named })), Ok(()));
    }
    for other in [
        json!("1"),
        json!(2),
        json!(null),
        json!([1]),
        json!({"a": 1}),
        json!("A"),
    ] {
        let said = "`slack/post` is for other values of argument `n`".to_owned();
        assert_eq!(covers(&["C04"], json!({ "n": other })), Err(said));
    }
    assert!(
        covers(&["C04"], json!({})).is_err(),
        "an argument that is left out has none"
    );
}

#[test]
fn a_place_is_known_for_the_way_it_was_named() {
    let snapshot = world("");
    let terms = TaskTerms {
        uses: Vec::new(),
        places: vec![
            KnownResource {
                place: place("https://www.rfc-editor.org/rfc"),
                read: true,
                send: false,
            },
            KnownResource {
                place: place("mailto:bob@corp.com"),
                read: false,
                send: true,
            },
        ],
    };
    let knows = |way, text: &str| {
        let target = at(text);
        terms.knows(&snapshot, way, target.uid(), &target.overlay.parents)
    };
    assert!(knows(
        FlowDirection::Read,
        "https://www.rfc-editor.org/rfc/rfc8785"
    ));
    assert!(!knows(FlowDirection::Read, "https://www.rfc-editor.org/"));
    assert!(!knows(
        FlowDirection::Send,
        "https://www.rfc-editor.org/rfc/rfc8785"
    ));
    assert!(knows(FlowDirection::Send, "mailto:Bob@corp.com"));
    assert!(!knows(FlowDirection::Read, "mailto:bob@corp.com"));
    assert!(!knows(
        FlowDirection::Send,
        "mailto:bob@corp.com.evil.example"
    ));
}
