//! What agents that work together know of each other.

use std::collections::BTreeMap;

use super::*;
use crate::store::backend::StoredLabel;

fn worked_under(delegator: &str, subject: &str) -> CallContext {
    let mut call = for_sam(agent(subject));
    if let Some(chain) = &mut call.actor_chain {
        chain.actors = vec![agent(delegator)];
    }
    call
}

/// Whether the last of these calls sees what the one that reads has brought: calls one minute after the other.
fn comes_through(calls: &[CallContext], reads: usize) -> bool {
    let (memory, authority) = (new_memory(), authority());
    let (last, before) = calls.split_last().unwrap();
    for (place, call) in before.iter().enumerate() {
        let labels: &[&str] = if place == reads { &["x"] } else { &[] };
        allowed(&memory, &authority, call, labels, 600 + 60 * place as u64);
    }
    !seen(&memory, &authority, last, 1_000).is_empty()
}

#[test]
fn a_chain_that_is_left_out_sheds_nothing_of_those_who_work_together() {
    let (a, c, d) = (
        || for_sam(agent("a")),
        || for_sam(agent("c")),
        || for_sam(agent("d")),
    );
    let under = || worked_under("a", "c");
    // Read before the work, after it, or between, by either of them.
    assert!(comes_through(&[c(), under(), a()], 0));
    assert!(comes_through(&[under(), c(), a()], 1));
    assert!(comes_through(&[under(), c(), under(), a()], 1));
    assert!(comes_through(&[under(), a(), c()], 1));
    assert!(comes_through(&[a(), under(), c()], 0));
    // Under another delegator, and by whom that one has delegated to as well.
    assert!(comes_through(&[worked_under("d", "c"), under(), a()], 0));
    assert!(comes_through(
        &[worked_under("d", "c"), under(), d(), a()],
        2
    ));
    // Whoever has not worked with them is not concerned, nor is work for somebody else.
    assert!(!comes_through(&[under(), c(), d()], 1));
    let mut for_kim = under();
    if let Some(chain) = &mut for_kim.actor_chain {
        chain.root = Some(person("kim"));
    }
    assert!(!comes_through(&[for_kim, c(), a()], 1));
    // In tasks: what was read since they were opened comes to all that work in them.
    let task = |call| in_task(call, "t2");
    assert!(comes_through(&[c(), task(under()), task(a())], 0));
}

#[test]
fn what_a_call_under_others_carries_is_kept_with_its_task_and_delegations() {
    let (memory, authority) = (new_memory(), authority());
    allowed(&memory, &authority, &for_sam(agent("b")), &["x"], 600);
    let call = in_task(under("g2", "b"), "t2");
    assert!(!allowed(&memory, &authority, &call, &[], 660).is_empty());
    for carrier in [
        LabelCarrierRef::Task(&"t2".into()),
        LabelCarrierRef::Delegation(&"g1".into()),
        LabelCarrierRef::Delegation(&"g2".into()),
    ] {
        assert!(memory.get(carrier).is_some(), "{carrier:?}");
    }
    // The same again has nothing to write.
    assert!(allowed(&memory, &authority, &call, &[], 720).is_empty());
}

#[test]
fn a_label_that_only_goes_round_is_forgotten_in_its_time() {
    let (memory, authority) = (new_memory(), authority());
    allowed(&memory, &authority, &for_sam(agent("c")), &["x"], 0);
    for minute in 0..=60 {
        let call = worked_under("a", "c");
        allowed(&memory, &authority, &call, &[], 60 * minute);
    }
    assert!(!seen(&memory, &authority, &worked_under("a", "c"), 3_600).is_empty());
    for name in ["a", "c"] {
        let alone = for_sam(agent(name));
        assert!(
            seen(&memory, &authority, &alone, 3_601).is_empty(),
            "{name}"
        );
    }
}

#[test]
fn what_is_read_in_a_vouched_session_stays_there_until_a_delegate_carries_it() {
    let vouched = |call| in_session(call, true);
    let (a, c) = (for_sam(agent("a")), for_sam(agent("c")));
    let under = worked_under("a", "c");
    let after = |reads: CallContext| comes_through(&[under.clone(), reads, vouched(a.clone())], 1);
    assert!(!after(vouched(c.clone())));
    assert!(after(c.clone()));
    assert!(after(vouched(under.clone())));
    assert!(comes_through(&[under.clone(), vouched(c), a], 1));
}

/// What a session keeps of a call that sees `x` of its delegator or its task, and nothing of its own.
fn kept(call: &CallContext, is_doubted: bool) -> BTreeSet<SmolStr> {
    let (memory, authority) = (new_memory(), authority());
    for reads in [for_sam(agent("a")), in_task(under("g1", "a"), "t1")] {
        allowed(&memory, &authority, &in_session(reads, true), &["x"], 600);
    }
    let mut carriers = CallCarriers::new(&authority, call, false);
    let carried = carriers.known(&memory, at(700));
    if is_doubted {
        carriers.doubt();
    }
    carriers.kept_in_session(&carried).cloned().collect()
}

