use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn parse_text(text: &str) -> Result<Json, BundleDiagnostic> {
    parse(SourceText {
        file: &Arc::from("x.json"),
        text,
    })
}

#[test]
fn a_key_that_occurs_twice_is_a_fault_at_its_place() {
    let fault = parse_text("{\"a\": {\"b\": 1,\n \"b\": 2}}").expect_err("twice");
    assert_eq!(fault.message, "not valid JSON: the key `b` occurs twice");
    assert_eq!(fault.line, Some(2));
}

#[test]
fn broken_and_deep_texts_are_faults() {
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1} x",
        "nul",
        "1e999",
        "\"\\ud800\"",
    ] {
        assert!(parse_text(text).is_err(), "{text}");
    }
    assert!(parse_text(&"[".repeat(100_000)).is_err());
}

#[test]
fn places_are_found_through_escapes_and_nesting() {
    let text = r#" { "x\"y" : [ {"}" : 1}, "[,", {"k": {"z": true}} ], "é": 3 }"#;
    assert!(parse_text(text).is_ok());
    let at = |path: &[Step<'_>]| &text[offset_of(text, path)..];
    assert!(at(&[Step::Key("x\"y"), Step::Index(1)]).starts_with("\"[,\""));
    assert!(
        at(&[
            Step::Key("x\"y"),
            Step::Index(2),
            Step::Key("k"),
            Step::Key("z")
        ])
        .starts_with("true")
    );
    assert!(at(&[Step::Key("é")]).starts_with("3 }"));
    // What is not there: the nearest place that is.
    assert!(at(&[Step::Key("x\"y"), Step::Index(9)]).starts_with("[ {"));
    assert!(at(&[Step::Key("no")]).starts_with("{ \"x"));
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn check_places(text: &str, value: &Json, path: &mut Vec<Step<'_>>) {
    let tail = &text[offset_of(text, path)..];
    let found = serde_json::Deserializer::from_str(tail)
        .into_iter::<Json>()
        .next();
    assert_eq!(found.and_then(Result::ok).as_ref(), Some(value));
}

proptest! {
    #[test]
    fn parsing_agrees_with_serde_json_and_every_place_is_right(json in any_json(), pretty: bool) {
        let text = if pretty { format!("{json:#}") } else { json.to_string() };
        prop_assert_eq!(parse_text(&text).expect("valid"), json.clone());
        check_places(&text, &json, &mut Vec::new());
        match &json {
            Json::Array(list) => for (index, value) in list.iter().enumerate() {
                check_places(&text, value, &mut vec![Step::Index(index)]);
            },
            Json::Object(map) => for (key, value) in map {
                check_places(&text, value, &mut vec![Step::Key(key)]);
            },
            _ => {}
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", key in ".{0,3}", index in 0usize..3) {
        let _ = parse_text(&text);
        let file = Arc::from("x");
        let _ = diagnostic_at(SourceText { file: &file, text: &text }, &[Step::Key(&key), Step::Index(index)], "m");
    }
}
