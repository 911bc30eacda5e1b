//! `callgate export coaz`: the mappings, and that what they make of a call is decided as the call.

use serde_json::{Value as Json, json};

use crate::support::bundle_dir::BundleDir;
use crate::support::command::Workplace;

fn workplace() -> Workplace {
    let dir = BundleDir::new().user("owen", &[]);
    let dir = ["git", "mail"].iter().fold(dir, |dir, server| {
        let unseen = json!({"status": "proposed", "egress": true});
        dir.server(server, "owen")
            .tool(&format!("{server}_log"), "read")
            .tool_with(&format!("{server}_push"), "write", unseen)
    });
    Workplace::of(&dir)
}

#[test]
fn every_tool_by_server_and_name() {
    insta::assert_snapshot!(
        "coaz_export",
        workplace().run(&["export", "coaz"]).transcript()
    );
}

#[test]
fn of_one_server_and_of_none() {
    let place = workplace();
    let ran = place.run(&[
        "export", "coaz", "policies", "--server", "git", "--output", "json",
    ]);
    let servers: Vec<String> = ran
        .json()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!((ran.code, servers), (0, vec!["git".to_owned()]));
    let ran = place.run(&["export", "coaz", "--server", "got"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("no tool of a server `got`"),
        "{}",
        ran.stderr
    );
    place.write("policies/a.cedar", "permit (principal");
    assert_eq!(place.run(&["export", "coaz"]).code, 3);
}

/// A mapping as an enforcement point applies it: as much of CEL as there is in it.
fn applied(mapping: &Json, token: &Json, params: &Json) -> Json {
    match mapping {
        Json::Object(members) => {
            let applied = members
                .iter()
                .map(|(name, it)| (name.clone(), applied(it, token, params)));
            Json::Object(applied.filter(|(_, it)| !it.is_null()).collect())
        }
        Json::String(text) => match text.as_str() {
            "$token.sub" => token["sub"].clone(),
            "$token.?client_id" => token["client_id"].clone(),
            "$params.name" => params["name"].clone(),
            "$has(params.arguments) ? params.arguments : {}" => match params.get("arguments") {
                Some(arguments) => arguments.clone(),
                None => json!({}),
            },
            literal => {
                assert!(
                    !literal.starts_with('$'),
                    "an expression that is not known: {literal}"
                );
                json!(literal)
            }
        },
        other => other.clone(),
    }
}

/// The question that an exported mapping makes of a call.
pub fn question(server: &str, tool: &str, token: &Json, params: &Json) -> Json {
    let ran = workplace().run(&["export", "coaz", "--output", "json"]);
    let mapping = ran.json()[server][tool]["x-authzen-mapping"]["evaluation"].clone();
    assert!(mapping.is_object(), "{}", ran.transcript());
    applied(&mapping, token, params)
}

#[test]
fn a_call_has_its_server_and_all_its_arguments() {
    let token = json!({"sub": "owen", "client_id": "coder"});
    for (params, arguments) in [
        (
            json!({"name": "git_log", "arguments": {"path": "/a", "n": [1, {"b": 2}]}}),
            json!({"path": "/a", "n": [1, {"b": 2}]}),
        ),
        (json!({"name": "git_log"}), json!({})),
    ] {
        let wanted = json!({
            "subject": {"type": "identity", "id": "owen"},
            "action": {"name": "tools/call"},
            "context": {"agent": "coder"},
            "resource": {"type": "tool", "id": "git_log", "properties": {"server": "git", "arguments": arguments}},
        });
        assert_eq!(question("git", "git_log", &token, &params), wanted);
    }
}