#[test]
fn a_vouched_session_keeps_what_its_calls_saw_of_others() {
    let (is_kept, under_a) = (
        |call: &CallContext| !kept(call, false).is_empty(),
        worked_under("a", "c"),
    );
    for call in [
        under_a.clone(),
        under("g2", "b"),
        in_task(for_sam(agent("d")), "t1"),
    ] {
        assert!(is_kept(&in_session(call.clone(), true)), "{call:?}");
        // Where nobody vouches, whatever the agent has read counts by itself.
        assert!(!is_kept(&in_session(call.clone(), false)), "{call:?}");
        assert!(!is_kept(&call), "{call:?}");
    }
    // What is not known to be true brings nothing.
    assert!(kept(&in_session(under_a, true), true).is_empty());
    // Whoever works alone has seen nothing of theirs.
    assert!(!is_kept(&in_session(for_sam(agent("c")), true)));
}

#[test]
fn the_task_of_a_call_under_others_keeps_what_they_have_read() {
    let (memory, authority) = (new_memory(), authority());
    allowed(&memory, &authority, &for_sam(agent("a")), &["x"], 400);
    // Read before the task was opened: only the chain brings it into it.
    let alone = in_task(for_sam(agent("b")), "t2");
    assert!(seen(&memory, &authority, &alone, 600).is_empty());
    allowed(
        &memory,
        &authority,
        &in_task(worked_under("a", "b"), "t2"),
        &[],
        610,
    );
    assert!(!seen(&memory, &authority, &alone, 620).is_empty());
}

#[test]
fn a_label_that_several_parts_carry_is_written_once() {
    let (memory, authority) = (new_memory(), authority());
    let call = in_task(under("g2", "b"), "t2");
    let labels: Arc<Labels> = Arc::new(Labels::new(vec!["x".into(), "y".into()]));
    let carried = CarriedLabels {
        task: Some(Arc::clone(&labels)),
        delegation: Some(Arc::clone(&labels)),
        recent: Some(Arc::clone(&labels)),
    };
    let carriers = CallCarriers::new(&authority, &call, false);
    // The second time, the first is not written yet.
    for _ in 0..2 {
        let writes = carriers.hand_on(&memory, Some(&labels), &carried, at(600));
        let mut rows = BTreeSet::new();
        for write in writes.unwrap() {
            let StoreWrite::Labels {
                carrier, labels, ..
            } = write
            else {
                panic!("{write:?}");
            };
            for brought in labels {
                let row = (carrier.clone(), brought.label);
                assert!(rows.insert(row.clone()), "{row:?} twice");
            }
        }
        // Both of the task, the two delegations and the pair of the delegator.
        assert_eq!(rows.len(), 8);
    }
}

/// Whether a label of this agent for Sam is among these writes.
fn has_row(writes: &[StoreWrite], name: &str) -> bool {
    let pair = LabelCarrier::Pair {
        actor: agent(name),
        root: Some(person("sam")),
    };
    writes.iter().any(|write| {
        matches!(write, StoreWrite::Labels { carrier, labels, .. } if *carrier == pair && !labels.is_empty())
    })
}

#[test]
fn a_link_of_a_call_that_has_no_room_for_another_gives_what_it_should() {
    let (memory, authority) = (
        CarrierLabels::new(2, Duration::from_secs(3_600)),
        authority(),
    );
    allowed(&memory, &authority, &for_sam(agent("a")), &["x"], 600);
    let mut call = worked_under("a", "c");
    if let Some(chain) = &mut call.actor_chain {
        chain.actors = ["a", "b", "d"].map(agent).to_vec();
    }
    let carriers = CallCarriers::new(&authority, &call, false);
    let carried = carriers.known(&memory, at(610));
    let denied = carriers.hand_on(&memory, None, &carried, at(610));
    assert_eq!(denied.map(drop), Err(LabelCapacityError));
    assert!(!seen(&memory, &authority, &for_sam(agent("c")), 620).is_empty());
}

#[test]
fn what_a_link_gives_is_written_by_the_next_call_whatever_became_of_the_one_that_made_it() {
    let (memory, authority) = (new_memory(), authority());
    allowed(&memory, &authority, &for_sam(agent("a")), &["x"], 600);
    let under = worked_under("a", "c");
    assert!(has_row(
        &refused(&memory, &authority, &under, &[], 610),
        "c"
    ));
    assert!(has_row(
        &refused(&memory, &authority, &under, &[], 620),
        "c"
    ));
    assert!(has_row(
        &allowed(&memory, &authority, &under, &[], 630),
        "c"
    ));
    assert!(allowed(&memory, &authority, &under, &[], 640).is_empty());
    // By a stored delegation, whether or not the call says for whom it is.
    for call in [worked_under("a", "d"), for_sam(agent("d"))] {
        let (memory, sam, ends) = (new_memory(), person("sam"), [agent("a"), agent("d")]);
        allowed(&memory, &authority, &for_sam(agent("a")), &["x"], 600);
        let [a, d] = &ends;
        memory.links.granted(&sam, [a, d], &"g3".into(), at(900));
        memory.share(&sam, d, at(610));
        assert!(has_row(&allowed(&memory, &authority, &call, &[], 620), "d"));
        assert!(!has_row(
            &allowed(&memory, &authority, &call, &[], 630),
            "d"
        ));
    }
}

