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
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
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
    // What lies beside it would be taken for a part of it.
    for part in ["-wal", "-journal", ".id"] {
        let copy = folder.path().join("of-another.db");
        fs::write(beside(&copy, part), "mine").unwrap();
        assert!(matches!(backup(&path, &copy), Err(BackupError::Exists(_))));
        assert!(!copy.exists());
        fs::remove_file(beside(&copy, part)).unwrap();
    }
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
    assert_eq!(opened.entries_after(0, 100).unwrap().len(), 3);
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
fn a_restored_copy_goes_on_above_every_revision_that_was_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let copy = folder.path().join("copy.db");
    written(&path, 3);
    backup(&path, &copy).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    for revision in 4..=9 {
        store.commit(&[entry(revision)]).unwrap();
    }
    drop(store);
    // The second time nothing was changed in between.
    for last in [9, 10] {
        let restored = restore(&copy, &path, true).unwrap();
        assert_eq!(restored.goes_on_at, last + 1);
        let mut opened = SqliteStore::open(&path).unwrap();
        let loaded = opened.load().unwrap();
        assert_eq!(loaded.revision, last + 1);
        let turned = TurnedBack {
            how: TurnedBackHow::Restored,
            from: 3,
            last,
        };
        assert_eq!(loaded.turned_back, Some(turned));
        assert_eq!(opened.entries_after(0, 100).unwrap().len(), 3);
    }
    let mut opened = SqliteStore::open(&path).unwrap();
    let repeated = opened.commit(&[entry(4)]).unwrap_err();
    assert!(
        matches!(repeated, StoreError::OutOfOrder { last: 11, .. }),
        "{repeated}"
    );
    opened.commit(&[entry(12)]).unwrap();
    drop(opened);
    assert_eq!(
        SqliteStore::open(&path).unwrap().load().unwrap().revision,
        12
    );

    // Of a store that cannot be read the marker says how many commits there were, each of so many changes at most.
    fs::write(&path, "nothing that can be read").unwrap();
    let restored = restore(&copy, &path, true).unwrap();
    assert!(restored.goes_on_at > 12, "{restored:?}");
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

/// The names of unfinished copies in a folder.
fn leftovers(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".partial")).collect()
}

/// The files of a store that is open, as they are found on the disk of a machine that died.
fn left_behind(path: &Path, to: &Path) {
    for part in ["", "-wal", ".id"] {
        fs::copy(beside(path, part), beside(to, part)).unwrap();
    }
}

#[test]
fn what_the_log_beside_a_copy_holds_is_put_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let path = in_folder("callgate.db");
    written(&path, 3);
    let mut store = SqliteStore::open(&path).unwrap();
    for revision in 4..=9 {
        store.commit(&[entry(revision)]).unwrap();
    }
    let found = in_folder("found.db");
    left_behind(&path, &found);
    let restored = restore(&found, &in_folder("new.db"), false).unwrap();
    assert_eq!((restored.backup.revision, restored.backup.commits), (9, 9));
    assert_eq!(restored.backup.content_digest, None, "no copy of `backup`");
    let mut opened = SqliteStore::open(&in_folder("new.db")).unwrap();
    assert_eq!(opened.load().unwrap().revision, 10);
    assert!(
        beside(&found, "-wal").exists(),
        "the copy is left as it was"
    );
    // The files of a store in service are no worse a source.
    let restored = restore(&path, &in_folder("other.db"), false).unwrap();
    assert_eq!(restored.backup.revision, 9);

    fs::remove_file(beside(&found, "-wal")).unwrap();
    let refused = restore(&found, &in_folder("less.db"), false).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("lacks the last 6 of 9 commits"), "{said}");
    assert!(!in_folder("less.db").exists());
    let refused = backup(&found, &in_folder("copy.db")).unwrap_err();
    assert!(matches!(refused, BackupError::Lacking { .. }), "{refused}");
    fs::remove_file(marker::path_of(&found)).unwrap();
    let restored = restore(&found, &in_folder("less.db"), false).unwrap();
    assert_eq!(restored.backup.revision, 3);
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
}

