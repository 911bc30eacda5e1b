use serde_json::json;

use super::*;

#[test]
fn what_is_no_schema_is_told_with_its_place() {
    for (schema, said) in [
        (json!("nonsense"), "is not an object"),
        (json!([]), "is not an object"),
        (json!(null), "is not an object"),
        (json!(true), "is not an object"),
        (json!({"type": "string"}), "something else than an object"),
        (
            json!({"required": "repo_path"}),
            "`required` is not a list of names",
        ),
        (
            json!({"required": [1]}),
            "`required` is not a list of names",
        ),
        (json!({"properties": []}), "`properties` is not an object"),
        (
            json!({"properties": {"a": "string"}}),
            "`properties.a` is no schema",
        ),
        (
            json!({"properties": {"a": {"type": "strng"}}}),
            "`properties.a.type` is `strng`, which is none of null, boolean",
        ),
        (
            json!({"properties": {"a": {"type": []}}}),
            "`properties.a.type` is neither",
        ),
        (
            json!({"properties": {"a": {"type": 5}}}),
            "`properties.a.type` is neither",
        ),
        (
            json!({"properties": {"a": {"anyOf": [{"type": ["string", "nul"]}]}}}),
            "`properties.a.anyOf.type` is `nul`",
        ),
        (
            json!({"properties": {"a": {"items": {"required": true}}}}),
            "`properties.a.items.required` is not",
        ),
        (json!({"anyOf": {}}), "`anyOf` is not a list of schemas"),
        (
            json!({"additionalProperties": "no"}),
            "`additionalProperties` is no schema",
        ),
    ] {
        let found = fault(&schema).unwrap_or_default();
        assert!(found.contains(said), "{schema}: {found}");
    }
}

#[test]
fn schemas_pass_whatever_else_they_say() {
    for schema in [
        json!({}),
        json!({"type": "object", "required": [], "properties": {}}),
        json!({"type": ["object", "null"], "properties": {"a": true, "b": {}}}),
        json!({"properties": {"a": {"type": ["string", "null"], "format": 5, "enum": ["x"]}}}),
        json!({"properties": {"a": {"items": [{"type": "string"}, false]}}}),
        json!({"$defs": {"x": {"type": "strng"}}, "properties": {"a": {"$ref": "#/$defs/x"}}}),
        json!({"additionalProperties": {"type": "string"}}),
    ] {
        assert_eq!(fault(&schema), None, "{schema}");
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"properties": {"a": deep}});
    }
    assert_eq!(fault(&deep), None);
}
