use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::audit::envelope;
use crate::audit::find;
use crate::audit::fixtures;
use crate::audit::frame::{self, FRAME_HEADER, HEADER};
use crate::audit::log::AuditLog;
use crate::audit::log_files::{self, SEGMENTS, TREE};
use crate::audit::log_output::OpenError;
use crate::audit::reader::LogReader;
use crate::audit::record::schema::{Notice, Record, notice, record};
use crate::audit::tree::key_file::{PUBLIC_KEY_FILE, read_verifying_key};
use crate::audit::verify::fault::Fault;
use crate::audit::verify::{Report, Request, verify};
use crate::config::audit::{AuditConfig, OnLogFailure};

fn open(directory: &Path, config: &AuditConfig) -> Result<AuditLog, OpenError> {
    let key = directory.join("capsule.key");
    AuditLog::open(directory, &key, config).map(|log| log.expect("a log"))
}

/// Opens the log, writes some records and closes it.
fn live(directory: &Path, config: &AuditConfig, records: usize) {
    let log = open(directory, config).expect("a log");
    for _ in 0..records {
        let mut bytes = Vec::new();
        envelope::notice(&mut bytes, std::time::SystemTime::now(), &Notice::default());
        drop(log.append(&bytes, None));
    }
    log.close();
}

fn verified(directory: &Path) -> Report {
    let key = read_verifying_key(&directory.join(TREE).join(PUBLIC_KEY_FILE)).expect("a key");
    let request = Request {
        directory: directory.to_owned(),
        key,
        older: Vec::new(),
        from: 0,
        to: None,
    };
    verify(&request).expect("a log")
}

fn last_file(directory: &Path) -> PathBuf {
    let files = log_files::list(&directory.join(SEGMENTS)).expect("files");
    files.last().expect("a file").path.clone()
}

#[test]
fn every_record_of_every_life_is_signed_at_the_end() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig {
        origin: Some("callgate.example/eu".to_owned()),
        ..AuditConfig::default()
    };
    let mut records = 0;
    for count in [0, 1, 300, 17] {
        live(directory, &config, count);
        let report = verified(directory);
        assert!(report.ok, "{report:?}");
        assert!(report.end >= records + count as u64, "{report:?}");
        assert_eq!((report.uncovered, report.proven), (0, report.end));
        assert_eq!(report.origin, "callgate.example/eu");
        records = report.end;
    }
    // The key keeps its name.
    let other = AuditConfig {
        origin: Some("callgate.example/us".to_owned()),
        ..config
    };
    assert!(matches!(open(directory, &other), Err(OpenError::Tree(_))));
}

#[test]
fn a_log_that_was_cut_is_refused_or_goes_on_without_a_tree() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    live(directory, &config, 20);
    let path = last_file(directory);
    let content = fs::read(&path).expect("a file");
    fs::write(&path, &content[..content.len() - 4]).expect("written");
    let refused = open(directory, &config).map(drop);
    let Err(OpenError::Tree(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("was signed"), "{error}");
    let lenient = AuditConfig {
        on_failure: OnLogFailure::Degrade,
        ..AuditConfig::default()
    };
    let log = open(directory, &lenient).expect("a log");
    assert!(log.status().tree.fault.is_some());
    log.close();
    assert!(!verified(directory).ok);
}

#[test]
fn a_log_whose_records_were_all_taken_away_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    live(directory, &AuditConfig::default(), 20);
    let path = last_file(directory);
    let header = fs::read(&path).expect("a file")[..HEADER].to_vec();
    fs::write(&path, header).expect("written");
    let opened = open(directory, &AuditConfig::default()).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
    fs::remove_file(path).expect("removed");
    let opened = open(directory, &AuditConfig::default()).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
}

/// Changes a byte in the middle of a record, and makes its checksum right.
fn forge(path: &Path, at: usize) {
    let mut content = fs::read(path).expect("a file");
    let mut frame = HEADER;
    for _ in 0..at {
        let length = u32::from_le_bytes(content[frame..frame + 4].try_into().expect("4 bytes"));
        frame += FRAME_HEADER + length as usize;
    }
    let length = u32::from_le_bytes(content[frame..frame + 4].try_into().expect("4 bytes"));
    let payload = frame + FRAME_HEADER..frame + FRAME_HEADER + length as usize;
    // A byte of the time, which makes another record of it.
    content[payload.start + 12] ^= 1;
    let mut forged = Vec::new();
    frame::push(&mut forged, &content[payload.clone()]);
    content[frame..payload.end].copy_from_slice(&forged);
    fs::write(path, content).expect("written");
}

