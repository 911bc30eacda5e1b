use super::*;
use std::fs;

use crate::audit::fixtures::{self, CHILD, FULL, START, many, records, write_log};
use crate::audit::record::schema::{Notice, notice};

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
    let start =
        |seconds: u64| start_at(dir.path(), START + seconds * 1_000_000_000).expect("readable");
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
    let files = files(dir.path()).expect("readable");
    let end = |seconds: u64| end_in(&files, START + seconds * 1_000_000_000);
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

#[test]
fn reading_begins_before_all_records_of_a_time_where_a_clock_was_set_back() {
    const DAY: u64 = 86_400_000_000_000;
    let now = START + 10 * DAY;
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = many(40);
    for (record, days_ago) in all
        .chunks_mut(10)
        .zip([5, 0, 4, 1])
        .flat_map(|(file, ago)| file.iter_mut().map(move |record| (record, ago)))
    {
        record.at = now - days_ago * DAY;
    }
    write_log(dir.path(), &all, 10);
    for (half_days_ago, matching) in [(1, 10), (3, 20), (9, 30), (11, 40)] {
        let since = now - half_days_ago * DAY / 2;
        let start = start_at(dir.path(), since).expect("readable");
        let read = all.iter().filter(|it| it.index >= Some(start));
        let read = read.filter(|it| it.at >= since).count();
        assert_eq!(read, matching, "{half_days_ago}");
    }
    // Files of before all that is asked for are not read.
    all.iter_mut().for_each(|record| record.at = now - 9 * DAY);
    all[39].at = now;
    all[30].at = now;
    fixtures::write_segments(dir.path(), &all, 10);
    assert_eq!(start_at(dir.path(), now - DAY).expect("readable"), 20);
}

#[test]
fn a_decision_is_looked_for_before_the_file_in_which_a_clock_was_set_back() {
    const HOUR: u64 = 3_600_000_000_000;
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = many(30);
    // At one, at four by a clock that is ahead, and at half past one, when it was set right.
    for (file, at) in all.chunks_mut(10).zip([2, 8, 3]) {
        file.iter_mut()
            .for_each(|record| record.at = START + at * HOUR / 2);
    }
    all[20].kind = Some(record::Kind::Notice(Notice {
        kind: notice::Kind::ClockSetBack.into(),
        since: START + 4 * HOUR,
        ..Notice::default()
    }));
    write_log(dir.path(), &all, 10);
    let files = files(dir.path()).expect("readable");
    let start = |half_hours: u64| start_in(&files, START + half_hours * HOUR / 2 + HOUR / 3);
    assert_eq!([start(2), start(3), start(8)], [0, 0, 20]);
}

