use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{AppendError, Repair, Segment};
use crate::audit::frame::{Contents, FRAME_HEADER, HEADER, push};
use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::StoredRecord;
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Notice, Record};

fn envelope(index: u64, text: &str) -> Vec<u8> {
    let notice = Notice {
        text: text.to_owned(),
        ..Notice::default()
    };
    let record = Record {
        index: Some(index),
        at: 1,
        is_cut: false,
        kind: Some(Kind::Notice(notice)),
        ..Record::default()
    };
    StoredRecord::from_message(&record).unwrap().bytes
}

fn frame(index: u64, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, &envelope(index, text));
    bytes
}

/// A log of one segment with these texts, and the offset of the end of each frame.
fn write(directory: &Path, texts: &[String]) -> (Segment, Vec<u64>) {
    let folder = directory.join(SEGMENTS);
    fs::create_dir_all(&folder).unwrap();
    let mut segment = Segment::create(&folder, Contents::Records, 0).unwrap();
    let mut ends = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        segment.append(&frame(index as u64, text)).unwrap();
        ends.push(segment.length());
    }
    (segment, ends)
}

fn reopen(segment: &Segment) -> (Segment, Repair) {
    let (mut opened, repair) = Segment::inspect(segment.path(), Contents::Records, 0).unwrap();
    opened.repair().unwrap();
    (opened, repair)
}