#[test]
fn a_record_that_was_changed_after_an_older_checkpoint_is_not_signed() {
    for what_is_left in ["all", "tiles", "frontier"] {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = temporary.path();
        let config = AuditConfig::default();
        let checkpoint = directory.join("tree/checkpoint");
        live(directory, &config, 5);
        let older = fs::read(&checkpoint).expect("a checkpoint");
        live(directory, &config, 300);
        assert!(verified(directory).ok);
        forge(&last_file(directory), 100);
        assert!(!verified(directory).ok);
        fs::write(&checkpoint, &older).expect("written");
        match what_is_left {
            "tiles" => fs::remove_file(directory.join("tree/frontier")).expect("removed"),
            "frontier" => fs::remove_dir_all(directory.join("tree/tile/0/001.p")).expect("removed"),
            _ => {}
        }
        let report = verified(directory);
        let has = |wanted: fn(&Fault) -> bool| report.faults.iter().any(wanted);
        assert_eq!(
            has(|it| matches!(it, Fault::RolledBack { .. })),
            what_is_left != "tiles",
            "{report:?}"
        );
        assert!(
            has(|it| matches!(it, Fault::Changed { index: 100, .. })),
            "{report:?}"
        );
        let opened = open(directory, &config).map(drop);
        assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
        assert_eq!(fs::read(&checkpoint).expect("a checkpoint"), older);
    }
}

#[test]
fn records_that_were_cut_after_an_older_checkpoint_are_missed() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    live(directory, &config, 5);
    let older = fs::read(directory.join("tree/checkpoint")).expect("a checkpoint");
    live(directory, &config, 300);
    let end = verified(directory).end;
    let path = last_file(directory);
    let content = fs::read(&path).expect("a file");
    fs::write(&path, &content[..content.len() - 4]).expect("written");
    fs::write(directory.join("tree/checkpoint"), older).expect("written");
    fs::remove_file(directory.join("tree/frontier")).expect("removed");
    let report = verified(directory);
    let hashed = Fault::Hashed {
        first: end - 1,
        last: end - 1,
    };
    assert_eq!(report.faults, [hashed]);
    let opened = open(directory, &config).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
}

#[test]
fn keys_that_are_deleted_while_the_log_is_written_are_there_at_the_next_start() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    let log = open(directory, &config).expect("a log");
    let keys = ["capsule.key", "tree/key", "tree/key.pub"].map(|name| directory.join(name));
    let before = keys.clone().map(|key| fs::read(key).expect("a key"));
    keys.iter()
        .for_each(|key| fs::remove_file(key).expect("removed"));
    log.close();
    assert_eq!(keys.map(|key| fs::read(key).expect("put back")), before);
    live(directory, &config, 1);
    assert!(verified(directory).ok);
    // What was deleted is not followed by keys that nobody had.
    let log = open(directory, &config).expect("a log");
    // A checkpoint may be written meanwhile.
    while directory.join(TREE).exists() {
        let _ = fs::remove_dir_all(directory.join(TREE));
    }
    log.close();
    live(directory, &config, 1);
    assert!(verified(directory).ok, "{:?}", verified(directory));
}

#[test]
fn an_older_checkpoint_shows_by_tiles_behind_ones_that_are_missing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    live(directory, &config, 300);
    let older = fs::read(directory.join("tree/checkpoint")).expect("a checkpoint");
    let partial = directory.join("tree/tile/0/001.p");
    let kept = temporary.path().join("kept");
    fs::rename(&partial, &kept).expect("kept");
    live(directory, &config, 1_200);
    forge(&last_file(directory), 1_100);
    // Those that the checkpoint needs are as they were, and the next is gone.
    for full in ["001", "002"] {
        fs::remove_file(directory.join("tree/tile/0").join(full)).expect("removed");
    }
    fs::rename(&kept, &partial).expect("put back");
    fs::remove_file(directory.join("tree/frontier")).expect("removed");
    fs::write(directory.join("tree/checkpoint"), &older).expect("written");
    let report = verified(directory);
    let is_changed = |it: &Fault| matches!(it, Fault::Changed { index: 1_100, .. });
    assert!(report.faults.iter().any(is_changed), "{report:?}");
    let opened = open(directory, &config).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
    assert_eq!(
        fs::read(directory.join("tree/checkpoint")).expect("a checkpoint"),
        older
    );
}

#[test]
fn a_damaged_frontier_is_refused_and_one_that_is_missing_is_made() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    live(directory, &config, 20);
    let frontier = directory.join("tree/frontier");
    fs::write(&frontier, "x").expect("written");
    let opened = open(directory, &config).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
    fs::remove_file(&frontier).expect("removed");
    live(directory, &config, 1);
    assert!(frontier.exists());
    assert!(verified(directory).ok);
}

