use serde_json::json;

use super::*;
use crate::domain::fixtures::world;
use crate::domain::request::target;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::schema::{self, AccessLevel};
use crate::domain::shared_list::SharedList;

fn at(text: &str) -> Target {
    target::parse_one("slack", text).unwrap()
}

fn in_chat(text: &str) -> Target {
    target::parse_one("chat", text).unwrap()
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
        any_target: false,
    }
}

fn covers(targets: &[&str], arguments: Json) -> Result<(), String> {
    let targets: Vec<Target> = targets.iter().map(|text| at(text)).collect();
    let arguments = arguments.as_object().unwrap();
    let covered = tool_use().covers(&world(""), None, &targets, arguments, true);
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

/// An invitation of Dora to whichever address, as a registration names its targets.
fn invite(targets: Json, arguments: Json) -> Result<(), String> {
    invite_with(targets, arguments, &[], false)
}

/// The same with the targets that the call has, and perhaps with something that goes back to a server.
fn invite_with(
    targets: Json,
    arguments: Json,
    all: &[Target],
    goes_back: bool,
) -> Result<(), String> {
    let forms: Vec<TargetArgumentForm> = serde_json::from_value(targets).unwrap();
    let registered = RegisteredTool {
        uid: schema::tool_uid("chat", "invite"),
        own_action: schema::tool_action_uid("chat", "invite"),
        access: AccessLevel::Write,
        target_arguments: Ok(forms
            .iter()
            .map(|it| TargetArgument::read(it).unwrap())
            .collect()),
        file_contents: Vec::new(),
        yields: SharedList::default(),
        digest: None,
        digest_parts: None,
        arguments: None,
        argument_order: Vec::new(),
    };
    let dora = ToolUse {
        tool: registered.uid.clone(),
        targets: Vec::new(),
        arguments: vec![AllowedValues {
            argument: "user".into(),
            values: vec!["\"Dora\"".into()],
        }],
        max_calls: Some(1),
        any_target: true,
    };
    let arguments = arguments.as_object().unwrap();
    let covered = dora.covers(&world(""), Some(&registered), all, arguments, goes_back);
    covered.map_err(|outside| outside.to_string())
}

fn address() -> Json {
    json!([{"argument": "email", "kind": "email"}])
}

#[test]
fn an_open_target_may_be_any_one() {
    for (targets, arguments) in [
        (
            address(),
            json!({"user": "Dora", "email": "dora@a.example"}),
        ),
        (
            address(),
            json!({"user": "Dora", "email": ["dora@a.example"]}),
        ),
        (
            json!([{"argument": "email", "kind": "email", "optional": true}, "room"]),
            json!({"user": "Dora", "email": null, "room": 7}),
        ),
        (json!(["to[]"]), json!({"user": "Dora", "to": ["general"]})),
    ] {
        assert_eq!(invite(targets, arguments.clone()), Ok(()), "{arguments}");
    }
}

#[test]
fn with_an_open_target_nothing_goes_back_to_the_server_and_no_other_target_is_stated() {
    let call = || (json!(["room"]), json!({"user": "Dora", "room": "general"}));
    let with = |all: &[&str], goes_back| {
        let all: Vec<Target> = all.iter().map(|it| in_chat(it)).collect();
        let (targets, arguments) = call();
        invite_with(targets, arguments, &all, goes_back)
    };
    assert_eq!(with(&["general"], false), Ok(()));
    let not_one = "`chat/invite` is for any one target, and the call names none or several";
    assert_eq!(with(&["general", "other"], false), Err(not_one.to_owned()));
    assert_eq!(with(&["other"], false), Err(not_one.to_owned()));
    let back =
        "`chat/invite` is for any target, and not with what goes back to a server that asked";
    assert_eq!(with(&["general"], true), Err(back.to_owned()));
}

#[test]
fn with_an_open_target_a_call_says_nothing_that_is_not_listed() {
    let not_one = "`chat/invite` is for any one target, and the call names none or several";
    let more = "`chat/invite` is for any target, and the call says more than its name";
    let unlisted = "`chat/invite` is for any target, but not with argument `text`";
    let long = format!("{}@a.example", "x".repeat(250));
    let within = json!(["message.to"]);
    let two = json!(["email", "room"]);
    for (targets, arguments, said) in [
        (address(), json!({"user": "Dora"}), not_one),
        (address(), json!({"user": "Dora", "email": []}), not_one),
        (
            address(),
            json!({"user": "Dora", "email": "a@a.example, b@a.example"}),
            not_one,
        ),
        (
            address(),
            json!({"user": "Dora", "email": ["a@a.example", "b@a.example"]}),
            not_one,
        ),
        (
            address(),
            json!({"user": "Dora", "email": {"to": "a@a.example"}}),
            not_one,
        ),
        (address(), json!({"user": "Dora", "email": long}), not_one),
        (
            two,
            json!({"user": "Dora", "email": "a", "room": "b"}),
            not_one,
        ),
        (
            address(),
            json!({"user": "Dora", "email": "the plan <a@a.example>"}),
            more,
        ),
        (
            json!(["email"]),
            json!({"user": "Dora", "email": "x".repeat(255)}),
            more,
        ),
        (
            address(),
            json!({"user": "Dora", "email": "a@a.example", "text": "plan"}),
            unlisted,
        ),
        (
            address(),
            json!({"user": "Dora", "email": "a@a.example", "text": null}),
            unlisted,
        ),
        (
            within,
            json!({"user": "Dora", "message": {"to": "a@a.example", "text": "plan"}}),
            "`chat/invite` is for any target, but not with argument `message`",
        ),
        (
            address(),
            json!({"user": "Fred", "email": "a@a.example"}),
            "`chat/invite` is for other values of argument `user`",
        ),
        (
            address(),
            json!({"email": "a@a.example"}),
            "`chat/invite` is for other values of argument `user`",
        ),
        // What is listed is not open, even if it names a target.
        (json!(["user"]), json!({"user": "Dora"}), not_one),
    ] {
        assert_eq!(
            invite(targets, arguments.clone()),
            Err(said.to_owned()),
            "{arguments}"
        );
    }
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
