use serde_json::json;

use super::*;

#[test]
fn properties_come_as_they_are_written() {
    let cases: [(&str, &[&str]); 9] = [
        (
            r#"{"type": "object", "properties": {"to": {}, "body": {"properties": {"x": {}}}, "a": true}}"#,
            &["to", "body", "a"],
        ),
        (
            r#"{"properties": {"\u007a": {}, "é": {}, "": {}}}"#,
            &["z", "é", ""],
        ),
        (r#"{"properties": {}}"#, &[]),
        ("{}", &[]),
        ("true", &[]),
        ("[]", &[]),
        (r#"{"properties": []}"#, &[]),
        (r#"{"properties": null}"#, &[]),
        ("{", &[]),
    ];
    for (schema, expected) in cases {
        assert_eq!(schema_order(schema), expected, "{schema}");
        let definition = format!(r#"{{"name": "t", "inputSchema": {schema}}}"#);
        assert_eq!(
            definition_order(definition.as_bytes()),
            expected,
            "{schema}"
        );
    }
    assert_eq!(definition_order(b"{\"name\": \"t\"}"), [""; 0]);
}

#[test]
fn a_text_keeps_an_order_that_a_value_has_lost() {
    let written = r#"{"properties":{"to":{"type":"string"},"body":{},"\"a":{}},"required":["to"],"type":"object"}"#;
    let schema: Json = serde_json::from_str(written).unwrap();
    let text = schema_text(&schema, &schema_order(written));
    assert_eq!(text, written);
    for order in [&["body".into()][..], &[], &["unknown".into(), "to".into()]] {
        let text = schema_text(&schema, order);
        assert_eq!(
            serde_json::from_str::<Json>(&text).unwrap(),
            schema,
            "{text}"
        );
    }
    assert_eq!(schema_text(&json!(true), &["a".into()]), "true");
}

#[test]
fn targets_come_first_then_declared_names_then_the_rest() {
    let declared: Vec<SmolStr> = ["note", "to", "body", "cc"].map(SmolStr::new).into();
    let names = ["zoo", "body", "cc", "also", "note", "to"];
    let is_target = |name: &str| ["to", "cc"].contains(&name);
    assert_eq!(
        arrange(names.into_iter(), is_target, &declared),
        ["to", "cc", "note", "body", "also", "zoo"]
    );
    assert_eq!(
        arrange(names.into_iter(), |_| false, &[]),
        ["also", "body", "cc", "note", "to", "zoo"]
    );
}
