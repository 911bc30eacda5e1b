use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{AuditLog, LogReceipt};
use crate::audit::archive::WrittenLog as _;
use crate::audit::capsule::{CapsuleError, CapsuleKey, CapsuleLink};
use crate::audit::capsule_reader::CapsuleReader;
use crate::audit::envelope;
use crate::audit::frame;
use crate::audit::log_files::{self, CAPSULES, SEGMENTS};
use crate::audit::log_output::OpenError;
use crate::audit::lost_records::LostCounts;
use crate::audit::outcome_record::{OutcomeRecord, Status};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::schema::notice::Kind;
use crate::audit::record::schema::record::Kind as Of;
use crate::audit::record::schema::{Notice, Record};
use crate::config::audit::{AuditConfig, LogMode, OnLogFailure};

fn config(mode: LogMode) -> AuditConfig {
    AuditConfig {
        mode,
        ..AuditConfig::default()
    }
}

fn open(directory: &Path, config: &AuditConfig) -> AuditLog {
    let key = config.key_path(directory, directory);
    AuditLog::open(directory, &key, config).unwrap().unwrap()
}

/// An envelope that can be told from others by its size.
fn numbered(size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    envelope::outcome(
        &mut bytes,
        &OutcomeRecord {
            decision_id: None,
            status: Status::Result,
            size,
            labels: &[],
            caller: "gateway",
            adapter: "test",
            about: None,
            at: SystemTime::now(),
        },
    );
    bytes
}

fn append(log: &AuditLog, size: u64) -> bool {
    futures_block(log.append(&numbered(size), None))
}

fn futures_block(receipt: LogReceipt) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(receipt.recorded()).is_ok()
}

