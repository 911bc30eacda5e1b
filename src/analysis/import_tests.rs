use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::bundle;
use crate::domain::request::canonical;

fn run(
    list: &Json,
    existing: Option<Registration>,
    choices: &ImportOptions,
) -> Result<ToolImport, ImportError> {
    let file = Arc::from("list.json");
    import(
        SourceText {
            file: &file,
            text: &list.to_string(),
        },
        existing,
        choices,
    )
}

fn choices(confirm: &[&str]) -> ImportOptions {
    ImportOptions {
        server: "srv".to_owned(),
        confirm: confirm.iter().map(|name| (*name).to_owned()).collect(),
        ..ImportOptions::default()
    }
}

fn first() -> ToolImport {
    let list = json!({"tools": [{"name": "get_a"}, {"name": "get_b"}, {"name": "get_c"}]});
    run(&list, None, &choices(&["get_a", "get_b"])).expect("imported")
}

fn changes(imported: &ToolImport) -> Vec<(&str, ToolChange, ConfirmationStatus)> {
    imported
        .tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.change, tool.status))
        .collect()
}

#[test]
fn a_review_counts_for_the_definition_that_was_reviewed() {
    let list = json!({"tools": [{"name": "get_a"}, {"name": "get_b"}]});
    let imported = run(&list, None, &choices(&[])).expect("imported");
    let mut reviewed = imported.registration.tools["get_a"].clone();
    reviewed.access = AccessLevel::Write;
    reviewed.yields = vec!["secret".to_owned()];
    confirm(&mut reviewed);
    let listed = imported.listed["get_a"].clone();
    let merged = |entry: &ToolEntry| Merged {
        change: ToolChange::Added,
        entry: entry.clone(),
        notes: Vec::new(),
    };
    let mut own = merged(&imported.registration.tools["get_a"]);
    own.entry.owner = Some("ana".to_owned());
    take_review(&listed, &mut own, &reviewed);
    let entry = &own.entry;
    assert_eq!(entry.status, ConfirmationStatus::Confirmed);
    assert_eq!(entry.access, AccessLevel::Write);
    assert_eq!(entry.yields, ["secret"]);
    assert_eq!(entry.owner.as_deref(), Some("ana"));

    // Another definition, and what a person has confirmed, stay as they are.
    let other = imported.listed["get_b"].clone();
    let before = imported.registration.tools["get_b"].clone();
    let mut own = merged(&before);
    take_review(&other, &mut own, &reviewed);
    assert_eq!(own.entry, before);
    confirm(&mut own.entry);
    let before = own.entry.clone();
    reviewed.digest.clone_from(&before.digest);
    take_review(&other, &mut own, &reviewed);
    assert_eq!(own.entry, before);
}

#[test]
fn a_server_that_is_not_in_the_catalogue_is_an_error() {
    let list = json!({"tools": [{"name": "git_status"}]});
    let of = |name: &str| ImportOptions {
        catalogue: Some(name.to_owned()),
        ..choices(&[])
    };
    let error = run(&list, None, &of("elsewhere")).expect_err("unknown");
    assert!(error.to_string().contains("filesystem, git"), "{error}");
    // The same name is not the same definition.
    let imported = run(&list, None, &of("git")).expect("imported");
    assert_eq!(imported.awaiting(), 1);
}

#[test]
#[ignore = "needs public data: data/mcp-tools"]
fn real_lists_of_the_servers_in_the_catalogue_are_confirmed() {
    let shared = PathBuf::from(std::env::var_os("CALLGATE_SHARED").expect("the public data"));
    let mut held = 0;
    for server in catalogue::servers() {
        let path = shared.join(format!("data/mcp-tools/{server}.json"));
        let Ok(list) = fs::read_to_string(path) else {
            continue;
        };
        held += 1;
        let list = serde_json::from_str(&list).expect("JSON");
        let of = ImportOptions {
            server: "mine".to_owned(),
            catalogue: Some(server.to_owned()),
            ..ImportOptions::default()
        };
        let imported = run(&list, None, &of).expect("imported");
        assert_eq!(imported.awaiting(), 0, "{server}: {:?}", changes(&imported));
    }
    // The others are asked by tests/registrations/fetch.
    assert!(held >= 9, "{held} servers");
}

#[test]
fn everything_is_proposed_until_somebody_confirms() {
    let imported = first();
    let expected = [
        ("get_a", ToolChange::Added, ConfirmationStatus::Confirmed),
        ("get_b", ToolChange::Added, ConfirmationStatus::Confirmed),
        ("get_c", ToolChange::Added, ConfirmationStatus::Proposed),
    ];
    assert_eq!(changes(&imported), expected);
    assert_eq!(imported.awaiting(), 1);
    assert_eq!(imported.registration.server.owner, UNASSIGNED);
    assert!(imported.registration.tools["get_a"].why.is_empty());
}

