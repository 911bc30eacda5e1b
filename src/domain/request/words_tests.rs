use serde_json::json;

use super::*;

fn of(arguments: &Json) -> Vec<String> {
    let arguments = arguments.as_object().expect("an object");
    find(arguments).iter().map(ToString::to_string).collect()
}

#[test]
fn a_word_is_found_however_it_is_set_apart_and_written() {
    for text in [
        "SELECT *\nINTO stolen",
        "SELECT *INTO stolen",
        "select*\tInto\u{a0}\"stolen\"",
        "SELECT */**/INTO/**/stolen",
        "SELECT *\u{0}INTO\u{3000}stolen;",
    ] {
        assert_eq!(
            of(&json!({"sql": text})),
            ["into", "select", "stolen"],
            "{text}"
        );
    }
    assert_eq!(
        of(&json!({"sql": "pg_Class.into_x$y"})),
        ["into_x", "pg_class", "y"]
    );
}

#[test]
fn a_word_right_after_a_number_is_found() {
    assert_eq!(of(&json!({"sql": "1INTO"})), ["1into", "into"]);
    assert_eq!(
        of(&json!({"sql": "1e5for2"})),
        ["1e5for2", "e5for2", "for2"]
    );
    assert_eq!(of(&json!({"sql": "a1for 22"})), ["22", "a1for"]);
}

#[test]
fn words_are_those_of_all_texts_and_of_no_names() {
    let arguments = json!({"for": 7, "list": [["A b"], {"into": "c"}, null, true], "text": ""});
    assert_eq!(of(&arguments), ["a", "b", "c"]);
}
