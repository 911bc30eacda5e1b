use serde_json::json;

use super::*;

fn secret_fields(properties: Json) -> Vec<SmolStr> {
    read_form(&json!({ "type": "object", "properties": properties }))
        .expect("a form")
        .secret_fields
}

#[test]
fn a_plain_form_asks_for_nothing_secret() {
    let form = read_form(&json!({ "properties": {
        "name": { "type": "string", "title": "Your name", "description": "As on the badge" },
        "shipping": { "type": "string", "enum": ["standard", "express"], "description": "opinion welcome" },
        "tokyo": { "type": "boolean", "description": "Is it in Tokyo?" },
    }}));
    let form = form.expect("a form");
    assert_eq!(form.field_names.len(), 3);
    assert!(form.secret_fields.is_empty(), "{form:?}");
}

#[test]
fn a_secret_shows_in_any_part_of_a_field() {
    for field in [
        json!({ "password": { "type": "string" } }),
        json!({ "API-Key": { "type": "string" } }),
        json!({ "apiKey": { "type": "string" } }),
        json!({ "x": { "type": "string", "title": "Your pass word" } }),
        json!({ "x": { "type": "string", "description": "the access_key of the account" } }),
        json!({ "x": { "type": "string", "format": "password" } }),
        json!({ "x": { "type": "string", "enum": ["no", "here is my bearer token"] } }),
        json!({ "x": { "type": "string", "oneOf": [{ "const": "a", "title": "Credit card" }] } }),
        json!({ "userPin": { "type": "string" } }),
        json!({ "x": { "description": "CVV" } }),
    ] {
        assert_eq!(secret_fields(field.clone()).len(), 1, "{field}");
    }
}

#[test]
fn short_words_count_only_on_their_own() {
    assert!(secret_fields(json!({ "opinion": {}, "shipping": {}, "lessn": {} })).is_empty());
}

#[test]
fn what_is_no_form_is_not_read_as_an_empty_one() {
    assert_eq!(read_form(&json!({})), None);
    assert_eq!(read_form(&json!({ "properties": [] })), None);
    assert_eq!(read_form(&json!("form")), None);
}

#[test]
fn a_form_too_deep_to_read_counts_as_secret() {
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert_eq!(secret_fields(json!({ "x": deep })).len(), 1);
}
