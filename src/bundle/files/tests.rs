use std::os::unix::fs::symlink;

use super::*;

fn dir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, content).expect("a file");
    }
    dir
}

fn names(files: &Files) -> Vec<(String, Kind)> {
    let name = |source: &Source| {
        let path = Path::new(&*source.file);
        (
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            source.kind,
        )
    };
    files.sources.iter().map(name).collect()
}

#[test]
fn every_kind_is_found_by_name_and_place() {
    let dir = dir(&[
        ("a.cedar", b""),
        ("more/b.cedar", b""),
        ("s.cedarschema", b""),
        ("entities/people.json", b"[]"),
        ("entities/deep/er.json", b"[]"),
        ("links/l.json", b"[]"),
        ("team.links.json", b"[]"),
        ("tools/git.json", b"{}"),
        ("callgate.toml", b""),
        ("README.md", b""),
        (".#a.cedar", b"nonsense"),
        (".a.cedar", b"nonsense"),
        ("a.cedar~", b"nonsense"),
        ("#a.cedar#", b"nonsense"),
        (".DS_Store", b"nonsense"),
        ("callgate.db", b"nonsense"),
        ("tools/NOTES.md", b"nonsense"),
        (".git/x.cedar", b"nonsense"),
    ]);
    let files = read(dir.path()).expect("readable");
    let expected = [
        ("a.cedar", Kind::Policies),
        ("callgate.toml", Kind::Config),
        ("er.json", Kind::Entities),
        ("people.json", Kind::Entities),
        ("l.json", Kind::Links),
        ("b.cedar", Kind::Policies),
        ("s.cedarschema", Kind::Schema),
        ("team.links.json", Kind::Links),
        ("git.json", Kind::Registration),
    ];
    assert_eq!(
        names(&files),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
    assert!(files.faults.is_empty() && files.warnings.is_empty());
}

#[test]
fn misplaced_files_are_pointed_out() {
    let dir = dir(&[
        ("people.json", b"[]"),
        ("config.toml", b""),
        ("x.cedarschema.json", b"{}"),
    ]);
    let files = read(dir.path()).expect("readable");
    assert!(files.sources.is_empty());
    assert_eq!(files.warnings.len(), 3);
}

#[test]
fn names_that_are_read_in_lower_case_only_are_faults() {
    for (name, meant) in [
        ("B.CEDAR", "b.cedar"),
        ("more/B.Cedar", "more/b.cedar"),
        ("s.CedarSchema", "s.cedarschema"),
        ("Entities/people.json", "entities/people.json"),
        ("entities/people.JSON", "entities/people.json"),
        ("tools/git.Json", "tools/git.json"),
        ("team.LINKS.json", "team.links.json"),
        ("Callgate.toml", "callgate.toml"),
    ] {
        let files = read(dir(&[(name, b"")]).path()).expect("readable");
        assert!(files.sources.is_empty(), "{name} is read");
        assert_eq!(files.faults.len(), 1, "{name}: {:?}", files.faults);
        let help = files.faults[0].help.as_deref().unwrap_or_default();
        assert!(
            help.ends_with(&format!("call it `{meant}`")),
            "{name}: {help}"
        );
    }
}

#[test]
fn files_that_look_as_if_they_were_read_are_pointed_out() {
    for (name, help) in [
        ("a.cedar.txt", "end with `.cedar`"),
        ("a.cedar.bak", "end with `.cedar`"),
        ("a.cedarschema.orig", "end with `.cedarschema`"),
        ("entities/people.json.txt", "end with `.json`"),
        ("a.ceder", "did you mean `.cedar`?"),
        ("s.cedarshema", "did you mean `.cedarschema`?"),
        ("entities/people.jsn5", "did you mean `.json`?"),
        ("entities/people.json5", "only JSON is read"),
        ("tools/git.yaml", "only JSON is read"),
        (
            "entites/people.json",
            "did you mean the directory `entities`?",
        ),
        ("tool/git.json", "did you mean the directory `tools`?"),
        (
            "team/entities/people.json",
            "`entities` is a directory at the top",
        ),
        ("callgate.toml.txt", "is called `callgate.toml`"),
        ("callgate.yaml", "is called `callgate.toml`"),
        ("a.cedar~", "call it `a.cedar`"),
        (".hidden.cedar", "call it `hidden.cedar`"),
        ("#a.cedar#", "call it `a.cedar`"),
    ] {
        let files = read(dir(&[(name, b"")]).path()).expect("readable");
        assert!(
            files.sources.is_empty() && files.faults.is_empty(),
            "{name}"
        );
        assert_eq!(files.warnings.len(), 1, "{name}");
        let told = files.warnings[0].help.as_deref().unwrap_or_default();
        assert!(told.contains(help), "{name}: {told}");
    }
}

#[test]
fn the_digest_covers_names_and_contents_and_nothing_else() {
    let digest = |files: &[(&str, &[u8])]| read(dir(files).path()).expect("readable").digest;
    let base = digest(&[("a.cedar", b"1"), ("b.cedar", b"2")]);
    assert_eq!(
        base,
        digest(&[("b.cedar", b"2"), ("a.cedar", b"1"), ("notes.txt", b"x")])
    );
    assert_ne!(base, digest(&[("a.cedar", b"1"), ("b.cedar", b"3")]));
    assert_ne!(base, digest(&[("a.cedar", b"1"), ("c.cedar", b"2")]));
    assert_ne!(base, digest(&[("a.cedar", b"12"), ("b.cedar", b"")]));
    assert_ne!(
        base,
        digest(&[("a.cedar", b"1"), ("b.cedar", b"2"), ("c.cedar.txt", b"3")])
    );
    assert!(crate::bundle::registration::is_digest(&base));
}

#[test]
fn links_out_of_the_directory_are_refused() {
    let outside = dir(&[("secret.cedar", b"permit(principal, action, resource);")]);
    let inside = dir(&[("a.cedar", b"")]);
    symlink(
        outside.path().join("secret.cedar"),
        inside.path().join("b.cedar"),
    )
    .expect("a link");
    symlink(outside.path(), inside.path().join("more")).expect("a link");
    symlink(
        "/nowhere/at/all.cedar",
        inside.path().join("dangling.cedar"),
    )
    .expect("a link");
    let files = read(inside.path()).expect("readable");
    assert_eq!(names(&files).len(), 1);
    let messages: Vec<_> = files
        .faults
        .iter()
        .map(|fault| fault.message.as_str())
        .collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert_eq!(
        messages
            .iter()
            .filter(|message| message.contains("leads out of the directory"))
            .count(),
        2
    );
}

#[test]
fn links_within_the_directory_are_followed_once() {
    // The way a mounted ConfigMap looks.
    let inside = dir(&[("..2026/a.cedar", b""), ("..2026/entities/e.json", b"[]")]);
    symlink("..2026", inside.path().join("..data")).expect("a link");
    symlink("..data/a.cedar", inside.path().join("a.cedar")).expect("a link");
    symlink("..data/entities", inside.path().join("entities")).expect("a link");
    let files = read(inside.path()).expect("readable");
    assert_eq!(names(&files).len(), 2);
    assert!(files.faults.is_empty());
    symlink(".", inside.path().join("loop")).expect("a link");
    let files = read(inside.path()).expect("readable");
    assert_eq!(files.faults.len(), 1);
    assert!(files.faults[0].message.contains("read already"));
}

#[test]
fn what_is_not_text_or_not_a_file_is_a_fault() {
    let dir = dir(&[
        ("a.cedar", b"permit\n(\xff\xfe"),
        ("deep/1/2/3/4/5/6/7/8/9/x.cedar", b""),
    ]);
    fs::create_dir(dir.path().join("b.cedar")).expect("a directory may be called anything");
    let files = read(dir.path()).expect("readable");
    let at: Vec<_> = files
        .faults
        .iter()
        .map(|fault| (fault.line, fault.column))
        .collect();
    assert!(at.contains(&(Some(2), Some(2))), "{:?}", files.faults);
    assert!(
        files
            .faults
            .iter()
            .any(|fault| fault.message.contains("deeper")),
        "{:?}",
        files.faults
    );
}

#[test]
fn a_directory_that_is_none_is_an_error() {
    let missing = read(Path::new("/nowhere/at/all")).expect_err("missing");
    assert!(
        missing.to_string().contains("no such file or directory"),
        "{missing}"
    );
    let dir = dir(&[("a.cedar", b"")]);
    assert!(read(&dir.path().join("a.cedar")).is_err());
}