#[test]
fn a_second_import_of_the_same_list_changes_nothing() {
    let before = first().registration;
    let list = json!({"tools": [{"name": "get_c"}, {"name": "get_a"}, {"name": "get_b"}]});
    let again = run(&list, Some(before.clone()), &choices(&[])).expect("imported");
    assert_eq!(again.registration, before);
    assert_eq!(again.count(ToolChange::Unchanged), 3);
}

#[test]
fn a_changed_definition_loses_its_confirmation_and_keeps_what_people_wrote() {
    let mut before = first().registration;
    let entry = before.tools.get_mut("get_a").expect("registered");
    entry.access = AccessLevel::Write;
    entry.yields = vec!["secret".to_owned()];
    entry.owner = Some("ines".to_owned());
    let pinned = entry.digest.clone();
    let list = json!({"tools": [{"name": "get_a", "description": "now also deletes"}, {"name": "get_b"}, {"name": "new_d"}]});
    let after = run(&list, Some(before), &choices(&[])).expect("imported");
    let expected = [
        ("get_a", ToolChange::Changed, ConfirmationStatus::Proposed),
        (
            "get_b",
            ToolChange::Unchanged,
            ConfirmationStatus::Confirmed,
        ),
        ("get_c", ToolChange::Removed, ConfirmationStatus::Proposed),
        ("new_d", ToolChange::Added, ConfirmationStatus::Proposed),
    ];
    assert_eq!(changes(&after), expected);
    let entry = &after.registration.tools["get_a"];
    assert_eq!(
        (entry.access, entry.owner.as_deref()),
        (AccessLevel::Write, Some("ines"))
    );
    assert_eq!(entry.yields, ["secret"]);
    assert_eq!(entry.previous_digest, pinned);
    assert_ne!(entry.digest, pinned);
    assert!(entry.why["status"].contains("changed the definition"));
    // It changes again before anybody has looked: what somebody stood behind is still known.
    let list = json!({"tools": [{"name": "get_a", "description": "third"}]});
    let third = run(&list, Some(after.registration), &choices(&[])).expect("imported");
    assert_eq!(third.registration.tools["get_a"].previous_digest, pinned);
    let confirmed = run(&list, Some(third.registration), &choices(&["get_a"])).expect("imported");
    let entry = &confirmed.registration.tools["get_a"];
    assert_eq!(
        (entry.status, &entry.previous_digest),
        (ConfirmationStatus::Confirmed, &None)
    );
}

