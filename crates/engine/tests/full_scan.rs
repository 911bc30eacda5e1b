//! The engine against Cedar's own full scan: the same decision, reasons and errors, for random policies,
//! entities and requests, with and without a schema, before and after entities change.
//!
//! `CALLGATE_PROPERTY_CASES` sets how many requests each test asks (default 2,000).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use callgate_engine::cedar::api::{
    self, Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet, Request, Schema,
    SlotId, ValidationMode, Validator,
};
use callgate_engine::cedar::{self, EntityUID, ValidatorSchema};
use callgate_engine::{PolicyEvaluation, Query, Reach, SharedParts, Snapshot, SnapshotParts};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};

/// Requests asked of every random world, so that building it is not all that takes time.
const REQUESTS_PER_WORLD: usize = 5;

const SCHEMA: &str = r#"
    entity G in [G] = { n?: Long };
    entity U in [G] = { n: Long, name?: String, boss?: U, home?: N::R } tags String;
    namespace N {
        entity R in [R, G] = { owner: U, who: Set<U>, n?: Long, born?: __cedar::datetime } tags Set<U>;
    }
    action ag;
    action a0, a1 in [ag] appliesTo { principal: [U], resource: [N::R], context: C };
    action a2 appliesTo { principal: [U, G], resource: [N::R, U], context: C };
    type C = { n: Long, s: Set<U>, rec: { r?: N::R, u: U }, u?: U };
"#;

/// Whether policies are proven to look no further than some level, or may look anywhere.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Proof {
    Level,
    None,
}

#[derive(Debug, Clone)]
struct World {
    policies: Vec<String>,
    links: Vec<(usize, String, String)>,
    entities: BTreeMap<String, Json>,
    replacement: (String, Json),
    requests: Vec<Question>,
}

#[derive(Debug, Clone)]
struct Question {
    principal: String,
    action: String,
    resource: String,
    context: Json,
}

/// Templates that random links fill.
const TEMPLATES: [&str; 3] = [
    "@id(\"t0\") permit (principal in ?principal, action, resource == ?resource) when { principal.n > 1 };",
    "@id(\"t1\") forbid (principal == ?principal, action in [Action::\"ag\"], resource in ?resource);",
    "@id(\"t2\") permit (principal is U in ?principal, action == Action::\"a0\", resource in ?resource) when { resource.owner == principal };",
];

fn uid(ty: &'static str, prefix: &'static str) -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(move |n| format!("{ty}::\"{prefix}{n}\""))
}

fn user() -> impl Strategy<Value = String> {
    uid("U", "u")
}

fn group() -> impl Strategy<Value = String> {
    uid("G", "g")
}

fn resource() -> impl Strategy<Value = String> {
    uid("N::R", "r")
}

fn any_uid() -> impl Strategy<Value = String> {
    prop_oneof![user(), group(), resource()]
}

fn action() -> impl Strategy<Value = String> {
    select(vec!["a0", "a1", "a2"]).prop_map(|name| format!("Action::\"{name}\""))
}

fn scope(variable: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(variable.to_owned()),
        2 => any_uid().prop_map(move |uid| format!("{variable} == {uid}")),
        4 => any_uid().prop_map(move |uid| format!("{variable} in {uid}")),
        2 => select(vec!["U", "G", "N::R"]).prop_map(move |ty| format!("{variable} is {ty}")),
        2 => (select(vec!["U", "N::R"]), any_uid())
            .prop_map(move |(ty, uid)| format!("{variable} is {ty} in {uid}")),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("action".to_owned()),
        action().prop_map(|action| format!("action == {action}")),
        Just("action in Action::\"ag\"".to_owned()),
        vec(action(), 1..3).prop_map(|actions| format!("action in [{}]", actions.join(", "))),
        Just("action in [Action::\"ag\", Action::\"a0\"]".to_owned()),
    ]
}

/// Expressions for entities. Many can fail: optional attributes, entities that are not there.
fn entity_expr() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("principal".to_owned()),
        4 => Just("resource".to_owned()),
        3 => select(vec![
            "resource.owner", "resource.owner.boss", "principal.boss", "principal.boss.boss",
            "principal.home", "principal.home.owner", "context.u", "context.u.boss",
            "context.rec.u", "context.rec.r", "context.rec.r.owner", "context.rec.u.home.owner",
            "{x: resource.owner, y: context.u}.x", "(if context.n > 1 then principal else context.rec.u)",
        ]).prop_map(str::to_owned),
        1 => any_uid(),
    ]
}

