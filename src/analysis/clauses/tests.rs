use callgate_engine::cedar::{Context, Entity, EntityUID, parse_policyset};
use callgate_engine::{Query, Reach, Snapshot, SnapshotParts};
use proptest::prelude::*;
use serde_json::json;

use super::tree::Edit;
use super::*;

fn tree_of(policy: &str) -> ClauseTree {
    let set = parse_policyset(policy).expect("a policy");
    ClauseTree::from_policy(set.all_templates().next().expect("one policy"))
}

fn texts(tree: &ClauseTree) -> Vec<&str> {
    let conditions = tree.conditions();
    conditions
        .filter_map(|(_, node)| Some(node.place.as_ref()?.text.as_str()))
        .collect()
}

/// The outcome of the only policy of `text` with these attributes of the context.
fn outcome(text: &str, context: &serde_json::Value) -> (ClauseTree, PolicyOutcome) {
    let snapshot = Snapshot::build(SnapshotParts {
        policies: parse_policyset(text).expect("a policy"),
        entities: Vec::<Entity>::new(),
        schema: None,
        reach: Reach::Unbounded,
    })
    .expect("no fault");
    let uid = |text: &str| -> EntityUID { text.parse().expect("a uid") };
    let context = Context::from_pairs(
        context
            .as_object()
            .expect("an object")
            .iter()
            .map(|(name, value)| {
                let value = value.to_string().parse().expect("an expression");
                (name.as_str().into(), value)
            }),
        callgate_engine::cedar::Extensions::all_available(),
    )
    .expect("a context");
    let query = Query {
        action: &uid(r#"Action::"a""#),
        resource: &uid(r#"R::"r""#),
        context: &context,
        overlays: &[],
        unknown: &[],
    };
    let principal = uid(r#"P::"p""#);
    let request = snapshot.materialize(&query, &principal).expect("a request");
    let candidate = request.candidates[0];
    let evaluator = request.evaluator();
    let tree = ClauseTree::from_policy(candidate.policy.template());
    let outcome = tree.evaluate(&evaluator, candidate.policy.env());
    let whole = match evaluator.evaluate(candidate.policy) {
        Ok(bool) => Truth::from(bool),
        Err(error) => Truth::Error(error.to_string()),
    };
    assert_eq!(outcome.truth, whole, "{text}");
    (tree, outcome)
}

#[test]
fn a_policy_is_split_into_its_conditions() {
    let tree = tree_of(
        r#"permit (principal, action, resource)
           when { context.a && (context.b > 2 || !(context has c)) } // all of "it"
           unless { !(context.d || context.e) && principal is P in G::"g" }
           when { if context.f then context.g else false };"#,
    );
    assert_eq!(
        texts(&tree),
        [
            "context.a",
            "context.b > 2",
            "!(context has c)",
            "context.d",
            "context.e",
            "principal is P in G::\"g\"",
            "context.f",
            "context.g",
            "false",
        ]
    );
    let kinds: Vec<ClauseKind> = tree.clauses.iter().map(|clause| clause.kind).collect();
    assert_eq!(
        kinds,
        [ClauseKind::When, ClauseKind::Unless, ClauseKind::When]
    );
    let lines: Vec<_> = tree
        .conditions()
        .filter_map(|(_, node)| Some(node.place.as_ref()?.line))
        .collect();
    assert_eq!(lines, [2, 2, 2, 3, 3, 3, 4, 4, 4]);
    let clauses: Vec<usize> = tree
        .conditions()
        .map(|(id, _)| tree.clause_of(id))
        .collect();
    assert_eq!(clauses, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
}

#[test]
fn a_policy_without_clauses_always_holds() {
    let tree = tree_of("permit (principal, action, resource);");
    assert!(tree.clauses.is_empty());
    let (_, outcome) = outcome("permit (principal, action, resource);", &json!({}));
    assert_eq!(outcome.truth, Truth::True);
}

#[test]
fn a_condition_that_is_negated_is_no_unless() {
    let tree = tree_of("permit (principal, action, resource) when { !context.a };");
    assert_eq!(tree.clauses[0].kind, ClauseKind::When);
    assert_eq!(texts(&tree), ["!context.a"]);
}

#[test]
fn comments_are_no_part_of_a_condition() {
    let tree =
        tree_of("permit (principal, action, resource) when { context.a == // why\n \"x // y\" };");
    assert_eq!(texts(&tree), ["context.a == \"x // y\""]);
}

#[test]
fn what_is_reached_and_what_decides_is_told() {
    let text = "forbid (principal, action, resource)
        when { context.a && (context.b || context.c) } unless { context.d };";
    let (_, outcome) = outcome(text, &json!({"a": true, "b": false, "c": true, "d": false}));
    let told: Vec<(bool, bool)> = outcome
        .conditions
        .iter()
        .map(|it| (it.is_reached, it.is_decisive))
        .collect();
    // `b` is false; were it true, the outcome would be the same.
    assert_eq!(
        told,
        [(true, true), (true, false), (true, true), (true, true)]
    );
    assert_eq!(outcome.clauses, [Some(Truth::True), Some(Truth::True)]);
}

#[test]
fn what_is_not_reached_decides_nothing_and_its_error_is_none_of_the_policys() {
    let text = "permit (principal, action, resource) when { context has a && context.a == 1 };";
    let (_, outcome) = outcome(text, &json!({}));
    assert_eq!(outcome.truth, Truth::False);
    let [guard, guarded] = &outcome.conditions[..] else {
        panic!("two conditions");
    };
    // Were the guard true, the other would err: that is no definite outcome.
    assert!(guard.is_reached && !guard.is_decisive);
    assert!(!guarded.is_reached && matches!(guarded.truth, Truth::Error(_)));
}

#[test]
fn the_values_that_were_seen_are_told() {
    let text = "permit (principal, action, resource) when {
        context.a.contains(\"x\") && context.b < context.c && principal == resource };";
    let given = json!({"a": ["x", "y"], "b": 1, "c": 2});
    let (_, outcome) = outcome(text, &given);
    let told: Vec<String> = outcome
        .conditions
        .iter()
        .flat_map(|it| &it.values)
        .map(|seen| match &seen.value {
            Ok(value) => format!("{} = {value}", seen.expression),
            Err(error) => format!("{}: {error}", seen.expression),
        })
        .collect();
    assert_eq!(
        told,
        [
            "context.a = [\"x\", \"y\"]",
            "context.b = 1",
            "context.c = 2",
            "principal = P::\"p\"",
            "resource = R::\"r\"",
        ]
    );
}

#[test]
fn edits_drop_and_negate() {
    let tree = tree_of(
        "permit (principal, action, resource) when { context.a && !context.b } unless { context.c };",
    );
    let ids: Vec<NodeId> = tree.conditions().map(|(id, _)| id).collect();
    let edited = |node: NodeId, edit: Edit| {
        let expr = tree.to_expr(&|id| (id == node).then_some(edit));
        expr.map(|expr| expr.to_string()).unwrap_or_default()
    };
    assert_eq!(edited(ids[0], Edit::Drop), "(!context.b) && (!context.c)");
    assert_eq!(
        edited(ids[1], Edit::Negate),
        "context.a && context.b && (!context.c)"
    );
    assert_eq!(edited(ids[2], Edit::Drop), "context.a && (!context.b)");
    let nothing = tree_of("permit (principal, action, resource) when { context.a };");
    assert!(nothing.to_expr(&|_| Some(Edit::Drop)).is_none());
}

/// A body over the attributes `a` to `d`, of which some may be missing.
fn body() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-d]".prop_map(|name| format!("context.{name}")),
        "[a-d]".prop_map(|name| format!("context has {name}")),
        "[a-d]".prop_map(|name| format!("context.{name} != true")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) && ({b}) && ({c})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("if {a} then {b} else {c}")),
        ]
    })
}

proptest! {
    /// Held inside [`outcome`]: the tree has the value that Cedar gives the policy, and the rebuilt expression is the
    /// policy's own.
    #[test]
    fn a_tree_has_the_value_of_its_policy(
        when in body(),
        unless in body(),
        given in proptest::collection::btree_map("[a-d]", any::<bool>(), 0..4),
    ) {
        let text = format!(
            "permit (principal, action, resource) when {{ {when} }} unless {{ {unless} }};"
        );
        let (tree, _) = outcome(&text, &json!(given));
        prop_assert_eq!(tree.clauses.len(), 2);
        let set = parse_policyset(&text).expect("a policy");
        let own = set.all_templates().next().and_then(|it| it.non_scope_constraints());
        let rebuilt = tree.to_expr(&|_| None);
        prop_assert_eq!(rebuilt.as_ref(), own);
    }
}