#[test]
fn a_decision_is_looked_for_in_the_file_in_which_a_clock_was_set_back() {
    const HOUR: u64 = 3_600_000_000_000;
    // By a clock that is ahead at first: in the second file, or in the newest, it is set right.
    for (ends_in, is_told) in [(2, true), (1, false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = many(10 * (ends_in + 1));
        for (file, at) in all.chunks_mut(10).zip([2, 8, 3]) {
            for record in file {
                record.at = START + at * HOUR / 2;
            }
        }
        if is_told {
            all[20].kind = Some(record::Kind::Notice(Notice {
                kind: notice::Kind::ClockSetBack.into(),
                since: START + 4 * HOUR,
                ..Notice::default()
            }));
        }
        let nanos = START + HOUR * 5 / 4;
        let id = id_at(nanos / 1_000_000);
        all[15].at = nanos;
        let Some(record::Kind::Decision(decided)) = &mut all[15].kind else {
            panic!("a decision");
        };
        decided.id = id.into_bytes().to_vec().into();
        write_log(dir.path(), &all, 10);
        let found = decision(dir.path(), id, SearchScope::ByItsTime).expect("readable");
        assert_eq!(found.map(|it| it.stored.index), Some(15), "{ends_in}");
    }
    // A file whose clock was not set back is not read.
    let dir = tempfile::tempdir().expect("a directory");
    write_log(dir.path(), &many(30), 10);
    let files = files(dir.path()).expect("readable");
    let newest = 20..u64::MAX;
    assert_eq!(going_back(&files, 0), [newest]);
    assert!(going_back(&files, u64::MAX).is_empty());
}

/// An id of so many milliseconds since 1970.
fn id_at(millis: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid()
}

#[test]
fn oldest_records_are_missing_unless_the_log_says_that_it_removed_them() {
    for (says, missing) in [
        (None, Some((0, 49))),
        (Some(("records", 24)), Some((25, 49))),
        (Some(("records", 49)), None),
        (Some(("capsules", 49)), Some((0, 49))),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = many(100);
        if let Some((what, last)) = says {
            all[80].kind = Some(record::Kind::Notice(Notice {
                kind: notice::Kind::Removed.into(),
                text: what.to_owned(),
                last,
                ..Notice::default()
            }));
        }
        write_log(dir.path(), &all, 25);
        assert!(missing_before(dir.path()).expect("readable").is_none());
        for first in [0, 25] {
            let file = dir.path().join(SEGMENTS).join(log_files::name(first));
            fs::remove_file(file).expect("removed");
        }
        let found = missing_before(dir.path()).expect("readable");
        let found = found.map(|it| match it {
            LogError::Lost { first, last } => (first, last),
            other => panic!("{other}"),
        });
        assert_eq!(found, missing);
        let log = LogReader::open(dir.path()).expect("a log");
        let id = Uuid::from_slice(&fixtures::id(3)).expect("an id");
        let why = why_not_found(dir.path(), &log, id);
        let no_record = why_no_record(dir.path(), &log, 30);
        match missing {
            Some((first, _)) => {
                assert!(
                    why.contains(&format!("damaged: records {first} to 49 are")),
                    "{why}"
                );
                assert!(
                    no_record.contains("those before 50 are missing"),
                    "{no_record}"
                );
            }
            None => {
                assert!(why.contains("records before 50 were removed"), "{why}");
                assert!(no_record.contains("any more"), "{no_record}");
            }
        }
        assert_eq!(
            why_no_record(dir.path(), &log, 100),
            "the log has no record 100"
        );
    }
}

#[test]
fn what_could_not_be_read_while_looking_for_ids_is_returned() {
    let dir = tempfile::tempdir().expect("a directory");
    write_log(dir.path(), &records(), 4);
    let log = LogReader::open(dir.path()).expect("a log");
    let look = |indices: Range<u64>, ids: &[&[u8]]| {
        let mut found = Vec::new();
        let read = each_naming(&log, indices, ids, |it| {
            found.push(it.stored.index);
            true
        });
        let read = read.expect("readable");
        (found, read.next, read.faults.len())
    };
    let id = fixtures::id(3);
    assert_eq!(look(0..u64::MAX, &[&id]), (vec![3, 4], 12, 0));
    assert_eq!(look(0..u64::MAX, &[&id, b"d-3"]), (vec![3, 4, 6, 7], 12, 0));
    let file = dir.path().join(SEGMENTS).join("00000000000000000004.log");
    std::fs::remove_file(file).expect("removed");
    assert_eq!(look(4..u64::MAX, &[&id]), (vec![], 12, 1));
    assert_eq!(look(0..3, &[&id]), (vec![], 3, 0));
    // A hole after the records that are asked for is none of theirs.
    assert_eq!(look(0..4, &[&id]), (vec![3], 4, 0));
}

#[test]
fn a_removal_that_no_checkpoint_covers_accounts_for_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fixtures::write_log(dir.path(), &fixtures::many(20), 5);
    let mut records = fixtures::many(21);
    records[20].kind = Some(record::Kind::Notice(Notice {
        kind: notice::Kind::Removed.into(),
        text: "records".to_owned(),
        last: 9,
        ..Notice::default()
    }));
    fixtures::write_segments(dir.path(), &records, 5);
    let files = log_files::list(&dir.path().join(SEGMENTS)).expect("files");
    for file in &files[..2] {
        std::fs::remove_file(&file.path).expect("removed");
    }
    let found = missing_before(dir.path()).expect("readable");
    assert!(
        matches!(found, Some(LogError::Lost { first: 0, last: 9 })),
        "{found:?}"
    );
}