fn atom() -> impl Strategy<Value = String> {
    let entity = entity_expr;
    let shapes = prop_oneof![
        (entity(), any_uid()).prop_map(|(e, uid)| format!("{e} in {uid}")),
        (entity(), entity()).prop_map(|(a, b)| format!("{a} in {b}")),
        (entity(), entity()).prop_map(|(a, b)| format!("{a} == {b}")),
        (entity(), -1..4_i64).prop_map(|(e, n)| format!("{e}.n > {n}")),
        (entity(), 0..4_i64).prop_map(|(e, n)| format!("{e} has n && {e}.n <= {n}")),
        entity().prop_map(|e| format!("{e} has boss && {e}.boss.n < 2")),
        entity().prop_map(|e| format!("{e} has boss.boss && {e}.boss.boss in G::\"g1\"")),
        entity().prop_map(|e| format!("{e}.n + 9223372036854775806 > 0")),
        entity().prop_map(|e| format!("{e}.n * 4611686018427387904 > context.n")),
        entity().prop_map(|e| format!("{e}.hasTag(\"t\")")),
        entity().prop_map(|e| format!("{e}.getTag(\"t\") == \"x\"")),
        entity().prop_map(|e| format!("{e}.hasTag(\"t\") && {e}.getTag(\"t\") == \"x\"")),
        entity()
            .prop_map(|e| format!("{e}.hasTag(\"w\") && {e}.getTag(\"w\").contains(principal)")),
        entity().prop_map(|e| format!("{e} is U")),
        (entity(), group()).prop_map(|(e, g)| format!("{e} is U in {g}")),
        entity().prop_map(|e| format!("context.s.contains({e})")),
        entity().prop_map(|e| format!("{e} has name && {e}.name like \"a*\"")),
        Just("resource.who.containsAny(context.s)".to_owned()),
        Just("context.s.containsAll(resource.who)".to_owned()),
        Just("context.s.isEmpty()".to_owned()),
        Just("context has u && context.u == principal".to_owned()),
        Just("context has rec.r && context.rec.r.owner.n > 0".to_owned()),
        Just("context.rec.u.n < resource.owner.n".to_owned()),
        Just("context has u && context.u.n < context.rec.u.n".to_owned()),
        Just("principal has boss && principal.boss.n == context.rec.u.n".to_owned()),
        Just("resource.owner in G::\"g1\" && !(context.rec.u in G::\"g1\")".to_owned()),
        Just("resource has born && resource.born < datetime(\"2025-01-01\")".to_owned()),
        Just("datetime(\"nonsense\") < datetime(\"2025-01-01\")".to_owned()),
        Just("principal.nothing".to_owned()),
        Just("1 + \"a\" == 2".to_owned()),
        Just("{x: context}.x.n == 1".to_owned()),
        Just("[principal, resource.owner].contains(context.rec.u)".to_owned()),
        Just("action == Action::\"a0\"".to_owned()),
        Just("action in Action::\"ag\"".to_owned()),
    ];
    prop_oneof![3 => shapes, 1 => select(VALUES.to_vec()).prop_map(str::to_owned)]
}

