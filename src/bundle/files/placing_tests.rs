use std::fs;

use super::*;

#[test]
fn a_new_policy_is_written_where_it_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("policies");
    for below in ["team/proofs", "apart", "proofs", ".hidden"] {
        fs::create_dir_all(root.join(below)).expect("a folder");
    }
    fs::write(root.join("apart/callgate.toml"), "").expect("a file");
    std::os::unix::fs::symlink("team", root.join("link")).expect("a link");
    let check = |file: &str| check_place(&root, &root.join(file), FileKind::Policies);
    for file in ["a.cedar", "team/a.cedar", "link/a.cedar", "team/../a.cedar"] {
        assert_eq!(check(file), Ok(()), "{file}");
    }
    for (file, why) in [
        ("a", "are read from `*.cedar`"),
        ("x.CEDAR", "in lower case"),
        ("a.cedar.txt", "are read from `*.cedar`"),
        ("proofs/a.cedar", "not in a directory `proofs`"),
        ("team/proofs/a.cedar", "not in a directory `proofs`"),
        (".h.cedar", "hidden files"),
        ("a.cedar~", "hidden files"),
        (".hidden/a.cedar", "hidden files"),
        ("apart/a.cedar", "a configuration of its own"),
        ("../a.cedar", "it is not in"),
        ("nowhere/a.cedar", "cannot be read"),
    ] {
        let said = check(file).expect_err(file);
        assert!(said.contains(why), "{file}: {said}");
    }
}
