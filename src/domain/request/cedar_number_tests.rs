use serde_json::json;

use super::*;

#[test]
fn a_number_that_cedar_does_not_have_is_named_by_its_place() {
    for (value, place) in [
        (json!({"n": 6.5}), "`context.n` is not a whole number"),
        (
            json!({"a": [{"b": 1}, {"b": 1e300}]}),
            "`context.a[1].b` is",
        ),
        (
            json!({"n": 9_223_372_036_854_775_808_u64}),
            "`context.n` is",
        ),
        (json!({"n\u{202e}": 0.1}), "`context.n\\u{202e}` is"),
    ] {
        let said = unfit(&value, "context").expect("a fault");
        assert!(said.starts_with(place), "{said}");
    }
    assert!(unfit(&json!({"n": 1.5}), "").is_some_and(|it| it.starts_with("`n` is")));
}

#[test]
fn what_cedar_has_is_no_fault() {
    let value = json!({"a": [1, -1, i64::MAX, i64::MIN, "6.5", null, true, {"b": []}]});
    assert_eq!(unfit(&value, "context"), None);
}
