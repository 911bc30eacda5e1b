use serde_json::{Value as Json, json};

use crate::adapters::input::nulls::without_nulls;

#[test]
fn null_is_as_good_as_absent_in_objects_and_stays_in_lists() {
    for (given, left) in [
        (json!({}), json!({})),
        (json!({"a": null}), json!({})),
        (json!({"a": 1, "b": null}), json!({"a": 1})),
        (json!({"a": {"b": null}}), json!({"a": {}})),
        (
            json!({"a": {"b": {"c": null, "d": false}}}),
            json!({"a": {"b": {"d": false}}}),
        ),
        (json!({"a": [{"b": null}]}), json!({"a": [{}]})),
        (json!({"a": [[{"b": null}]]}), json!({"a": [[{}]]})),
        (json!({"a": [null, 1]}), json!({"a": [null, 1]})),
        (
            json!({"a": "null", "b": "", "c": 0}),
            json!({"a": "null", "b": "", "c": 0}),
        ),
    ] {
        let Json::Object(members) = given.clone() else {
            panic!("{given} is no object");
        };
        assert_eq!(Json::Object(without_nulls(members)), left, "{given}");
    }
}