/// All records, and the ranges that are missing.
fn read(directory: &Path) -> (Vec<Record>, Vec<(u64, u64)>) {
    let (mut records, mut lost) = (Vec::new(), Vec::new());
    for item in LogReader::open(directory).unwrap().iter_from(0) {
        match item {
            Ok(record) => records.push(record.decode().unwrap()),
            Err(LogError::Lost { first, last }) => lost.push((first, last)),
            Err(LogError::Damaged { .. } | LogError::Header(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (records, lost)
}

fn sizes(records: &[Record]) -> Vec<u64> {
    let sizes = records.iter().filter_map(|record| match &record.kind {
        Some(Of::Outcome(outcome)) => Some(outcome.size),
        _ => None,
    });
    sizes.collect()
}

fn notices(records: &[Record]) -> Vec<(Kind, Notice)> {
    let notices = records.iter().filter_map(|record| match &record.kind {
        Some(Of::Notice(notice)) => Some((notice.kind(), notice.clone())),
        _ => None,
    });
    notices.collect()
}

fn kinds(records: &[Record]) -> Vec<Kind> {
    notices(records).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn what_is_acknowledged_is_in_the_file_in_each_mode() {
    for mode in [LogMode::Written, LogMode::Synced, LogMode::Async] {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), &config(mode));
        for size in 0..50 {
            assert!(append(&log, size));
            if mode != LogMode::Async {
                assert_eq!(sizes(&read(directory.path()).0).len() as u64, size + 1);
            }
        }
        log.close();
        let (records, lost) = read(directory.path());
        assert_eq!(sizes(&records), (0..50).collect::<Vec<_>>(), "{mode:?}");
        assert_eq!(lost, []);
        let expected = [Kind::Start, Kind::Mode, Kind::Key, Kind::Stop];
        assert_eq!(kinds(&records), expected);
        assert_eq!(log.status().records, records.len() as u64);
        assert!(
            records
                .iter()
                .zip(0..)
                .all(|(it, index)| it.index == Some(index))
        );
        // A closed log records nothing, and says so.
        assert_eq!(append(&log, 99), mode == LogMode::Async);
        assert_eq!(log.unrecorded(), 1);
    }
}

/// Those who wait write for each other, or leave it to the thread, whatever is in the way of that.
#[test]
fn many_who_wait_at_once_all_find_their_records_written() {
    const WAITING: u64 = 16;
    const EACH: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    let waiting: Vec<_> = (0..WAITING)
        .map(|who| {
            let log = log.clone();
            runtime.spawn(async move {
                for number in 0..EACH {
                    let receipt = log.append(&numbered(who * EACH + number), None);
                    // Somebody whose client has gone waits no longer.
                    if number % 10 == 9 {
                        drop(receipt);
                        continue;
                    }
                    let before = log.records();
                    receipt.recorded().await.unwrap();
                    assert!(log.records() > 0 && log.records() >= before);
                    if number % 50 == 7 {
                        log.shared.notice(Notice::default());
                    }
                    if who == 3 && number == 60 {
                        let until = Instant::now() + Duration::from_millis(50);
                        log.writer.lock().as_mut().unwrap().slow_until = Some(until);
                    }
                }
            })
        })
        .collect();
    for waiting in waiting {
        runtime.block_on(waiting).unwrap();
    }
    log.close();
    let (records, lost) = read(directory.path());
    assert_eq!(lost, []);
    let mut found = sizes(&records);
    // Each one's are in the order in which it queued them.
    for who in 0..WAITING {
        let own = found.iter().filter(|it| **it / EACH == who);
        assert!(own.is_sorted(), "{who}");
    }
    found.sort_unstable();
    assert_eq!(found, (0..WAITING * EACH).collect::<Vec<_>>());
}

/// What nobody waits for is written all the same.
#[test]
fn a_record_whose_receipt_is_dropped_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    drop(log.append(&numbered(5), None));
    let until = Instant::now() + Duration::from_secs(20);
    while sizes(&read(directory.path()).0).is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(sizes(&read(directory.path()).0), [5]);
    log.close();
}

/// A writer that ends by a panic, wherever that was, lets nobody wait and nothing be allowed.
#[test]
fn whoever_waits_for_a_writer_that_panicked_hears_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    let writer = Arc::clone(&log.writer);
    let panicked = std::thread::spawn(move || {
        let _writer = writer.lock();
        panic!("as a writer might");
    });
    assert!(panicked.join().is_err());
    assert!(!append(&log, 1));
    assert!(!append(&log, 2));
    assert!(log.must_deny());
    let failure = log.status().failure.expect("a failure");
    assert!(failure.error.contains("panicked"), "{failure:?}");
    log.close();
    assert_eq!(sizes(&read(directory.path()).0), [0; 0]);
}

#[test]
fn off_is_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(LogMode::Off);
    let key = config.key_path(directory.path(), directory.path());
    assert!(
        AuditLog::open(directory.path(), &key, &config)
            .unwrap()
            .is_none()
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn two_processes_do_not_write_one_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(LogMode::Written);
    let log = open(directory.path(), &config);
    let key = config.key_path(directory.path(), directory.path());
    let second = AuditLog::open(directory.path(), &key, &config);
    assert!(matches!(second, Err(OpenError::Locked(_))));
    log.close();
    drop(log);
    open(directory.path(), &config).close();
}

#[test]
fn indices_go_on_after_a_restart_and_an_incomplete_end_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    assert!(append(&log, 1));
    log.close();
    drop(log);
    let files = log_files::list(&directory.path().join(SEGMENTS)).unwrap();
    let path = &files.last().unwrap().path;
    let mut bytes = fs::read(path).unwrap();
    bytes.extend([17, 0, 0, 0, 1, 2, 3]);
    fs::write(path, bytes).unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    assert!(append(&log, 2));
    log.close();
    let (records, lost) = read(directory.path());
    assert_eq!((sizes(&records), lost), (vec![1, 2], vec![]));
    let told = notices(&records);
    let repaired = told.iter().find(|(kind, _)| *kind == Kind::RepairedTail);
    assert_eq!(repaired.unwrap().1.count, 7);
}

#[test]
fn capsules_are_kept_with_their_records() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(LogMode::Written);
    let log = open(directory.path(), &config);
    let mut expected = Vec::new();
    for size in 0..20_u64 {
        let capsule = format!("capsule {size} ").repeat(20).into_bytes();
        assert!(futures_block(log.append(&numbered(size), Some(&capsule))));
        expected.push(capsule);
    }
    log.close();
    let key = CapsuleKey::read(&directory.path().join("capsule.key")).unwrap();
    let (records, _) = read(directory.path());
    for record in &records {
        let index = record.index.unwrap();
        let Some(Of::Outcome(outcome)) = &record.kind else {
            continue;
        };
        let whole = &expected[usize::try_from(outcome.size).unwrap()];
        let mut capsules = CapsuleReader::open(directory.path(), index).unwrap();
        let groups = capsules.groups_of(index);
        let read = |link: &CapsuleLink| key.open_one_of(&groups, index, link);
        let link = CapsuleLink::from_record(record).expect("it has a capsule");
        assert_eq!(
            link,
            CapsuleLink::Frame(record.capsule_frame_digest.clone())
        );
        assert_eq!(read(&link).unwrap().as_ref(), Some(whole));
        // Not the one that the record means.
        let other = read(&CapsuleLink::Frame(vec![0; 32].into()));
        assert!(matches!(other, Err(CapsuleError::DoesNotOpen(it)) if it == index));
    }
}

