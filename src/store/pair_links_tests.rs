use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::schema::{TYPES, entity_uid};

const HOUR: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn agent(number: usize) -> EntityUID {
    entity_uid(&TYPES.agent, number.to_string().as_str())
}

fn sam() -> EntityUID {
    entity_uid(&TYPES.user, "sam")
}

#[test]
fn without_room_no_link_is_made_and_none_forgotten() {
    let links = PairLinks::new(1, HOUR);
    let (one, two, three) = (agent(1), agent(2), agent(3));
    assert_eq!(links.acted(&sam(), [&one, &two], at(0)), Ok(true));
    assert_eq!(links.acted(&sam(), [&two, &one], at(9)), Ok(false));
    let full = links.acted(&sam(), [&one, &three], at(9));
    assert_eq!(full, Err(LinkCapacityError));
    assert_eq!(
        links.linked(&sam(), &one, at(9)),
        std::slice::from_ref(&two)
    );
    assert_eq!(links.len(), 1);
    // One that has ended makes room.
    assert_eq!(links.acted(&sam(), [&one, &three], at(3_610)), Ok(true));
    assert_eq!(links.linked(&sam(), &one, at(3_610)), [three]);
    links.clear();
    assert!(links.is_empty());
}

#[test]
fn stored_delegations_take_no_room_of_calls() {
    let links = PairLinks::new(1, HOUR);
    let (one, two, three, four) = (agent(1), agent(2), agent(3), agent(4));
    for to in [&two, &three] {
        links.granted(&sam(), [&one, to], &"g".into(), at(9_000));
    }
    assert_eq!(links.acted(&sam(), [&one, &four], at(0)), Ok(true));
    // A call between two that are linked anyway needs room for when the delegation ends first.
    let full = links.acted(&sam(), [&one, &two], at(0));
    assert_eq!(full, Err(LinkCapacityError));
    // What a call has made ends, and the delegation goes on.
    assert_eq!(links.acted(&sam(), [&one, &two], at(3_601)), Ok(false));
    links.sweep(at(7_300));
    assert_eq!(links.linked(&sam(), &two, at(7_300)).len(), 2);
    assert_eq!(links.acted(&sam(), [&one, &three], at(7_300)), Ok(false));
    links.clear();
    assert_eq!(links.acted(&sam(), [&one, &two], at(0)), Ok(true));
}

#[derive(Debug, Clone)]
enum Step {
    Acted(usize, usize),
    Granted(usize, usize, u8, u64),
    Revoked(usize, usize, u8),
    Swept,
}

fn step() -> impl Strategy<Value = Step> {
    let two = || (0..5usize, 0..5usize).prop_filter("two", |(one, other)| one != other);
    prop_oneof![
        two().prop_map(|(one, other)| Step::Acted(one, other)),
        (two(), 0..3u8, 0..9_000u64).prop_map(|((a, b), id, lasts)| Step::Granted(a, b, id, lasts)),
        (two(), 0..3u8).prop_map(|((a, b), id)| Step::Revoked(a, b, id)),
        Just(Step::Swept),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn links_are_what_a_list_of_them_says(steps in proptest::collection::vec((step(), 0..1_800u64), 1..30)) {
        let (links, sam) = (PairLinks::new(1_000, HOUR), sam());
        let mut acted: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut granted: BTreeMap<(usize, usize, u8), u64> = BTreeMap::new();
        let sorted = |one: usize, other: usize| (one.min(other), one.max(other));
        let mut now = 0;
        for (step, pause) in steps {
            now += pause;
            match step {
                Step::Acted(one, other) => {
                    links.acted(&sam, [&agent(one), &agent(other)], at(now)).unwrap();
                    acted.insert(sorted(one, other), now);
                }
                Step::Granted(one, other, id, lasts) => {
                    let ends = [&agent(one), &agent(other)];
                    links.granted(&sam, ends, &id.to_string().as_str().into(), at(now + lasts));
                    let (low, high) = sorted(one, other);
                    granted.insert((low, high, id), now + lasts);
                }
                Step::Revoked(one, other, id) => {
                    links.ended(&sam, [&agent(one), &agent(other)], &id.to_string().as_str().into());
                    let (low, high) = sorted(one, other);
                    granted.remove(&(low, high, id));
                }
                Step::Swept => links.sweep(at(now)),
            }
            let is_linked = |one: usize, other: usize| {
                let (low, high) = sorted(one, other);
                let is_recent = acted.get(&(low, high)).is_some_and(|at| at + 3_600 >= now);
                is_recent || granted.iter().any(|(key, until)| (key.0, key.1) == (low, high) && now < *until)
            };
            for one in 0..5 {
                let mut together = BTreeSet::from([one]);
                while let Some(next) = (0..5).find(|other| {
                    !together.contains(other) && together.iter().any(|it| is_linked(*it, *other))
                }) {
                    together.insert(next);
                }
                together.remove(&one);
                let found: BTreeSet<EntityUID> = links.linked(&sam, &agent(one), at(now)).into_iter().collect();
                prop_assert_eq!(found, together.into_iter().map(agent).collect::<BTreeSet<_>>());
            }
        }
    }
}
