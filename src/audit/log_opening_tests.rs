use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::audit::capsule::CapsuleLink;
use crate::audit::capsule_reader::{CapsuleReader, newest_open_with};
use crate::audit::frame::{self, Contents};
use crate::audit::key_guard::KeyedLog as _;
use crate::audit::log_files::{CAPSULES, SEGMENTS, TREE};
use crate::audit::reader::LogReader;
use crate::audit::record::schema::notice::Kind;

fn config() -> AuditConfig {
    AuditConfig::default()
}

fn open(directory: &Path, key: &Path) -> Result<AuditLog, OpenError> {
    AuditLog::open(directory, key, &config()).map(|log| log.expect("not off"))
}

/// Appends a record with a capsule, and waits for it.
fn append(log: &AuditLog, capsule: &[u8]) {
    let mut bytes = Vec::new();
    let notice = crate::audit::record::schema::Notice::default();
    crate::audit::envelope::notice(&mut bytes, std::time::SystemTime::now(), &notice);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let receipt = log.append(&bytes, Some(capsule));
    let recorded = runtime.expect("a runtime").block_on(receipt.recorded());
    recorded.expect("written");
}

/// Every file below a directory with its content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => {
                found.extend(files(&path));
                found.insert(path, Vec::new());
            }
            false => {
                let content = fs::read(&path).expect("a file");
                found.insert(path, content);
            }
        }
    }
    found
}

/// The capsules that a key opens, in the order of their records.
fn opened(directory: &Path, key: &CapsuleKey) -> Vec<Vec<u8>> {
    let mut capsules = CapsuleReader::open(directory, 0).expect("readable");
    let mut all = Vec::new();
    for record in LogReader::open(directory)
        .expect("a log")
        .iter_from(0)
        .flatten()
    {
        let link = CapsuleLink::from_record(&record.decode().expect("a record"));
        let groups = capsules.groups_of(record.index);
        if let Some(Ok(Some(capsule))) = link.map(|it| key.open_one_of(&groups, record.index, &it))
        {
            all.push(capsule);
        }
    }
    all
}

#[test]
fn a_start_that_is_refused_writes_nothing_into_a_log_that_is_not_its_own() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let key = directory.join("capsule.key");
    let log = open(directory, &key).expect("opened");
    append(&log, b"capsule");
    log.close();
    // Whatever is missing, as after somebody has deleted it, it is not for this one to make.
    fs::remove_file(&key).expect("removed");
    for folder in [SEGMENTS, CAPSULES] {
        fs::remove_dir_all(directory.join(folder)).expect("removed");
    }
    // A lock and no threads: a log that is written looks after its files, by the clock.
    let lock = LogLock::acquire(directory).expect("locked");
    let before = files(directory);
    assert!(before.keys().any(|it| it.starts_with(directory.join(TREE))));
    assert!(matches!(open(directory, &key), Err(OpenError::Locked(_))));
    assert_eq!(files(directory), before);
    drop(lock);
}

#[test]
fn a_key_that_is_exchanged_just_before_the_end_is_put_back_and_that_is_on_record() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let file = directory.join("capsule.key");
    let log = open(directory, &file).expect("opened");
    let key = log.capsule_key().expect("capsules are kept");
    fs::write(&file, CapsuleKey::new(&[7; 32]).to_text()).expect("written");
    log.close();
    let kept = CapsuleKey::read_own(&file).expect("put back");
    assert_eq!(kept.id(), key.id());
    let records = LogReader::open(directory).expect("a log").iter_from(0);
    let kinds = records.flatten().filter_map(|it| it.notice());
    let kinds: Vec<_> = kinds.map(|it| it.kind()).collect();
    assert!(kinds.ends_with(&[Kind::KeyFile, Kind::Stop]), "{kinds:?}");
}

#[test]
fn capsules_after_a_key_was_replaced_open_with_the_one_that_replaced_it() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let file = directory.join("elsewhere.key");
    let log = open(directory, &file).expect("opened");
    let first = log.capsule_key().expect("capsules are kept");
    append(&log, b"before");
    let second = CapsuleKey::new(&[7; 32]);
    log.shared.use_key(second.clone());
    log.shared.key_trouble(&file, "another".to_owned());
    append(&log, b"after");
    assert_eq!(log.capsule_key().map(|it| it.id()), Some(second.id()));
    assert_eq!(log.status().key_troubles, ["another"]);
    log.close();
    assert_eq!(opened(directory, &first), [b"before"]);
    assert_eq!(opened(directory, &second), [b"after"]);
    let records = LogReader::open(directory).expect("a log").iter_from(0);
    let notices: Vec<_> = records.flatten().filter_map(|it| it.notice()).collect();
    let told = |kind, text: &str| {
        notices
            .iter()
            .any(|it| it.kind() == kind && it.text == text)
    };
    assert!(told(Kind::Key, &first.id()) && told(Kind::Key, &second.id()));
    assert!(told(Kind::KeyFile, "another"));
    // What a start warns of.
    assert_eq!(newest_open_with(directory, &second), Some(true));
    assert_eq!(newest_open_with(directory, &first), Some(false));
    // Also where files without any were begun since, or one cannot be read.
    let capsules = directory.join(CAPSULES);
    for (first, bytes) in [
        (
            1 << 20,
            &frame::header(Contents::CapsuleGroups, 1 << 20)[..],
        ),
        (1 << 21, b"nonsense"),
    ] {
        fs::write(capsules.join(log_files::name(first)), bytes).expect("written");
    }
    assert_eq!(newest_open_with(directory, &second), Some(true));
    assert_eq!(
        newest_open_with(directory, &CapsuleKey::new(&[9; 32])),
        Some(false)
    );
}

#[test]
fn who_looks_after_files_keeps_the_lock_until_it_ends() {
    let temporary = tempfile::tempdir().expect("a directory");
    let lock = Arc::new(LogLock::acquire(temporary.path()).expect("locked"));
    let guard = KeyGuard::new(Arc::clone(&lock), Vec::new());
    drop(lock);
    let second = || LogLock::acquire(temporary.path());
    assert!(second().is_err());
    drop(guard);
    assert!(second().is_ok());
}
