use super::*;
use crate::analysis::replay::report::NotReplayed;

#[test]
fn times_and_shares_are_read_or_refused() {
    assert!(moment("24h").is_ok() && moment("2026-11-27T08:00:00Z").is_ok());
    assert!(moment("yesterday").is_err());
    assert_eq!(share("0.25"), Ok(0.25));
    for bad in ["0", "1.5", "-1", "NaN", "much"] {
        assert!(share(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_bar_never_overflows() {
    assert_eq!(bar(0, 0, 0.0).len(), bar(9, 9, 1.0).len());
    assert!(bar(50, 10, 1.0).starts_with(&format!("[{}] 100%", "#".repeat(BAR))));
    assert!(bar(5, 10, 1.0).contains(" 50%"));
}

#[test]
fn nothing_flips_is_said_only_if_it_is_known() {
    let report = |(flipped, weakened): (u64, u64), failed: u64, incomplete: u64| ReplayReport {
        candidate: String::new(),
        records: 10,
        replayed: 1,
        lists: 0,
        entries: 0,
        same: 1,
        other_reason: 0,
        flipped,
        same_bundle: 0,
        not_replayed: NotReplayed {
            no_capsule: 3,
            lists: 1,
            not_evaluated: 2,
            incomplete: [("usage".to_owned(), incomplete)].into(),
            failed,
            sealed: 0,
        },
        flips: Vec::new(),
        weakened,
        strengthened: 1,
        weakenings: Vec::new(),
        strengthenings: Vec::new(),
    };
    // What was not kept, or never evaluated, is known to be left out.
    assert_eq!(outcome_of(&report((0, 0), 0, 0), 0), Exit::Done);
    for (failed, incomplete, faults) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        let flips = |flipped| outcome_of(&report(flipped, failed, incomplete), faults);
        assert_eq!(flips((0, 0)), Exit::Error);
        assert_eq!(flips((1, 0)), Exit::Flips);
        assert_eq!(flips((0, 1)), Exit::Flips);
    }
}
