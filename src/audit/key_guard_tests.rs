use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_key_in_the_directory_is_put_back_and_no_other() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path().join("audit");
    let tree = directory.join("tree");
    fs::create_dir_all(&tree).expect("made");
    let outside = temporary.path().join("log.key");
    let file =
        |path: &Path| KeyFile::new(&directory, path.to_owned(), "secret\n".to_owned(), 0o600);
    let (inside, capsule) = (tree.join("key"), directory.join("capsule.key"));
    let mut files: Vec<_> = [&inside, &capsule, &outside].map(|it| file(it)).into();
    for _ in 0..2 {
        files.iter_mut().for_each(KeyFile::look);
        for path in [&inside, &capsule] {
            assert_eq!(fs::read_to_string(path).expect("put back"), "secret\n");
            let mode = fs::metadata(path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(!outside.exists());
        fs::remove_dir_all(&directory).expect("removed");
    }
    // What is there is left as it is.
    files.iter_mut().for_each(KeyFile::look);
    fs::write(&inside, "another").expect("written");
    files.iter_mut().for_each(KeyFile::look);
    assert_eq!(fs::read_to_string(&inside).expect("a file"), "another");
}
