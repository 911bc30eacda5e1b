use std::fs;

use super::*;
use crate::bundle::files;

/// What is said of a directory with these files and directories, the latter with a slash at the end.
fn faults(entries: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    for entry in entries {
        let path = dir.path().join(entry);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        match entry.ends_with('/') {
            true => fs::create_dir_all(&path).expect("a folder"),
            false => fs::write(&path, "").expect("a file"),
        }
    }
    let read = files::read(dir.path()).expect("a listing");
    let faults = read.faults.iter();
    faults
        .map(|it| {
            let path = Path::new(&*it.file)
                .strip_prefix(dir.path())
                .expect("in it");
            format!("{}: {}", path.display(), it.message)
        })
        .collect()
}

#[test]
fn a_directory_in_place_of_a_file_is_no_absence() {
    for name in [
        "callgate.toml",
        "manifest.sha256",
        "a.cedar",
        "a.cedarschema",
        "a.links.json",
        "below/a.cedar",
        "below/callgate.toml",
        "entities/people.json",
        "tools/git.json",
        "links/a.json",
    ] {
        let said = format!("{name}: this is a directory, and a file is read by this name");
        assert_eq!(faults(&[&format!("{name}/")]), [said]);
    }
}

#[test]
fn a_file_in_place_of_a_directory_is_no_absence() {
    for name in DIRECTORIES {
        let said =
            format!("{name}: this is a file, and the files of a directory are read by this name");
        assert_eq!(faults(&[name]), [said]);
        assert_eq!(faults(&[&format!("below/{name}")]), [""; 0]);
        assert_eq!(faults(&[&format!("{name}/")]), [""; 0]);
    }
}

#[test]
fn a_property_is_not_in_force_by_its_place() {
    for name in [
        "team/proofs/x.cedar",
        "Proofs/x.cedar",
        "team/Proofs/sub/x.cedar",
    ] {
        let said = faults(&[name]);
        assert_eq!(said.len(), 1, "{name}: {said:?}");
        assert!(
            said[0].contains("would be in force as a policy"),
            "{said:?}"
        );
    }
    for name in [
        "proofs/x.cedar",
        "proofs/sub/x.cedar",
        "proofs.cedar",
        "team/proofs.cedar",
    ] {
        assert_eq!(faults(&[name]), [""; 0]);
    }
    // A directory that is a bundle of its own has its own place for them.
    assert_eq!(
        faults(&["below/callgate.toml", "below/proofs/x.cedar"]),
        [""; 0]
    );
    assert_eq!(
        faults(&["PROOFS/x.CEDAR"]),
        ["PROOFS/x.CEDAR: this file is not read"]
    );
}

/// A directory below with a configuration is not read; one with a directory of that name is.
#[test]
fn only_a_configuration_sets_a_directory_apart() {
    assert_eq!(faults(&["below/callgate.toml", "below/x.cedar/"]), [""; 0]);
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(dir.path().join("below/callgate.toml")).expect("a folder");
    fs::write(dir.path().join("below/a.cedar"), "").expect("a file");
    let read = files::read(dir.path()).expect("a listing");
    assert_eq!(
        (read.sources.len(), read.apart.len(), read.faults.len()),
        (1, 0, 1)
    );
}

#[test]
fn a_directory_of_a_reserved_name_is_a_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let before = files::listing(dir.path());
    fs::create_dir(dir.path().join("callgate.toml")).expect("a folder");
    assert!(before != files::listing(dir.path()));
}
