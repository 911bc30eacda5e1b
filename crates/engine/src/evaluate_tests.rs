use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::cedar::parse_policyset;
use crate::cedar::{Entity, PartialValue, Value};
use smol_str::SmolStr;

use super::*;
use crate::reach::Reach;
use crate::shared_query::SharedParts;
use crate::snapshot::SnapshotParts;

fn snapshot(policies: &str, entities: Vec<Entity>) -> Snapshot {
    Snapshot::build(SnapshotParts {
        policies: parse_policyset(policies).expect("policies"),
        entities,
        schema: None,
        reach: Reach::Unbounded,
    })
    .expect("no fault")
}

static ACTION: LazyLock<EntityUID> = LazyLock::new(|| uid("Action::\"a\""));
static RESOURCE: LazyLock<EntityUID> = LazyLock::new(|| uid("R::\"r\""));
static EMPTY: LazyLock<Context> = LazyLock::new(Context::empty);

fn uid(text: &str) -> EntityUID {
    text.parse().expect("a uid")
}

fn ask<'a>(overlays: &'a [&'a Overlay], unknown: &'a [&'a str]) -> Query<'a> {
    Query {
        action: &ACTION,
        resource: &RESOURCE,
        context: &*EMPTY,
        overlays,
        unknown,
    }
}

#[test]
fn an_error_denies_although_cedar_would_skip_it() {
    let snapshot = snapshot(
        r#"permit (principal, action, resource);
           forbid (principal, action, resource) when { context.gone };"#,
        vec![],
    );
    let evaluation = snapshot.evaluate(&ask(&[], &[]), &uid("U::\"p\""));
    assert_eq!(evaluation.permits.len(), 1);
    assert_eq!(evaluation.errors.len(), 1);
    assert!(!evaluation.is_allow());
}

#[test]
fn principals_that_were_looked_up_keep_their_overlays() {
    let policies = r#"permit (principal in G::"extra", action, resource)
        when { principal.m == 2 };"#;
    let snapshot = snapshot(policies, vec![]);
    let overlays = [Overlay {
        parents: vec![uid("G::\"extra\"")],
        attributes: vec![("m".into(), Value::new(2, None))],
        ..Overlay::bare(uid("U::\"p\""))
    }];
    let (one, other) = (uid("U::\"p\""), uid("U::\"q\""));
    let query = ask(&[], &[]);
    let parts = SharedParts {
        context: query.context,
        overlays: &overlays.each_ref(),
        unknown: &[],
    };
    let shared = snapshot.shared_query(&[&one, &other], parts);
    for _ in 0..2 {
        let evaluations = shared.evaluate(query.action, query.resource, |_| false);
        let allowed: Vec<bool> = evaluations.iter().map(|it| it.is_allow()).collect();
        assert_eq!(allowed, [true, false]);
        let up_to_first = shared.evaluate(query.action, query.resource, |it| it.is_allow());
        assert!(up_to_first.len() == 1 && up_to_first[0].is_allow());
    }
}

#[test]
fn entities_of_a_context_are_told_apart_however_many_there_are() {
    const MANY: i64 = 7;
    let entity = |n: i64| uid(&format!("U::\"e{n}\""));
    // Every second one is stored, the others are the request's own.
    let stored = (0..MANY).step_by(2).map(|n| {
        let number = (SmolStr::new("n"), PartialValue::Value(Value::new(n, None)));
        let no_tags: [(SmolStr, PartialValue); 0] = [];
        let parents = [uid(&format!("G::\"g{n}\""))].into();
        Entity::new_with_attr_partial_value(entity(n), [number], [].into(), parents, no_tags)
    });
    let overlays = (1..MANY).step_by(2).map(|n| Overlay {
        parents: vec![uid(&format!("G::\"g{n}\""))],
        attributes: vec![("n".into(), Value::new(n, None))],
        ..Overlay::bare(entity(n))
    });
    let overlays: Vec<Overlay> = overlays.collect();
    let overlays: Vec<&Overlay> = overlays.iter().collect();
    let is_itself = |n| format!("context.e{n}.n == {n} && context.e{n} in G::\"g{n}\"");
    let policies = (0..MANY).map(|n| {
        let is_itself = is_itself(n);
        format!(
            "permit (principal, action, resource) when {{ {is_itself} }};
             forbid (principal, action, resource) unless {{ {is_itself} && principal != context.e{n} }};"
        )
    });
    let snapshot = snapshot(&policies.collect::<String>(), stored.collect());
    let named = |n| (SmolStr::new(format!("e{n}")), Value::new(entity(n), None));
    let context = Context::Value((0..MANY).map(named).collect::<BTreeMap<_, _>>().into());
    let query = Query {
        context: &context,
        ..ask(&overlays, &[])
    };
    let [one, other] = ["U::\"p\"", "U::\"q\""].map(uid);
    for evaluation in snapshot.evaluate_each(&query, &[&one, &other]) {
        assert_eq!(evaluation.permits.len() as i64, MANY);
        assert!(evaluation.is_allow(), "{evaluation:?}");
    }
}

#[test]
fn of_a_list_with_many_actions_each_is_decided_by_its_own_policies() {
    let names: Vec<String> = (0..20).map(|n| format!("Action::\"a{n}\"")).collect();
    let action = |name: &String| {
        let no_values: [(SmolStr, PartialValue); 0] = [];
        Entity::new_with_attr_partial_value(uid(name), no_values, [].into(), [].into(), [])
    };
    // Every third action is permitted, for any resource or for one.
    let permits = names.iter().step_by(3).enumerate().map(|(n, name)| {
        let resource = ["resource", "resource == R::\"r\""][n % 2];
        format!("permit (principal, action == {name}, {resource});")
    });
    let snapshot = Snapshot::build(SnapshotParts {
        policies: parse_policyset(&permits.collect::<String>()).expect("policies"),
        entities: names.iter().map(action).collect::<Vec<_>>(),
        schema: None,
        reach: Reach::Unbounded,
    })
    .expect("no fault");
    let principal = uid("U::\"p\"");
    let query = ask(&[], &[]);
    let parts = SharedParts {
        context: query.context,
        overlays: &[],
        unknown: &[],
    };
    let shared = snapshot.shared_query(&[&principal], parts);
    for (turn, name) in names.iter().chain(&names).enumerate() {
        let evaluations = shared.evaluate(&uid(name), query.resource, |_| false);
        let is_permitted = (turn % names.len()).is_multiple_of(3);
        assert_eq!(evaluations[0].is_allow(), is_permitted, "{name}");
    }
}

#[test]
fn of_many_policies_for_the_same_entities_those_of_the_action_apply() {
    // Each action has three of them, apart from one another.
    let policies = (0..30).map(|n| {
        let action = n % 10;
        format!("@id(\"p{n}\") permit (principal, action == Action::\"a{action}\", resource);")
    });
    let snapshot = snapshot(&policies.collect::<String>(), vec![]);
    for action in 0..10 {
        let asked = uid(&format!("Action::\"a{action}\""));
        let query = Query {
            action: &asked,
            ..ask(&[], &[])
        };
        let evaluation = snapshot.evaluate(&query, &uid("U::\"p\""));
        assert_eq!(evaluation.permits.len(), 3, "{evaluation:?}");
        assert_eq!(evaluation.policies_evaluated, 3);
    }
    assert!(
        !snapshot
            .evaluate(&ask(&[], &[]), &uid("U::\"p\""))
            .is_allow()
    );
}

#[test]
fn an_overlay_adds_and_never_replaces() {
    let policies = r#"permit (principal in G::"extra", action, resource)
        when { principal.n == 1 && principal.m == 2 && principal.getTag("t") == "added" };"#;
    let stored = Entity::new_with_attr_partial_value(
        uid("U::\"p\""),
        [("n".into(), Value::new(1, None).into())],
        [].into(),
        [uid("G::\"own\"")].into(),
        [],
    );
    let snapshot = snapshot(policies, vec![stored]);
    let overlay = Overlay {
        parents: vec![uid("G::\"extra\"")],
        attributes: vec![
            ("n".into(), Value::new(9, None)),
            ("m".into(), Value::new(2, None)),
        ],
        tags: vec![("t".into(), Value::new("added", None))],
        ..Overlay::bare(uid("U::\"p\""))
    };
    assert!(
        snapshot
            .evaluate(&ask(&[&overlay], &[]), &uid("U::\"p\""))
            .is_allow()
    );
    assert!(
        !snapshot
            .evaluate(&ask(&[], &[]), &uid("U::\"p\""))
            .is_allow()
    );
}

#[test]
fn an_overlay_can_stand_for_an_entity_that_is_not_stored() {
    let policies = r#"permit (principal, action, resource in R::"top") when { resource.n == 1 };"#;
    let middle = Entity::new_with_attr_partial_value(
        uid("R::\"middle\""),
        [],
        [].into(),
        [uid("R::\"top\"")].into(),
        [],
    );
    let snapshot = snapshot(policies, vec![middle]);
    let overlay = Overlay {
        parents: vec![uid("R::\"middle\"")],
        attributes: vec![("n".into(), Value::new(1, None))],
        ..Overlay::bare(uid("R::\"r\""))
    };
    assert!(
        snapshot
            .evaluate(&ask(&[&overlay], &[]), &uid("U::\"p\""))
            .is_allow()
    );
}

#[test]
fn shadow_policies_are_reported_and_never_enforced() {
    let snapshot = snapshot(
        r#"permit (principal, action, resource);
           @mode("shadow") forbid (principal, action, resource);
           @mode("shadow") permit (principal, action, resource) when { context.gone };"#,
        vec![],
    );
    let evaluation = snapshot.evaluate(&ask(&[], &[]), &uid("U::\"p\""));
    assert!(evaluation.is_allow());
    assert_eq!(
        evaluation.shadow_flips().len(),
        2,
        "one forbids, the other would have been an error"
    );
}

#[test]
fn a_shadow_permit_flips_a_deny_only_if_nothing_else_denies() {
    let policies = r#"@mode("shadow") permit (principal, action, resource);"#;
    let evaluation = snapshot(policies, vec![]).evaluate(&ask(&[], &[]), &uid("U::\"p\""));
    assert!(!evaluation.is_allow());
    assert_eq!(evaluation.shadow_flips().len(), 1);
    let forbidden = format!("{policies} forbid (principal, action, resource);");
    assert!(
        snapshot(&forbidden, vec![])
            .evaluate(&ask(&[], &[]), &uid("U::\"p\""))
            .shadow_flips()
            .is_empty()
    );
}

#[test]
fn what_reads_the_unknown_is_open() {
    let permit = r#"permit (principal, action, resource) when { context.input.n == 1 };"#;
    let evaluation = snapshot(permit, vec![]).evaluate(&ask(&[], &["input"]), &uid("U::\"p\""));
    assert!(evaluation.may_allow() && !evaluation.is_allow());
    let with_forbid =
        format!("{permit} forbid (principal, action, resource) unless {{ context has input }};");
    assert!(
        snapshot(&with_forbid, vec![])
            .evaluate(&ask(&[], &["input"]), &uid("U::\"p\""))
            .may_allow()
    );
    let forbidden = format!("{permit} forbid (principal, action, resource);");
    assert!(
        !snapshot(&forbidden, vec![])
            .evaluate(&ask(&[], &["input"]), &uid("U::\"p\""))
            .may_allow()
    );
}

#[test]
fn what_reads_the_unknown_is_no_certain_allow() {
    let evaluate = |policies: &str| {
        snapshot(policies, vec![]).evaluate(&ask(&[], &["input"]), &uid("U::\"p\""))
    };
    let known = "permit (principal, action, resource);";
    assert!(evaluate(known).is_allow_regardless());
    let unknown = "permit (principal, action, resource) when { context.input.n == 1 };";
    assert!(!evaluate(unknown).is_allow_regardless());
    let forbid = "forbid (principal, action, resource) unless { context.input.n == 1 };";
    let evaluation = evaluate(&format!("{known} {forbid}"));
    assert!(evaluation.is_allow() && !evaluation.is_allow_regardless());
    let shadow = format!("{known} @mode(\"shadow\") {forbid}");
    assert!(evaluate(&shadow).is_allow_regardless());
}

#[test]
fn overlays_of_one_entity_are_never_the_first_alone() {
    let policies = r#"permit (principal, action, resource);
        forbid (principal in G::"left", action, resource);
        forbid (principal, action, resource) when { principal has suspended && principal.suspended };"#;
    let snapshot = snapshot(policies, vec![]);
    let principal = uid("U::\"p\"");
    let saying = |suspended: bool| Overlay {
        attributes: vec![("suspended".into(), Value::new(suspended, None))],
        ..Overlay::bare(principal.clone())
    };
    let in_group = || Overlay {
        parents: vec![uid("G::\"left\"")],
        ..Overlay::bare(principal.clone())
    };
    let bare = || Overlay::bare(principal.clone());
    let forbidden = [[bare(), saying(true)], [bare(), in_group()]];
    let contradicted = [saying(false), saying(true)];
    let query = ask(&[], &[]);
    let evaluate = |overlays: &[Overlay; 2]| {
        let overlays = &overlays.each_ref()[..];
        let own = Query { overlays, ..query };
        let alone = snapshot.evaluate(&own, &principal);
        let parts = SharedParts {
            context: query.context,
            overlays,
            unknown: &[],
        };
        let shared = snapshot.shared_query(&[&principal], parts);
        let listed = shared.evaluate(query.action, query.resource, |_| false);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].forbids.len(), alone.forbids.len());
        assert_eq!(listed[0].errors.len(), alone.errors.len());
        alone
    };
    for overlays in &forbidden {
        assert_eq!(evaluate(overlays).forbids.len(), 1);
    }
    let failed = evaluate(&contradicted);
    assert!(!failed.is_allow() && failed.permits.is_empty());
    assert_eq!(failed.errors.len(), 2, "every policy that applies fails");
    let own = Query {
        overlays: &contradicted.each_ref(),
        ..query
    };
    assert!(snapshot.materialize(&own, &principal).is_none());
    let seen = snapshot.cedar_entity_with(&principal, &forbidden[0].each_ref());
    assert!(seen.is_some_and(|it| it.get("suspended").is_some()));
    assert!(
        snapshot
            .cedar_entity_with(&principal, &contradicted.each_ref())
            .is_none()
    );
}
