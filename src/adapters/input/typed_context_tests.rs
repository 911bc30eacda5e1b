use callgate_engine::cedar::{
    Context, ContextJsonParser, EntityUID, Extensions, ValidatorSchema, context_schema_for_action,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{EntityTypeCache, read};

const SCHEMA: &str = r#"
entity User, Group;
type Inner = { flag: Bool, who?: User, tags: Set<String> };
action look appliesTo { principal: User, resource: Group, context: {
  yes: Bool, number: Long, text: String, at?: datetime, from?: ipaddr, rate?: decimal, took?: duration,
  who?: User, whos?: Set<Group>, inner?: Inner, many?: Set<Inner>, odd?: Set<Set<Long>>, "no name"?: String
} };
"#;

fn schema() -> ValidatorSchema {
    let (schema, _) = ValidatorSchema::from_cedarschema_str(SCHEMA, Extensions::all_available())
        .expect("a schema");
    schema
}

fn action() -> EntityUID {
    r#"Action::"look""#.parse().expect("an action")
}

/// What Cedar's own parser reads.
fn cedar(schema: &ValidatorSchema, fields: Json) -> Option<Context> {
    let expected = context_schema_for_action(schema, &action()).expect("a context");
    ContextJsonParser::new(Some(&expected), Extensions::all_available())
        .from_json_value(fields)
        .ok()
}

fn ours(schema: &ValidatorSchema, fields: &Json) -> Option<Context> {
    let expected = schema.context_type(&action()).expect("a context");
    let types = EntityTypeCache::default();
    read(fields.as_object().expect("an object"), expected, &types)
}

fn shown(context: &Context) -> String {
    context.to_string()
}

#[test]
fn usual_forms_are_read_as_cedar_reads_them() {
    let schema = schema();
    let required = json!({"yes": true, "number": -3, "text": "a\u{0}b"});
    let with = |field: &str, value: Json| {
        let mut fields = required.clone();
        fields[field] = value;
        fields
    };
    let inner = json!({"flag": false, "tags": ["b", "a", "b"], "who": {"type": "User", "id": "u"}});
    for fields in [
        required.clone(),
        with("at", json!("2026-03-01T10:00:00Z")),
        with(
            "at",
            json!({"__extn": {"fn": "datetime", "arg": "2026-03-01"}}),
        ),
        with("from", json!("10.0.0.0/8")),
        with("from", json!({"__extn": {"fn": "ip", "arg": "10.0.0.1"}})),
        with("rate", json!("1.5000")),
        with("took", json!("1h30m")),
        with("who", json!({"type": "User", "id": "sam \"x\""})),
        with("who", json!({"__entity": {"type": "User", "id": "sam"}})),
        with(
            "whos",
            json!([{"type": "Group", "id": "g"}, {"__entity": {"type": "Group", "id": "h"}}]),
        ),
        with("inner", inner.clone()),
        with("many", json!([inner.clone(), {"flag": true, "tags": []}])),
        with("odd", json!([[], [1, 2, 2], [9223372036854775807i64]])),
        with("no name", json!("x")),
    ] {
        let ours = ours(&schema, &fields).unwrap_or_else(|| panic!("{fields} is usual"));
        let cedars = cedar(&schema, fields.clone()).expect("Cedar reads it");
        assert_eq!(shown(&ours), shown(&cedars), "{fields}");
    }
}

#[test]
fn what_is_unusual_is_left_to_cedar() {
    let schema = schema();
    let required = json!({"yes": true, "number": 3, "text": "a"});
    assert!(
        ours(&schema, &json!({"yes": true})).is_none(),
        "something is missing"
    );
    for (field, value) in [
        ("more", json!(1)),
        ("number", json!(1.5)),
        ("number", json!(9223372036854775808u64)),
        ("number", json!("3")),
        ("text", json!({"__extn": {"fn": "unknown", "arg": "x"}})),
        ("at", json!("yesterday")),
        ("at", json!({"__extn": {"fn": "ip", "arg": "10.0.0.1"}})),
        ("at", json!({"__extn": {"fn": "datetime", "arg": 1}})),
        (
            "at",
            json!({"__extn": {"fn": "datetime", "args": ["2026-03-01"]}}),
        ),
        ("at", json!({"fn": "datetime", "arg": "2026-03-01"})),
        ("who", json!("User::\"u\"")),
        ("who", json!({"type": "User", "id": "u", "more": 1})),
        ("who", json!({"type": "not a type", "id": "u"})),
        ("inner", json!({"flag": true})),
        ("text", json!(null)),
    ] {
        let mut fields = required.clone();
        fields[field] = value;
        assert!(ours(&schema, &fields).is_none(), "{fields}");
    }
}

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        "[a-z]{0,3}".prop_map(Json::from),
        Just(json!("2026-03-01")),
        Just(json!("10.0.0.1")),
        Just(json!("1.50")),
        Just(json!("1d")),
        "[UGx]".prop_map(|id| json!({"type": "User", "id": id})),
        "[UGx]".prop_map(|id| json!({"__entity": {"type": "Group", "id": id}})),
        Just(json!({"__extn": {"fn": "ip", "arg": "10.0.0.1"}})),
        Just(json!({"__extn": {"fn": "datetime", "arg": "2026-03-01"}})),
        Just(json!({"fn": "decimal", "arg": "1.5"})),
        Just(json!({"__extn": {"fn": "unknown", "arg": "x"}})),
        Just(json!({"__expr": "1 + 1"})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = prop_oneof!["flag", "who", "tags", "type", "id", "__entity", "[a-z]"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(names, inner, 0..4)
                .prop_map(|it| Json::Object(it.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_read_is_what_cedar_reads(
        chosen in prop::collection::btree_map(
            prop_oneof!["yes", "number", "text", "at", "from", "rate", "took", "who", "whos", "inner", "many", "odd"],
            values(),
            0..6,
        ),
    ) {
        let schema = schema();
        let mut fields = json!({"yes": true, "number": 3, "text": "a"});
        for (name, value) in chosen {
            fields[name] = value;
        }
        if let Some(ours) = ours(&schema, &fields) {
            let cedars = cedar(&schema, fields.clone());
            prop_assert_eq!(cedars.as_ref().map(shown), Some(shown(&ours)), "{}", fields);
        }
    }
}

#[test]
fn names_of_types_in_contexts_are_not_remembered() {
    let (schema, types) = (schema(), EntityTypeCache::default());
    let expected = schema.context_type(&action()).expect("a context");
    let context = |of_type: &str| json!({"yes": true, "number": 1, "text": "", "who": {"type": of_type, "id": "u"}});
    for of_type in ["User", "Other", "Mcp::Agent", &"a::".repeat(1_000)] {
        let fields = context(of_type);
        let read = read(fields.as_object().expect("an object"), expected, &types);
        assert_eq!(read.is_some(), !of_type.ends_with(':'), "{of_type}");
    }
    assert_eq!(types.remembered(), 0);
    // Nor is a long one that an entity is named with.
    let long = format!("{}End", "Part::".repeat(100));
    assert!(types.exact(&long).is_ok());
    assert!(types.exact("Short").is_ok());
    assert_eq!(types.remembered(), 1);
}
