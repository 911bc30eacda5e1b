use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::telemetry::fixtures::arguments;

fn canonical(object: Json) -> String {
    let mut out = Vec::new();
    write_object(&arguments(object), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn keys_are_in_the_order_of_their_utf16_units() {
    // The example of RFC 8785, section 3.2.3.
    let object = json!({
        "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis"
    });
    let text = canonical(object);
    let at = |name: &str| text.find(name).unwrap();
    let order = [
        "Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew",
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn numbers_are_those_of_ecmascript() {
    let object: Json = serde_json::from_str(
        r#"{"a": 333333333.33333329, "b": 1E30, "c": 4.50, "d": 2e-3, "e": -0.0, "f": 10, "g": -9007199254740993}"#,
    )
    .unwrap();
    assert_eq!(
        canonical(object),
        r#"{"a":333333333.3333333,"b":1e+30,"c":4.5,"d":0.002,"e":0,"f":10,"g":-9007199254740992}"#
    );
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_quick_form_is_the_canonical_one(
        object in prop::collection::hash_map(any::<String>(), any_json(), 0..5)
    ) {
        let object = Json::Object(object.into_iter().collect());
        let expected = serde_json_canonicalizer::to_string(&object).unwrap();
        prop_assert_eq!(canonical(object), expected);
    }
}
