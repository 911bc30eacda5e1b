use serde_json::json;

use super::*;

fn read_one(text: &Json) -> Obligation {
    let mut read = read(&text.to_string()).expect("an obligation");
    assert_eq!(read.len(), 1);
    read.remove(0)
}

#[test]
fn names_are_custom_obligations() {
    let read = read("log:full, redact:content,").expect("names");
    assert_eq!(
        read,
        [
            Obligation::custom("log:full"),
            Obligation::custom("redact:content")
        ]
    );
    assert_eq!(
        Json::from(read[0].properties("ana")),
        json!({"name": "log:full"})
    );
}

#[test]
fn each_type_of_the_profile_is_read_as_the_profile_has_it() {
    for (kind, properties) in [
        ("step-up", json!({"acr_value": "urn:example:loa:3"})),
        (
            "step-up",
            json!({"acr_value": "urn:example:loa:3", "amr_values": ["mfa", "hwk"]}),
        ),
        (
            "notification",
            json!({"to": "a@example.com", "body": "read"}),
        ),
        (
            "notification",
            json!({"to": "a@example.com", "body": "read", "topic": "audit"}),
        ),
        (
            "session_termination",
            json!({"subject": "jdoe@example.com"}),
        ),
        ("custom", json!({"vendor": "dlp", "depth": 2})),
    ] {
        let it = read_one(&json!({"id": "obl-1", "type": kind, "properties": properties}));
        assert_eq!((&*it.id, it.kind), ("obl-1", kind));
        assert_eq!(Json::from(it.properties("ana")), properties);
        let [one, other] =
            [1, 2].map(|_| read_one(&json!({"type": kind, "properties": properties})));
        assert_eq!(one, other);
        assert!(one.id.starts_with(&format!("{kind}-")), "{}", one.id);
    }
    let list = json!([
        {"type": "step-up", "properties": {"acr_value": "a"}},
        {"type": "step-up", "properties": {"acr_value": "b"}},
    ]);
    let list = read(&list.to_string()).expect("two");
    assert_ne!(list[0].id, list[1].id);
}

#[test]
fn whose_sessions_end_may_be_whoever_the_decision_is_about() {
    let it =
        read_one(&json!({"type": "session_termination", "properties": {"subject": "?principal"}}));
    assert_eq!(Json::from(it.properties("ana")), json!({"subject": "ana"}));
    let it =
        read_one(&json!({"type": "notification", "properties": {"to": "?principal", "body": "b"}}));
    assert_eq!(it.properties("ana")["to"], "?principal", "a text like any");
}

#[test]
fn what_is_not_as_the_profile_has_it_is_a_fault() {
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    for (text, said) in [
        ("step-up", "without its properties"),
        ("log:full, notification", "without its properties"),
        ("{", "is not JSON"),
        ("{} x", "is not JSON"),
        (r#"{"type": "step-up"}"#, "missing field `properties`"),
        (r#"{"properties": {}}"#, "missing field `type`"),
        (
            r#"{"type": "step-up", "acr_value": "a", "properties": {}}"#,
            "unknown field `acr_value`",
        ),
        (
            r#"{"type": "step-up", "type": "custom", "properties": {}}"#,
            "duplicate field",
        ),
        (
            r#"{"type": "step_up", "properties": {}}"#,
            "the type `step_up`",
        ),
        (
            r#"{"type": "step-up", "properties": {}}"#,
            "missing field `acr_value`",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": 3}}"#,
            "invalid type",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": " "}}"#,
            "an empty `acr_value`",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": "a", "amr_values": "mfa"}}"#,
            "invalid type",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": "a", "amr_values": []}}"#,
            "`amr_values`",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": "a", "amr_values": null}}"#,
            "`amr_values`",
        ),
        (
            r#"{"type": "step-up", "properties": {"acr_value": "a", "x": 1}}"#,
            "unknown field `x`",
        ),
        (
            r#"{"type": "notification", "properties": {"to": "a"}}"#,
            "missing field `body`",
        ),
        (
            r#"{"type": "notification", "properties": {"to": ["a"], "body": "b"}}"#,
            "invalid type",
        ),
        (
            r#"{"type": "notification", "properties": {"to": "a", "body": "b", "topic": null}}"#,
            "`topic`",
        ),
        (
            r#"{"type": "session_termination", "properties": {}}"#,
            "missing field `subject`",
        ),
        (
            r#"{"type": "session_termination", "properties": {"subject": "?resource"}}"#,
            "`?principal`",
        ),
        (
            r#"{"id": "a,b", "type": "custom", "properties": {}}"#,
            "has an `id`",
        ),
        (
            r#"{"id": "", "type": "custom", "properties": {}}"#,
            "has an `id`",
        ),
        (
            r#"{"id": 1, "type": "custom", "properties": {}}"#,
            "invalid type",
        ),
        (
            r#"[{"id": "a", "type": "custom", "properties": {}}, {"id": "a", "type": "custom", "properties": {"b": 1}}]"#,
            "`a` twice",
        ),
        (r#"["log:full"]"#, "invalid type"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
    let text = json!({"type": "notification", "properties": {"to": "a", "body": long}});
    assert!(
        read(&text.to_string())
            .expect_err("long")
            .contains("longer than")
    );
    let many =
        vec![json!({"type": "step-up", "properties": {"acr_value": "a"}}); MAX_OBLIGATIONS + 1];
    assert!(read(&Json::from(many).to_string()).is_err());
    assert!(read(&"x".repeat(MAX_BYTES + 1)).is_err());
}

#[test]
fn what_nobody_has_checked_obliges_to_what_nobody_can_do() {
    let text = r#"{"type": "step-up"}"#;
    assert_eq!(read_unchecked(text), [Obligation::custom(text)]);
}
