use proptest::prelude::*;

use super::*;

#[test]
fn what_both_languages_mean_alike_is_taken_over() {
    let schema = json!({
        "type": "object",
        "required": ["path", "options"],
        "properties": {
            "path": {"type": "string", "format": "date-time"},
            "count": {"type": "integer"},
            "amount": {"type": "number"},
            "weights": {"type": "array", "items": {"type": "number"}},
            "raw": {"type": "boolean"},
            "sort": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "properties": {"dry-run": {"type": "boolean"}}, "required": ["dry-run"]},
        }
    });
    let expected = json!({
        "type": "Record",
        "attributes": {
            "path": {"type": "String", "required": true},
            "count": {"type": "Long", "required": false},
            "amount": {"type": "Extension", "name": "decimal", "required": false},
            "weights": {"type": "Set", "element": {"type": "Extension", "name": "decimal"}, "required": false},
            "raw": {"type": "Bool", "required": false},
            "sort": {"type": "String", "required": false},
            "tags": {"type": "Set", "element": {"type": "String"}, "required": false},
            "options": {
                "type": "Record",
                "attributes": {"dry-run": {"type": "Bool", "required": true}},
                "required": true,
            },
        }
    });
    assert_eq!(TypedInput::from_schema(&schema).record, expected);
}

#[test]
fn what_may_be_null_is_optional() {
    let schema = json!({
        "required": ["maybe", "nullable", "sure", "choice"],
        "properties": {
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "nullable": {"type": ["integer", "null"]},
            "choice": {"oneOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]},
            "list": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            "both": {"type": "string", "allOf": [{"minLength": 1}]},
            "sure": {"type": "boolean"},
        }
    });
    let expected = json!({"type": "Record", "attributes": {
        "maybe": {"type": "String", "required": false},
        "nullable": {"type": "Long", "required": false},
        "choice": {"type": "String", "required": false},
        "list": {"type": "Set", "element": {"type": "String"}, "required": false},
        "both": {"type": "String", "required": false},
        "sure": {"type": "Bool", "required": true},
    }});
    let typed = TypedInput::from_schema(&schema);
    assert_eq!((typed.record, typed.left_out), (expected, vec![]));
}

#[test]
fn references_unions_of_objects_and_lists_of_objects_are_typed() {
    let schema = json!({
        "$defs": {"File": {"type": "object", "required": ["path"], "properties": {
            "path": {"type": "string"}, "mode": {"$ref": "#/$defs/Mode"}}},
            "Mode": {"type": "number"}},
        "properties": {
            "files": {"type": "array", "items": {"$ref": "#/$defs/File"}},
            "parent": {"anyOf": [
                {"type": "object", "required": ["kind", "page"], "properties": {"kind": {"const": "page", "type": "string"}, "page": {"type": "string"}}},
                {"type": "object", "required": ["kind", "space"], "properties": {"kind": {"const": "space", "type": "string"}, "space": {"type": "integer"}}},
                {"type": "null"},
            ]},
        }
    });
    let file = json!({"type": "Record", "attributes": {
        "path": {"type": "String", "required": true},
        "mode": {"type": "Extension", "name": "decimal", "required": false},
    }});
    let expected = json!({"type": "Record", "attributes": {
        "files": {"type": "Set", "element": file, "required": false},
        "parent": {"type": "Record", "required": false, "attributes": {
            "kind": {"type": "String", "required": true},
            "page": {"type": "String", "required": false},
            "space": {"type": "Long", "required": false},
        }},
    }});
    let typed = TypedInput::from_schema(&schema);
    assert_eq!((typed.record, typed.left_out), (expected, vec![]));
}

#[test]
fn what_cedar_cannot_say_is_left_out_with_its_reason() {
    let schema = json!({
        "properties": {
            "either": {"type": ["string", "integer"]},
            "elsewhere": {"$ref": "#/$defs/x"},
            "anything": {},
            "rows": {"type": "array", "items": {"type": "object", "properties": {}}},
            "holes": {"type": "array", "items": {"type": ["string", "null"]}},
            "bag": {"type": "object"},
            "some": {"type": "array"},
            "numbers": {"enum": [1, 2]},
            "nothing": {"type": "null"},
            "options": {"type": "object", "properties": {"extra": {}}},
            "true": true,
        }
    });
    let typed = TypedInput::from_schema(&schema);
    let options = json!({"type": "Record", "attributes": {}, "required": false});
    assert_eq!(
        typed.record,
        json!({"type": "Record", "attributes": {"options": options}})
    );
    let told: Vec<_> = typed
        .left_out
        .iter()
        .map(|it| (it.argument.as_str(), it.reason))
        .collect();
    for wanted in [
        ("either", "it can be of several types"),
        ("elsewhere", "the schema does not say what it is"),
        ("rows", "it can have any members"),
        ("holes", "an item of it can be null"),
        ("bag", "it can have any members"),
        ("some", "the schema does not say what its items are"),
        ("numbers", "the schema does not say whether it is whole"),
        ("nothing", "it can only be null"),
        ("options.extra", "the schema does not say what it is"),
    ] {
        assert!(told.contains(&wanted), "{wanted:?} in {told:?}");
    }
    assert_eq!(told.len(), 11);
    let nothing = json!({"type": "Record", "attributes": {}});
    assert_eq!(TypedInput::from_schema(&json!(null)).record, nothing);
}

#[test]
fn a_schema_that_refers_to_itself_comes_to_an_end() {
    let mut properties = Map::new();
    for index in 0..40 {
        properties.insert(format!("p{index}"), json!({"$ref": "#"}));
    }
    let typed = TypedInput::from_schema(&json!({"type": "object", "properties": properties}));
    assert!(typed.record.to_string().len() < 1 << 20);
    assert_eq!(typed.left_out.len(), MAX_LEFT_OUT);
}

#[test]
fn nesting_is_bounded() {
    let mut schema = json!({"type": "string"});
    for _ in 0..20 {
        schema = json!({"type": "object", "properties": {"x": schema}});
    }
    let text = TypedInput::from_schema(&schema).record.to_string();
    assert_eq!(text.matches("\"x\"").count(), MAX_DEPTH);
}

proptest! {
    #[test]
    fn any_property_name_makes_a_schema_that_cedar_accepts(
        names in prop::collection::vec(".{0,12}", 0..6),
        reserved in prop::sample::select(vec!["if", "in", "has", "like", "is", "__cedar", "__entity", "true", "Set"]),
    ) {
        let mut properties = Map::new();
        for name in names.iter().map(String::as_str).chain([reserved]) {
            properties.insert(name.to_owned(), json!({"type": "string"}));
        }
        let input = TypedInput::from_schema(&json!({"properties": properties})).record;
        let schema = json!({"": {"entityTypes": {"T": {}}, "actions": {"a/b": {"appliesTo": {
            "principalTypes": ["T"], "resourceTypes": ["T"], "context": input,
        }}}}});
        let compiled = callgate_engine::cedar::ValidatorSchema::from_json_value(
            schema, callgate_engine::cedar::Extensions::all_available());
        prop_assert!(compiled.is_ok(), "{:?}", compiled.err());
    }
}
