use super::*;

fn uid(text: &str) -> EntityUID {
    text.parse().expect("a uid")
}

fn of_p(attributes: &[(&str, i64)], parents: &[&str]) -> Overlay {
    let attributes = attributes.iter();
    Overlay {
        attributes: attributes
            .map(|(name, value)| (SmolStr::new(name), Value::new(*value, None)))
            .collect(),
        parents: parents.iter().map(|parent| uid(parent)).collect(),
        ..Overlay::bare(uid("U::\"p\""))
    }
}

#[test]
fn overlays_of_one_entity_are_one_with_all_that_they_add() {
    let others = Overlay::bare(uid("U::\"q\""));
    let overlays = [
        of_p(&[("n", 1)], &["G::\"a\""]),
        others,
        of_p(&[("n", 1), ("m", 2)], &["G::\"a\"", "G::\"b\""]),
    ];
    let overlays = overlays.each_ref();
    assert!(!is_one_each(&overlays));
    let united = UnitedOverlays::new(&overlays);
    assert!(united.contradiction.is_none());
    let [p, q] = *united.or_given(&overlays) else {
        panic!("two entities");
    };
    assert_eq!(q.uid, uid("U::\"q\""));
    assert_eq!(p.parents, [uid("G::\"a\""), uid("G::\"b\"")]);
    let names: Vec<&str> = p.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["n", "m"]);
    let many = (0..100).map(|n| Overlay::bare(uid(&format!("U::\"{n}\""))));
    let many: Vec<Overlay> = many.collect();
    let mut many: Vec<&Overlay> = many.iter().collect();
    assert!(is_one_each(&many));
    many.push(many[7]);
    assert!(!is_one_each(&many));
    let apart = UnitedOverlays::new(&overlays[..2]);
    assert!(matches!(apart.or_given(&overlays[..2]), Cow::Borrowed(_)));
}

#[test]
fn a_second_value_of_an_attribute_or_a_tag_is_a_contradiction() {
    let overlays = [of_p(&[("n", 1)], &[]), of_p(&[("n", 2)], &["G::\"b\""])];
    let overlays = overlays.each_ref();
    let united = UnitedOverlays::new(&overlays);
    let said = united
        .contradiction
        .as_ref()
        .expect("two values")
        .to_string();
    assert!(said.contains("the attribute `n` of `U::\"p\"`"), "{said}");
    assert_eq!(united.or_given(&overlays)[0].parents, [uid("G::\"b\"")]);
    let tagged = |value: i64| Overlay {
        tags: vec![("t".into(), Value::new(value, None))],
        ..of_p(&[], &[])
    };
    assert!(tagged(1).merge(tagged(1)).is_ok());
    let said = tagged(1).merge(tagged(2)).expect_err("two values");
    assert!(said.to_string().contains("the tag `t`"), "{said}");
}
