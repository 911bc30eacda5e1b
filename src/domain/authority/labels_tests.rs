use std::hash::BuildHasher;

use super::*;
use crate::domain::schema::{TYPES, entity_uid};

fn labels(names: &[&str]) -> Arc<Labels> {
    Arc::new(Labels::new(names.iter().map(SmolStr::new).collect()))
}

fn sorted(labels: &Arc<Labels>) -> Vec<&str> {
    let mut names: Vec<_> = labels.items().iter().map(SmolStr::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_union_has_every_label_once() {
    let (a, b) = (labels(&["p"]), labels(&["q", "p", "r"]));
    let both = union([&a, &b]).unwrap();
    assert_eq!(sorted(&both), ["p", "q", "r"]);
    // The greater one has them all already.
    assert!(Arc::ptr_eq(&both, &b));
    assert_eq!(sorted(&union([&a, &labels(&["s"])]).unwrap()), ["p", "s"]);
    assert!(union::<Arc<Labels>>([]).is_none());
}

#[test]
fn a_carrier_is_found_by_what_it_is_looked_for() {
    let hasher = foldhash::fast::RandomState::default();
    let (agent, person) = (entity_uid(&TYPES.agent, "a"), entity_uid(&TYPES.user, "a"));
    let all = [
        LabelCarrier::Task("a".into()),
        LabelCarrier::Delegation("a".into()),
        LabelCarrier::Pair {
            actor: agent.clone(),
            root: None,
        },
        LabelCarrier::Pair {
            actor: agent.clone(),
            root: Some(person.clone()),
        },
        LabelCarrier::Pair {
            actor: person,
            root: Some(agent),
        },
    ];
    for one in &all {
        let wanted = one.as_ref();
        assert_eq!(hasher.hash_one(one), hasher.hash_one(wanted));
        assert_eq!(&wanted.to_carrier(), one);
        for other in &all {
            assert_eq!(wanted.equivalent(other), one == other);
        }
    }
}
