use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::authority::usage::WindowCounts;
use crate::domain::schema::{TYPES, entity_uid, tool_uid};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn agent(name: &str) -> EntityUID {
    entity_uid(&TYPES.agent, name)
}

fn stored(writes: Vec<StoreWrite>) -> Vec<StoredUsage> {
    let stored = |write| match write {
        StoreWrite::Usage {
            actor,
            tool,
            counters,
            at,
        } => StoredUsage {
            actor,
            tool,
            counters,
            at,
        },
        other => panic!("not usage: {other:?}"),
    };
    writes.into_iter().map(stored).collect()
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Allowed { actor: usize, tool: usize },
    Denied { actor: usize },
    Restart,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        6 => (0..2usize, 0..4usize).prop_map(|(actor, tool)| Event::Allowed { actor, tool }),
        2 => (0..2usize).prop_map(|actor| Event::Denied { actor }),
        1 => Just(Event::Restart),
    ];
    // Milliseconds passed, from none to more than any window.
    let pause = prop_oneof![
        3 => Just(0),
        5 => 1..9_000u64,
        3 => 1_000..900_000u64,
        2 => 60_000..14_400_000u64,
        1 => 10_000_000..200_000_000u64,
    ];
    proptest::collection::vec((pause, event), 1..80)
}

/// How many of these lie within the window, and how many within the window and one bucket.
fn bounds(
    times: impl Iterator<Item = u64> + Clone,
    now: u64,
    window: u64,
    width: u64,
) -> (u64, u64) {
    let within = |seconds: u64| {
        times
            .clone()
            .filter(|at| now - at <= seconds * 1_000)
            .count() as u64
    };
    (within(window), within(window + width))
}

proptest! {
    #[test]
    fn counts_are_never_too_small_and_never_a_bucket_too_old(events in events()) {
        let mut ledger = UsageLedger::new(1_000);
        let mut on_disk: Vec<StoredUsage> = Vec::new();
        let actors = [agent("a"), agent("b")];
        let tools: Vec<_> = (0..4).map(|n| tool_uid("server", &n.to_string())).collect();
        let mut allowed: Vec<(usize, usize, u64)> = Vec::new();
        let mut denied: Vec<(usize, u64)> = Vec::new();
        let mut now = 0;
        for (pause, event) in events {
            now += pause;
            let time = at(0) + Duration::from_millis(now);
            match event {
                Event::Allowed { actor, tool } => {
                    ledger.count_allowed(&actors[actor], Some(&tools[tool]), time);
                    allowed.push((actor, tool, now));
                }
                Event::Denied { actor } => {
                    ledger.count_denied(&actors[actor], None, time);
                    denied.push((actor, now));
                }
                Event::Restart => {
                    for new in stored(ledger.dirty()) {
                        on_disk.retain(|old| (&old.actor, &old.tool) != (&new.actor, &new.tool));
                        on_disk.push(new);
                    }
                    ledger = UsageLedger::new(1_000);
                    ledger.restore(on_disk.clone()).unwrap();
                }
            }
            for (a, actor) in actors.iter().enumerate() {
                let of_actor = allowed.iter().filter(move |(actor, ..)| *actor == a);
                let mut distinct = (0, 0);
                for (t, tool) in tools.iter().enumerate() {
                    let seen = ledger.view(actor, None, Some(tool), time);
                    let of_tool = of_actor.clone().filter(move |(_, tool, _)| *tool == t);
                    let times = of_tool.clone().map(|(.., at)| *at);
                    prop_assert_eq!(seen.is_first_use, of_tool.count() == 0);
                    within(seen.tool, times.clone(), now)?;
                    within(seen.actor, of_actor.clone().map(|(.., at)| *at), now)?;
                    let denials = denied.iter().filter(move |(actor, _)| *actor == a);
                    let (low, high) = bounds(denials.map(|(_, at)| *at), now, HOUR, 5 * MINUTE);
                    prop_assert!((low..=high).contains(&seen.recent_denials));
                    let (low, high) = bounds(times, now, DAY, HOUR);
                    distinct.0 += low.min(1);
                    distinct.1 += high.min(1);
                }
                let seen = ledger.view(actor, None, None, time).distinct_tools;
                prop_assert!((distinct.0..=distinct.1).contains(&seen), "{seen} {distinct:?}");
            }
        }
    }
}

