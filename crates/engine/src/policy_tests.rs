use crate::cedar::parse_policyset;

use super::*;

fn compile_one(text: &str) -> CompiledPolicy {
    let set = parse_policyset(text).expect("a policy");
    compile(&set, true, &mut Interner::default(), &[])
        .into_iter()
        .next()
        .expect("one policy")
}

#[test]
fn annotations_are_read_once_and_for_all() {
    let compiled = compile_one(
        r#"@id("a") @owner("security") @controls("OWASP:ASI02, NIST-CSF:PR.AA-05") @reason("no")
           @obligation("log:full") @mode("shadow") forbid (principal, action, resource);"#,
    );
    let info = &compiled.info;
    assert_eq!(info.owner.as_deref(), Some("security"));
    assert_eq!(
        info.controls.iter().map(|c| &**c).collect::<Vec<_>>(),
        ["OWASP:ASI02", "NIST-CSF:PR.AA-05"]
    );
    assert_eq!(info.reason.as_deref(), Some("no"));
    assert_eq!(info.obligations.len(), 1);
    assert!(info.is_shadow && info.is_forbid);
}

#[test]
fn only_the_attributes_that_a_policy_reads_count_as_read() {
    let uses = |condition: &str| {
        compile_one(&format!(
            "permit (principal, action, resource) when {{ {condition} }};"
        ))
        .context
    };
    let narrow = uses("context.a.b == 1 && context has c && context.a has d && context has e.f");
    assert!(narrow.reads("a") && narrow.reads("c") && narrow.reads("e"));
    assert!(!narrow.reads("b") && !narrow.reads("f"));
    assert_eq!(
        uses("principal == resource"),
        ContextUse::Attributes(Box::default())
    );
    assert_eq!(uses("{x: context}.x.a == 1"), ContextUse::Whole);
    assert_eq!(
        uses("context.a == 1 && context == {a: 1}"),
        ContextUse::Whole
    );
}

#[test]
fn the_filter_of_a_policy_has_every_attribute_that_it_reads() {
    let reads = |condition: &str| {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        compile_one(&text).reads
    };
    let of = |name| AttributeBloom::of([name]);
    let two = reads("context.labels.contains(1) && context has approval");
    assert!(two.may_share(of("labels")) && two.may_share(of("approval")));
    assert!(two.may_share(AttributeBloom::of(["input", "labels"])));
    // Some of many others share a bit, most do not.
    let names: Vec<String> = (0..640).map(|number| format!("other{number}")).collect();
    let shared = names.iter().filter(|name| two.may_share(of(name))).count();
    assert!((1..100).contains(&shared), "{shared}");
    assert!(!reads("principal == resource").may_share(AttributeBloom::of(["labels", "a", "b"])));
    assert!(reads("context == {a: 1}").may_share(of("labels")));
    assert!(!two.may_share(AttributeBloom::of([])));
}

#[test]
fn what_is_read_of_a_record_is_told_apart() {
    let policy = |condition: &str| {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        compile_one(&text)
    };
    for (condition, of_b) in [
        ("context.a.b == 1", true),
        ("context has a && context.a.c == 1", false),
        ("context.a has b", true),
        ("context has a.b", true),
        ("context has a.c.b", false),
        ("context.a has c.b", false),
        ("context.c.b == 1", false),
        ("context.a == context.c", true),
        ("context.a.c == 1 && {x: context.a}.x.b == 1", true),
        ("context == {a: 1}", true),
        ("principal == resource", false),
    ] {
        let policy = policy(condition);
        assert_eq!(policy.reads_unknown("a.b"), of_b, "{condition}");
        let is_kept = policy.reads.may_share(AttributeBloom::of(["a.b"]));
        assert!(is_kept || !of_b, "{condition}");
    }
}

#[test]
fn links_of_a_template_share_its_condition() {
    let text = r#"permit (principal == ?principal, action, resource) when { principal.n > 1 };"#;
    let mut set = crate::cedar::api::PolicySet::new();
    let template =
        crate::cedar::api::Template::parse(Some(crate::cedar::api::PolicyId::new("t")), text)
            .expect("a template");
    set.add_template(template).expect("no other");
    for name in ["one", "two"] {
        let values = [(
            crate::cedar::api::SlotId::principal(),
            format!("U::\"{name}\"").parse().expect("a uid"),
        )];
        set.link(
            crate::cedar::api::PolicyId::new("t"),
            crate::cedar::api::PolicyId::new(name),
            values.into(),
        )
        .expect("fits");
    }
    let compiled = compile(set.as_ref(), true, &mut Interner::default(), &[]);
    assert_eq!(compiled.len(), 2);
    let condition = |place: usize| compiled[place].condition.as_ref().expect("it has one");
    assert!(Arc::ptr_eq(condition(0), condition(1)));
    assert_ne!(compiled[0].policy.env(), compiled[1].policy.env());
}

