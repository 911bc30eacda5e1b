use std::os::unix::fs::symlink;
use std::thread;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

/// The names in a folder.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_keeps_its_mode_and_a_new_one_gets_the_usual() {
    let dir = folder();
    let path = dir.path().join("deep/a.cedar");
    replace(&path, "one").expect("a new file");
    let usual = mode(&path);
    assert_eq!(usual & 0o600, 0o600);
    for kept in [0o600, 0o640, 0o444] {
        fs::set_permissions(&path, Permissions::from_mode(kept)).expect("a mode");
        let before = fs::metadata(&path).expect("a file").ino();
        replace(&path, format!("{kept}")).expect("replaced");
        assert_eq!(mode(&path), kept);
        assert_eq!(
            fs::read_to_string(&path).expect("a text"),
            format!("{kept}")
        );
        assert_ne!(fs::metadata(&path).expect("a file").ino(), before);
    }
    assert_eq!(names(&dir.path().join("deep")), ["a.cedar"]);
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("real")).expect("a folder");
    fs::write(path("real/a"), "old").expect("a file");
    fs::set_permissions(path("real/a"), Permissions::from_mode(0o600)).expect("a mode");
    symlink("real/a", path("link")).expect("a link");
    symlink("link", path("again")).expect("a link");
    symlink("real/new", path("ahead")).expect("a link");
    replace(&path("again"), "new").expect("replaced");
    replace(&path("ahead"), "made").expect("made");
    for link in ["link", "again", "ahead"] {
        assert!(path(link).is_symlink(), "{link}");
    }
    assert_eq!(fs::read_to_string(path("real/a")).expect("a text"), "new");
    assert_eq!(mode(&path("real/a")), 0o600);
    assert_eq!(
        fs::read_to_string(path("real/new")).expect("a text"),
        "made"
    );
    assert_eq!(names(&path("real")), ["a", "new"]);

    symlink("circle", path("circle")).expect("a link");
    assert!(replace(&path("circle"), "x").is_err());
}

#[test]
fn a_pipe_is_written_to_and_stays_one() {
    use std::os::unix::fs::FileTypeExt as _;
    let dir = folder();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    symlink("pipe", dir.path().join("link")).expect("a link");
    for name in ["pipe", "link"] {
        let from = pipe.clone();
        let reader = thread::spawn(move || fs::read_to_string(from));
        replace(&dir.path().join(name), "through").expect("written");
        let read = reader.join().expect("a reader").expect("a text");
        assert_eq!(read, "through");
        let kind = fs::symlink_metadata(&pipe).expect("a pipe").file_type();
        assert!(kind.is_fifo());
    }
    assert_eq!(names(dir.path()), ["link", "pipe"]);
}

#[test]
fn a_socket_a_directory_and_a_dash_are_no_files_to_replace() {
    let dir = folder();
    let socket = dir.path().join("socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    assert!(replace(&socket, "x").is_err());
    assert!(!fs::metadata(&socket).expect("the socket").is_file());
    let said = |path: &Path| format!("{:#}", replace(path, "x").expect_err("a refusal"));
    assert!(said(dir.path()).ends_with("it is a directory"));
    for refused in [replace(Path::new("-"), "x"), create(Path::new("-"), "x")] {
        let said = format!("{:#}", refused.expect_err("a refusal"));
        assert!(said.contains("`-` is not standard output"), "{said}");
    }
}

#[test]
fn nothing_is_written_into_a_decision_log_or_a_store() {
    let dir = folder();
    let log = dir.path().join("audit");
    for folder in ["segments", "tree"] {
        fs::create_dir_all(log.join(folder)).expect("a folder");
    }
    let inside = [
        "segments/00000000000000000000.log.zst",
        "tree/checkpoint",
        "new",
    ];
    fs::write(log.join(inside[0]), "records").expect("a file");
    std::os::unix::fs::symlink(log.join(inside[0]), dir.path().join("link")).expect("a link");
    fs::write(dir.path().join("state.db"), b"SQLite format 3\0and pages").expect("a file");
    fs::write(dir.path().join("state.db-wal"), "a log").expect("a file");
    let inside = inside.map(|name| log.join(name));
    let outside = [
        "link",
        "audit/../audit/new",
        "state.db",
        "state.db-wal",
        "state.db.id",
    ];
    let outside = outside.map(|name| dir.path().join(name));
    for path in inside.iter().chain(&outside) {
        for refused in [replace(path, "x"), create(path, "x")] {
            let said = format!("{:#}", refused.expect_err("a refusal"));
            let is_told = said.contains("is in the decision log") || said.contains("of a store");
            assert!(is_told, "{}: {said}", path.display());
        }
    }
    assert_eq!(fs::read_to_string(&inside[0]).expect("a text"), "records");
    replace(&dir.path().join("audit.csv"), "x").expect("beside it");
    replace(&dir.path().join("state.db.csv"), "x").expect("beside it");
}

#[test]
fn what_is_not_finished_leaves_the_file_of_before() {
    let dir = folder();
    let path = dir.path().join("a");
    fs::write(&path, "before").expect("a file");
    let mut new = Replacement::new(&path).expect("begun");
    new.write_all(b"half").expect("written");
    drop(new);
    assert_eq!(fs::read_to_string(&path).expect("a text"), "before");
    assert_eq!(names(dir.path()), ["a"]);
    assert!(create(&path, "other").is_err());
    assert_eq!(fs::read_to_string(&path).expect("a text"), "before");
}

#[test]
fn a_path_that_is_not_there_yet_is_resolved_as_far_as_it_is() {
    let dir = folder();
    let root = dir.path().canonicalize().expect("a folder");
    fs::create_dir_all(root.join("policies/team")).expect("made");
    symlink(root.join("policies"), root.join("link")).expect("a link");
    let resolved = |path: &str| {
        let resolved = resolve(&root.join(path)).expect("resolved");
        resolved.strip_prefix(&root).expect("below").to_owned()
    };
    for (path, leads_to) in [
        ("new", "new"),
        ("policies/new", "policies/new"),
        ("link/new/deeper", "policies/new/deeper"),
        // Of a link, `..` is where it leads.
        ("link/team/../new", "policies/new"),
        ("new/../policies/new", "policies/new"),
        ("new/../link/x", "policies/x"),
        ("policies/../new", "new"),
        ("./policies/./new/", "policies/new"),
    ] {
        assert_eq!(resolved(path), Path::new(leads_to), "{path}");
    }
    fs::write(root.join("file"), "").expect("written");
    assert!(resolve(&root.join("file/x")).is_err());
}
