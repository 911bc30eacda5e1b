use std::fs;

use super::*;
use crate::audit::fixtures::{many, records, write_log};
use crate::audit::record::schema::{Notice, record};

#[test]
fn the_newest_revision_is_that_of_decisions_and_writes_wherever_they_are() {
    for per_file in [1, 2, 100] {
        let dir = tempfile::tempdir().expect("a directory");
        write_log(dir.path(), &records(), per_file);
        assert_eq!(newest_revision(dir.path()).expect("read"), 13, "{per_file}");
    }
    let none = tempfile::tempdir().expect("a directory");
    write_log(none.path(), &many(30), 7);
    assert_eq!(newest_revision(none.path()).expect("read"), 0);
}

#[test]
fn a_store_that_turned_back_goes_on_after_what_was_given_out_and_damage_hides_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = records();
    let turned = Notice {
        kind: notice::Kind::TurnedBack.into(),
        first: 3,
        last: 40,
        ..Notice::default()
    };
    let index = all.len() as u64;
    let mut last = all[0].clone();
    last.index = Some(index);
    last.kind = Some(record::Kind::Notice(turned));
    all.push(last);
    write_log(dir.path(), &all, 2);
    assert_eq!(newest_revision(dir.path()).expect("read"), 41);
    let files = log_files::list(&dir.path().join(SEGMENTS)).expect("listed");
    let newest = &files.last().expect("a file").path;
    fs::write(newest, b"this is no file of a log, and long enough").expect("written");
    assert_eq!(newest_revision(dir.path()).expect("read"), 13);
}
