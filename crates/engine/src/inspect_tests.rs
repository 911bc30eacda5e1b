use crate::cedar::{Context, Entity, EntityUID, parse_policyset};
use crate::{Overlay, Query, Reach, Snapshot, SnapshotParts};

fn uid(text: &str) -> EntityUID {
    text.parse().expect("a uid")
}

fn snapshot() -> Snapshot {
    let policies = r#"
        permit (principal in G::"a", action, resource);
        permit (principal in G::"b", action, resource);
        forbid (principal, action, resource == R::"r") when { context.n > 1 };
        forbid (principal, action == Action::"b", resource);
    "#;
    let member = Entity::new_with_attr_partial_value(
        uid("U::\"p\""),
        [],
        [].into(),
        [uid("G::\"a\"")].into(),
        [],
    );
    Snapshot::build(SnapshotParts {
        policies: parse_policyset(policies).expect("policies"),
        entities: vec![member],
        schema: None,
        reach: Reach::Unbounded,
    })
    .expect("no fault")
}

fn ids(policies: &[crate::Candidate<'_>]) -> Vec<String> {
    policies.iter().map(|it| it.info.id.to_string()).collect()
}

#[test]
fn applicable_are_the_policies_that_evaluation_counts() {
    let snapshot = snapshot();
    let (who, action, resource) = (uid("U::\"p\""), uid("Action::\"a\""), uid("R::\"r\""));
    let found = snapshot.applicable(&who, &action, &resource, &[]);
    assert_eq!(ids(&found), ["policy0", "policy2"]);
    let overlay = Overlay {
        parents: vec![uid("G::\"b\"")],
        ..Overlay::bare(who.clone())
    };
    let overlays = [&overlay];
    let found = snapshot.applicable(&who, &action, &resource, &overlays);
    assert_eq!(ids(&found), ["policy0", "policy1", "policy2"]);
    let query = Query {
        action: &action,
        resource: &resource,
        context: &Context::empty(),
        overlays: &overlays,
        unknown: &[],
    };
    let evaluation = snapshot.evaluate(&query, &who);
    assert_eq!(evaluation.policies_evaluated as usize, found.len());
}

#[test]
fn all_entities_are_there_with_all_their_ancestors() {
    let entities = snapshot().cedar_entities();
    assert_eq!(entities.len(), 1);
    assert!(entities[0].is_descendant_of(&uid("G::\"a\"")));
}