#[test]
fn what_was_parsed_once_is_compiled_once() {
    let parsed = |text: &str| parse_policyset(text).expect("policies");
    let one = parsed(
        r#"@id("a") permit (principal, action, resource) when { principal.n > 1 };
           permit (principal, action, resource) when { context.b };
           permit (principal, action, resource);"#,
    );
    let mut interner = Interner::default();
    let first = compile(&one, true, &mut interner, &[]);
    let names = interner.len();
    let is_same = |before: &CompiledPolicy, now: &CompiledPolicy| {
        assert_eq!(before.policy.id(), now.policy.id());
        Arc::ptr_eq(&before.info, &now.info)
    };
    let again = compile(&one, true, &mut interner, &first);
    assert!(
        first
            .iter()
            .zip(&again)
            .all(|(before, now)| is_same(before, now))
    );
    let alike = compile(&one.clone(), true, &mut interner, &first);
    assert!(
        first
            .iter()
            .zip(&alike)
            .all(|(before, now)| is_same(before, now))
    );
    // The same text once more is another policy.
    let other = parsed(
        r#"@id("a") permit (principal, action, resource) when { principal.n > 1 };
           permit (principal, action, resource) when { context.b };
           permit (principal, action, resource);"#,
    );
    let other = compile(&other, true, &mut interner, &first);
    assert!(
        !first
            .iter()
            .zip(&other)
            .any(|(before, now)| is_same(before, now))
    );
    assert_eq!(interner.len(), names);
    // Some of them.
    let mut fewer = crate::cedar::PolicySet::new();
    let kept = one.policies().find(|it| it.id() == first[1].policy.id());
    fewer
        .add(kept.expect("it is there").clone())
        .expect("no other");
    let fewer = compile(&fewer, true, &mut interner, &first);
    assert!(fewer.len() == 1 && is_same(&first[1], &fewer[0]));
}

#[test]
fn links_are_known_by_their_values_and_share_the_condition_of_earlier_ones() {
    use crate::cedar::api::{PolicyId, PolicySet, SlotId, Template};
    let text = r#"permit (principal == ?principal, action, resource) when { principal.n > 1 };"#;
    let mut templates = PolicySet::new();
    let template = Template::parse(Some(PolicyId::new("t")), text).expect("a template");
    templates.add_template(template).expect("no other");
    let linked = |links: &[(&str, &str)]| {
        let mut set = templates.clone();
        for (name, user) in links {
            let user = format!("U::\"{user}\"").parse().expect("a uid");
            let values = [(SlotId::principal(), user)].into();
            set.link(PolicyId::new("t"), PolicyId::new(name), values)
                .expect("fits");
        }
        set
    };
    let mut interner = Interner::default();
    let before = linked(&[("one", "ann"), ("two", "bob")]);
    let before = compile(before.as_ref(), true, &mut interner, &[]);
    let now = linked(&[("one", "ann"), ("three", "cy"), ("two", "dan")]);
    let now = compile(now.as_ref(), true, &mut interner, &before);
    let same = |at: usize, earlier: usize| Arc::ptr_eq(&now[at].info, &before[earlier].info);
    assert!(same(0, 0), "one");
    assert!(!same(2, 1), "two is about another user");
    let condition = |it: &CompiledPolicy| Arc::clone(it.condition.as_ref().expect("it has one"));
    assert!(
        now.iter()
            .all(|it| Arc::ptr_eq(&condition(it), &condition(&before[0])))
    );
}

#[test]
fn a_reach_without_bounds_has_the_literals_that_another_has_not() {
    use crate::{Reach, Snapshot, SnapshotParts};
    let text = r#"permit (principal, action, resource) when { principal in G::"a" };"#;
    let policies = parse_policyset(text).expect("a policy");
    let bounded = Snapshot::build(SnapshotParts {
        policies: policies.clone(),
        entities: Vec::<Entity>::new(),
        schema: None,
        reach: Reach::Level(1),
    });
    let bounded = bounded.expect("a snapshot");
    let unbounded = bounded.with_policies(&policies, Reach::Unbounded);
    let again = unbounded.with_policies(&policies, Reach::Level(1));
    let literals = [&bounded, &unbounded, &again].map(|it| it.policy(0).literals.len());
    assert_eq!(literals, [0, 1, 0]);
}