#[test]
fn capsules_that_are_lost_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    let capsule = b"capsule".repeat(20);
    for size in 0..10 {
        assert!(futures_block(log.append(&numbered(size), Some(&capsule))));
    }
    assert_eq!(log.lost(), LostCounts::default());
    let files = log_files::list(&directory.path().join(CAPSULES)).unwrap();
    fs::remove_file(&files[0].path).unwrap();
    assert!(futures_block(log.append(&numbered(10), Some(&capsule))));
    log.close();
    let expected = LostCounts {
        records: 0,
        capsules: 10,
    };
    assert_eq!(log.lost(), expected);
}

#[test]
fn records_that_are_found_damaged_at_a_start_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    for size in 0..10 {
        assert!(append(&log, size));
    }
    log.close();
    assert_eq!(log.lost(), LostCounts::default());
    let files = log_files::list(&directory.path().join(SEGMENTS)).unwrap();
    let mut bytes = fs::read(&files[0].path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0].path, bytes).unwrap();
    let degrade = AuditConfig {
        on_failure: OnLogFailure::Degrade,
        ..config(LogMode::Written)
    };
    let log = open(directory.path(), &degrade);
    assert!(log.lost().records >= 1, "{:?}", log.lost());
    log.close();
}

#[test]
fn what_was_done_to_the_open_files_is_told_and_nothing_is_acknowledged_unwritten() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("deleted", |segments| {
            let files = log_files::list(segments).unwrap();
            fs::remove_file(&files[0].path).unwrap();
        }),
        ("truncated", |segments| {
            let files = log_files::list(segments).unwrap();
            let file = fs::File::options()
                .write(true)
                .open(&files[0].path)
                .unwrap();
            file.set_len(60).unwrap();
        }),
        ("folder deleted", |segments| {
            fs::remove_dir_all(segments).unwrap();
        }),
        ("moved", |segments| {
            let files = log_files::list(segments).unwrap();
            fs::rename(&files[0].path, segments.join("elsewhere")).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), &config(LogMode::Written));
        for size in 0..10 {
            assert!(append(&log, size));
        }
        harm(&directory.path().join(SEGMENTS));
        for size in 10..20 {
            assert!(append(&log, size), "{name}");
        }
        log.close();
        let noticed = log.status();
        assert_eq!((noticed.unrecorded, noticed.failure), (0, None), "{name}");
        let (records, lost) = read(directory.path());
        let found = sizes(&records);
        assert_eq!(
            found[found.len() - 10..],
            (10..20).collect::<Vec<_>>(),
            "{name}"
        );
        // Three notices came before, and whatever is not there is told.
        let told = notices(&records);
        let told: Vec<_> = told
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::Lost)
            .collect();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert_eq!(told[0].1.last, 12, "{name}");
        let first = told[0].1.first;
        assert_eq!(
            noticed.lost.records,
            13 - first,
            "{name}: as many are counted"
        );
        let before = records.iter().filter(|it| it.index < Some(13)).count() as u64;
        assert_eq!(before, first, "{name}");
        // At the beginning of a log records may have been removed, as old ones are.
        assert!(
            first == 0 && lost.is_empty() || lost == [(first, 12)],
            "{name}: {lost:?}"
        );
    }
}

