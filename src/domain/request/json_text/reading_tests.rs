use super::*;

#[test]
fn a_text_that_some_server_parses_is_known() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for (text, reading) in [
        (r#"["a"]"#, JsonReading::List),
        (" \t\r\n[ 1 , 2 ]\n", JsonReading::List),
        ("[]", JsonReading::List),
        (r#"["\u002e\u002e/k"]"#, JsonReading::List),
        (r#"["\ud800"]"#, JsonReading::List),
        ("[NaN, -Infinity]", JsonReading::List),
        ("[1e999]", JsonReading::List),
        (deep.as_str(), JsonReading::List),
        (r#"{"a": 1}"#, JsonReading::Object),
        (r#"{"a": 1, "a": {"b": Infinity}}"#, JsonReading::Object),
        ("null", JsonReading::Null),
        (" null\n", JsonReading::Null),
    ] {
        assert_eq!(JsonReading::of(text), Some(reading), "{text}");
    }
}

#[test]
fn other_texts_stay_texts() {
    for text in [
        "",
        "pages/[id].tsx",
        "[id].tsx",
        "[id]",
        "[...slug]",
        "[[...slug]]",
        "[1].txt",
        "[\"a\"] and more",
        "{id}.tsx",
        "{id}",
        "{a,b}",
        "[a, b]",
        "[Infinity",
        "nullable",
        "Null",
        "None",
        "true",
        "5",
        "\"a\"",
        "\u{a0}[1]",
        "\u{feff}[1]",
    ] {
        assert_eq!(JsonReading::of(text), None, "{text}");
    }
}

#[test]
fn a_number_has_one_spelling_as_a_text() {
    for text in ["0", "7", "42", "-42", "1.5", "-0.25", "9007199254740991"] {
        assert_eq!(JsonReading::of_number(text), None, "{text}");
    }
    for text in [
        "9007199254740993",
        "42.00000000000000000001",
        "0-4",
        "",
        " ",
        "042",
        "00",
        "+42",
        "-042",
        "4_2",
        "42.0",
        "42.",
        ".5",
        "-.5",
        "1.50",
        "4.2e1",
        "42e0",
        "0x2a",
        "0b1",
        " 42",
        "42\n",
        "\u{a0}42",
        "42px",
        "1,000",
        "-0",
        "- 42",
        "\u{ff14}\u{ff12}",
        "\u{664}",
        "inf",
        "-Infinity",
        "+NaN",
    ] {
        let read = JsonReading::of_number(text);
        assert_eq!(read, Some(JsonReading::Number), "{text:?}");
    }
    for text in ["many", "null", "[]", "all of them"] {
        assert_eq!(JsonReading::of_number(text), None, "{text}");
    }
}
