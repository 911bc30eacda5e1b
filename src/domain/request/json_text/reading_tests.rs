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
