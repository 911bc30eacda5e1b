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
    assert_eq!(input_type(&schema), expected);
}

#[test]
fn what_cedar_cannot_say_is_left_out() {
    let schema = json!({
        "properties": {
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "nullable": {"type": ["string", "null"]},
            "elsewhere": {"$ref": "#/$defs/x"},
            "anything": {},
            "rows": {"type": "array", "items": {"type": "object", "properties": {}}},
            "bag": {"type": "object"},
            "numbers": {"enum": [1, 2]},
            "both": {"type": "string", "allOf": [{"minLength": 1}]},
            "true": true,
        }
    });
    assert_eq!(
        input_type(&schema),
        json!({"type": "Record", "attributes": {}})
    );
    assert_eq!(
        input_type(&json!(null)),
        json!({"type": "Record", "attributes": {}})
    );
}

#[test]
fn nesting_is_bounded() {
    let mut schema = json!({"type": "string"});
    for _ in 0..20 {
        schema = json!({"type": "object", "properties": {"x": schema}});
    }
    let text = input_type(&schema).to_string();
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
        let input = input_type(&json!({"properties": properties}));
        let schema = json!({"": {"entityTypes": {"T": {}}, "actions": {"a/b": {"appliesTo": {
            "principalTypes": ["T"], "resourceTypes": ["T"], "context": input,
        }}}}});
        let compiled = cedar_policy_core::validator::ValidatorSchema::from_json_value(
            schema, cedar_policy_core::extensions::Extensions::all_available());
        prop_assert!(compiled.is_ok(), "{:?}", compiled.err());
    }
}
