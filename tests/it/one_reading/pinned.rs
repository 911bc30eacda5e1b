//! A definition has one digest, whoever computes it: the import, the control API, and the judge of lists.

use std::collections::BTreeMap;

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use serde_json::Value as Json;

use crate::one_reading::results::{Passage, passage};
use crate::one_reading::world::{Doors, start};
use crate::support::command::Workplace;
use crate::support::in_process::entity;

/// What a number, or a text, in a schema can be.
const ODD: [&str; 18] = [
    "1",
    "1.0",
    "-0.0",
    "1e2",
    "1e21",
    "0.1",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1e400",
    "-1E400",
    "0.1000000000000000055511151231257827",
    r#""\ud800""#,
];

fn definition(place: usize, value: &str) -> String {
    format!(
        r#"{{"name":"odd_{place}","inputSchema":{{"type":"object","properties":{{"n":{{"type":"integer","default":{value}}}}}}}}}"#
    )
}

fn list(definitions: &[String]) -> String {
    format!(r#"{{"tools":[{}]}}"#, definitions.join(","))
}

/// What an import pins.
fn imported(definitions: &[String]) -> BTreeMap<String, String> {
    let workplace = Workplace::new(&[("list.json", &list(definitions))]);
    let ran = workplace.run(&["import", "tools", "list.json", "--server", "files"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let file = workplace.read("policies/tools/files.json");
    let registration: Json = serde_json::from_str(&file).expect("JSON");
    let tools = registration["tools"].as_object().expect("tools").iter();
    tools
        .map(|(name, tool)| {
            (
                name.clone(),
                tool["digest"].as_str().expect("a digest").to_owned(),
            )
        })
        .collect()
}

#[tokio::test]
async fn odd_numbers_have_one_digest_and_cost_no_tool_its_place() {
    let definitions: Vec<String> = ODD
        .iter()
        .enumerate()
        .map(|(at, it)| definition(at, it))
        .collect();
    let pinned = imported(&definitions);
    let pins: Vec<(&str, &str)> = pinned
        .iter()
        .map(|(name, digest)| (name.as_str(), digest.as_str()))
        .collect();
    let mut doors = Doors::open(start(&pins).await).await;
    let made = passage(&mut doors, "tools/list", list(&definitions).as_bytes()).await;
    assert_eq!(made, Passage::Unchanged);

    // The same number in other words is the same definition; another number is another one.
    for (of, value, is_same) in [
        ("1", "1.0", true),
        ("1e2", "100", true),
        ("-0.0", "0", true),
        ("0.1", "1e-1", true),
        ("1", "2", false),
        ("18446744073709551616", "18446744073709551617", false),
        ("1e400", "1e401", false),
        ("1e400", "\"1e400\"", false),
        ("0.1", "0.1000000000000000055511151231257827", false),
    ] {
        let place = ODD.iter().position(|it| *it == of).expect("one of them");
        let other = definition(place, value);
        let another = (place + 1) % ODD.len();
        let shown = [other, definitions[another].clone()];
        let made = passage(&mut doors, "tools/list", list(&shown).as_bytes()).await;
        let expected = match is_same {
            true => Passage::Unchanged,
            false => Passage::Changed(list(&shown[1..])),
        };
        assert_eq!(made, expected, "{of} as {value}");
    }
}

#[tokio::test]
async fn the_control_api_pins_the_digests_of_the_import() {
    let definitions: Vec<String> = ODD
        .iter()
        .enumerate()
        .map(|(at, it)| definition(at, it))
        .collect();
    let pinned = imported(&definitions);
    let mut doors = Doors::open(start(&[]).await).await;
    let mut control = ControlClient::new(doors.channel.clone());
    for (at, definition) in definitions.iter().enumerate() {
        let tool = format!("odd_{at}");
        let request = v1::RegisterToolRequest {
            actor: Some(v1::Actor {
                entity: entity("User", "ana"),
                ..v1::Actor::default()
            }),
            server: "files".to_owned(),
            tool: tool.clone(),
            access: v1::AccessLevel::Read.into(),
            sensitivity: "internal".to_owned(),
            owner: "ana".to_owned(),
            definition_json: definition.clone().into(),
            ..v1::RegisterToolRequest::default()
        };
        let registered = control.register_tool(request).await;
        let registered = registered.unwrap_or_else(|status| panic!("{definition}: {status:?}"));
        assert_eq!(
            registered.into_inner().digest,
            pinned[&tool],
            "{definition}"
        );
    }
    let made = passage(&mut doors, "tools/list", list(&definitions).as_bytes()).await;
    assert_eq!(made, Passage::Unchanged);
}
