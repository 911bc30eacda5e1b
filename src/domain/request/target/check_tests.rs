use serde_json::json;

use super::*;

fn schema() -> Json {
    json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "paths": {"type": "array", "items": {"type": "string"}},
            "repo_path": {"type": "string"},
            "count": {"type": "integer"},
            "note": {"type": "string"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "files": {"type": "array", "items": {"$ref": "#/$defs/File"}},
            "parent": {"oneOf": [
                {"type": "object", "properties": {"page_id": {"type": "string"}}, "required": ["page_id"]},
                {"type": "object", "properties": {"database_id": {"type": "string"}}, "required": ["database_id"]},
            ]},
            "both": {"allOf": [{"$ref": "#/$defs/File"}]},
            "free": {"type": "object"},
            "flag": {"type": "boolean"},
        },
        "required": ["path", "paths", "repo_path", "count", "maybe", "files", "parent", "both", "free", "flag"],
        "$defs": {"File": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "mode": {"enum": [1, 2]}},
            "required": ["path"],
        }},
    })
}

fn written(json: Json) -> TargetArgumentForm {
    serde_json::from_value(json).expect("it reads")
}

#[test]
fn what_can_work_is_no_fault() {
    for json in [
        json!("path"),
        json!("count"),
        json!({"argument": "count", "kind": "id"}),
        json!({"argument": "count", "kind": "url", "base": "https://example.com/{path}/{count}"}),
        json!({"argument": "path", "kind": "url", "base": "https://example.com"}),
        json!({"argument": "paths", "kind": "path", "base": "repo_path"}),
        json!({"argument": "paths[]", "kind": "path", "base": "/srv"}),
        json!({"argument": "files[].path", "kind": "path", "base": "repo_path", "role": "source"}),
        json!({"argument": "note", "optional": true}),
        json!({"argument": "maybe", "optional": true}),
        json!({"argument": "parent.page_id", "kind": "uuid", "optional": true}),
        json!({"argument": "both.path", "kind": "path"}),
        json!({"argument": "free.anything", "optional": true}),
        json!({"argument": "files[].mode", "kind": "id", "optional": true}),
    ] {
        assert_eq!(
            check(&[written(json.clone())], Some(&schema())),
            [],
            "{json}"
        );
    }
}

#[test]
fn what_cannot_work_is_a_fault_of_its_field() {
    for (field, json, said) in [
        ("argument", json!("pth"), "not among the arguments"),
        ("argument", json!("Path"), "not among the arguments"),
        ("argument", json!("files[].pth"), "not among the arguments"),
        ("argument", json!("files.path"), "write `files[]`"),
        ("argument", json!("path[]"), "not a list"),
        ("argument", json!("path.x"), "not an object"),
        ("argument", json!("note"), "mark it `\"optional\": true`"),
        ("argument", json!("maybe"), "mark it `\"optional\": true`"),
        (
            "argument",
            json!("parent.page_id"),
            "mark it `\"optional\": true`",
        ),
        ("argument", json!("flag"), "neither a text nor a number"),
        ("argument", json!("files"), "neither a text nor a number"),
        (
            "kind",
            json!({"argument": "count", "kind": "path"}),
            "no text",
        ),
        (
            "kind",
            json!({"argument": "files", "kind": "path"}),
            "no text",
        ),
        ("kind", json!({"argument": "flag", "kind": "id"}), "neither"),
        (
            "kind",
            json!({"argument": "files[].mode", "kind": "url"}),
            "no text",
        ),
        (
            "kind",
            json!({"argument": "path", "kind": "place"}),
            "not one of",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "path", "base": "repo"}),
            "not among the arguments",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "path", "base": "count"}),
            "no text",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "path", "base": "files[].path"}),
            "in a list",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "id", "base": "repo_path"}),
            "of the kinds `path` and `url`",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "url", "base": "repo_path"}),
            "is not a URL",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "url", "base": "https://example.com/{repo}"}),
            "not among the arguments",
        ),
        (
            "base",
            json!({"argument": "paths", "kind": "url", "base": "https://example.com/{flag}"}),
            "neither a text nor a number",
        ),
        (
            "role",
            json!({"argument": "path", "role": "Source"}),
            "not a label",
        ),
    ] {
        let faults = check(&[written(json.clone())], Some(&schema()));
        let [TargetArgumentError { index: 0, fault }] = &faults[..] else {
            panic!("{json}: {faults:?}");
        };
        assert_eq!(fault.field, field, "{json}: {fault:?}");
        assert!(fault.message.contains(said), "{json}: {fault:?}");
    }
}

#[test]
fn the_same_argument_twice_is_a_fault() {
    let list = [written(json!("paths")), written(json!("paths[]"))];
    let faults = check(&list, Some(&schema()));
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].index, 1);
    // What a registration says of itself is judged without a schema, too.
    assert_eq!(check(&list, None), faults);
    assert_eq!(check(&list[..1], None), []);
}

#[test]
fn a_schema_without_arguments_has_none() {
    for schema in [
        json!({}),
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}}),
    ] {
        assert_eq!(
            check(&[written(json!("path"))], Some(&schema)).len(),
            1,
            "{schema}"
        );
    }
    let open = json!({"type": "object", "additionalProperties": true});
    let optional = written(json!({"argument": "path", "optional": true}));
    assert_eq!(check(&[optional], Some(&open)), []);
    let endless = json!({"$ref": "#"});
    assert_eq!(check(&[written(json!("path"))], Some(&endless)).len(), 1);
}

#[test]
fn a_schema_that_refers_to_itself_again_and_again_is_looked_at_for_a_while() {
    let choices = vec![json!({"$ref": "#"}); 20];
    let schema = json!({"anyOf": choices, "properties": {"path": {"anyOf": choices}}});
    let place = crate::domain::request::target::json_schema::SchemaLocation::top(&schema);
    let path = place.member("path", true).expect("it is declared");
    let _ = path.types();
    assert!(!place.requires("path"));
}
