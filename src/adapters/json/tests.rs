use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Json, String> {
    value(text.as_bytes(), 4, "field").map_err(|invalid| invalid.to_string())
}

#[test]
fn values_come_out_as_they_went_in() {
    for text in [
        "null",
        "true",
        "-9223372036854775808",
        "9223372036854775807",
        "0.5",
        "6.02e23",
        "\"a\\\"1\\\\\"",
        "[1,[2,[3]]]",
        "{\"a\":{\"b\":{\"c\":{}}}}",
    ] {
        let wanted: Json = serde_json::from_str(text).expect("json");
        assert_eq!(read(text), Ok(wanted), "{text}");
    }
}

#[test]
fn what_would_change_on_the_way_is_refused() {
    for (text, wanted) in [
        ("[[[[[]]]]]", "nested deeper than 4 levels"),
        (
            "{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}",
            "nested deeper than 4 levels",
        ),
        (
            "{\"a\":1,\"b\":{\"a\":2,\"a\":3}}",
            "the key `a` appears twice",
        ),
        ("18446744073709551615", "does not fit 64 bits"),
        (
            "-9223372036854775809",
            "the whole number `-9223372036854775809` does not fit 64 bits",
        ),
        (
            "[\"9\\\"9\", 99999999999999999999999]",
            "the whole number `99999999999999999999999`",
        ),
        ("1e999", "number out of range"),
        ("{} {}", "trailing"),
        ("\"\\ud800\"", "hex escape"),
        ("", "EOF"),
    ] {
        let said = read(text).expect_err(text);
        assert!(
            said.starts_with("`field` is not JSON that can be used: ") && said.contains(wanted),
            "{said}"
        );
    }
    let deep = "[".repeat(100_000);
    assert!(
        read(&deep)
            .expect_err("deep")
            .contains("nested deeper than 4 levels")
    );
}

#[test]
fn digits_in_a_string_are_no_number() {
    assert!(read("[\"99999999999999999999999\", 1e30]").is_ok());
}

#[test]
fn an_object_is_wanted_and_nothing_is_an_empty_one() {
    assert_eq!(object(b"", 4, "field"), Ok(Map::new()));
    assert_eq!(object(b"{}", 4, "field"), Ok(Map::new()));
    let said = object(b"[]", 4, "field").expect_err("a list").to_string();
    assert_eq!(
        said,
        "`field` is not JSON that can be used: it must be an object"
    );
}

fn wire(value: &Json) -> WireValue {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().expect("a double")),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(wire).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(wire_struct(fields)),
    };
    WireValue { kind: Some(kind) }
}

fn wire_struct(fields: &Map<String, Json>) -> Struct {
    Struct {
        fields: fields
            .iter()
            .map(|(key, value)| (key.clone(), wire(value)))
            .collect(),
    }
}

#[test]
fn a_struct_says_the_same_as_the_text() {
    let value = json!({"a": [1, -2, 0.5, "x", null, {"b": true}], "n": 9_007_199_254_740_992_i64});
    let fields = value.as_object().expect("an object");
    assert_eq!(
        from_struct(wire_struct(fields), 4, "field").map(Json::Object),
        Ok(value.clone())
    );
}

#[test]
fn numbers_of_a_struct_must_be_exact() {
    for (number, problem) in [
        (f64::NAN, Problem::NotFinite),
        (f64::NEG_INFINITY, Problem::NotFinite),
        (9_007_199_254_740_994.0, Problem::BeyondDouble),
        (-1e300, Problem::BeyondDouble),
    ] {
        let fields = [(
            "n".to_owned(),
            WireValue {
                kind: Some(Kind::NumberValue(number)),
            },
        )]
        .into();
        let refused = from_struct(Struct { fields }, 4, "field").expect_err("refused");
        assert_eq!(refused, Invalid::new("field", problem));
    }
    let deep = wire_struct(json!({"a": [[[[]]]]}).as_object().expect("an object"));
    assert_eq!(
        from_struct(deep, 4, "f").expect_err("deep"),
        Invalid::new("f", Problem::TooDeep(4))
    );
}

proptest! {
    #[test]
    fn any_text_is_read_like_serde_reads_it_or_refused(text in "[\\[\\]{}:,\"a-c0-9.eE+\\- \\\\]{0,60}") {
        if let Ok(read) = value(text.as_bytes(), 100, "f") {
            prop_assert_eq!(read, serde_json::from_str::<Json>(&text).expect("json"));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = value(&bytes, 3, "f");
    }
}
