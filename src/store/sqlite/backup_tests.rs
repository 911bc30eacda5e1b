use std::sync::atomic::{AtomicBool, Ordering};

use scopeguard::guard;
use smol_str::SmolStr;

use super::*;
use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::store::backend::{Store as _, StoreWrite};
use crate::store::sqlite::{OnLoss, SqliteStore};

fn entry(revision: u64) -> StoreWrite {
    let change = Change::Bundle {
        digest: SmolStr::new(format!("sha256:{revision:0600}")),
    };
    let asker = ChangeOrigin {
        caller: "callgate".into(),
        principal: None,
        key: None,
    };
    StoreWrite::Entry {
        entry: ChangeRecord {
            revision,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(revision),
            verb: "Load".into(),
            change,
            asker,
        },
        id: "bundle".into(),
    }
}

/// Writes `count` revisions and closes the store.
fn written(path: &Path, count: u64) {
    let mut store = SqliteStore::open(path).unwrap();
    for revision in 1..=count {
        store.commit(&[entry(revision)]).unwrap();
    }
}

/// A process may not open and close the files of a store that it has open itself: that gives up its locks. So the writer
/// of this test is a store on a thread, and what is copied are files that the copy's process has not opened with SQLite;
/// only the locks are lost, which no other process contends for here.
#[test]
fn a_copy_made_under_writes_is_one_moment_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    written(&path, 1);
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut store = SqliteStore::open(&path).unwrap();
            let mut revision = 1;
            while !stopped.load(Ordering::Relaxed) {
                revision += 1;
                store.commit(&[entry(revision)]).unwrap();
            }
        });
        // Also where a check fails: the scope waits for the other thread.
        let _over = guard((), |()| stopped.store(true, Ordering::Relaxed));
        let mut newest = 0;
        for round in 0..8 {
            let copy = folder.path().join(format!("copy-{round}.db"));
            let made = backup(&path, &copy).unwrap();
            assert!(made.revision > newest, "{made:?} after {newest}");
            assert_eq!(made.commits, made.revision, "one commit each");
            newest = made.revision;
            let mut opened = SqliteStore::open(&copy).unwrap();
            assert_eq!(opened.load().unwrap().revision, made.revision);
            assert_eq!(
                opened.entries_after(0, 1_000_000).unwrap().len() as u64,
                newest
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    assert!(!beside(&folder.path().join("copy-0.db"), ".partial").exists());
}

#[test]
fn a_copy_replaces_nothing_and_needs_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let copy = folder.path().join("copy.db");
    assert!(matches!(backup(&path, &copy), Err(BackupError::Missing(_))));
    written(&path, 2);
    fs::write(&copy, "mine").unwrap();
    assert!(matches!(backup(&path, &copy), Err(BackupError::Exists(_))));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "mine");
    let other = folder.path().join("other.db");
    fs::write(&other, vec![0x53; 8192]).unwrap();
    let error = backup(&other, &folder.path().join("x.db")).unwrap_err();
    assert!(
        error.to_string().contains("not a SQLite database"),
        "{error}"
    );
    assert!(!folder.path().join("x.db").exists());
    let nowhere = folder.path().join("nowhere");
    for error in [
        backup(&path, &nowhere.join("x.db")).unwrap_err(),
        restore(&copy, &nowhere.join("x.db"), false).unwrap_err(),
    ] {
        assert!(matches!(error, BackupError::Missing(it) if it == nowhere));
    }
}

#[test]
fn a_restored_copy_opens_as_if_it_had_never_been_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let copy = folder.path().join("copy.db");
    written(&path, 3);
    let made = backup(&path, &copy).unwrap();
    assert_eq!((made.revision, made.schema_version), (3, schema::VERSION));
    let mut store = SqliteStore::open(&path).unwrap();
    for revision in 4..=9 {
        store.commit(&[entry(revision)]).unwrap();
    }
    drop(store);

    let refused = restore(&copy, &path, false).unwrap_err();
    assert!(matches!(refused, BackupError::StoreExists(_)), "{refused}");
    let restored = restore(&copy, &path, true).unwrap();
    assert_eq!(restored.backup.revision, 3);
    assert_eq!(restored.lost_commits, Some(6));
    assert_eq!(restored.set_aside.len(), 2, "{restored:?}");
    let mut opened = SqliteStore::open(&path).expect("no flag is needed");
    assert_eq!(opened.load().unwrap().revision, 3);
    drop(opened);
    let mut before = SqliteStore::open_or(&restored.set_aside[0], OnLoss::Refuse).unwrap();
    assert_eq!(before.load().unwrap().revision, 9, "nothing was deleted");

    let refused = restore(&copy, &copy, true).unwrap_err();
    assert!(matches!(refused, BackupError::Same(_)), "{refused}");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&copy, &link).unwrap();
    let refused = restore(&copy, &link, true).unwrap_err();
    assert!(matches!(refused, BackupError::Same(_)), "{refused}");
    assert!(!restored.replaced_other);
    let other = folder.path().join("another.db");
    written(&other, 2);
    let replaced = restore(&copy, &other, true).unwrap();
    assert_eq!(
        (replaced.replaced_other, replaced.lost_commits),
        (true, None)
    );
    // The same where only the store itself says which it is.
    written(&folder.path().join("third.db"), 2);
    let third = folder.path().join("third.db");
    fs::remove_file(marker::path_of(&third)).unwrap();
    assert!(restore(&copy, &third, true).unwrap().replaced_other);

    let elsewhere = folder.path().join("new.db");
    let restored = restore(&copy, &elsewhere, false).unwrap();
    assert_eq!(
        (restored.lost_commits, restored.set_aside),
        (None, Vec::new())
    );
}

#[test]
fn a_damaged_or_newer_copy_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let copy = folder.path().join("copy.db");
    written(&path, 400);
    backup(&path, &copy).unwrap();
    let whole = fs::read(&copy).unwrap();
    assert!(whole.len() > 200_000, "{}", whole.len());
    let mut torn = whole.clone();
    torn[100_000..104_096].fill(0xff);
    fs::write(&copy, &torn).unwrap();
    let error = restore(&copy, &path, true).unwrap_err();
    assert!(
        matches!(error, BackupError::Damaged(_) | BackupError::Store(_)),
        "{error}"
    );
    fs::write(&copy, &whole).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = restore(&copy, &path, true).unwrap_err();
    assert!(
        matches!(error, BackupError::Store(StoreError::TooNew { .. })),
        "{error}"
    );
    let mut store = SqliteStore::open(&path).expect("nothing was touched");
    assert_eq!(store.load().unwrap().revision, 400);
}