fn within(
    seen: WindowCounts,
    times: impl Iterator<Item = u64> + Clone,
    now: u64,
) -> Result<(), TestCaseError> {
    for (count, window, width) in [
        (seen.minute, MINUTE, 5),
        (seen.hour, HOUR, 5 * MINUTE),
        (seen.day, DAY, HOUR),
    ] {
        let (low, high) = bounds(times.clone(), now, window, width);
        prop_assert!((low..=high).contains(&count), "{count} of {low}..={high}");
    }
    Ok(())
}

#[test]
fn an_actor_nobody_knows_has_used_nothing() {
    let ledger = UsageLedger::new(10);
    let seen = ledger.view(&agent("a"), None, Some(&tool_uid("s", "t")), at(0));
    let nothing = Usage {
        is_first_use: true,
        ..Usage::default()
    };
    assert_eq!(seen, nothing);
    assert_eq!(
        ledger.view(&agent("a"), None, None, at(0)),
        Usage::default()
    );
    assert!(ledger.is_empty(), "looking is not remembered");
}

#[test]
fn a_call_without_a_tool_counts_for_the_actor_alone() {
    let ledger = UsageLedger::new(10);
    ledger.count_allowed(&agent("a"), None, at(0));
    let seen = ledger.view(&agent("a"), None, Some(&tool_uid("s", "t")), at(1));
    assert_eq!((seen.actor.minute, seen.tool.minute), (1, 0));
    assert_eq!((seen.is_first_use, seen.distinct_tools), (true, 0));
}

#[test]
fn only_what_changed_is_written_again() {
    let ledger = UsageLedger::new(10);
    let (a, b) = (agent("a"), agent("b"));
    let t = tool_uid("s", "t");
    ledger.count_allowed(&a, Some(&t), at(0));
    ledger.count_allowed(&a, Some(&t), at(0));
    ledger.count_denied(&b, None, at(0));
    let mut names: Vec<_> = stored(ledger.dirty())
        .into_iter()
        .map(|stored| (stored.actor, stored.tool))
        .collect();
    names.sort();
    let expected = [(a.clone(), None), (a.clone(), Some(t)), (b, None)];
    assert_eq!(names, expected);
    assert!(ledger.dirty().is_empty());
    ledger.count_denied(&a, None, at(0));
    assert_eq!(stored(ledger.dirty())[0].tool, None);
}

#[test]
fn a_full_ledger_drops_what_was_used_longest_ago() {
    let ledger = UsageLedger::new(4);
    let tools = ["0", "1", "2", "3"].map(|name| tool_uid("s", name));
    let a = agent("a");
    // One entry for the actor and three for tools.
    for (seconds, tool) in (0..).zip(&tools[..3]) {
        ledger.count_allowed(&a, Some(tool), at(seconds));
    }
    ledger.count_allowed(&a, Some(&tools[0]), at(3));
    ledger.count_allowed(&a, Some(&tools[3]), at(4));
    assert_eq!(ledger.len(), 4);
    let seen = |tool: usize| ledger.view(&a, None, Some(&tools[tool]), at(4));
    assert!(seen(1).is_first_use, "it was used longest ago");
    assert!(!seen(0).is_first_use && !seen(2).is_first_use && !seen(3).is_first_use);
    // Of the actor itself nothing is lost.
    assert_eq!((seen(0).actor.day, seen(0).distinct_tools), (5, 4));
}

#[test]
fn what_may_have_been_dropped_counts_too_long_rather_than_too_short() {
    let ledger = UsageLedger::new(4);
    let (a, b, t) = (agent("a"), agent("b"), tool_uid("s", "t"));
    let counted = |ledger: &UsageLedger, actor: &EntityUID, seconds| {
        let seen = ledger.view(actor, None, Some(&t), at(seconds));
        (seen.actor.day, seen.tool.day, seen.distinct_tools)
    };
    for _ in 0..7 {
        ledger.count_allowed(&a, Some(&t), at(0));
    }
    ledger.count_allowed(&b, Some(&t), at(10));
    ledger.count_allowed(&agent("c"), Some(&t), at(20));
    // It was dropped, and what it did is not forgotten. Nor is it for whoever came since, but for who was there.
    assert_eq!(counted(&ledger, &a, 20), (7, 7, 1));
    assert_eq!(counted(&ledger, &agent("c"), 20), (8, 8, 2));
    assert_eq!(counted(&ledger, &b, 20), (1, 1, 1));
    ledger.count_allowed(&a, Some(&t), at(30));
    assert!(counted(&ledger, &a, 30).0 >= 8);
    // After a day nothing of it counts.
    assert_eq!(counted(&ledger, &agent("d"), 31 + DAY + HOUR), (0, 0, 0));
}

