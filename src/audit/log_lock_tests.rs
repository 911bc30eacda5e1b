use super::*;

#[test]
fn a_lock_whose_name_is_gone_is_made_anew_and_still_locks() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path().join("audit");
    fs::create_dir(&directory).expect("made");
    let lock = LogLock::acquire(&directory).expect("locked");
    assert!(lock.look());
    for is_whole_directory in [false, true] {
        match is_whole_directory {
            true => fs::remove_dir_all(&directory).expect("removed"),
            false => fs::remove_file(directory.join(LOCK)).expect("removed"),
        }
        assert!(lock.look());
        let second = LogLock::acquire(&directory);
        assert!(matches!(second, Err(LockError::Held)), "{second:?}");
    }
}

#[test]
fn whoever_finds_the_lock_of_another_never_writes_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    let first = LogLock::acquire(temporary.path()).expect("locked");
    fs::remove_file(temporary.path().join(LOCK)).expect("removed");
    let second = LogLock::acquire(temporary.path()).expect("nothing is in its way");
    assert!(!first.look());
    assert!(first.is_taken());
    assert!(second.look());
    // What the other wrote is not known, also once it has ended.
    drop(second);
    fs::remove_file(temporary.path().join(LOCK)).expect("removed");
    assert!(!first.look());
}
