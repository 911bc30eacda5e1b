//! What the protocol files say to those who generate code of them.

use std::fs;
use std::path::{Path, PathBuf};

fn protos(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|it| it == "proto") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_names_its_go_package_and_files_of_one_package_the_same() {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    protos(&root, &mut found);
    assert!(found.len() >= 5, "{found:?}");
    let mut packages = std::collections::BTreeMap::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let line = |start: &str| {
            text.lines()
                .find(|line| line.starts_with(start))
                .map(str::to_owned)
        };
        let package = line("package ").unwrap_or_else(|| panic!("{}: no package", path.display()));
        let go = line("option go_package = \"")
            .unwrap_or_else(|| panic!("{}: no go_package", path.display()));
        let first = packages.entry(package).or_insert_with(|| go.clone());
        assert_eq!(*first, go, "{}", path.display());
        // `<import path>;<name>`, and the name is one of Go's.
        let value = go.split('"').nth(1).unwrap();
        let (import, name) = value.split_once(';').expect("a path and a name");
        assert!(import.contains('.') && import.contains('/'), "{value}");
        assert!(
            name.chars()
                .all(|it| it.is_ascii_alphanumeric() || it == '_'),
            "{value}"
        );
    }
}