#[test]
fn names_that_are_only_denied_leave_room_for_others() {
    let ledger = UsageLedger::new(10);
    for name in 0..100 {
        ledger.count_denied(&agent(&name.to_string()), None, at(0));
    }
    assert_eq!(ledger.len(), 5);
    ledger.count_allowed(&agent("a"), Some(&tool_uid("s", "t")), at(0));
    ledger.count_denied(&agent("a"), None, at(0));
    assert_eq!(
        ledger.view(&agent("a"), None, None, at(0)).recent_denials,
        1
    );
}

#[test]
fn what_is_forgotten_was_never_used() {
    let ledger = UsageLedger::new(10);
    let (a, t) = (agent("a"), tool_uid("s", "t"));
    ledger.count_allowed(&a, Some(&t), at(0));
    ledger.count_allowed(&agent("b"), Some(&t), at(10));
    ledger.forget(at(10));
    assert!(ledger.view(&a, None, Some(&t), at(10)).is_first_use);
    assert!(
        !ledger
            .view(&agent("b"), None, Some(&t), at(10))
            .is_first_use
    );
    assert_eq!(ledger.len(), 2);
}

#[test]
fn bytes_that_are_no_counters_are_an_error() {
    let ledger = UsageLedger::new(10);
    ledger.count_allowed(&agent("a"), None, at(0));
    let whole = stored(ledger.dirty()).remove(0);
    let read = |counters: &[u8]| {
        let stored = StoredUsage {
            counters: counters.to_vec(),
            ..whole.clone()
        };
        UsageLedger::new(10).restore(vec![stored])
    };
    read(&whole.counters).unwrap();
    let other_form = [&[2], &whole.counters[1..]].concat();
    let longer = [whole.counters.as_slice(), &[0]].concat();
    let endless = [[1].as_slice(), &[0xff; 99]].concat();
    let cut = &whole.counters[..whole.counters.len() - 1];
    for bad in [&[], cut, &other_form, &longer, &endless] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains("the counters of Mcp::Agent"), "{error}");
    }
}

#[test]
fn denials_count_for_the_one_they_were_for() {
    let ledger = UsageLedger::new(10);
    let a = agent("a");
    let [sam, kim] = ["sam", "kim"].map(|name| entity_uid(&TYPES.user, name));
    for _ in 0..3 {
        ledger.count_denied(&a, Some(&sam), at(0));
    }
    ledger.count_denied(&a, None, at(0));
    let denials = |ledger: &UsageLedger, root| ledger.view(&a, root, None, at(1)).recent_denials;
    let all =
        |ledger: &UsageLedger| [Some(&sam), Some(&kim), None].map(|root| denials(ledger, root));
    assert_eq!(all(&ledger), [3, 0, 1]);
    let again = UsageLedger::new(10);
    again.restore(stored(ledger.dirty())).unwrap();
    assert_eq!(all(&again), [3, 0, 1]);
    assert_eq!(again.len(), 2);
    // Nor do they look like tools.
    again.count_allowed(&a, Some(&tool_uid("s", "t")), at(1));
    assert_eq!(again.view(&a, None, None, at(1)).distinct_tools, 1);
    again.forget(at(1));
    assert_eq!((again.len(), all(&again)), (2, [0, 0, 1]));
}

#[test]
fn people_for_whom_something_is_only_denied_leave_room() {
    let ledger = UsageLedger::new(10);
    for name in 0..100 {
        let person = entity_uid(&TYPES.user, name.to_string());
        ledger.count_denied(&agent("a"), Some(&person), at(0));
    }
    assert_eq!(ledger.len(), 5);
    ledger.count_allowed(&agent("b"), Some(&tool_uid("s", "t")), at(0));
}
