use std::fs;

use super::*;

fn listing(dir: &Path, names: &[&str]) -> DirectoryListing {
    let mut listing = DirectoryListing::new(dir);
    for name in names {
        let path = dir.join(name);
        let metadata = fs::metadata(&path).expect("metadata");
        listing.file(name, &path, &metadata);
    }
    listing
}

#[test]
fn whatever_is_written_replaced_added_or_taken_away_shows() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a"), "1").expect("a file");
    fs::write(path("b"), "1").expect("a file");
    let before = listing(dir.path(), &["a", "b"]);
    assert_eq!(before, listing(dir.path(), &["a", "b"]));
    assert_ne!(before, listing(dir.path(), &["a"]));
    // The same bytes and the same time in another file.
    let modified = fs::metadata(path("a"))
        .and_then(|it| it.modified())
        .expect("a time");
    fs::write(path("c"), "1").expect("a file");
    let file = fs::File::options()
        .write(true)
        .open(path("c"))
        .expect("a file");
    file.set_modified(modified).expect("a time");
    fs::rename(path("c"), path("a")).expect("renamed");
    assert_ne!(before, listing(dir.path(), &["a", "b"]));
}

#[test]
fn what_was_changed_just_now_has_not_rested() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a"), "1").expect("a file");
    let it = listing(dir.path(), &["a"]);
    let now = SystemTime::now();
    assert!(it.rested_for(now) < Duration::from_secs(5));
    let later = now + Duration::from_secs(100);
    assert!(it.rested_for(later) >= Duration::from_secs(99));
    // A file system whose clock is ahead has had no rest.
    let earlier = now - Duration::from_secs(100);
    assert_eq!(it.rested_for(earlier), Duration::ZERO);
    assert_eq!(
        DirectoryListing::new(dir.path()).rested_for(now),
        Duration::ZERO
    );
}