#[test]
fn no_changed_value_of_a_copy_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let (path, copy) = (in_folder("callgate.db"), in_folder("copy.db"));
    written(&path, 20);
    let made = backup(&path, &copy).unwrap();
    assert!(made.content_digest.is_some());
    let whole = fs::read(&copy).unwrap();
    let name = b"callgate";
    let places = whole.windows(name.len()).enumerate();
    let places: Vec<usize> = places
        .filter_map(|(at, found)| (found == name).then_some(at))
        .collect();
    assert!(places.len() >= 20, "{places:?}");
    let entries = |path: &Path| {
        let entries = SqliteStore::open(path).unwrap().entries_after(0, 1_000);
        format!("{:?}", entries.unwrap())
    };
    let (expected, mut refused) = (entries(&path), 0);
    for at in places {
        let mut flipped = whole.clone();
        flipped[at + 3] ^= 1;
        fs::write(&copy, &flipped).unwrap();
        let new = in_folder(&format!("new-{at}.db"));
        match restore(&copy, &new, false) {
            // Nothing refers to this place.
            Ok(_) => assert_eq!(entries(&new), expected, "{at}"),
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("its digest is another"), "{at}: {said}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 20, "{refused}");
    fs::write(&copy, &whole).unwrap();
    let restored = restore(&copy, &in_folder("new.db"), false).unwrap();
    assert_eq!(restored.backup.content_digest, made.content_digest);

    // A server that writes to it makes it another.
    let mut store = SqliteStore::open(&in_folder("new.db")).unwrap();
    store.commit(&[entry(22)]).unwrap();
    drop(store);
    let again = restore(&in_folder("new.db"), &in_folder("newer.db"), false).unwrap();
    assert_eq!(
        (again.backup.revision, again.backup.content_digest),
        (22, None)
    );
    // Copies of before have no digest.
    let connection = Connection::open(&copy).unwrap();
    content_digest::forget(&connection).unwrap();
    drop(connection);
    let restored = restore(&copy, &in_folder("old.db"), false).unwrap();
    assert_eq!(
        (restored.backup.revision, restored.backup.content_digest),
        (20, None)
    );
}

#[test]
fn of_several_copies_to_one_name_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("callgate.db"),
        folder.path().join("copy.db"),
    );
    written(&path, 20);
    let made = std::thread::scope(|scope| {
        let copies = [(); 6].map(|()| scope.spawn(|| backup(&path, &copy)));
        copies.map(|it| it.join().unwrap())
    });
    let (done, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1, "{refused:?}");
    for error in refused {
        assert!(matches!(error, Err(BackupError::Exists(_))), "{error:?}");
    }
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
}

#[test]
fn a_store_behind_a_link_is_copied_and_replaced_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (link, file) = (
        folder.path().join("callgate.db"),
        elsewhere.join("store.db"),
    );
    std::os::unix::fs::symlink("elsewhere/store.db", &link).unwrap();
    let mut store = SqliteStore::open(&link).unwrap();
    for revision in 1..=5 {
        store.commit(&[entry(revision)]).unwrap();
    }
    assert!(
        beside(&file, "-wal").exists(),
        "SQLite has its log beside the file"
    );
    let copy = folder.path().join("copy.db");
    assert_eq!(backup(&link, &copy).unwrap().revision, 5);
    fs::rename(beside(&file, "-wal"), elsewhere.join("away")).unwrap();
    assert!(store.commit(&[entry(6)]).is_err(), "its log is watched");
    fs::rename(elsewhere.join("away"), beside(&file, "-wal")).unwrap();
    drop(store);

    let restored = restore(&copy, &link, true).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        restored.set_aside[0].parent(),
        Some(&*elsewhere.canonicalize().unwrap())
    );
    let mut opened = SqliteStore::open(&link).expect("no flag is needed");
    assert_eq!(opened.load().unwrap().revision, 6);
    drop(opened);
    fs::remove_file(&file).unwrap();
    SqliteStore::open_or(&link, OnLoss::StartFresh).expect("a new one begins where the link leads");
    assert!(file.exists());
}

#[test]
fn an_error_names_the_file_that_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let of = |from: &Path, to: &Path| match copy_file(from, to) {
        Err(BackupError::Io { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let nowhere = folder.path().join("nowhere/copy");
    assert_eq!(of(&file, &nowhere), nowhere);
    assert_eq!(
        of(folder.path(), &folder.path().join("copy")),
        folder.path()
    );
}