/// Sets, records and extension values, with and without parts that depend on the request.
const VALUES: [&str; 30] = [
    r#"context.s.containsAll([principal, resource.owner])"#,
    r#"context.s.containsAll([U::"u1"])"#,
    r#"[U::"u0", U::"u1"].containsAny(context.s)"#,
    r#"[U::"u0", principal].containsAll(resource.who)"#,
    r#"[U::"u0", U::"u1", U::"u2", U::"u3", U::"a", U::"b", U::"c", U::"d", U::"e"].containsAll(context.s)"#,
    r#"[U::"u0", U::"u1", U::"u2", U::"a", U::"b", U::"c", U::"d", U::"e", U::"f"].contains(resource.owner)"#,
    r#"[1, 2, 3].contains(context.n)"#,
    r#"[0, 3, 4, 5, 6, 7, 8, 9, 10, 11].contains(context.n)"#,
    r#"["anna", "carl"].contains(principal.name)"#,
    r#"["a", "b", "c", "d", "e", "f", "g", "h", "anna"].contains(principal.name)"#,
    r#"[[1], [2]].contains([context.n])"#,
    r#"[[1], [2, 3]].containsAny([[context.n, 3], [1]])"#,
    r#"[1, "a"].contains(context.n)"#,
    r#"context.s == [principal]"#,
    r#"context.rec == {u: principal}"#,
    r#"{u: context.u, n: context.n} == {u: principal, n: 1}"#,
    r#"{a: 1, b: [principal]}.b.contains(resource.owner)"#,
    r#"(if context.n > 1 then [principal] else context.s).containsAny(resource.who)"#,
    r#"principal in [G::"g1", G::"g2"]"#,
    r#"principal in [G::"g1", resource]"#,
    r#"principal in resource.who"#,
    r#"principal in [1]"#,
    r#"resource has born && resource.born.toDate() < datetime("2025-01-01")"#,
    r#"resource has born && resource.born.offset(duration("365d")) >= datetime("2025-02-28")"#,
    r#"resource has born && [resource.born, datetime("2025-01-01")].contains(datetime("2024-02-29"))"#,
    r#"resource.born.durationSince(datetime("2024-01-01")) <= duration("60d")"#,
    r#"ip("10.0.0.1").isInRange(ip("10.0.0.0/8")) && context.n == 1"#,
    r#"decimal("1.5").lessThan(decimal("2.0")) && decimal("1.5") < decimal("2.0")"#,
    r#"decimal("1.23456").lessThan(decimal("2.0"))"#,
    r#"ip(principal.name).isLoopback()"#,
];

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    (
        select(vec!["permit", "permit", "forbid"]),
        scope("principal"),
        action_scope(),
        scope("resource"),
        proptest::option::weighted(0.8, condition()),
        any::<bool>(),
    )
        .prop_map(
            |(effect, principal, action, resource, condition, is_when)| {
                let clause = if is_when { "when" } else { "unless" };
                let condition =
                    condition.map_or(String::new(), |text| format!(" {clause} {{ {text} }}"));
                format!("{effect} ({principal}, {action}, {resource}){condition};")
            },
        )
}

fn reference(uid: &str) -> Json {
    let (ty, id) = uid.rsplit_once("::").expect("a uid has a type");
    json!({ "__entity": { "type": ty, "id": id.trim_matches('"') } })
}

fn entity(uid: String) -> impl Strategy<Value = (String, Json)> {
    let number = uid.chars().filter(char::is_ascii_digit).collect::<String>();
    let number: u8 = number.parse().expect("every name ends in its number");
    let users =
        || vec(user(), 0..3).prop_map(|uids| uids.iter().map(|u| reference(u)).collect::<Vec<_>>());
    (
        (0..3_i64, proptest::option::of(0..3_i64), proptest::option::of(select(vec!["anna", "bob"]))),
        (user(), proptest::option::of(user()), proptest::option::of(resource())),
        (users(), proptest::option::of(users()), proptest::option::of(select(vec!["x", "y"]))),
        // Parents have smaller numbers, so that there is no circle.
        vec(0..4_u8, 0..3),
        any::<bool>(),
    )
        .prop_map(move |((n, optional_n, name), (owner, boss, home), (who, w, t), parents, old)| {
            let mut attributes = json!({});
            let mut tags = json!({});
            let mut parent_uids: BTreeSet<String> = BTreeSet::new();
            for parent in parents {
                match uid.split("::").next() {
                    Some("U") => _ = parent_uids.insert(format!("G::\"g{parent}\"")),
                    Some("G") if parent < number => _ = parent_uids.insert(format!("G::\"g{parent}\"")),
                    Some("N") if parent < number => _ = parent_uids.insert(format!("N::R::\"r{parent}\"")),
                    Some("N") => _ = parent_uids.insert(format!("G::\"g{parent}\"")),
                    _ => {}
                }
            }
            if uid.starts_with("U::") {
                attributes["n"] = json!(n);
                if let Some(name) = name { attributes["name"] = json!(name); }
                if let Some(boss) = boss { attributes["boss"] = reference(&boss); }
                if let Some(home) = home { attributes["home"] = reference(&home); }
                if let Some(t) = t { tags["t"] = json!(t); }
            } else if uid.starts_with("N::") {
                attributes["owner"] = reference(&owner);
                attributes["who"] = json!(who);
                if let Some(n) = optional_n { attributes["n"] = json!(n); }
                if old {
                    attributes["born"] = json!({ "__extn": { "fn": "datetime", "arg": "2024-02-29" } });
                }
                if let Some(w) = w { tags["w"] = json!(w); }
            } else if let Some(n) = optional_n {
                attributes["n"] = json!(n);
            }
            let parents: Vec<Json> =
                parent_uids.iter().map(|uid| reference(uid)["__entity"].clone()).collect();
            let entity = json!({
                "uid": reference(&uid)["__entity"], "attrs": attributes, "parents": parents, "tags": tags,
            });
            (uid.clone(), entity)
        })
}

