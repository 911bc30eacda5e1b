use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::import::{ImportOptions, ToolImport, import};
use crate::bundle::diagnostic::SourceText;
use crate::bundle::parse::registration::Registration;

fn run(tools: &Json, existing: Option<Registration>, confirm: &[&str]) -> ToolImport {
    let file = Arc::from("list.json");
    let choices = ImportOptions {
        server: "files".to_owned(),
        confirm: confirm.iter().map(|it| (*it).to_owned()).collect(),
        ..ImportOptions::default()
    };
    let text = json!({"tools": tools}).to_string();
    let origin = SourceText {
        file: &file,
        text: &text,
    };
    import(origin, existing, &choices).expect("imported")
}

fn tool(name: &str, properties: &Json) -> Json {
    json!({"name": name, "inputSchema": {"type": "object", "properties": properties}})
}

fn entry<'i>(imported: &'i ToolImport, name: &str) -> &'i ToolEntry {
    &imported.registration.tools[name]
}

fn targets(entry: &ToolEntry) -> Vec<&str> {
    let targets = entry.target_arguments.iter();
    targets.map(|it| it.argument.as_str()).collect()
}

/// What an import would say of a tool that it has never seen.
fn as_first(tools: &Json, name: &str) -> ToolEntry {
    entry(&run(tools, None, &[]), name).clone()
}

#[test]
fn what_nobody_confirmed_is_proposed_anew() {
    let text = json!({"type": "string"});
    let tools = json!([
        tool("read_file", &json!({"path": text})),
        tool("move_file", &json!({"source": text, "destination": text})),
        tool("fetch", &json!({"url": text})),
    ]);
    // As calls were observed: no definition, no target, a level by the name alone.
    let mut observed = run(&tools, None, &[]).registration;
    for entry in observed.tools.values_mut() {
        *entry = ToolEntry {
            access: AccessLevel::Read,
            egress: false,
            yields: Vec::new(),
            owner: Some("ana".to_owned()),
            groups: vec!["office".to_owned()],
            typed: true,
            digest: None,
            digest_parts: None,
            input_schema: None,
            target_arguments: Vec::new(),
            ..entry.clone()
        };
    }
    // What was seen of a call may have looked worse than the definition does.
    let seen = observed.tools.get_mut("read_file").expect("a tool");
    seen.access = AccessLevel::Admin;
    let imported = run(&tools, Some(observed.clone()), &[]);
    for name in ["read_file", "move_file", "fetch"] {
        let (now, first) = (entry(&imported, name), as_first(&tools, name));
        assert_eq!(stricter(&first, now), [], "{name}");
        assert_eq!(stricter(now, &first), [], "{name}");
        assert_eq!(now.owner.as_deref(), Some("ana"));
        assert_eq!(
            (now.groups.as_slice(), now.typed),
            (&["office".to_owned()][..], true)
        );
        assert_eq!(now.previous_definition, None);
        assert!(now.why["status"].contains("proposed anew"), "{:?}", now.why);
    }
    let said = &entry(&imported, "read_file").why["status"];
    assert!(
        said.contains("the entry before also said access admin"),
        "{said}"
    );
    let confirmed = run(&tools, Some(observed), &["*"]);
    assert_eq!(targets(entry(&confirmed, "fetch")), ["url"]);
    // So is a proposal whose definition changes before anybody has looked.
    let proposed = run(&json!([tool("list_all", &json!({}))]), None, &[]);
    let tools = json!([tool("list_all", &json!({"url": text}))]);
    let imported = run(&tools, Some(proposed.registration), &[]);
    let now = entry(&imported, "list_all");
    assert_eq!((targets(now), now.egress), (vec!["url"], true));
}

#[test]
fn what_a_change_makes_stricter_is_taken_and_told() {
    let text = json!({"type": "string"});
    let before = json!([tool("list_directory", &json!({"path": text}))]);
    for (properties, said) in [
        (
            json!({"path": text, "url": text}),
            "egress, the target `url` (url)",
        ),
        (
            json!({"path": text, "mail": {"type": "string", "format": "email"}}),
            "the target `mail` (email)",
        ),
        (json!({"path": text, "command": text}), "access admin"),
        (
            json!({"path": text, "files": {"type": "array", "items": {"type": "object", "properties": {"path": text}}}}),
            "the target `files[].path` (path)",
        ),
    ] {
        let old = run(&before, None, &["*"]).registration;
        let after = json!([tool("list_directory", &properties)]);
        let first = as_first(&after, "list_directory");
        for confirm in [&[][..], &["*"]] {
            let imported = run(&after, Some(old.clone()), confirm);
            let now = entry(&imported, "list_directory");
            assert_eq!(stricter(&first, now), [], "{properties}");
            let notes = imported.tools[0].notes.join("; ");
            assert!(notes.contains(said), "{notes}");
            assert!(
                notes.contains("stricter than what was confirmed"),
                "{notes}"
            );
            let why = now.why.get("status").cloned().unwrap_or_default();
            assert_eq!(why.contains(said), confirm.is_empty(), "{why}");
        }
    }
}

