use std::fs;
use std::os::unix::fs::symlink;

use scopeguard::guard;
use sha2::{Digest, Sha256};

use super::*;
use crate::bundle::files::manifest;
use crate::domain::request::canonical;

fn dir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, content).expect("a file");
    }
    dir
}

fn names(files: &BundleFiles) -> Vec<(String, FileKind)> {
    let name = |source: &SourceFile| {
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
        ("a.cedar", FileKind::Policies),
        ("callgate.toml", FileKind::Config),
        ("er.json", FileKind::Entities),
        ("people.json", FileKind::Entities),
        ("l.json", FileKind::Links),
        ("b.cedar", FileKind::Policies),
        ("s.cedarschema", FileKind::Schema),
        ("team.links.json", FileKind::Links),
        ("git.json", FileKind::Registration),
    ];
    assert_eq!(
        names(&files),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
    assert!(files.faults.is_empty() && files.warnings.is_empty());
}

#[test]
fn a_directory_with_its_own_configuration_is_a_bundle_of_its_own() {
    let dir = dir(&[
        ("a.cedar", b""),
        ("library/callgate.toml", b""),
        ("library/b.cedar", b""),
        ("library/B.CEDAR", b""),
        ("library/deep/c.cedar", b""),
        ("more/d.cedar", b""),
    ]);
    let files = read(dir.path()).expect("readable");
    let expected = ["a.cedar", "d.cedar"].map(|name| (name.to_owned(), FileKind::Policies));
    assert_eq!(names(&files), expected);
    assert!(files.faults.is_empty() && files.warnings.is_empty());
    // By itself it is read, and what nobody would see is a fault again.
    let files = read(&dir.path().join("library")).expect("readable");
    assert_eq!(files.faults.len(), 1, "{:?}", files.faults);
    assert_eq!(names(&files).len(), 3);
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
        ("entity/x.json", "did you mean the directory `entities`?"),
        ("ents/x.json", "JSON is read in the directories"),
        (
            "registrations/x.json",
            "did you mean the directory `tools`?",
        ),
        ("test/x.yaml", "did you mean the directory `tests`?"),
        ("tests/x.yml", "tests are called `*.yaml`"),
        ("tests/x.YAML", "call it `x.yaml`"),
        ("tests/sub/x.Yml", "tests are called `*.yaml`"),
        ("tests/.x.yaml", "call it `x.yaml`"),
        ("tests/x.yaml~", "call it `x.yaml`"),
        ("tests/x.yaml.bak", "end with `.yaml`"),
        ("tests/x.ymal", "did you mean `.yaml`?"),
        ("tests/x.json", "tests are YAML"),
        ("proofs/x.CEDAR", "call it `x.cedar`"),
        ("proofs/sub/x.Cedar", "call it `x.cedar`"),
        ("proofs/.x.cedar", "call it `x.cedar`"),
        ("proofs/x.cedar~", "call it `x.cedar`"),
        ("proofs/x.cedar.bak", "end with `.cedar`"),
        ("proofs/x.ceder", "did you mean `.cedar`?"),
        ("x.yaml", "in the directory `tests` only"),
        ("x.yml", "in the directory `tests` only"),
        ("policies/x.json", "JSON is read in the directories"),
        ("sub/x.json", "JSON is read in the directories"),
        ("sub/x.yaml", "YAML is read in the directory `tests` only"),
        (".sub/x.cedar", "hidden directories are passed over"),
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
    assert!(crate::domain::names::is_digest(&base));
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

#[test]
fn a_manifest_is_held_against_all_that_is_there() {
    let dir = dir(&[
        ("a.cedar", b"// a\n"),
        ("entities/e.json", b"[]"),
        ("README.md", b"# Policies\n"),
        (".hidden", b"nobody looks"),
    ]);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
    let faults = || -> Vec<String> {
        let files = read(dir.path()).expect("readable");
        let told = files.faults.iter().map(|it| it.message.clone());
        told.collect()
    };
    let without = read(dir.path()).expect("readable").digest;
    write(
        manifest::NAME,
        &manifest::text(&digests(dir.path()).expect("digests")),
    );
    assert_eq!(faults(), [""; 0]);
    // Whether there is one makes no other directory of it.
    assert_eq!(read(dir.path()).expect("readable").digest, without);
    write("b.cedar", "");
    assert_eq!(faults(), ["this file is not in `manifest.sha256`"]);
    fs::remove_file(dir.path().join("b.cedar")).expect("removed");
    write("README.md", "# Other\n");
    assert_eq!(faults().len(), 1, "what is not read is listed all the same");
    write("README.md", "# Policies\n");
    fs::remove_file(dir.path().join("entities/e.json")).expect("removed");
    assert_eq!(faults(), ["`entities/e.json` is listed but not there"]);
}

#[test]
fn files_that_keep_changing_are_not_read() {
    let dir = dir(&[("a.cedar", b"// a\n")]);
    let path = dir.path().join("a.cedar");
    // Whenever it is read, it has just become longer.
    let edits = std::cell::Cell::new(1);
    let edit = |_: &Arc<str>| {
        edits.set(edits.get() + 1);
        fs::write(&path, "//\n".repeat(edits.get())).expect("a file");
    };
    let patience = Duration::from_millis(400);
    let read_meanwhile = read_rested(dir.path(), Duration::ZERO, patience, &edit);
    let Err(ReadError::Changing(faults)) = read_meanwhile else {
        panic!("{read_meanwhile:?}");
    };
    assert!(edits.get() > 2, "it is tried more than once");
    assert!(
        faults.to_string().contains("have been changing"),
        "{faults}"
    );
    // Once they rest, they are.
    assert_eq!(read(dir.path()).expect("readable").sources.len(), 1);
}

#[test]
fn a_link_that_is_switched_while_files_are_read_leads_to_one_of_both() {
    let all = dir(&[
        ("one/a.cedar", b"1"),
        ("one/b.cedar", b"1"),
        ("two/a.cedar", b"2"),
        ("two/b.cedar", b"2"),
    ]);
    let at = |name: &str| all.path().join(name);
    symlink("one", at("now")).expect("a link");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in ["two", "one"].into_iter().cycle() {
                symlink(target, at("next")).expect("a link");
                fs::rename(at("next"), at("now")).expect("switched");
                if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let over = guard((), |()| {
            is_over.store(true, std::sync::atomic::Ordering::Relaxed)
        });
        let mut reads = 0;
        for _ in 0..30 {
            // Some reads meet a switch each time, and may give up.
            let patience = Duration::from_millis(50);
            let Ok(files) = read_rested(&at("now"), Duration::ZERO, patience, &|_| {}) else {
                continue;
            };
            reads += 1;
            assert!(files.faults.is_empty(), "{:?}", files.faults);
            let texts: Vec<&str> = files.sources.iter().map(|it| &*it.text).collect();
            assert!(texts == ["1", "1"] || texts == ["2", "2"], "{texts:?}");
        }
        drop(over);
        assert!(reads > 0, "no read succeeded");
    });
}

#[test]
fn a_volume_whose_files_are_links_into_a_hidden_directory_is_read() {
    let dir = dir(&[
        ("..one/a.cedar", b"1"),
        ("..one/entities/e.json", b"[]"),
        ("..two/a.cedar", b"2"),
        ("..two/entities/e.json", b"[1]"),
    ]);
    let at = |name: &str| dir.path().join(name);
    symlink("..one", at("..data")).expect("a link");
    symlink("..data/a.cedar", at("a.cedar")).expect("a link");
    symlink("..data/entities", at("entities")).expect("a link");
    let texts = || {
        let files = read(dir.path()).expect("readable");
        assert!(files.faults.is_empty(), "{:?}", files.faults);
        let texts = files.sources.iter().map(|it| it.text.to_string());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(texts(), ["1", "[]"]);
    symlink("..two", at("..next")).expect("a link");
    fs::rename(at("..next"), at("..data")).expect("switched");
    assert_eq!(texts(), ["2", "[1]"]);
}

#[test]
fn digests_are_those_of_the_bytes_however_large_a_file_is() {
    for bytes in [vec![b'a'; 10], vec![b'b'; 1 << 20]] {
        let mut files = FilesBuilder::new(Path::new("bundle"));
        files.add("a.cedar", FileKind::Policies, bytes.clone());
        let files = files.finish();
        let own: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(files.digests["a.cedar"], own);
        assert_eq!(files.sources[0].digest, Some(own));
        let mut all = Sha256::new();
        for part in [b"a.cedar", bytes.as_slice()] {
            all.update((part.len() as u64).to_be_bytes());
            all.update(part);
        }
        let all = canonical::hex(&all.finalize());
        assert_eq!(*files.digest, *format!("sha256:{all}"));
    }
}