fn question() -> impl Strategy<Value = Question> {
    (
        prop_oneof![5 => user(), 1 => group()],
        action(),
        prop_oneof![5 => resource(), 1 => user()],
        (
            0..3_i64,
            vec(user(), 0..3),
            user(),
            proptest::option::of(resource()),
            proptest::option::of(user()),
        ),
    )
        .prop_map(|(principal, action, resource, (n, s, u, r, outer_u))| {
            let s: Vec<Json> = s.iter().map(|u| reference(u)).collect();
            let mut context = json!({ "n": n, "s": s, "rec": { "u": reference(&u) } });
            if let Some(r) = r {
                context["rec"]["r"] = reference(&r);
            }
            if let Some(u) = outer_u {
                context["u"] = reference(&u);
            }
            Question {
                principal,
                action,
                resource,
                context,
            }
        })
}

fn world() -> impl Strategy<Value = World> {
    (
        vec(policy(), 1..8),
        vec((0..TEMPLATES.len(), any_uid(), any_uid()), 0..3),
        vec(any_uid().prop_flat_map(entity), 0..12),
        any_uid().prop_flat_map(entity),
        vec(question(), REQUESTS_PER_WORLD),
    )
        .prop_map(|(policies, links, entities, replacement, requests)| World {
            policies,
            links,
            entities: entities.into_iter().collect(),
            replacement,
            requests,
        })
}

impl World {
    /// The policies that parse, and under a schema those that it accepts at `level`.
    fn policy_set(&self, schema: Option<&Validator>, level: u32) -> PolicySet {
        let accepted: Vec<&String> = self
            .policies
            .iter()
            .filter(|text| {
                let set = PolicySet::from_str(text).expect("generated policies parse");
                schema.is_none_or(|validator| {
                    validator
                        .validate_with_level(&set, ValidationMode::Strict, level)
                        .validation_passed()
                })
            })
            .collect();
        let text: Vec<&str> = accepted
            .iter()
            .map(|text| text.as_str())
            .chain(TEMPLATES)
            .collect();
        let mut set = PolicySet::from_str(&text.join("\n")).expect("generated policies parse");
        let templates: HashMap<String, PolicyId> = set
            .templates()
            .map(|template| {
                (
                    template
                        .annotation("id")
                        .expect("templates are named")
                        .to_owned(),
                    template.id().clone(),
                )
            })
            .collect();
        for (number, (template, principal, resource)) in self.links.iter().enumerate() {
            let values = HashMap::from([
                (SlotId::principal(), parse_uid(principal)),
                (SlotId::resource(), parse_uid(resource)),
            ]);
            let template = templates[&format!("t{template}")].clone();
            set.link(template, PolicyId::new(format!("link{number}")), values)
                .expect("links fit");
        }
        set
    }

    fn entities<'a>(entities: impl Iterator<Item = &'a Json>, schema: &Schema) -> Entities {
        let entities: Vec<&Json> = entities.collect();
        let entities =
            Entities::from_json_value(json!(entities), None).expect("generated entities load");
        let actions: Vec<_> = schema
            .action_entities()
            .expect("the schema has actions")
            .iter()
            .cloned()
            .collect();
        entities
            .add_entities(actions, None)
            .expect("actions are apart")
    }
}

fn parse_uid(text: &str) -> EntityUid {
    EntityUid::from_str(text).expect("generated uids parse")
}

fn snapshot(policies: &PolicySet, entities: &Entities, schema: &Schema, reach: Reach) -> Snapshot {
    Snapshot::build(SnapshotParts {
        policies: AsRef::<cedar::PolicySet>::as_ref(policies).clone(),
        entities: entities.iter().map(|entity| entity.as_ref().clone()),
        schema: Some(Arc::new(AsRef::<ValidatorSchema>::as_ref(schema).clone())),
        reach,
    })
    .expect("generated entities are distinct and have no circle")
}

type Outcome = (Decision, BTreeSet<String>, BTreeSet<(String, String)>);