/// What a store holds after these writes, in a memory of its own.
fn restarted(writes: Vec<StoreWrite>) -> CarrierLabels {
    let memory = new_memory();
    for write in writes {
        let StoreWrite::Labels {
            carrier, labels, ..
        } = write
        else {
            continue;
        };
        let stored = labels.into_iter().map(|brought| {
            let carrier = carrier.clone();
            (StoredLabel { carrier, brought }, false)
        });
        memory.merge(stored);
    }
    memory
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Each of those who work together has what any of them has brought, in memory as in the store, and nobody else. What a call
    /// was to write that was denied in the end, or a delegation gives, is stored with the next call that depends on it.
    #[test]
    fn who_works_together_knows_the_same(steps in proptest::collection::vec(
        (0..4usize, proptest::option::of(0..4usize), proptest::option::of(0..6usize), 0..2_400u64, step_kind()),
        1..24,
    )) {
        const LASTS: u64 = 3_600;
        let names = ["a", "b", "c", "d"];
        let (memory, authority) = (CarrierLabels::new(100, Duration::from_secs(LASTS)), authority());
        let mut writes = Vec::new();
        // Of each agent its labels with their times, and whether they are stored; of each two, until when they are linked.
        let mut knows: [BTreeMap<usize, u64>; 4] = Default::default();
        let mut is_stored = [true; 4];
        let mut links: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut now = 0;
        for (subject, delegator, label, pause, kind) in steps {
            now += pause;
            let delegator = delegator.filter(|it| *it != subject);
            let (kind, label) = match (kind, delegator) {
                (StepKind::Granted, Some(_)) => (kind, None),
                (StepKind::Granted, None) => (StepKind::Allowed, label),
                // Nothing was read.
                (StepKind::Refused, _) => (kind, None),
                _ => (kind, label),
            };
            let call = match delegator {
                Some(delegator) => worked_under(names[delegator], names[subject]),
                None => for_sam(agent(names[subject])),
            };
            let brought = label.map(|label| label.to_string());
            let brought: Vec<&str> = brought.iter().map(String::as_str).collect();
            let mut is_new = false;
            if let Some(delegator) = delegator {
                let (two, lasts) = ((delegator.min(subject), delegator.max(subject)), match kind {
                    StepKind::Granted => 900,
                    _ => LASTS,
                });
                let before = links.get(&two).copied();
                is_new = kind == StepKind::Granted || before.is_none_or(|until| until < now);
                links.insert(two, before.unwrap_or_default().max(now + lasts));
            }
            match kind {
                StepKind::Allowed => writes.extend(allowed(&memory, &authority, &call, &brought, now)),
                StepKind::Refused => drop(refused(&memory, &authority, &call, &brought, now)),
                StepKind::Granted => {
                    let (sam, ends) = (person("sam"), [delegator.unwrap_or_default(), subject].map(|it| agent(names[it])));
                    let [from, to] = &ends;
                    // The first moment at which it is over.
                    memory.links.granted(&sam, [from, to], &"g3".into(), at(now + 901));
                    memory.share(&sam, to, at(now));
                }
            }
            let mut together = vec![subject];
            let is_linked = |one: usize, other: usize| {
                links.get(&(one.min(other), one.max(other))).is_some_and(|until| *until >= now)
            };
            while let Some(next) = (0..4).find(|other| {
                !together.contains(other) && together.iter().any(|one| is_linked(*one, *other))
            }) {
                together.push(next);
            }
            let mut all: BTreeMap<usize, u64> = BTreeMap::new();
            if is_new {
                for (label, at) in together.iter().flat_map(|one| knows[*one].clone()) {
                    let known = all.entry(label).or_default();
                    *known = at.max(*known);
                }
            }
            all.extend(label.map(|label| (label, now)));
            for one in &together {
                knows[*one].extend(all.clone());
                match kind {
                    StepKind::Allowed => is_stored[*one] |= delegator.is_some() || *one == subject,
                    _ => is_stored[*one] = false,
                }
            }
            for (place, (name, knows)) in names.iter().zip(&mut knows).enumerate() {
                knows.retain(|_, at| *at + LASTS >= now);
                let expected: BTreeSet<SmolStr> = knows.keys().map(|it| it.to_string().into()).collect();
                let alone = for_sam(agent(name));
                prop_assert_eq!(&seen(&memory, &authority, &alone, now), &expected, "{}", name);
                let stored = seen(&restarted(writes.clone()), &authority, &alone, now);
                let is_right = !is_stored[place] || stored.is_superset(&expected);
                prop_assert!(is_right, "{name}: {stored:?} {expected:?}");
            }
        }
    }
}

/// What becomes of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    Allowed,
    /// A call that is denied in the end.
    Refused,
    /// A stored delegation, in the place of a call.
    Granted,
}

fn step_kind() -> impl Strategy<Value = StepKind> {
    prop_oneof![
        3 => Just(StepKind::Allowed),
        1 => Just(StepKind::Refused),
        1 => Just(StepKind::Granted),
    ]
}
