use serde_json::json;

use super::*;

fn tool(schema: Option<Json>, targets: Result<Vec<TargetArgument>, SmolStr>) -> RegisteredTool {
    RegisteredTool {
        uid: schema::tool_uid("files", "read"),
        own_action: schema::action_uid("files/read"),
        access: AccessLevel::Read,
        target_arguments: targets,
        file_contents: Vec::new(),
        yields: SharedList::default(),
        digest: None,
        digest_parts: None,
        arguments: schema.as_ref().map(ArgumentSchema::from_schema),
        argument_order: Vec::new(),
    }
}

fn untold(schema: Option<Json>, told: Json) -> Vec<String> {
    let told = told.as_object().cloned().unwrap_or_default();
    tool(schema, Ok(Vec::new())).untold_arguments(&told)
}

#[test]
fn what_a_tool_may_take_besides_what_is_told_is_in_its_pinned_schema() {
    let none: [String; 0] = [];
    let two = json!({"properties": {"path": {"type": "string"}, "limit": {"type": "number"}}});
    assert_eq!(untold(None, json!({})), ["arguments"]);
    assert_eq!(untold(None, json!({"path": "/a"})), ["arguments"]);
    assert_eq!(untold(Some(two.clone()), json!({})), ["arguments"]);
    let told = json!({"path": "/a"});
    assert_eq!(untold(Some(two.clone()), told), ["arguments.limit"]);
    let told = json!({"path": "/a", "limit": {"most": 3}});
    assert_eq!(
        untold(Some(two.clone()), told),
        ["arguments.limit"],
        "an object may be told in part"
    );
    let told = json!({"path": "/a", "limit": 3});
    assert_eq!(untold(Some(two), told), none);
    let open = json!({"properties": {}, "additionalProperties": true});
    assert_eq!(untold(Some(open), json!({"path": "/a"})), ["arguments"]);
    for nothing in [
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}}),
        json!({"type": "object", "properties": {}, "additionalProperties": false}),
    ] {
        assert_eq!(untold(Some(nothing), json!({})), none);
    }
    let broken = tool(Some(json!({"type": "object"})), Err("is odd".into()));
    assert_eq!(broken.untold_arguments(&Map::new()), ["arguments"]);
}

#[test]
fn a_server_has_the_labels_of_all_tools_that_it_had() {
    let mut tools = RegisteredTools::default();
    let with = |uid: EntityUID, yields: &[&'static str]| RegisteredTool {
        uid,
        yields: yields.iter().copied().map(SmolStr::new_static).collect(),
        ..tool(None, Ok(Vec::new()))
    };
    assert_eq!(tools.labels_of_server("files"), [""; 0]);
    tools.add_labels(&with(schema::tool_uid("files", "read"), &["private"]));
    tools.add_labels(&with(schema::tool_uid("files", "stat"), &[]));
    tools.add_labels(&with(
        schema::tool_uid("files", "get"),
        &["private", "secret"],
    ));
    tools.add_labels(&with(schema::tool_uid("web", "get"), &["untrusted"]));
    assert_eq!(tools.labels_of_server("files"), ["private", "secret"]);
    assert_eq!(tools.labels_of_server("web"), ["untrusted"]);
}

#[test]
fn a_text_that_names_a_target_is_one_to_every_server() {
    let read = |argument: &str, kind: &str, base: Option<&str>| {
        let written = TargetArgumentForm {
            kind: Some(kind.to_owned()),
            base: base.map(str::to_owned),
            ..TargetArgumentForm::named(argument)
        };
        TargetArgument::read(&written).expect("it is a target argument")
    };
    let targets = vec![
        read("files", "path", Some("repo_path")),
        read("repo", "url", Some("https://example.com/{owner}")),
    ];
    let unpinned = tool(None, Ok(targets.clone()));
    let names = ["files", "repo_path", "repo", "owner", "body"];
    let properties = names.map(|name| (name.to_owned(), json!({"type": "string"})));
    let texts = json!({"properties": Json::Object(properties.into_iter().collect())});
    let pinned = tool(Some(texts), Ok(targets));
    let check = |tool: &RegisteredTool, arguments: Json| {
        tool.check_arguments(arguments.as_object().expect("an object"))
    };
    for arguments in [
        json!({"files": r#"["/etc/passwd"]"#}),
        json!({"files": "a", "repo_path": "null"}),
        json!({"repo": "{}"}),
        json!({"repo": "a", "owner": "null"}),
    ] {
        assert!(check(&unpinned, arguments.clone()).is_err(), "{arguments}");
        assert!(check(&pinned, arguments.clone()).is_err(), "{arguments}");
    }
    let honest = json!({"files": "pages/[id].tsx", "body": r#"{"a": 1}"#});
    assert!(check(&unpinned, honest.clone()).is_ok());
    assert!(check(&pinned, honest).is_ok());
}