/// The indices that a reader finds, and those that it reports as missing.
fn read(directory: &Path) -> (Vec<u64>, Vec<u64>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for item in LogReader::open(directory).unwrap().iter_from(0) {
        match item {
            Ok(record) => found.push(record.index),
            Err(LogError::Lost { first, last }) => lost.extend(first..=last),
            Err(LogError::Header(_) | LogError::Damaged { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (found, lost)
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|at| "text ".repeat(at % 7)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a file is cut, all complete records before the cut are there, and the rest is cut off and counted.
    #[test]
    fn a_file_cut_anywhere_is_repaired(count in 1_usize..12, cut in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let (segment, ends) = write(directory.path(), &texts(count));
        let cut = cut.index(segment.length() as usize + 1) as u64;
        fs::File::options().write(true).open(segment.path()).unwrap().set_len(cut).unwrap();
        let (mut reopened, repair) = reopen(&segment);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let kept = if cut < HEADER as u64 { 0 } else { ends[..whole].last().copied().unwrap_or(HEADER as u64) };
        prop_assert_eq!(repair.next, whole as u64);
        prop_assert_eq!(repair.cut, cut - kept);
        prop_assert!(repair.lost.is_empty());
        reopened.append(&frame(repair.next, "after")).unwrap();
        let (found, lost) = read(directory.path());
        prop_assert_eq!(found, (0..=whole as u64).collect::<Vec<_>>());
        prop_assert!(lost.is_empty());
    }

    /// Whichever bit is flipped, every record is there or reported, and none is another one.
    #[test]
    fn a_flipped_bit_takes_one_record_and_is_reported(count in 2_usize..12, bit in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let (segment, ends) = write(directory.path(), &texts(count));
        let bit = bit.index(segment.length() as usize * 8);
        let mut bytes = fs::read(segment.path()).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(segment.path(), &bytes).unwrap();
        let hit = ends.iter().position(|end| (bit as u64) / 8 < *end).unwrap() as u64;
        let is_header = bit / 8 < HEADER;
        let (_, repair) = reopen(&segment);
        prop_assert_eq!(repair.is_header_damaged, is_header);
        let (found, lost) = read(directory.path());
        let all = (0..count as u64).collect::<Vec<_>>();
        let without = || all.iter().copied().filter(|index| *index != hit).collect::<Vec<_>>();
        if is_header {
            prop_assert_eq!(found, all);
        } else if hit + 1 == count as u64 {
            prop_assert!(repair.cut > 0);
            prop_assert_eq!(repair.next, hit);
            prop_assert_eq!(found, without());
        } else {
            prop_assert_eq!(repair.lost, vec![(hit, hit)]);
            prop_assert_eq!(repair.next, count as u64);
            prop_assert_eq!(found, without());
            prop_assert_eq!(lost, vec![hit]);
        }
    }
}

#[test]
fn what_was_done_to_an_open_file_is_noticed_before_the_append_is_acknowledged() {
    let whole = texts(3);
    let replaced = |error: Result<(), AppendError>| match error {
        Err(AppendError::Replaced(why)) => why,
        other => panic!("{other:?}"),
    };
    let directory = tempfile::tempdir().unwrap();
    let (mut segment, _) = write(directory.path(), &whole);
    fs::remove_file(segment.path()).unwrap();
    let why = replaced(segment.append(&frame(3, "next")));
    assert_eq!(why, "the file was deleted");

    let (mut segment, ends) = write(directory.path(), &whole);
    let file = fs::File::options().write(true).open(segment.path());
    file.unwrap().set_len(ends[1] + 5).unwrap();
    let why = replaced(segment.append(&frame(3, "next")));
    assert_eq!(why, "the file was truncated or written by another process");

    let directory = tempfile::tempdir().unwrap();
    let (mut segment, _) = write(directory.path(), &whole);
    fs::rename(segment.path(), directory.path().join("elsewhere")).unwrap();
    let why = replaced(segment.append(&frame(3, "next")));
    assert_eq!(why, "the file was moved");
    fs::write(segment.path(), "another").unwrap();
    assert_eq!(
        replaced(segment.append(&frame(4, "next"))),
        "another file has its name"
    );
}

#[test]
fn a_file_that_was_moved_keeps_nothing_that_was_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut segment, ends) = write(directory.path(), &texts(3));
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(segment.path(), &elsewhere).unwrap();
    assert!(segment.append(&frame(3, "next")).is_err());
    assert_eq!(fs::metadata(&elsewhere).unwrap().len(), ends[2]);
    fs::rename(&elsewhere, segment.path()).unwrap();
    assert_eq!(read(directory.path()).0, [0, 1, 2]);
}

#[test]
fn a_log_is_read_across_files_of_both_kinds_and_a_gap_between_them_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (segment, _) = write(directory.path(), &texts(3));
    let folder = directory.path().join(SEGMENTS);
    let mut second = Segment::create(&folder, Contents::Records, 3).unwrap();
    second.append(&frame(3, "three")).unwrap();
    let mut third = Segment::create(&folder, Contents::Records, 6).unwrap();
    third.append(&frame(6, "six")).unwrap();
    let compressed = zstd::encode_all(&*fs::read(segment.path()).unwrap(), 1).unwrap();
    fs::write(folder.join(log_files::compressed_name(0)), compressed).unwrap();
    // Both forms are there for a moment.
    assert_eq!(read(directory.path()), (vec![0, 1, 2, 3, 6], vec![4, 5]));
    fs::remove_file(segment.path()).unwrap();
    assert_eq!(read(directory.path()), (vec![0, 1, 2, 3, 6], vec![4, 5]));
    let log = LogReader::open(directory.path()).unwrap();
    assert_eq!(log.get(2).unwrap().unwrap().index, 2);
    assert!(matches!(
        log.get(4),
        Err(LogError::Lost { first: 4, last: 5 })
    ));
    assert_eq!(log.get(7).unwrap(), None);
    fs::remove_file(folder.join(log_files::compressed_name(0))).unwrap();
    assert_eq!(log.first_index().unwrap(), 3);
    assert_eq!(log.get(0).unwrap(), None);
}

#[test]
fn a_reader_at_the_end_is_asked_again_and_goes_on_also_in_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (mut segment, _) = write(directory.path(), &texts(2));
    let mut records = LogReader::open(directory.path()).unwrap().iter_from(1);
    let mut next = || records.next().map(|item| item.unwrap().index);
    assert_eq!((next(), next()), (Some(1), None));
    segment.append(&frame(2, "two")).unwrap();
    let mut second =
        Segment::create(&directory.path().join(SEGMENTS), Contents::Records, 3).unwrap();
    assert_eq!((next(), next()), (Some(2), None));
    second.append(&frame(3, "three")).unwrap();
    assert_eq!((next(), next()), (Some(3), None));
    let half = frame(4, "four");
    second.append(&half[..FRAME_HEADER + 3]).unwrap();
    assert_eq!(next(), None);
    second.append(&half[FRAME_HEADER + 3..]).unwrap();
    assert_eq!((next(), next()), (Some(4), None));
}
