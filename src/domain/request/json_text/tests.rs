use super::*;

fn held(text: &str) -> String {
    String::from_utf8(tolerant(text.as_bytes()).into_owned()).expect("text")
}

#[test]
fn a_number_that_a_reader_would_change_is_found() {
    for literal in [
        "0",
        "-0",
        "1.0",
        "1e0",
        "-1.50",
        "0.1",
        "1e3",
        "10e-1",
        "0.0",
        "0e9",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "1e18",
        "1e300",
        "6.02e23",
        "0.30000000000000004",
        "1.7976931348623157e308",
        "5e-324",
        "100000000000000000000.0",
    ] {
        assert_eq!(inexact_number(literal.as_bytes()), None, "{literal}");
    }
    for literal in [
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775809",
        "9007199254740993.0",
        "9007199254740993e0",
        "90071992547409930e-1",
        "0.1000000000000000055",
        "3.141592653589793238",
        "1e400",
        "1e-400",
        "123456789012345678901234567890",
        "1e99999999999999999999",
    ] {
        let found = inexact_number(format!("[\"1e400\", {literal}]").as_bytes());
        assert!(found.is_some_and(|(text, _)| text == literal), "{literal}");
    }
}

#[test]
fn what_can_be_held_is_not_touched() {
    for text in [
        "",
        "{",
        "\"\\",
        "\"\\u12",
        "{\"a\":[1,2.5,\"\\ud83d\\ude00\",\"\\\\ud800\",\"1e999\"]}",
        "-",
        "[01, --1, 1.e999, 99999999999999999999., 1e]",
        "\"\\u00e9\"",
    ] {
        assert!(
            matches!(tolerant(text.as_bytes()), Cow::Borrowed(_)),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_held_is_replaced_and_the_rest_stays() {
    for (text, expected) in [
        (r#"["a\ud800b"]"#, r#"["a\ufffdd800b"]"#),
        (r#"["\uDC00\ud801"]"#, r#"["\ufffddc00\ufffdd801"]"#),
        (r#"["\ud800\ud83d\ude00"]"#, r#"["\ufffdd800\ud83d\ude00"]"#),
        (r#"["\ud800A"]"#, r#"["\ufffdd800A"]"#),
        (
            r#"{"m":18446744073709551615,"n":1}"#,
            r#"{"m":"\u0000number 18446744073709551615","n":1}"#,
        ),
        (
            "[1e400,-1e400]",
            r#"["\u0000number 1e400","\u0000number -1e400"]"#,
        ),
    ] {
        assert_eq!(held(text), expected, "{text}");
    }
}

#[test]
fn a_double_without_fraction_is_a_whole_number() {
    for (double, number) in [
        (1.0, "1"),
        (-0.0, "0"),
        (1e18, "1000000000000000000"),
        (0.5, "0.5"),
        (1e19, "1e+19"),
    ] {
        assert_eq!(
            of_double(double).map(|it| it.to_string()).as_deref(),
            Some(number)
        );
    }
    assert_eq!(of_double(f64::NAN), None);
}
