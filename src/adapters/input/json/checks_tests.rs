use serde_json::json;

use super::*;
use crate::adapters::input::json;

fn members(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

#[test]
fn a_part_is_as_deep_as_it_would_be_by_itself() {
    for value in [
        json!({}),
        json!({"a": {"b": {"c": 1}}}),
        json!({"a": [[[]]]}),
        json!({"a": [[1, {"b": {}}]]}),
        json!({"a": 1, "b": [{"c": {"d": {}}}]}),
    ] {
        let text = value.to_string();
        for depth in 0..6 {
            let alone = json::object(text.as_bytes(), depth, KeyPolicy::Exact, "f");
            let checked = check_depth(&members(value.clone()), depth, "f");
            assert_eq!(checked.is_ok(), alone.is_ok(), "{text}, {depth} levels");
        }
    }
    let refused = check_depth(&members(json!({"a": {}})), 1, "f").expect_err("too deep");
    assert_eq!(refused.to_string(), "`f` is nested deeper than 1 levels");
}

#[test]
fn a_part_has_the_keys_that_it_might_have_by_itself() {
    for value in [
        json!({"path": 1, "Path": 2}),
        json!({"a": [{"path": 1, "Path": 2}]}),
        json!({"arguments": {"path": 1, "Path": 2}}),
        json!({"a": {"b": [{"pa\u{200b}th": 1}]}}),
        json!({"a": {"b": 1}, "B": 2}),
    ] {
        let text = value.to_string();
        for names in [
            KeyPolicy::Distinct,
            KeyPolicy::AsDeclared,
            KeyPolicy::Exact,
            KeyPolicy::Protocol,
        ] {
            let alone = json::object(text.as_bytes(), 9, names, "f");
            let checked = check_keys(&members(value.clone()), names, "f");
            assert_eq!(checked.is_ok(), alone.is_ok(), "{text}, {names:?}");
        }
    }
}