#[test]
fn what_another_process_has_written_is_told_before_the_next_record() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    assert!(append(&log, 1));
    let files = log_files::list(&directory.path().join(SEGMENTS)).unwrap();
    let found = log.records();
    let mut envelope = numbered(77);
    envelope::set_index(&mut envelope, found);
    let mut foreign = Vec::new();
    frame::push(&mut foreign, &envelope);
    let file = fs::File::options().append(true).open(&files[0].path);
    file.unwrap().write_all(&foreign).unwrap();
    assert!(append(&log, 2));
    // Before anybody has looked after the files.
    let (records, _) = read(directory.path());
    let after = records.iter().filter(|it| it.index >= Some(found));
    let after: Vec<Record> = after.cloned().collect();
    assert_eq!(sizes(&after), [77, 2]);
    let told = &after[1];
    let notice = notices(std::slice::from_ref(told)).remove(0).1;
    assert_eq!(
        (notice.kind(), notice.first, notice.last),
        (Kind::FoundUnsigned, found, found)
    );
    log.close();
}

/// A directory that cannot be written for a while, whoever the process runs as: a file is in the place of the folder.
#[test]
fn a_broken_log_denies_or_degrades_and_tells_it_once_it_is_written_again() {
    for on_failure in [OnLogFailure::Deny, OnLogFailure::Degrade] {
        let directory = tempfile::tempdir().unwrap();
        let config = AuditConfig {
            on_failure,
            ..config(LogMode::Written)
        };
        let log = open(directory.path(), &config);
        assert!(append(&log, 1));
        let segments = directory.path().join(SEGMENTS);
        fs::rename(&segments, directory.path().join("aside")).unwrap();
        fs::write(&segments, "in the way").unwrap();
        let goes_on = on_failure == OnLogFailure::Degrade;
        for size in 2..5 {
            assert_eq!(append(&log, size), goes_on);
        }
        assert_eq!(log.must_deny(), !goes_on);
        assert!(log.status().failure.is_some());
        assert_eq!(log.unrecorded(), 3);
        fs::remove_file(&segments).unwrap();
        fs::rename(directory.path().join("aside"), &segments).unwrap();
        assert!(append(&log, 5));
        assert!(!log.is_failing() && !log.must_deny());
        log.close();
        let (records, _) = read(directory.path());
        assert_eq!(sizes(&records), [1, 5]);
        let told = notices(&records);
        let find = |wanted: Kind| told.iter().find(|(kind, _)| *kind == wanted).unwrap();
        assert_eq!(find(Kind::Dropped).1.count, 3);
        assert!(find(Kind::Degraded).1.since > 0);
    }
}

/// Nothing waits in mode `async` until the log is known to be broken: from then on `on_failure` decides as in the other modes.
#[test]
fn a_log_that_nobody_waits_for_denies_once_it_is_known_to_be_broken() {
    for on_failure in [OnLogFailure::Deny, OnLogFailure::Degrade] {
        let directory = tempfile::tempdir().unwrap();
        let config = AuditConfig {
            on_failure,
            ..config(LogMode::Async)
        };
        let log = open(directory.path(), &config);
        assert!(log.append(&numbered(1), None).is_done());
        let segments = directory.path().join(SEGMENTS);
        let aside = directory.path().join("aside");
        let until = Instant::now() + Duration::from_secs(40);
        fs::rename(&segments, &aside).unwrap();
        fs::write(&segments, "in the way").unwrap();
        while !log.is_failing() && Instant::now() < until {
            assert!(log.append(&numbered(2), None).is_done());
            std::thread::sleep(Duration::from_millis(5));
        }
        let goes_on = on_failure == OnLogFailure::Degrade;
        assert_eq!(log.must_deny(), !goes_on);
        for _ in 0..3 {
            let receipt = log.append(&numbered(3), None);
            assert_eq!(receipt.is_done(), goes_on);
            assert_eq!(futures_block(receipt), goes_on);
        }
        fs::remove_file(&segments).unwrap();
        fs::rename(&aside, &segments).unwrap();
        while log.is_failing() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!log.must_deny());
        // A disk that has room for a little is not trusted at once.
        let receipt = log.append(&numbered(4), None);
        assert_eq!(receipt.is_done(), goes_on);
        assert!(futures_block(receipt));
        while !log.append(&numbered(5), None).is_done() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(
            log.append(&numbered(6), None).is_done(),
            "it is trusted again"
        );
        log.close();
        let (records, _) = read(directory.path());
        let kept = sizes(&records);
        assert!(kept.contains(&4) && kept.last() == Some(&6), "{kept:?}");
        assert!(goes_on || !kept.contains(&3), "{kept:?}");
    }
}

