use proptest::prelude::*;
use serde_json::json;

use super::*;

fn of(written: &str) -> String {
    text(&serde_json::from_str(written).unwrap())
}

#[test]
fn members_are_in_the_order_of_their_utf16_units() {
    // The example of RFC 8785, section 3.2.3.
    let object = json!({
        "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis"
    });
    let text = text(&object);
    let at = |name: &str| text.find(name).unwrap();
    let order = [
        "Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew",
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn numbers_are_those_of_ecmascript_but_whole_ones_are_exact() {
    let cases = [
        // The example of RFC 8785, section 3.2.2.
        ("333333333.33333329", "333333333.3333333"),
        ("1E30", "1e+30"),
        ("4.50", "4.5"),
        ("2e-3", "0.002"),
        ("0.000000000000000000000000001", "1e-27"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("10", "10"),
        ("1.0", "1"),
        ("1e3", "1000"),
        // Whole numbers that no double holds.
        ("1122334455667788990", "1122334455667788990"),
        ("1122334455667788991", "1122334455667788991"),
        ("-1122334455667788991", "-1122334455667788991"),
        ("9007199254740993", "9007199254740993"),
        ("-9007199254740993", "-9007199254740993"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        // A double that is whole has the text of that whole number, and of no other.
        ("1152921504606846976.0", "1152921504606846976"),
        ("1152921504606847000", "1152921504606847000"),
        ("1.8446744073709552e19", "18446744073709551616"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
    ];
    for (written, expected) in cases {
        assert_eq!(of(written), expected, "{written}");
    }
}

#[test]
fn texts_are_escaped_as_little_as_json_allows() {
    let all: String = (0..=0x7f_u8).map(char::from).collect();
    for text in [all.as_str(), "\u{2028}\u{202e}é\u{1f600}", "", "a\\u0041/"] {
        let json = json!({ text: text });
        assert_eq!(
            super::text(&json),
            serde_json_canonicalizer::to_string(&json).unwrap()
        );
    }
}

#[test]
fn a_digest_tells_whole_numbers_apart() {
    let digest = |json: Json| digest(&json).unwrap();
    let ids: Vec<String> = (1_122_334_455_667_788_985_u64..1_122_334_455_667_788_995)
        .map(|id| digest(json!({ "id": id })))
        .collect();
    for (at, one) in ids.iter().enumerate() {
        assert!(!ids[at + 1..].contains(one));
    }
    assert_eq!(
        digest(json!({"a": 1, "b": [1.0]})),
        digest(json!({"b": [1], "a": 1.0}))
    );
}

fn any_json(whole: BoxedStrategy<Json>) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        whole,
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

/// Whether RFC 8785 itself writes every number of a value exactly.
fn is_plain(json: &Json) -> bool {
    match json {
        Json::Number(number) => number.as_f64().is_none_or(|it| {
            it.fract() != 0.0 || it.abs() <= 9_007_199_254_740_992.0 || it.abs() >= EXPONENT_FROM
        }),
        Json::Array(items) => items.iter().all(is_plain),
        Json::Object(object) => object.values().all(is_plain),
        _ => true,
    }
}

/// The same value in all but how its numbers are kept: a whole double is the whole number.
fn as_values(json: &Json) -> Json {
    match json {
        Json::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 64 bits")]
            #[expect(clippy::cast_sign_loss, reason = "not negative")]
            Some(double) if number.is_f64() && double.fract() == 0.0 => match double {
                0.0..1.8e19 => Json::from(double as u64),
                -9.2e18..0.0 => Json::from(double as i64),
                _ => json.clone(),
            },
            _ => json.clone(),
        },
        Json::Array(items) => items.iter().map(as_values).collect(),
        Json::Object(object) => Json::Object(
            object
                .iter()
                .map(|(name, value)| (name.clone(), as_values(value)))
                .collect(),
        ),
        _ => json.clone(),
    }
}

proptest! {
    #[test]
    fn below_2_to_the_53_it_is_rfc_8785(
        json in any_json((-(1_i64 << 53)..=1 << 53).prop_map(Json::from).boxed())
            .prop_filter("exact in both", is_plain)
    ) {
        prop_assert_eq!(text(&json), serde_json_canonicalizer::to_string(&json).unwrap());
    }

    #[test]
    fn it_reads_back_as_the_same_value(
        json in any_json(prop_oneof![any::<i64>().prop_map(Json::from), any::<u64>().prop_map(Json::from)].boxed())
    ) {
        let read: Json = serde_json::from_str(&text(&json)).unwrap();
        prop_assert_eq!(as_values(&read), as_values(&json));
    }

    #[test]
    fn whole_numbers_side_by_side_differ(number in any::<i64>(), other in any::<u64>(), step in 1_u64..2000) {
        prop_assert_ne!(text(&json!(number)), text(&json!(number.wrapping_add_unsigned(step))));
        prop_assert_ne!(text(&json!(other)), text(&json!(other.wrapping_add(step))));
        let double = other as f64;
        // One text is one value: what a double is written as is the value of that double.
        if let Ok(read) = text(&json!(double)).parse::<u128>() {
            prop_assert_eq!(read, double as u128);
        }
    }
}
