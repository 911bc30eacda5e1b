use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{PIECE, Retention, compress_pieces, look};
use crate::audit::frame::{self, Contents};
use crate::audit::log_files::{self, CAPSULES, SEGMENTS, TREE};
use crate::audit::reader::LogReader;
use crate::audit::record::StoredRecord;
use crate::audit::record::schema::notice::Kind;
use crate::audit::record::schema::{Notice, Record, record};
use crate::audit::segment::Segment;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::tile_dir::TileDir;

const DAY: Duration = Duration::from_secs(86_400);
const FOREVER: Retention = Retention {
    records: (Duration::MAX, u64::MAX),
    capsules: (Duration::MAX, u64::MAX),
};

/// Files with ten records each.
fn write(directory: &Path, files: u64) {
    for folder in [SEGMENTS, CAPSULES] {
        fs::create_dir_all(directory.join(folder)).unwrap();
    }
    for file in 0..files {
        let folder = directory.join(SEGMENTS);
        let mut segment = Segment::create(&folder, Contents::Records, file * 10).unwrap();
        for index in file * 10..file * 10 + 10 {
            let record = Record {
                index: Some(index),
                at: 1,
                is_cut: false,
                kind: Some(record::Kind::Notice(Notice {
                    text: "text ".repeat(50),
                    ..Notice::default()
                })),
                ..Record::default()
            };
            let mut bytes = Vec::new();
            frame::push(
                &mut bytes,
                &StoredRecord::from_message(&record).unwrap().bytes,
            );
            segment.append(&bytes).unwrap();
        }
        fs::write(
            directory.join(CAPSULES).join(log_files::name(file * 10)),
            "x",
        )
        .unwrap();
    }
}

fn indices(directory: &Path) -> Vec<u64> {
    let records = LogReader::open(directory).unwrap().iter_from(0);
    records.map(|record| record.unwrap().index).collect()
}

fn look_and_hear(directory: &Path, retention: Retention, now: SystemTime) -> Vec<Notice> {
    let told = RefCell::new(Vec::new());
    let tell = |notice| {
        told.borrow_mut().push(notice);
        true
    };
    look(directory, retention, now, u64::MAX, (&tell, &|| false)).unwrap();
    told.into_inner()
}

#[test]
fn closed_files_are_compressed_and_read_as_before() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 3);
    let segments = directory.path().join(SEGMENTS);
    let size = || -> u64 {
        let files = log_files::list(&segments).unwrap();
        files
            .iter()
            .map(|it| it.path.metadata().unwrap().len())
            .sum()
    };
    let before = size();
    // At the end the rest is left for the next time.
    let now = SystemTime::now();
    look(
        directory.path(),
        FOREVER,
        now,
        u64::MAX,
        (&|_| true, &|| true),
    )
    .unwrap();
    assert_eq!(size(), before);
    assert!(look_and_hear(directory.path(), FOREVER, SystemTime::now()).is_empty());
    let files = log_files::list(&segments).unwrap();
    let compressed: Vec<_> = files
        .iter()
        .map(|it| (it.first, it.is_compressed))
        .collect();
    assert_eq!(compressed, [(0, true), (10, true), (20, false)]);
    assert!(size() * 2 < before);
    assert_eq!(indices(directory.path()), (0..30).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(&segments).unwrap().count(), 3);
}

#[test]
fn the_pieces_of_a_file_read_as_one() {
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE / 2] {
        let plain: Vec<u8> = (0..length).map(|at| (at / 7 % 251) as u8).collect();
        let mut compressed = Vec::new();
        compress_pieces(&*plain, &mut compressed).unwrap();
        assert!(!compressed.is_empty());
        let decoded = zstd::decode_all(&*compressed).unwrap();
        assert!(decoded == plain, "{length} bytes");
    }
}

#[test]
fn what_is_too_old_or_too_much_is_removed_from_the_front_and_told() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 4);
    let aged = |file: u64, folder: &str| {
        let path = directory.path().join(folder).join(log_files::name(file));
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - 10 * DAY).unwrap();
    };
    aged(0, SEGMENTS);
    aged(30, SEGMENTS);
    let retention = Retention {
        records: (5 * DAY, u64::MAX),
        capsules: (5 * DAY, 2),
    };
    let told = look_and_hear(directory.path(), retention, SystemTime::now());
    let told: Vec<_> = told
        .iter()
        .map(|it| (it.kind(), &*it.text, it.first, it.last))
        .collect();
    // Of the capsules there are too many bytes; the newest file of records is old and stays all the same.
    assert_eq!(
        told,
        [
            (Kind::Removed, "capsules", 0, 19),
            (Kind::Removed, "records", 0, 9)
        ]
    );
    assert_eq!(indices(directory.path()), (10..40).collect::<Vec<_>>());
    assert!(look_and_hear(directory.path(), retention, SystemTime::now()).is_empty());
}

#[test]
fn records_from_which_tiles_may_have_to_be_made_anew_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 5);
    let tree = TileDir::new(directory.path().join(TREE));
    let mut frontier = Frontier::default();
    for index in 0..25_u64 {
        frontier.push(TreeHash::leaf(&index.to_le_bytes()), |_, _| {});
    }
    tree.write_frontier(&frontier).unwrap();
    let nothing_is_kept = Retention {
        records: (Duration::MAX, 0),
        ..FOREVER
    };
    let now = SystemTime::now();
    look_and_hear(directory.path(), nothing_is_kept, now);
    assert_eq!(indices(directory.path()), (20..50).collect::<Vec<_>>());
    // Nobody waits for a tree that does not go on.
    look_and_hear(
        directory.path(),
        nothing_is_kept,
        now + Duration::from_secs(700),
    );
    assert_eq!(indices(directory.path()), (40..50).collect::<Vec<_>>());
}

#[test]
fn what_is_removed_is_told_before_and_stays_if_nobody_agrees() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 4);
    let nothing_is_kept = Retention {
        records: (Duration::MAX, 0),
        ..FOREVER
    };
    let now = SystemTime::now();
    for agrees in [false, true] {
        let tell = |notice: Notice| {
            assert_eq!((notice.first, notice.last), (0, 29));
            assert_eq!(indices(directory.path()), (0..40).collect::<Vec<_>>());
            agrees
        };
        look(
            directory.path(),
            nothing_is_kept,
            now,
            u64::MAX,
            (&tell, &|| false),
        )
        .unwrap();
    }
    assert_eq!(indices(directory.path()), (30..40).collect::<Vec<_>>());
}

#[test]
fn a_file_that_begins_after_the_end_does_not_make_the_open_one_a_closed_one() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 2);
    let far = directory.path().join(SEGMENTS).join(log_files::name(1_000));
    fs::write(far, frame::header(Contents::Records, 1_000)).unwrap();
    let tell = |_| true;
    look(
        directory.path(),
        FOREVER,
        SystemTime::now(),
        20,
        (&tell, &|| false),
    )
    .unwrap();
    let files = log_files::list(&directory.path().join(SEGMENTS)).unwrap();
    let compressed: Vec<_> = files.iter().map(|file| file.is_compressed).collect();
    assert_eq!(compressed, [true, false, false]);
}
