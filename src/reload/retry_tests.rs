use super::*;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

fn broken() -> LoadResult {
    LoadResult::Failed(BundleError::single(BundleDiagnostic::for_file(
        &"a".into(),
        "unreadable",
    )))
}

#[test]
fn what_broke_is_tried_again_later_from_time_to_time() {
    let mut again = RetrySchedule::default();
    assert_eq!(again.wait(Duration::ZERO, true), None);
    let mut waits = Vec::new();
    for _ in 0..10 {
        again.note(&broken(), Instant::now());
        assert!(again.is_due());
        waits.extend(again.wait(Duration::ZERO, true));
    }
    assert_eq!(waits.first(), Some(&SHORTEST));
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(waits.last(), Some(&LONGEST));
    again.note(&LoadResult::Unchanged, Instant::now());
    assert_eq!(again.wait(Duration::ZERO, true), None);
}

#[test]
fn what_takes_long_leaves_the_processors_to_others() {
    let mut again = RetrySchedule::default();
    let begun = Instant::now()
        .checked_sub(Duration::from_secs(60))
        .expect("a machine that runs for a minute");
    again.note(&broken(), begun);
    let wait = again.wait(Duration::ZERO, true).expect("another try");
    assert!(wait >= Duration::from_secs(240), "{wait:?}");
}

#[test]
fn a_directory_that_nobody_tells_of_is_looked_at_often() {
    let again = RetrySchedule {
        is_looking: true,
        ..RetrySchedule::default()
    };
    assert_eq!(again.wait(Duration::ZERO, true), Some(LOOK));
    assert_eq!(again.wait(Duration::ZERO, false), Some(LOOK_UNTOLD));
    assert!(!again.is_due());
}

#[test]
fn what_is_polled_is_asked_for_as_often_after_a_fault() {
    let poll = Some(Duration::from_secs(1));
    let mut again = RetrySchedule {
        is_looking: true,
        poll,
        ..RetrySchedule::default()
    };
    for _ in 0..10 {
        again.note(&broken(), Instant::now());
        assert!(again.wait(Duration::ZERO, true) <= poll, "{again:?}");
    }
    assert_eq!(again.wait(Duration::ZERO, true), poll);
}
