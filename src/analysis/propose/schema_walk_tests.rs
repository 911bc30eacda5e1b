use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::propose::tests::{listed, propose_alone};
use crate::bundle::parse::registration::{AccessLevel, ToolEntry};

fn with_schema(schema: Json) -> ToolEntry {
    propose_alone(&listed(json!({
        "name": "get_thing",
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
        "inputSchema": schema,
    })))
}

fn object(properties: Json) -> Json {
    json!({"type": "object", "properties": properties})
}

/// Schemas that describe an object's members at a place where somebody may not look.
fn hiding_places(inner: &Json) -> Vec<(&'static str, Json)> {
    let text = || json!({"type": "string"});
    let list = |words: Json| {
        let mut list = json!({"type": "array"});
        list.as_object_mut()
            .expect("an object")
            .extend(words.as_object().expect("words").clone());
        object(json!({"a": list}))
    };
    let mut deep = inner.clone();
    let mut lists = inner.clone();
    for _ in 0..10 {
        deep = object(json!({"a": deep}));
        lists = object(json!({"a": {"type": "array", "items": lists}}));
    }
    let members = inner["properties"].clone();
    let beside = |word: &str, schema: Json| json!({"type": "object", "properties": {"a": text()}, word: schema});
    vec![
        ("objects", deep),
        ("lists of objects", lists),
        (
            "lists of lists",
            list(json!({"items": {"type": "array", "items": inner}})),
        ),
        ("prefixItems", list(json!({"prefixItems": [text(), inner]}))),
        ("a tuple", list(json!({"items": [inner]}))),
        (
            "additionalItems",
            list(json!({"items": [text()], "additionalItems": inner})),
        ),
        (
            "unevaluatedItems",
            list(json!({"prefixItems": [text()], "unevaluatedItems": inner})),
        ),
        ("contains", list(json!({"contains": inner}))),
        ("if", beside("if", inner.clone())),
        ("then", beside("then", inner.clone())),
        ("else", beside("else", inner.clone())),
        (
            "dependentSchemas",
            beside("dependentSchemas", json!({"a": inner})),
        ),
        ("dependencies", beside("dependencies", json!({"a": inner}))),
        (
            "patternProperties",
            beside("patternProperties", json!({"^x-": inner})),
        ),
        (
            "a pattern for all",
            beside("patternProperties", json!({"^.*$": inner})),
        ),
        (
            "a pattern for all below",
            object(
                json!({"a": {"type": "object", "additionalProperties": false, "patternProperties": {".+": inner}}}),
            ),
        ),
        (
            "patterns",
            beside("patternProperties", json!({"^(sql|url|path)$": text()})),
        ),
        (
            "additionalProperties",
            beside("additionalProperties", inner.clone()),
        ),
        (
            "unevaluatedProperties",
            beside("unevaluatedProperties", inner.clone()),
        ),
        (
            "contentSchema",
            object(json!({"a": {"type": "string", "contentSchema": inner}})),
        ),
        (
            "a map",
            object(json!({"a": {"type": "object", "additionalProperties": inner}})),
        ),
        ("no type", object(json!({"a": {"properties": members}}))),
        ("allOf", json!({"allOf": [{"anyOf": [{"oneOf": [inner]}]}]})),
        (
            "$ref",
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": inner}}),
        ),
        (
            "required",
            json!({"type": "object", "required": ["sql", "url", "path"]}),
        ),
        (
            "propertyNames",
            json!({"type": "object", "propertyNames": {"enum": ["sql", "url", "path"]}}),
        ),
    ]
}

#[test]
fn what_runs_anything_is_found_wherever_it_is_described() {
    let inner = object(json!({"sql": {"type": "string"}}));
    for (place, schema) in hiding_places(&inner) {
        let entry = with_schema(schema);
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Admin, "{place}: {why}");
        assert!(why.contains("`sql`"), "{place}: {why}");
    }
}

#[test]
fn a_target_is_proposed_or_said_to_be_none_wherever_it_is_described() {
    for (name, format) in [("url", "text"), ("path", "text"), ("data", "uri")] {
        let inner = object(json!({name: {"type": "string", "format": format}}));
        for (place, schema) in hiding_places(&inner) {
            if matches!(place, "patterns" | "required" | "propertyNames") && name == "data" {
                continue;
            }
            let entry = with_schema(schema);
            let why = &entry.why["access"];
            // These three places have `sql` as well, which is told first.
            let is_told = why.contains("it is no target") || why.contains("`sql`");
            let is_said = entry.access == AccessLevel::Admin && is_told;
            let is_target = !entry.target_arguments.is_empty();
            assert!(is_said || is_target, "{name} in {place}: {:?}", entry.why);
            assert!(entry.egress || name == "path", "{name} in {place}");
        }
    }
}

