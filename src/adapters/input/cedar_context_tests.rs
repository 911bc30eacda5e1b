use callgate_engine::cedar::{Extensions, ValidatorSchema};
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"
entity user, record;
action write appliesTo { principal: user, resource: record, context: { n?: Long, inner?: { m: Long } } };
"#;

fn parse(schema: Option<&ValidatorSchema>, fields: Json) -> Result<ParsedContext, String> {
    let action: EntityUID = r#"Action::"write""#.parse().expect("an action");
    cedar_context(fields, schema, &action, &EntityTypeCache::default())
}

#[test]
fn a_number_that_cedar_does_not_have_denies_and_is_named() {
    let (schema, _) = ValidatorSchema::from_cedarschema_str(SCHEMA, Extensions::all_available())
        .expect("a schema");
    for schema in [Some(&schema), None] {
        for (fields, place) in [
            (json!({"n": 6.5}), "`context.n`"),
            (json!({"n": 7, "inner": {"m": 0.5}}), "`context.inner.m`"),
            (json!({"n": [1, 1e30]}), "`context.n[1]`"),
        ] {
            let parsed = parse(schema, fields.clone()).expect("a context");
            let reason = parsed.denied.expect("a reason");
            assert_eq!(reason.code, ReasonCode::ContextInvalid, "{fields}");
            assert!(reason.message.starts_with(place), "{}", reason.message);
            assert!(!reason.message.contains("untagged"), "{}", reason.message);
        }
        let parsed = parse(schema, json!({"n": 7, "inner": {"m": 1}})).expect("a context");
        assert!(parsed.denied.is_none());
        // For the decision to deny.
        let parsed = parse(schema, json!({"n": "7"})).expect("a context");
        assert!(parsed.denied.is_none());
        assert!(parse(schema, json!({"n": [null]})).is_err());
    }
}
