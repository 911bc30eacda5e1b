use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Number(u32);

const SHARED: Number = Number(u32::MAX);

impl RepeatKey for Number {
    fn shared(&self) -> Self {
        SHARED
    }
}

#[test]
fn the_first_ones_are_said_and_the_others_counted_for_a_minute() {
    let repeats = RepeatLimiter::new(Some(3));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let said = (0..10).filter(|second| repeats.may_say(|| Number(1), after(*second)));
    assert_eq!(said.count(), 3);
    assert!(repeats.may_say(|| Number(2), after(9)), "another key");
    assert!(repeats.over(after(59), false).is_empty(), "not over yet");
    assert_eq!(repeats.over(after(60), false), [(Number(1), 7)]);
    assert!(repeats.may_say(|| Number(1), after(61)), "a new minute");
    assert!(!repeats.over(after(61), true).iter().any(|it| it.1 == 0));
    assert!(repeats.over(after(200), true).is_empty(), "told once");
}

#[test]
fn without_a_limit_everything_is_said() {
    let repeats: RepeatLimiter<Number> = RepeatLimiter::default();
    let now = Instant::now();
    assert!((0..100).all(|_| repeats.may_say(|| panic!("no key is made"), now)));
}

#[test]
fn there_are_no_more_keys_than_places() {
    let repeats = RepeatLimiter::new(Some(1));
    let now = Instant::now();
    let many = 3 * u32::try_from(KEYS).unwrap();
    let said = (0..many).filter(|number| repeats.may_say(|| Number(*number), now));
    assert_eq!(said.count(), KEYS + 1);
    assert_eq!(repeats.lock().len(), KEYS + 1);
    let beyond = u64::from(many) - KEYS as u64 - 1;
    assert_eq!(repeats.over(now, true), [(SHARED, beyond)]);
}

proptest! {
    #[test]
    fn what_was_asked_for_is_said_or_counted(
        asked in prop::collection::vec((0u32..6, 0u64..20), 0..400),
        limit in 1u32..5,
    ) {
        let repeats = RepeatLimiter::new(Some(limit));
        let mut now = Instant::now();
        let mut balance: BTreeMap<Number, i64> = BTreeMap::new();
        let settle = |over: Vec<(Number, u64)>, balance: &mut BTreeMap<Number, i64>| {
            for (key, repeated) in over {
                *balance.entry(key).or_default() -= i64::try_from(repeated).unwrap();
            }
        };
        for (number, seconds) in asked {
            now += Duration::from_secs(seconds);
            if seconds > 10 {
                settle(repeats.over(now, false), &mut balance);
            }
            let is_said = repeats.may_say(|| Number(number), now);
            *balance.entry(Number(number)).or_default() += i64::from(!is_said);
        }
        settle(repeats.over(now, true), &mut balance);
        prop_assert!(balance.values().all(|left| *left == 0), "{balance:?}");
    }
}