#[test]
fn a_title_that_says_more_is_a_change_that_makes_stricter() {
    for place in ["title", "annotations"] {
        let titled = |title: &str| {
            let mut tool = tool("get_item", &json!({"id": {"type": "string"}}));
            tool[place] = match place {
                "title" => json!(title),
                _ => json!({ "title": title }),
            };
            json!([tool])
        };
        let old = run(&titled("Get item"), None, &["*"]).registration;
        let after = titled("Delete item");
        let first = as_first(&after, "get_item");
        let imported = run(&after, Some(old), &["*"]);
        let now = entry(&imported, "get_item");
        assert_eq!(stricter(&first, now), [], "{place}");
        let notes = imported.tools[0].notes.join("; ");
        assert!(notes.contains("access admin"), "{place}: {notes}");
    }
}

#[test]
fn what_a_person_judged_stays_and_a_first_proposal_is_told_beside_it() {
    let text = json!({"type": "string"});
    let properties = json!({"url": text, "command": text});
    let before = json!([tool("run_page", &properties)]);
    let mut old = run(&before, None, &["*"]).registration;
    let own = old.tools.get_mut("run_page").expect("a tool");
    own.access = AccessLevel::Read;
    own.egress = false;
    own.yields = vec!["mine".to_owned()];
    own.target_arguments = Vec::new();
    let mut after = before.clone();
    after[0]["description"] = json!("Other words.");
    let imported = run(&after, Some(old.clone()), &[]);
    let now = entry(&imported, "run_page");
    assert_eq!((now.access, now.egress), (AccessLevel::Read, false));
    assert_eq!(
        (now.yields.as_slice(), targets(now)),
        (&["mine".to_owned()][..], vec![])
    );
    let said = &now.why["status"];
    for wanted in [
        "a first proposal would also say",
        "access admin",
        "egress",
        "the label `untrusted`",
        "the target `url`",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // Nothing is known of what was confirmed without a definition: all that is stricter is taken.
    let own = old.tools.get_mut("run_page").expect("a tool");
    (own.digest, own.digest_parts, own.input_schema) = (None, None, None);
    let imported = run(&after, Some(old), &[]);
    let first = as_first(&after, "run_page");
    assert_eq!(stricter(&first, entry(&imported, "run_page")), []);
}

#[test]
fn a_target_that_no_longer_fits_is_adjusted_or_left_out() {
    let text = json!({"type": "string"});
    let schema = |properties: Json, required: &[&str]| {
        json!([{"name": "get_file", "inputSchema":
            {"type": "object", "properties": properties, "required": required}}])
    };
    let before = schema(json!({"path": text, "root": text}), &["path", "root"]);
    let mut old = run(&before, None, &["*"]).registration;
    let own = old.tools.get_mut("get_file").expect("a tool");
    own.target_arguments = serde_json::from_value(json!([
        {"argument": "path", "kind": "path", "base": "root", "role": "source"},
    ]))
    .expect("targets");
    let of = |properties: Json, required: &[&str]| {
        let list = schema(properties, required);
        let imported = run(&list, Some(old.clone()), &[]);
        let entry = entry(&imported, "get_file").clone();
        assert_eq!(entry.errors(), [], "{list}");
        // The next import takes what this one has written.
        let again = run(&list, Some(imported.registration.clone()), &["*"]);
        assert_eq!(again.registration.tools["get_file"].errors(), []);
        (
            json!(entry.target_arguments),
            imported.tools[0].notes.join("; "),
        )
    };
    let (targets, said) = of(
        json!({"file_path": text, "root": text}),
        &["file_path", "root"],
    );
    assert_eq!(targets[0]["argument"], "file_path", "{targets}");
    assert!(
        said.contains("the target `path` is left out: `path` is not among the arguments"),
        "{said}"
    );
    let (targets, said) = of(json!({"path": text, "root": text}), &["root"]);
    let wanted = json!({"argument": "path", "kind": "path", "base": "root", "role": "source", "optional": true});
    assert_eq!(targets[0], wanted);
    assert!(
        said.contains("the target `path` is adjusted: `path` may be left out"),
        "{said}"
    );
    let (targets, said) = of(json!({"path": text}), &["path"]);
    assert_eq!(
        (&targets[0]["argument"], targets[0].get("base")),
        (&json!("path"), None)
    );
    assert!(said.contains("`root` is not among the arguments"), "{said}");
    let (targets, _) = of(
        json!({"path": {"type": "integer"}, "root": text}),
        &["path"],
    );
    assert_eq!(targets[0].get("kind"), None, "{targets}");
    let (targets, _) = of(json!({"path": {"type": "boolean"}}), &["path"]);
    assert_eq!(targets, json!([]));
}

#[test]
fn a_definition_that_changes_again_is_held_against_the_confirmed_one() {
    let text = json!({"type": "string"});
    let list = |properties: Json| json!([tool("list_all", &properties)]);
    let old = run(&list(json!({"path": text})), None, &["*"]).registration;
    let second = run(
        &list(json!({"path": text, "url": text})),
        Some(old.clone()),
        &[],
    );
    let third = list(json!({"path": text, "url": text, "webhook": text}));
    let third = run(&third, Some(second.registration), &[]);
    let now = entry(&third, "list_all");
    let named: BTreeSet<&str> = targets(now).into_iter().collect();
    assert_eq!(named, BTreeSet::from(["path", "url", "webhook"]));
    assert_eq!(now.previous_digest, old.tools["list_all"].digest);
}
