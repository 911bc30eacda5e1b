use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Json, String> {
    value(text.as_bytes(), 4, KeyPolicy::Distinct, "field").map_err(|invalid| invalid.to_string())
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
fn a_whole_number_is_one_however_it_is_written() {
    for (text, wanted) in [
        ("1.0", json!(1)),
        ("1e0", json!(1)),
        ("-10e-1", json!(-1)),
        ("-0.0", json!(0)),
        ("2.50e1", json!(25)),
        ("1e18", json!(1_000_000_000_000_000_000_i64)),
    ] {
        assert_eq!(read(text), Ok(wanted), "{text}");
    }
    for text in [
        "9007199254740993.0",
        "9007199254740993e0",
        "0.1000000000000000055",
        "3.141592653589793238",
        "1e-400",
    ] {
        let said = read(text).expect_err(text);
        assert!(
            said.contains("has more digits than a double holds"),
            "{said}"
        );
    }
}

#[test]
fn names_that_another_reader_takes_for_one_are_refused_at_every_depth() {
    let hostile = [
        r#"{"name":1,"name\u0000":2}"#,
        r#"{"a":{"arguments\u0000":{}}}"#,
        r#"{"a":[{"path":1,"Path":2}]}"#,
        r#"{"\u200bname":1}"#,
        r#"{"na\u00adme":1}"#,
        r#"{"name\u202e":1}"#,
        r#"{"name\ufeff":1}"#,
        r#"{"name\n":1}"#,
        r#"{"task":1,"tas\u212a":2}"#,
        r#"{"a":{"s":1,"\u017f":2}}"#,
        r#"{"caf\u00e9":1,"cafe\u0301":2}"#,
        r#"{"\uff4eame":1,"name":2}"#,
        r#"{"stra\u00dfe":1,"STRASSE":2}"#,
    ];
    for text in hostile {
        assert!(read(text).is_err(), "{text}");
        let fields: Map<String, Json> = serde_json::from_str(text).expect("an object");
        let wire = from_struct(to_struct(&fields), 4, EXACT, "field");
        assert!(wire.is_err(), "as a Struct: {text}");
    }
    // What is not for this reader to say, but for what nobody sees.
    for (text, is_read) in [
        (r#"{"path":1,"Path":2}"#, true),
        (r#"{"path":1,"path\u0000":2}"#, false),
        (r#"{"path":1,"path":2}"#, false),
    ] {
        let declared = value(text.as_bytes(), 4, KeyPolicy::AsDeclared, "field");
        assert_eq!(declared.is_ok(), is_read, "{text}");
        let arguments = format!(r#"{{"arguments":{text}}}"#);
        let message = value(arguments.as_bytes(), 4, KeyPolicy::Protocol, "field");
        assert_eq!(message.is_ok(), is_read, "{arguments}");
        let other = format!(r#"{{"other":{text}}}"#);
        let other = value(other.as_bytes(), 4, KeyPolicy::Protocol, "field");
        assert!(other.is_err(), "{text}");
    }
    for text in [
        r#"{"data-id":1,"$ref":2,"x y":3,"日本":4}"#,
        r#"{"A":1,"b":2}"#,
    ] {
        assert!(read(text).is_ok(), "{text}");
    }
}

#[test]
fn in_authzen_only_names_that_are_read_have_to_be_distinct() {
    for (text, is_read) in [
        (r#"{"subject":1,"Subject":2}"#, false),
        (r#"{"subject":{"id":1,"ID":2}}"#, false),
        (
            r#"{"evaluations":[{"resource":{"type":1,"Type":2}}]}"#,
            false,
        ),
        (r#"{"options":{"\u200bx":1}}"#, false),
        (r#"{"subject":1,"subject":2}"#, false),
        (r#"{"context":{"z":7,"z":1}}"#, false),
        (r#"{"other":{"z":7,"z":1}}"#, false),
        (r#"{"other":1,"Other":2}"#, true),
        (r#"{"other":{"id":1,"ID":2}}"#, true),
        (r#"{"context":{"z":7,"Z":1}}"#, true),
        (
            r#"{"resource":{"properties":{"arguments":{"a":1,"A":2}}}}"#,
            true,
        ),
    ] {
        let authzen = value(text.as_bytes(), 9, KeyPolicy::Authzen, "field");
        assert_eq!(authzen.is_ok(), is_read, "{text}");
    }
}

#[test]
fn what_is_read_of_an_object_can_be_read_in_one_way() {
    for (text, is_clear) in [
        (r#"{"agent":1,"Agent":2}"#, false),
        (r#"{"Agent":1,"AGENT":2}"#, false),
        (r#"{"sessionId":1,"sessionid":2}"#, false),
        (r#"{"z\u200b":1}"#, false),
        (r#"{"agent":1,"z":1,"Z":2}"#, true),
        (r#"{"Agent":1,"sessionId":2}"#, true),
    ] {
        let members: Map<String, Json> = serde_json::from_str(text).expect("an object");
        let fault = ambiguous(members.keys(), &["agent", "sessionId"]);
        assert_eq!(fault.is_none(), is_clear, "{text}: {fault:?}");
    }
}

#[test]
fn an_object_is_cut_and_put_together_again() {
    let text = r#"{ "a" : 1.0 ,"b":[ 1, "\ud800" ],"c":18446744073709551616}"#;
    let mut object = RawObject::read(text.as_bytes(), "field").expect("an object");
    assert_eq!(object.get("b"), Some(r#"[ 1, "\ud800" ]"#));
    object.remove("a");
    let changed = object.with(|name| (name == "b").then_some("[]"));
    assert_eq!(changed, r#"{"b":[],"c":18446744073709551616}"#);
    assert_eq!(
        list(r#"[1,{"a":2}, "x"]"#),
        Some(vec!["1", r#"{"a":2}"#, r#""x""#])
    );
    assert_eq!(list("{}"), None);
    for text in [
        "[]",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"A":2}"#,
        r#"{"a\u0000":1}"#,
        "{} {}",
        r#"{"a":}"#,
        "",
    ] {
        let object = RawObject::read(text.as_bytes(), "field");
        assert!(object.is_err(), "{text}");
    }
}

#[test]
fn digits_in_a_string_are_no_number() {
    assert!(read("[\"99999999999999999999999\", 1e30]").is_ok());
}

#[test]
fn an_object_is_wanted_and_nothing_is_an_empty_one() {
    assert_eq!(object(b"", 4, KeyPolicy::Distinct, "field"), Ok(Map::new()));
    assert_eq!(
        object(b"{}", 4, KeyPolicy::Distinct, "field"),
        Ok(Map::new())
    );
    let said = object(b"[]", 4, KeyPolicy::Distinct, "field")
        .expect_err("a list")
        .to_string();
    assert_eq!(
        said,
        "`field` is not JSON that can be used: it must be an object"
    );
}

const EXACT: (KeyPolicy, BeyondDouble) = (KeyPolicy::Distinct, BeyondDouble::Refused("send text"));

#[test]
fn a_struct_says_the_same_as_the_text() {
    let value = json!({"a": [1, -2, 0.5, "x", null, {"b": true}], "n": 9_007_199_254_740_992_i64});
    let fields = value.as_object().expect("an object");
    assert_eq!(
        from_struct(to_struct(fields), 4, EXACT, "field").map(Json::Object),
        Ok(value.clone())
    );
}

#[test]
fn numbers_of_a_struct_must_be_exact() {
    for (number, problem) in [
        (f64::NAN, FieldProblem::NotFinite),
        (f64::NEG_INFINITY, FieldProblem::NotFinite),
        (
            9_007_199_254_740_994.0,
            FieldProblem::BeyondDouble("send text"),
        ),
        (-1e300, FieldProblem::BeyondDouble("send text")),
    ] {
        let fields = [(
            "n".to_owned(),
            WireValue {
                kind: Some(Kind::NumberValue(number)),
            },
        )]
        .into();
        let wire = Struct { fields };
        let kept = from_struct(
            wire.clone(),
            4,
            (KeyPolicy::Distinct, BeyondDouble::Kept),
            "field",
        );
        let refused = from_struct(wire, 4, EXACT, "field").expect_err("refused");
        assert_eq!(refused, FieldError::new("field", problem));
        let kept = kept.map(|fields| fields["n"].as_f64());
        let wanted = number.is_finite().then_some(Some(number));
        assert_eq!(kept.ok(), wanted, "{number}");
    }
    let deep = to_struct(json!({"a": [[[[]]]]}).as_object().expect("an object"));
    assert_eq!(
        from_struct(deep, 4, EXACT, "f").expect_err("deep"),
        FieldError::new("f", FieldProblem::TooDeep(4))
    );
}

proptest! {
    #[test]
    fn any_text_is_read_like_serde_reads_it_or_refused(text in "[\\[\\]{}:,\"a-c0-9.eE+\\- \\\\]{0,60}") {
        if let Ok(read) = value(text.as_bytes(), 100, KeyPolicy::AsDeclared, "f") {
            // How a number was written is gone, what it is is not.
            let canonical = |json: &Json| serde_json_canonicalizer::to_string(json).expect("canonical");
            let wanted = serde_json::from_str::<Json>(&text).expect("json");
            prop_assert_eq!(canonical(&read), canonical(&wanted));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = value(&bytes, 3, KeyPolicy::Protocol, "f");
    }
}
