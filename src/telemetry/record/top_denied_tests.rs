use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Against exact counts: none is too low, none is too high by more than the sketch promises, and what is frequent
    /// enough is there.
    #[test]
    fn counts_are_as_close_as_the_sketch_promises(
        names in prop::collection::vec(prop_oneof![3 => 0..5_u32, 1 => 0..500_u32], 0..3_000),
        room in 8..64_usize,
    ) {
        let (mut sketch, mut exact) = (Sketch::new(room), BTreeMap::<String, u64>::new());
        for name in &names {
            sketch.add(&name.to_string());
            *exact.entry(name.to_string()).or_default() += 1;
        }
        let error = (names.len() / room) as u64;
        prop_assert!(sketch.counts.len() <= room);
        for (name, count) in &sketch.counts {
            let truth = exact[name.as_str()];
            prop_assert!(truth <= *count && *count <= truth + error, "{name}: {truth} {count}");
        }
        for (name, truth) in exact {
            if truth > error {
                prop_assert!(sketch.counts.contains_key(name.as_str()), "{name}: {truth}");
            }
        }
    }
}

#[test]
fn what_is_shown_is_recent_and_bounded() {
    let start = Instant::now();
    let top = RecentTop::new(2, start);
    for (name, times) in [("a", 3), ("b", 5), ("c", 4)] {
        for _ in 0..times {
            top.note(name, start);
        }
    }
    let named = |at: Duration| -> Vec<(String, u64)> {
        let shown = top.top(start + at).into_iter();
        shown
            .map(|(name, count)| (name.to_string(), count))
            .collect()
    };
    let before = [("b".to_owned(), 5), ("c".to_owned(), 4)];
    assert_eq!(named(Duration::ZERO), before);
    assert_eq!(named(TURN), before, "it is still of the last ten minutes");
    top.note("c", start + TURN);
    top.note("c", start + TURN);
    let sums = [("c".to_owned(), 6), ("b".to_owned(), 5)];
    assert_eq!(named(TURN), sums);
    assert_eq!(named(2 * TURN), [("c".to_owned(), 2)]);
    assert_eq!(named(5 * TURN), []);
}
