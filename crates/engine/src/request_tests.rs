use std::sync::Arc;

use crate::cedar::{Entity, PolicySet, ValidatorSchema, Value};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::*;
use crate::reach::Reach;
use crate::snapshot::SnapshotParts;

const SCHEMA: &str = r#"
    entity U, V;
    entity Colour enum ["red", "blue"];
    action a appliesTo { principal: [U], resource: [V], context: {
        n: Long, b?: Bool, s?: String, u?: U, c?: Colour, set?: Set<Long>, us?: Set<U>,
        when?: __cedar::datetime, deep?: { x: Long, y?: { z: String } },
    } };
    action b appliesTo { principal: [U], resource: [V] };
"#;

fn snapshot() -> Snapshot {
    snapshot_of(SCHEMA)
}

fn snapshot_of(schema: &str) -> Snapshot {
    let (schema, _) = ValidatorSchema::from_cedarschema_str(schema, Extensions::all_available())
        .expect("the schema parses");
    let actions = schema.action_entities().expect("it has actions");
    let entities: Vec<Entity> = actions.iter().cloned().collect();
    Snapshot::build(SnapshotParts {
        policies: PolicySet::new(),
        entities,
        schema: Some(Arc::new(schema)),
        reach: Reach::Level(1),
    })
    .expect("no fault")
}

fn uid(text: &str) -> EntityUID {
    text.parse().expect("a uid")
}

fn context(fields: impl IntoIterator<Item = (SmolStr, Value)>) -> Context {
    Context::Value(Arc::new(fields.into_iter().collect()))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(|bool| Value::new(bool, None)),
        any::<i64>().prop_map(|long| Value::new(long, None)),
        "[a-z]{0,3}".prop_map(|text| Value::new(SmolStr::new(text), None)),
        prop_oneof![
            Just("U::\"x\""),
            Just("V::\"x\""),
            Just("Colour::\"red\""),
            Just("Colour::\"green\""),
            Just("Action::\"a\""),
            Just("Nobody::\"x\""),
        ]
        .prop_map(|text| Value::new(uid(text), None)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| Value::set(items, None)),
            proptest::collection::btree_map("[xyz]", inner, 0..3)
                .prop_map(|fields| Value::record(fields, None)),
        ]
    })
}

proptest! {
    /// The quick check accepts nothing that Cedar's own refuses, and the whole check agrees with it.
    #[test]
    fn the_check_agrees_with_cedar(
        fields in proptest::collection::btree_map(
            prop_oneof!["n", "b", "s", "u", "c", "set", "us", "deep", "odd"], value(), 0..5),
        has_n in proptest::bool::weighted(0.9),
    ) {
        let snapshot = snapshot();
        let mut fields = fields;
        if has_n {
            fields.insert("n".to_owned(), Value::new(1, None));
        }
        let context = context(fields.into_iter().map(|(name, value)| (SmolStr::new(name), value)));
        let schema = snapshot.schema().expect("it has one");
        for action in ["Action::\"a\"", "Action::\"b\"", "Action::\"c\""] {
            let action = uid(action);
            let cedar = schema.validate_context(&context, &action, Extensions::all_available());
            let ours = snapshot.check_context(&action, &context);
            prop_assert_eq!(ours.is_ok(), cedar.is_ok(), "{:?} {:?}", ours, cedar);
        }
    }
}

const SIMILAR: &str = r#"
    entity U, V;
    action general appliesTo { principal: [U], resource: [V], context: {
        n: Long, b?: Bool, s?: String, deep?: { x: Long },
    } };
    action typed appliesTo { principal: [U], resource: [V], context: {
        n: Long, b: Bool, deep?: { x: Long }, input: { t: String, k?: Set<Long> },
    } };
"#;

proptest! {
    /// What conforms to one action is checked against another by what differs, with the same result.
    #[test]
    fn the_check_of_differences_agrees_with_the_whole_one(
        b in proptest::option::of(any::<bool>()),
        has_s in any::<bool>(),
        has_deep in any::<bool>(),
        input in proptest::option::of(prop_oneof![
            value(),
            (prop_oneof![Just(Value::new("t", None)), value()], proptest::option::of(value()))
                .prop_map(|(t, k)| {
                    let k = k.map(|k| (SmolStr::new_static("k"), k));
                    Value::record(k.into_iter().chain([(SmolStr::new_static("t"), t)]), None)
                }),
        ]),
    ) {
        let snapshot = snapshot_of(SIMILAR);
        let mut fields = vec![("n", Value::new(1, None))];
        fields.extend(b.map(|b| ("b", Value::new(b, None))));
        fields.extend(has_s.then(|| ("s", Value::new("s", None))));
        fields.extend(has_deep.then(|| ("deep", Value::record([("x", Value::new(1, None))], None))));
        let named = |(name, value)| (SmolStr::new_static(name), value);
        let general = context(fields.iter().cloned().map(named));
        fields.extend(input.map(|input| ("input", input)));
        let whole = context(fields.into_iter().map(named));
        let (like, action) = (uid("Action::\"general\""), uid("Action::\"typed\""));
        prop_assert_eq!(snapshot.check_context(&like, &general), Ok(()));
        prop_assert_eq!(
            snapshot.check_context_like(&action, &like, &whole),
            snapshot.check_context(&action, &whole)
        );
    }
}

#[test]
fn all_that_is_missing_is_listed() {
    let deep = Value::record([("y", Value::record::<SmolStr, Value>([], None))], None);
    let fault = snapshot().check_context(&uid("Action::\"a\""), &context([("deep".into(), deep)]));
    let missing = ["deep.x", "deep.y.z", "n"].map(str::to_owned).to_vec();
    assert_eq!(fault, Err(RequestError::ContextMissing(missing)));
}

#[test]
fn a_request_of_other_types_is_refused_in_words() {
    let snapshot = snapshot();
    let check = |principal: &str, action: &str, resource: &str| {
        snapshot.check_scope(&uid(principal), &uid(action), &uid(resource))
    };
    assert_eq!(check("U::\"x\"", "Action::\"a\"", "V::\"x\""), Ok(()));
    for (principal, action, resource) in [
        ("V::\"x\"", "Action::\"a\"", "V::\"x\""),
        ("U::\"x\"", "Action::\"gone\"", "V::\"x\""),
        ("U::\"x\"", "Action::\"a\"", "Nobody::\"x\""),
    ] {
        let fault = check(principal, action, resource).expect_err("not what the schema says");
        assert!(matches!(fault, RequestError::Invalid(message) if !message.is_empty()));
    }
}