/// A log of 400 records in four files, and a notice behind its checkpoint that the first three were removed.
fn with_forged_removal(directory: &Path) {
    fixtures::write_log(directory, &fixtures::many(400), 100);
    let own = fs::Permissions::from_mode(0o600);
    fs::set_permissions(directory.join("tree/key"), own).expect("a key");
    let forged = Record {
        index: Some(400),
        at: 1,
        kind: Some(record::Kind::Notice(Notice {
            kind: notice::Kind::Removed.into(),
            text: "records".to_owned(),
            last: 299,
            ..Notice::default()
        })),
        ..Record::default()
    };
    let mut content = fs::read(last_file(directory)).expect("a file");
    frame::push(&mut content, &fixtures::bytes(&forged));
    fs::write(last_file(directory), content).expect("written");
}

fn remove_oldest(directory: &Path) {
    for file in &log_files::list(&directory.join(SEGMENTS)).expect("files")[..3] {
        fs::remove_file(&file.path).expect("removed");
    }
}

#[test]
fn a_removal_that_a_start_finds_unsigned_accounts_for_nothing_ever() {
    for is_removed_before in [true, false] {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = temporary.path();
        with_forged_removal(directory);
        if is_removed_before {
            remove_oldest(directory);
        }
        let log = open(directory, &AuditConfig::default()).expect("a log");
        let lost = if is_removed_before { 300 } else { 0 };
        assert_eq!(log.lost().records, lost);
        log.close();
        drop(log);
        live(directory, &AuditConfig::default(), 3);
        if !is_removed_before {
            assert!(verified(directory).ok, "{:?}", verified(directory));
            remove_oldest(directory);
        }
        let report = verified(directory);
        let wanted = Fault::RemovedUnsigned {
            first: 0,
            last: 299,
        };
        assert_eq!((report.faults, report.uncovered), (vec![wanted], 0));
        let missing = find::missing_before(directory).expect("readable");
        assert!(missing.is_some());
    }
}

#[test]
fn who_prepares_a_log_and_does_not_start_it_signs_nothing_that_it_found() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    with_forged_removal(directory);
    let key = directory.join("capsule.key");
    let prepared = AuditLog::prepare(directory, &key, &AuditConfig::default());
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(prepared.expect("a log"));
    let report = verified(directory);
    assert_eq!((report.signed, report.uncovered), (400, 1));
}

fn wait(mut until: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !until() {
        assert!(std::time::Instant::now() < end, "it takes too long");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_lock_that_is_deleted_comes_back_and_keeps_others_out() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path().join("audit");
    let log = open(&directory, &AuditConfig::default()).expect("a log");
    let lock = directory.join("lock");
    fs::remove_file(&lock).expect("removed");
    wait(|| lock.exists());
    let second = open(&directory, &AuditConfig::default()).map(drop);
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    log.close();
    assert!(verified(&directory).ok);
}

#[test]
fn who_has_lost_the_lock_to_another_writes_and_signs_no_more() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let first = open(directory, &AuditConfig::default()).expect("a log");
    // The first one may put it back in between.
    let second = loop {
        let _ = fs::remove_file(directory.join("lock"));
        match open(directory, &AuditConfig::default()) {
            Err(OpenError::Locked(_)) => {}
            opened => break opened.expect("nothing is in its way"),
        }
    };
    wait(|| first.must_deny());
    let append = |log: &AuditLog| {
        let mut bytes = Vec::new();
        envelope::notice(&mut bytes, std::time::SystemTime::now(), &Notice::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let receipt = log.append(&bytes, None);
        runtime.expect("one").block_on(receipt.recorded()).is_ok()
    };
    for _ in 0..50 {
        assert!(append(&second));
        assert!(!append(&first));
    }
    first.close();
    second.close();
    drop((first, second));
    let report = verified(directory);
    assert!(report.ok && report.uncovered == 0, "{report:?}");
    live(directory, &AuditConfig::default(), 1);
    assert!(verified(directory).ok);
}

#[test]
fn a_file_or_record_with_an_index_far_ahead_holds_no_start_up() {
    for (first, files) in [(u64::MAX, 1), (1 << 40, 2)] {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = temporary.path();
        live(directory, &AuditConfig::default(), 5);
        let segments = directory.join(SEGMENTS);
        for first in (first - (files - 1))..=first {
            let header = frame::header(frame::Contents::Records, first);
            fs::write(segments.join(log_files::name(first)), header).expect("written");
        }
        let opened = open(directory, &AuditConfig::default()).map(drop);
        assert!(
            matches!(opened, Err(OpenError::Foreign { .. })),
            "{opened:?}"
        );
    }
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    live(directory, &AuditConfig::default(), 5);
    let far = Record {
        index: Some(u64::MAX),
        ..Record::default()
    };
    let mut content = fs::read(last_file(directory)).expect("a file");
    frame::push(&mut content, &fixtures::bytes(&far));
    fs::write(last_file(directory), content).expect("written");
    live(directory, &AuditConfig::default(), 5);
    // What is after it is read.
    let records = LogReader::open(directory).expect("a log").iter_from(0);
    assert_eq!(records.filter(Result::is_ok).count(), 5 + 4 + 5 + 4);
    assert!(!verified(directory).ok);
}