#[test]
fn what_finds_no_room_in_the_queue_is_counted_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let config = AuditConfig {
        queue_mib: 1,
        capsules: false,
        ..config(LogMode::Async)
    };
    let log = open(directory.path(), &config);
    let long = vec!["x".repeat(500).into(); 64];
    let mut bytes = Vec::new();
    let mut appended = 0;
    let until = Instant::now() + Duration::from_secs(20);
    while log.unrecorded() == 0 && Instant::now() < until {
        bytes.clear();
        let record = OutcomeRecord {
            decision_id: None,
            status: Status::Result,
            size: 1,
            labels: &long,
            caller: "gateway",
            adapter: "test",
            about: None,
            at: SystemTime::now(),
        };
        envelope::outcome(&mut bytes, &record);
        assert!(log.append(&bytes, None).is_done());
        appended += 1;
    }
    log.close();
    let (records, _) = read(directory.path());
    let dropped: u64 = notices(&records)
        .iter()
        .filter(|(kind, _)| *kind == Kind::Dropped)
        .map(|(_, notice)| notice.count)
        .sum();
    assert!(dropped > 0);
    assert_eq!(sizes(&records).len() as u64 + dropped, appended);
    assert_eq!(log.unrecorded(), dropped);
}

#[test]
fn files_are_begun_anew_when_they_are_large() {
    let directory = tempfile::tempdir().unwrap();
    let config = AuditConfig {
        segment_mib: 1,
        ..config(LogMode::Written)
    };
    let log = open(directory.path(), &config);
    let long = vec!["x".repeat(500).into(); 64];
    for size in 0..100 {
        let mut bytes = Vec::new();
        let record = OutcomeRecord {
            decision_id: None,
            status: Status::Result,
            size,
            labels: &long,
            caller: "gateway",
            adapter: "test",
            about: None,
            at: SystemTime::now(),
        };
        envelope::outcome(&mut bytes, &record);
        assert!(futures_block(log.append(&bytes, None)));
    }
    log.close();
    let files = log_files::list(&directory.path().join(SEGMENTS)).unwrap();
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(
        sizes(&read(directory.path()).0),
        (0..100).collect::<Vec<_>>()
    );
}

#[test]
fn a_log_that_is_opened_and_not_started_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let settings = config(LogMode::Written);
    let log = open(directory.path(), &settings);
    assert!(append(&log, 1));
    log.close();
    let torn = |folder: &str| {
        let files = log_files::list(&directory.path().join(folder)).unwrap();
        let path = files.last().unwrap().path.clone();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([200, 0, 0, 0, 1, 2, 3]);
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    };
    let (path, bytes) = torn(SEGMENTS);
    let key = settings.key_path(directory.path(), directory.path());
    let prepared = AuditLog::prepare(directory.path(), &key, &settings).unwrap();
    let records = prepared.as_ref().unwrap().log().records();
    assert_eq!(fs::read(&path).unwrap(), bytes, "while it is only open");
    drop(prepared);
    assert_eq!(fs::read(&path).unwrap(), bytes, "after a start that failed");
    let log = open(directory.path(), &settings);
    assert!(append(&log, 2));
    log.close();
    let now = fs::read(&path).unwrap();
    let whole = bytes.len() - 7;
    assert_eq!(now[..whole], bytes[..whole], "the records stay");
    assert!(now.len() > whole && now[whole..][..7] != bytes[whole..]);
    let (found, lost) = read(directory.path());
    assert!(lost.is_empty(), "{lost:?}");
    let repaired = |it: &Record| matches!(&it.kind, Some(Of::Notice(n)) if n.kind == i32::from(Kind::RepairedTail));
    assert!(found.iter().skip(records as usize).any(repaired));
}

#[test]
fn a_notice_of_what_is_removed_is_signed_before_files_go() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config(LogMode::Written));
    assert!(append(&log, 1));
    let (done, is_done) = std::sync::mpsc::channel();
    let removed = |last| Notice {
        kind: Kind::Removed.into(),
        last,
        ..Notice::default()
    };
    for last in 0..3 {
        assert!(log.shared.tell(removed(last), &is_done));
        let told = read(directory.path()).0;
        let index = told.iter().rfind(|it| match &it.kind {
            Some(Of::Notice(it)) => *it == removed(last),
            _ => false,
        });
        assert!(index.unwrap().index < Some(log.status().tree.signed));
    }
    // At the end nothing is removed.
    drop(done);
    assert!(!log.shared.tell(removed(9), &is_done));
    log.close();
}