#[test]
fn what_cannot_be_looked_into_is_suspicious_and_says_so() {
    let mut deep = object(json!({"a": {"type": "string"}}));
    for _ in 0..40 {
        deep = object(json!({"a": deep}));
    }
    let many: serde_json::Map<String, Json> = (0..=MAX_VALUES)
        .map(|at| (format!("a{at}"), json!({"type": "string"})))
        .collect();
    for (schema, said) in [
        (deep, "levels deep"),
        (object(Json::Object(many)), "more than 4096 arguments"),
        (
            json!({"$ref": "https://schemas.example/x.json"}),
            "not found",
        ),
        (json!({"$ref": "#"}), "refers to itself"),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/B"}]}, "B": {"$ref": "#/$defs/A"}}}),
            "refers to itself",
        ),
        (object(json!({"a": {"$ref": "#x"}})), "not found"),
        (
            object(json!({"a": {"$ref": "#/$defs/Nowhere"}})),
            "not found",
        ),
        (
            json!({"type": "object", "$dynamicRef": "#x"}),
            "`$dynamicRef`",
        ),
        (
            object(json!({"a": {"$recursiveRef": "#"}})),
            "`$recursiveRef`",
        ),
    ] {
        let entry = with_schema(schema);
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Admin, "{said}: {why}");
        assert!(why.contains(said), "{said}: {why}");
    }
}

#[test]
fn a_target_that_no_path_names_is_suspicious() {
    let text = || json!({"type": "string"});
    let many: serde_json::Map<String, Json> =
        (0..300).map(|at| (format!("a{at}_path"), text())).collect();
    let node = json!({"type": "object", "properties": {
        "path": text(), "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
    }});
    let tree = json!({"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}});
    for schema in [
        object(json!({"file.path": text()})),
        object(json!({"a[].path": text()})),
        object(json!({"a": object(json!({"b.url": text()}))})),
        object(Json::Object(many)),
        tree,
    ] {
        let entry = with_schema(schema);
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Admin, "{why}");
        assert!(why.contains("it is no target"), "{why}");
    }
    // As many as a registration can have are all proposed.
    let many: serde_json::Map<String, Json> =
        (0..256).map(|at| (format!("a{at}_path"), text())).collect();
    let entry = with_schema(object(Json::Object(many)));
    assert_eq!(entry.target_arguments.len(), 256);
    assert_eq!(entry.access, AccessLevel::Read);
}

#[test]
fn schemas_that_say_nothing_suspicious_still_read() {
    let text = || json!({"type": "string"});
    let node = json!({"type": "object", "properties": {
        "id": text(), "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
    }});
    for schema in [
        json!({"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}),
        json!({"type": "object", "properties": {"a": text()}, "additionalProperties": true}),
        json!({"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": text()}}}),
        json!({"type": "object", "properties": {"pair": {"type": "array", "prefixItems": [text(), text()]}}}),
        json!({"properties": {"kind": {"enum": ["a", "b"]}}, "if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["kind"]}}),
        json!({"properties": {"method": {"enum": ["get", "list"]}}, "if": {"properties": {"method": {"const": "get"}}}, "then": {"properties": {"id": text()}}}),
        json!({"properties": {"a": text()}, "not": {"required": ["url"]}}),
        json!({"properties": {"a": {"anyOf": [{"$ref": "#/$defs/T"}, {"$ref": "#/$defs/T"}]}}, "$defs": {"T": text()}}),
    ] {
        let entry = with_schema(schema.clone());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Read, "{schema}: {why}");
    }
}

#[test]
fn a_walk_has_an_end() {
    // Each level refers to the next one twice: 2^24 places.
    let levels: serde_json::Map<String, Json> = (0..24)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/D{}", at + 1)});
            (format!("D{at}"), object(json!({"a": next, "b": next})))
        })
        .chain([("D24".to_owned(), json!({"type": "string"}))])
        .collect();
    let schema = json!({"$ref": "#/$defs/D0", "$defs": levels});
    let walk = SchemaWalk::new(&schema);
    assert_eq!(walk.values.len(), MAX_VALUES);
    assert!(walk.unseen.is_some());
    let choices = vec![json!({"$ref": "#"}); 200];
    let walk = SchemaWalk::new(&json!({"anyOf": choices, "properties": {"a": {"anyOf": choices}}}));
    assert!(walk.unseen.is_some());
}

#[test]
fn a_format_tells_a_target_and_where_it_leads() {
    for (format, kind, leads_out) in [
        ("uri", None, true),
        ("URI", None, true),
        ("iri", None, true),
        ("uri-reference", None, true),
        ("iri-reference", None, true),
        ("url", Some("url"), true),
        ("hostname", None, true),
        ("idn-hostname", None, true),
        ("ipv4", None, true),
        ("ipv6", None, true),
        ("email", Some("email"), false),
        ("idn-email", Some("email"), false),
        ("file-path", Some("path"), false),
    ] {
        let text = json!({"type": "string", "format": format});
        for schema in [
            text.clone(),
            json!({"type": "array", "items": text}),
            json!({"anyOf": [text, {"type": "null"}]}),
            json!({"oneOf": [text, {"type": "array", "items": text}]}),
            json!({"$ref": "#/$defs/T"}),
            json!({"allOf": [text]}),
        ] {
            let mut all = object(json!({"data": schema}));
            all["$defs"] = json!({"T": text});
            let entry = with_schema(all);
            let [target] = entry.target_arguments.as_slice() else {
                panic!("{format} {schema}: {:?}", entry.target_arguments);
            };
            assert_eq!(target.argument, "data", "{format}");
            assert_eq!(target.kind.as_deref(), kind, "{format}");
            assert_eq!(entry.egress, leads_out, "{format} {schema}");
        }
    }
    for format in ["date", "date-time", "uuid", "byte", "password", "regex"] {
        let entry = with_schema(object(
            json!({"data": {"type": "string", "format": format}}),
        ));
        assert_eq!(entry.target_arguments, [], "{format}");
        assert!(!entry.egress, "{format}");
    }
}
