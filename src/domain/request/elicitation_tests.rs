use serde_json::json;

use super::*;

fn secret_fields(properties: Json) -> Vec<SmolStr> {
    read_form("", &json!({ "type": "object", "properties": properties }))
        .expect("a form")
        .secret_fields
}

#[test]
fn a_plain_form_asks_for_nothing_secret() {
    let form = read_form(
        "",
        &json!({ "properties": {
            "name": { "type": "string", "title": "Your name", "description": "As on the badge" },
            "shipping": { "type": "string", "enum": ["standard", "express"], "description": "opinion welcome" },
            "tokyo": { "type": "boolean", "description": "Is it in Tokyo?" },
            "pass": { "type": "boolean", "description": "Did it?", "writeOnly": false },
        }}),
    );
    let form = form.expect("a form");
    assert_eq!(form.field_names.len(), 4);
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
        json!({ "pass": { "type": "string" } }),
        json!({ "x": { "type": "string", "writeOnly": true } }),
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
    assert_eq!(read_form("", &json!({})), None);
    assert_eq!(read_form("", &json!({ "properties": [] })), None);
    assert_eq!(read_form("", &json!("form")), None);
}

#[test]
fn a_form_too_deep_to_read_counts_as_secret() {
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert_eq!(secret_fields(json!({ "x": deep })).len(), 1);
}

#[test]
fn what_is_said_about_the_whole_form_is_about_every_field_one_writes_into() {
    let fields = json!({
        "x": { "type": "string" },
        "number": { "type": "integer" },
        "yes": { "type": "boolean" },
        "which": { "type": "string", "enum": ["a", "b"] },
        "titled": { "type": "string", "oneOf": [{ "const": "a", "title": "A" }] },
        "several": { "type": "array", "items": { "type": "string", "enum": ["a"] } },
        "both": { "type": ["boolean", "string"] },
        "any": { "anyOf": [{ "type": "string" }] },
    });
    let written = ["x", "number", "both", "any"];
    let schema = json!({ "type": "object", "properties": fields });
    let form = read_form("Please type your password below", &schema).expect("a form");
    assert_eq!(form.secret_fields, written);
    for said in ["title", "description"] {
        let mut schema = schema.clone();
        schema[said] = "Ihr Paßwort, also das Kennwort".into();
        assert_eq!(
            read_form("", &schema).expect("a form").secret_fields,
            written
        );
    }
    assert_eq!(
        read_form("Your name?", &schema)
            .expect("a form")
            .secret_fields,
        [""; 0]
    );
}

#[test]
fn a_field_kept_in_another_place_of_the_schema_is_found() {
    let schema = json!({
        "properties": { "x": { "$ref": "#/$defs/y" } },
        "$defs": { "y": { "type": "string", "title": "Password" } },
    });
    assert_eq!(
        read_form("", &schema).expect("a form").secret_fields,
        ["$defs"]
    );
    let schema = json!({ "properties": { "x": { "$ref": "https://evil.example/form" } } });
    assert_eq!(read_form("", &schema).expect("a form").secret_fields, ["x"]);
    let schema = json!({ "properties": {}, "required": ["pass\u{200b}word"] });
    assert_eq!(
        read_form("", &schema).expect("a form").secret_fields,
        ["required"]
    );
}

#[test]
fn a_form_whose_fields_cannot_be_told_is_none() {
    for keyword in OTHER_FIELDS.into_iter().chain(["additionalProperties"]) {
        let schema = json!({ "properties": { "x": {} }, keyword: { "properties": { "y": {} } } });
        assert_eq!(read_form("", &schema), None, "{keyword}");
    }
    let closed = json!({ "properties": { "x": {} }, "additionalProperties": false });
    assert!(read_form("", &closed).is_some());
    let many: Map<_, _> = (0..=MAX_FIELDS)
        .map(|it| (format!("f{it}"), json!({})))
        .collect();
    assert_eq!(read_form("", &json!({ "properties": many })), None);
}