#[test]
fn a_pin_that_was_taken_over_all_of_a_definition_is_written_anew_without_a_new_review() {
    let list = json!({"tools": [
        {"name": "get_a", "description": "a", "execution": {"taskSupport": "forbidden"}},
        {"name": "get_b", "outputSchema": null},
        {"name": "get_c"},
    ]});
    let mut old = run(&list, None, &choices(&["get_a", "get_b"]))
        .expect("imported")
        .registration;
    let new = old.clone();
    for (definition, entry) in list["tools"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(old.tools.values_mut())
    {
        entry.digest = canonical::digest(definition).ok();
        entry.digest_parts = None;
    }
    assert_ne!(old.tools["get_a"].digest, new.tools["get_a"].digest);
    let again = run(&list, Some(old.clone()), &choices(&[])).expect("imported");
    assert_eq!(again.registration, new);
    assert_eq!(again.count(ToolChange::Unchanged), 3);
    let other = json!({"tools": [{"name": "get_a", "description": "b", "execution": {"taskSupport": "forbidden"}}]});
    let changed = run(&other, Some(old), &choices(&[])).expect("imported");
    assert_eq!(
        changed.registration.tools["get_a"].status,
        ConfirmationStatus::Proposed
    );
}

#[test]
fn mistakes_of_the_person_are_told() {
    let list = json!({"tools": []});
    assert!(
        matches!(run(&list, None, &choices(&["x"])), Err(ImportError::NoSuchTool(name)) if name == "x")
    );
    let other = ImportOptions {
        server: "../x".to_owned(),
        ..ImportOptions::default()
    };
    assert!(matches!(
        run(&list, None, &other),
        Err(ImportError::ServerName(_))
    ));
    let other = ImportOptions {
        server: "other".to_owned(),
        ..ImportOptions::default()
    };
    assert!(matches!(
        run(&list, Some(first().registration), &other),
        Err(ImportError::OtherServer { .. })
    ));
}

#[test]
fn a_list_without_any_registered_tool_removes_nothing() {
    let before = first().registration;
    for list in [json!({"tools": []}), json!({"tools": [{"name": "other"}]})] {
        let error = run(&list, Some(before.clone()), &choices(&[])).expect_err("refused");
        assert!(
            error
                .to_string()
                .starts_with("none of the 3 registered tools of `srv` is in the list"),
            "{error}"
        );
    }
    let some = run(
        &json!({"tools": [{"name": "get_a"}]}),
        Some(before),
        &choices(&[]),
    );
    assert_eq!(some.expect("imported").count(ToolChange::Removed), 2);
}

#[test]
fn nothing_is_written_that_the_next_import_refuses() {
    let list = json!({"tools": [{"name": "get_a"}]});
    let nobody = ImportOptions {
        owner: Some(String::new()),
        ..choices(&[])
    };
    let error = run(&list, None, &nobody).expect_err("refused");
    assert!(error.to_string().contains("an empty `owner`"), "{error}");
}

#[test]
fn a_definition_without_a_schema_is_noted() {
    let list = json!({"tools": [{"name": "get_a"}]});
    let imported = run(&list, None, &choices(&["*"])).expect("imported");
    assert_eq!(imported.tools[0].notes, [NO_SCHEMA]);
}

#[test]
fn a_review_of_the_catalogue_keeps_the_schema_of_the_definition() {
    let list = json!({"tools": [{"name": "get_a", "inputSchema":
        {"type": "object", "properties": {"b": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "a": {"type": "string"}}}}]});
    let imported = run(&list, None, &choices(&[])).expect("imported");
    let listed = imported.listed["get_a"].clone();
    let own = imported.registration.tools["get_a"].clone();
    let mut reviewed = own.clone();
    confirm(&mut reviewed);
    reviewed.input_schema = Some(json!({"type": "object", "properties": {"a": {}, "b": {}}}));
    reviewed.argument_order = Vec::new();
    let mut merged = Merged {
        change: ToolChange::Added,
        entry: own.clone(),
        notes: Vec::new(),
    };
    take_review(&listed, &mut merged, &reviewed);
    assert_eq!(merged.entry.status, ConfirmationStatus::Confirmed);
    assert_eq!(merged.entry.input_schema, own.input_schema);
    assert_eq!(merged.entry.argument_order, own.argument_order);
    // What was confirmed before and said more is told.
    reviewed.egress = false;
    merged.entry = ToolEntry {
        egress: true,
        previous_definition: Some(Box::default()),
        ..own
    };
    take_review(&listed, &mut merged, &reviewed);
    assert_eq!(
        merged.notes,
        ["the catalogue does not say egress, as the entry did"]
    );
}

fn loads(imported: &ToolImport) -> Result<usize, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("tools")).expect("a directory");
    let file = dir
        .path()
        .join("tools")
        .join(format!("{}.json", imported.registration.server.name));
    fs::write(file, imported.to_json().expect("JSON")).expect("a file");
    bundle::load(dir.path())
        .map(|bundle| bundle.counts.typed_tools)
        .map_err(|faults| faults.to_string())
}

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("CALLGATE_SHARED").map(PathBuf::from);
    if shared.is_none() {
        println!("skipped: CALLGATE_SHARED is not set");
    }
    shared
}

#[test]
fn every_real_list_becomes_a_bundle_with_all_its_tools_typed() {
    let Some(shared) = shared() else { return };
    let mut tools = 0;
    for entry in fs::read_dir(shared.join("data/mcp-tools")).expect("the lists") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a list");
        let list: Json = serde_json::from_str(&text).expect("JSON");
        let names = list["tools"]
            .as_array()
            .expect("tools")
            .iter()
            .filter_map(|tool| tool["name"].as_str());
        let wanted = ImportOptions {
            server: path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            typed: names.map(str::to_owned).collect(),
            ..ImportOptions::default()
        };
        let imported = run(&list, None, &wanted).expect("imported");
        assert_eq!(
            loads(&imported),
            Ok(wanted.typed.len()),
            "{}",
            path.display()
        );
        tools += wanted.typed.len();
    }
    assert!(tools >= 80, "{tools} tools");
}

#[test]
fn the_shipped_registrations_pin_the_definitions_that_the_servers_publish() {
    let Some(shared) = shared() else { return };
    for server in ["filesystem", "git", "github", "slack", "postgres", "fetch"] {
        let list = fs::read_to_string(shared.join(format!("data/mcp-tools/{server}.json")))
            .expect("a list");
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("policies/tools/{server}.json"));
        let registration: Registration =
            serde_json::from_str(&fs::read_to_string(path).expect("a registration"))
                .expect("a registration");
        let wanted = ImportOptions {
            server: server.to_owned(),
            ..ImportOptions::default()
        };
        let list = serde_json::from_str(&list).expect("JSON");
        let mut imported = run(&list, Some(registration.clone()), &wanted).expect("imported");
        assert_eq!(
            imported.count(ToolChange::Unchanged),
            registration.tools.len(),
            "{server}"
        );
        // What servers say of their tools in their own words is not shipped.
        for tool in imported.registration.tools.values_mut() {
            tool.description = None;
        }
        assert_eq!(imported.registration, registration);
    }
}