fn cedar_says(policies: &PolicySet, entities: &Entities, question: &Question) -> Outcome {
    let context = Context::from_json_value(question.context.clone(), None).expect("contexts load");
    let request = Request::new(
        parse_uid(&question.principal),
        parse_uid(&question.action),
        parse_uid(&question.resource),
        context,
        None,
    )
    .expect("no schema to refuse it");
    let response = Authorizer::new().is_authorized(&request, policies, entities);
    let errors = response.diagnostics().errors().map(|error| {
        let api::AuthorizationError::PolicyEvaluationError(error) = error;
        (error.policy_id().to_string(), error.inner().to_string())
    });
    let reasons = response.diagnostics().reason().map(ToString::to_string);
    (response.decision(), reasons.collect(), errors.collect())
}

fn core(text: &str) -> EntityUID {
    AsRef::<EntityUID>::as_ref(&parse_uid(text)).clone()
}

/// A question in the engine's terms.
struct Asked {
    principal: EntityUID,
    action: EntityUID,
    resource: EntityUID,
    context: cedar::Context,
}

fn asked(question: &Question) -> Asked {
    let context = Context::from_json_value(question.context.clone(), None).expect("contexts load");
    Asked {
        principal: core(&question.principal),
        action: core(&question.action),
        resource: core(&question.resource),
        context: AsRef::<cedar::Context>::as_ref(&context).clone(),
    }
}

/// Whether the question is one that the schema knows. Level proofs speak of no others.
fn conforms(snapshot: &Snapshot, asked: &Asked) -> bool {
    let scope = snapshot.check_scope(&asked.principal, &asked.action, &asked.resource);
    scope
        .and_then(|()| snapshot.check_context(&asked.action, &asked.context))
        .is_ok()
}

fn engine_says(snapshot: &Snapshot, asked: &Asked) -> Outcome {
    let query = Query {
        action: &asked.action,
        resource: &asked.resource,
        context: &asked.context,
        overlays: &[],
        unknown: &[],
    };
    // Whoever else asks the same makes no difference.
    let (one, other) = (core("U::\"u0\""), core("G::\"g1\""));
    let [first, last] = ["a0", "a2"].map(|name| core(&format!("Action::\"{name}\"")));
    let evaluation = snapshot
        .evaluate_each(&query, &[&one, &asked.principal, &other])
        .swap_remove(1);
    // Nor does what was asked before, of another action or resource.
    for unknown in [&[][..], &["n", "u"]] {
        let principals = [&one, &asked.principal, &other];
        let parts = SharedParts {
            context: &asked.context,
            overlays: &[],
            unknown,
        };
        let shared = snapshot.shared_query(&principals, parts);
        let requests = [
            (&asked.action, &asked.principal),
            (&asked.action, &asked.resource),
            (&other, &asked.resource),
            (&first, &asked.resource),
            (&last, &asked.resource),
            (&asked.action, &one),
            (&asked.action, &asked.resource),
        ];
        for (action, resource) in requests {
            let query = Query {
                action,
                resource,
                unknown,
                ..query
            };
            let at_once = shared.evaluate(action, resource, |_| false);
            let each = snapshot.evaluate_each(&query, &principals);
            assert_eq!(
                at_once.iter().map(ids_in).collect::<Vec<_>>(),
                each.iter().map(ids_in).collect::<Vec<_>>(),
                "what requests share is the same for each of them"
            );
        }
    }
    for attribute in ["n", "s", "u"] {
        let open = snapshot.evaluate_each_open_to(&query, &[&asked.principal], attribute);
        let unknown = [attribute];
        let query = Query {
            unknown: &unknown,
            ..query
        };
        assert_eq!(
            open[0].may_allow_otherwise,
            snapshot.evaluate(&query, &asked.principal).may_allow(),
            "one evaluation tells what another with `{attribute}` unknown does"
        );
    }
    let is_allow = evaluation.forbids.is_empty() && !evaluation.permits.is_empty();
    assert_eq!(
        evaluation.is_allow(),
        is_allow && evaluation.errors.is_empty(),
        "any error denies"
    );
    let (decision, reasons) = if is_allow {
        (Decision::Allow, &evaluation.permits)
    } else {
        (Decision::Deny, &evaluation.forbids)
    };
    let errors = evaluation
        .errors
        .iter()
        .map(|error| (error.policy.id.to_string(), error.message.clone()));
    let reasons = reasons.iter().map(|policy| policy.id.to_string());
    (decision, reasons.collect(), errors.collect())
}

