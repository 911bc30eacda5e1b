use super::*;
use crate::audit::fixtures::{self, CHILD, FULL, START, many, records, write_log};

#[test]
fn a_decision_is_found_by_its_id() {
    let dir = tempfile::tempdir().expect("a directory");
    write_log(dir.path(), &records(), 2);
    for (id, index) in [(FULL, 2), (CHILD, 5)] {
        let found = decision(
            dir.path(),
            id.parse().expect("an id"),
            SearchScope::WholeLog,
        )
        .expect("readable");
        assert_eq!(found.map(|it| it.stored.index), Some(index));
    }
    // The id of the decision that an outcome is about finds the decision.
    let id = Uuid::from_slice(&fixtures::id(3)).expect("an id");
    let found = decision(dir.path(), id, SearchScope::WholeLog)
        .expect("readable")
        .expect("a decision");
    assert_eq!(found.stored.index, 3);
    let none = decision(dir.path(), Uuid::nil(), SearchScope::WholeLog).expect("readable");
    assert!(none.is_none());
}

#[test]
fn reading_begins_well_before_a_time() {
    let dir = tempfile::tempdir().expect("a directory");
    // A record every 1.5 seconds, so a file of 100 is 150 seconds.
    write_log(dir.path(), &many(2_000), 100);
    let log = LogReader::open(dir.path()).expect("a log");
    let start = |seconds: u64| {
        start_at(dir.path(), &log, START + seconds * 1_000_000_000).expect("readable")
    };
    assert_eq!(start(0), 0);
    assert_eq!(start(600), 0);
    assert_eq!(start(750), 100);
    assert_eq!(start(1_500_000), 1_900);
}

#[test]
fn a_decision_is_looked_for_where_its_time_says() {
    let dir = tempfile::tempdir().expect("a directory");
    // 150 seconds in each file.
    write_log(dir.path(), &many(2_000), 100);
    let log = LogReader::open(dir.path()).expect("a log");
    let files = files(dir.path()).expect("readable");
    let end = |seconds: u64| end_in(&files, &log, START + seconds * 1_000_000_000);
    assert_eq!((end(0), end(1)), (400, 500));
    assert_eq!((end(1_500), end(1_500_000)), (1_400, u64::MAX));
}

#[test]
fn only_a_search_everywhere_finds_a_decision_elsewhere() {
    let dir = tempfile::tempdir().expect("a directory");
    write_log(dir.path(), &records(), 2);
    // The ids of these records tell a time that is not theirs.
    let id = Uuid::from_slice(&fixtures::id(3)).expect("an id");
    let look = |scope| decision(dir.path(), id, scope).expect("readable");
    assert_eq!(
        look(SearchScope::WholeLog).map(|it| it.stored.index),
        Some(3)
    );
    assert!(look(SearchScope::ByItsTime).is_none());
}