#[test]
fn the_catalogue_keeps_the_schemas_that_the_servers_publish() {
    let Some(shared) = shared() else { return };
    for server in catalogue::servers() {
        let path = shared.join(format!("data/mcp-tools/{server}.json"));
        let Ok(list) = fs::read_to_string(path) else {
            continue;
        };
        let list = serde_json::from_str(&list).expect("JSON");
        let imported = run(&list, None, &choices(&[])).expect("imported");
        for (name, reviewed) in catalogue::tools(server).expect("it is in the catalogue") {
            let listed = &imported.listed[&name];
            assert_eq!(
                reviewed.input_schema.as_ref(),
                Some(&listed.shape),
                "{server}/{name}"
            );
        }
    }
}

fn any_schema() -> impl Strategy<Value = Json> {
    let word = prop_oneof![
        Just("string"),
        Just("integer"),
        Just("boolean"),
        Just("array"),
        Just("object"),
        Just("odd")
    ];
    let leaf = prop_oneof![
        word.prop_map(|word| json!({"type": word})),
        Just(json!(true)),
        Just(json!({"enum": ["a", "b"]})),
        Just(json!({"anyOf": [{"type": "string"}, {"type": "null"}]})),
        Just(json!({"$ref": "#/x"})),
        Just(json!(null)),
        Just(json!({"type": ["string", "null"]})),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let name = prop_oneof![
            "[a-z_.$ -]{0,8}",
            ".{0,6}",
            prop::sample::select(vec![
                "__entity",
                "__extn",
                "type",
                "name",
                "context",
                "principal",
                "in",
                "if",
                "Set",
                "path"
            ])
            .prop_map(str::to_owned),
        ];
        prop_oneof![
            (prop::collection::vec((name, inner.clone(), any::<bool>()), 0..4)).prop_map(
                |properties| {
                    let required: Vec<_> = properties
                        .iter()
                        .filter(|(_, _, required)| *required)
                        .map(|(name, ..)| name.clone())
                        .collect();
                    let properties: serde_json::Map<_, _> = properties
                        .into_iter()
                        .map(|(name, schema, _)| (name, schema))
                        .collect();
                    json!({"type": "object", "properties": properties, "required": required})
                }
            ),
            inner.prop_map(|inner| json!({"type": "array", "items": inner})),
        ]
    })
}

fn any_tool() -> impl Strategy<Value = Json> {
    let name = prop_oneof!["[a-z]{1,8}([_./-][a-z]{1,8}){0,3}", ".{1,12}"];
    let hint = || {
        prop_oneof![
            Just(json!(null)),
            Just(json!(true)),
            Just(json!(false)),
            Just(json!("x"))
        ]
    };
    (
        name,
        proptest::option::of(prop_oneof![
            1 => any_schema(),
            9 => any_schema().prop_map(|it| json!({"type": "object", "properties": {"path": it}})),
        ]),
        hint(),
        hint(),
        hint(),
    )
        .prop_map(|(name, schema, a, b, c)| {
            let mut tool = json!({
                "name": name,
                "annotations": {"readOnlyHint": a, "destructiveHint": b, "openWorldHint": c},
            });
            if let Some(schema) = schema {
                tool["inputSchema"] = schema;
            }
            tool
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_server_lists_becomes_a_bundle(tools in prop::collection::vec(any_tool(), 0..6), confirm: bool) {
        let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        let is_unique = names.iter().collect::<BTreeSet<_>>().len() == names.len();
        let typed = names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let confirm = if confirm { typed.clone() } else { BTreeSet::new() };
        let wanted = ImportOptions { server: "srv".to_owned(), owner: None, typed, confirm, ..ImportOptions::default() };
        match run(&json!({"tools": tools}), None, &wanted) {
            Ok(imported) => {
                prop_assert!(is_unique);
                prop_assert_eq!(loads(&imported), Ok(tools.len()));
                // Written, read and imported again, it is the same.
                let text = imported.to_json().expect("JSON");
                let read: Registration = serde_json::from_str(&text).expect("a registration");
                let again = run(&json!({"tools": tools}), Some(read), &ImportOptions { server: "srv".to_owned(), ..ImportOptions::default() });
                prop_assert_eq!(again.expect("imported").registration, imported.registration);
            }
            // What is no schema is refused.
            Err(error) => prop_assert!(!is_unique || error.to_string().contains("`inputSchema`"), "{error}"),
        }
    }

    #[test]
    fn no_document_panics(document in any_schema(), tools in any_schema()) {
        for list in [document, json!({"tools": [tools.clone()]}), json!({"result": {"tools": tools}})] {
            let _ = run(&list, None, &choices(&[]));
        }
    }
}