/// The ids of the policies that an evaluation names, list by list, and how many were evaluated.
fn ids_in(evaluation: &PolicyEvaluation) -> (Vec<Vec<String>>, u32) {
    let failed = evaluation
        .errors
        .iter()
        .map(|error| error.policy.id.to_string());
    let mut lists: Vec<Vec<String>> = [
        &evaluation.permits,
        &evaluation.forbids,
        &evaluation.undetermined_permits,
        &evaluation.shadow_permits,
        &evaluation.shadow_forbids,
    ]
    .map(|policies| policies.iter().map(|it| it.id.to_string()).collect())
    .into();
    lists.push(failed.collect());
    (lists, evaluation.policies_evaluated)
}

/// How often each outcome came up, to show that the comparison is about something.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    allows: usize,
    forbidden: usize,
    with_errors: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        self.cases += 1;
        self.allows += usize::from(outcome.0 == Decision::Allow);
        self.forbidden += usize::from(outcome.0 == Decision::Deny && !outcome.1.is_empty());
        self.with_errors += usize::from(!outcome.2.is_empty());
    }
}

/// Every second one of the policies that are no links.
fn some_of(policies: &PolicySet) -> PolicySet {
    let mut some = PolicySet::new();
    for policy in policies.policies().filter(|it| it.is_static()).step_by(2) {
        some.add(policy.clone()).expect("ids are unique");
    }
    some
}

fn compare(world: &World, proof: Proof, schema: &Schema, tally: &mut Tally) {
    let validator = Validator::new(schema.clone());
    let (policies, reach) = match proof {
        Proof::None => (world.policy_set(None, 0), Reach::Unbounded),
        Proof::Level => {
            let level = 1 + (world.policies.len() % 3) as u32;
            (
                world.policy_set(Some(&validator), level),
                Reach::Level(level),
            )
        }
    };
    let before = World::entities(world.entities.values(), schema);
    let first = snapshot(&policies, &before, schema, reach);

    let (uid, replacement) = &world.replacement;
    let mut changed = world.entities.clone();
    changed.insert(uid.clone(), replacement.clone());
    let after = World::entities(changed.values(), schema);
    let one =
        Entities::from_json_value(json!([replacement]), None).expect("generated entities load");
    let second = first
        .upsert(one.iter().map(|entity| entity.as_ref().clone()))
        .expect("no circle");

    // What is compiled already is used again: of some of the policies, for another reach, and before new names come.
    let some = some_of(&policies);
    let fourth = snapshot(&some, &before, schema, Reach::Level(0))
        .with_policies(some.as_ref(), reach)
        .with_policies(policies.as_ref(), reach)
        .upsert(one.iter().map(|entity| entity.as_ref().clone()))
        .expect("no circle");

    changed.remove(uid);
    let without = World::entities(changed.values(), schema);
    let third = second.remove([AsRef::as_ref(&parse_uid(uid))]);

    for question in &world.requests {
        let asked = asked(question);
        if proof == Proof::Level && !conforms(&first, &asked) {
            continue;
        }
        for (snapshot, entities) in [
            (&first, &before),
            (&second, &after),
            (&third, &without),
            (&fourth, &after),
        ] {
            let wanted = cedar_says(&policies, entities, question);
            assert_eq!(
                engine_says(snapshot, &asked),
                wanted,
                "{policies}\n{question:?}"
            );
            tally.count(&wanted);
        }
    }
}

fn cases() -> usize {
    let set = std::env::var("CALLGATE_PROPERTY_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    set.unwrap_or(2_000)
}

fn run(proof: Proof) {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the schema parses");
    let schema = Arc::new(schema);
    let tally = std::cell::RefCell::new(Tally::default());
    // Each world is compared before a change, after it, after a removal, and after a change of policies.
    let worlds = cases().div_ceil(4 * REQUESTS_PER_WORLD) as u32;
    let mut runner = TestRunner::new(Config {
        cases: worlds,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&world(), |world| {
        compare(&world, proof, &schema, &mut tally.borrow_mut());
        Ok(())
    });
    println!("{proof:?}: {:?}", tally.borrow());
    if let Err(error) = result {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    assert!(
        tally.allows * 400 > tally.cases,
        "too few allows to mean anything: {tally:?}"
    );
    assert!(
        tally.forbidden * 400 > tally.cases,
        "too few forbids to mean anything: {tally:?}"
    );
    assert!(
        tally.with_errors * 400 > tally.cases || proof == Proof::Level,
        "too few errors to mean anything: {tally:?}"
    );
}

#[test]
fn engine_agrees_with_full_scan_of_unproven_policies() {
    run(Proof::None);
}

#[test]
fn engine_agrees_with_full_scan_of_policies_proven_to_a_level() {
    run(Proof::Level);
}
