use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::bundle::{self, files};

/// The keys of RFC 8032, section 7.1, test 1, as OpenSSL writes them.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.write(
            "policies/a.cedar",
            "@id(\"a\") permit (principal, action, resource);",
        );
        bench.write(
            "policies/b.cedar",
            "@id(\"b\") forbid (principal, action, resource);",
        );
        bench.write("policies/entities/e.json", "[]");
        bench.write("policies/callgate.toml", "without_callers = true\n");
        bench.write("policies/README.md", "not part of it");
        bench.write("key.pem", KEY);
        bench.write("key.pub", PUBLIC);
        fs::set_permissions(bench.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn pack(&self, version: u64, is_signed: bool) -> Vec<u8> {
        let files = files::read(&self.path("policies")).unwrap();
        let key = SigningKey::read(&self.path("key.pem")).unwrap();
        let key = is_signed.then_some(&key);
        pack(&files, &self.path("policies"), version, key).unwrap()
    }

    fn keys(&self) -> VerifyingKeys {
        VerifyingKeys::read(&["key.pub".into()], self.dir.path()).unwrap()
    }
}

fn fault(opened: Result<OpenedArchive, BundleError>) -> String {
    opened.unwrap_err().iter().next().unwrap().message.clone()
}

/// An archive of these members, of which each is written as it is told.
fn archive(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (path, kind, bytes) in members {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn manifest(files: &[(&str, &str)]) -> Vec<u8> {
    ArchiveManifest::new(1, files).to_bytes()
}

#[test]
fn an_archive_is_the_directory_without_its_configuration() {
    let bench = Bench::new();
    let bytes = bench.pack(7, true);
    assert_eq!(
        bytes,
        bench.pack(7, true),
        "the same files give the same bytes"
    );
    let opened = open(&bytes, Some(&bench.keys()), "b.tar.zst").unwrap();
    assert_eq!(opened.version, 7);
    assert!(opened.is_signed && opened.signed_by.is_some());
    let names: Vec<_> = opened.files.digests.keys().map(|it| &**it).collect();
    assert_eq!(names, ["a.cedar", "b.cedar", "entities/e.json"]);
    assert_eq!(&*opened.files.sources[0].file, "b.tar.zst/a.cedar");
    assert!(bundle::compile(&opened.files).is_ok());
    // It has the digest of the same directory.
    fs::remove_file(bench.path("policies/callgate.toml")).unwrap();
    let directory = files::read(&bench.path("policies")).unwrap();
    assert_eq!(opened.files.digest, directory.digest);
}

#[test]
fn what_is_not_signed_by_a_known_key_is_refused_where_a_key_is_given() {
    let bench = Bench::new();
    let keys = bench.keys();
    let unsigned = bench.pack(7, false);
    assert!(open(&unsigned, None, "b").is_ok_and(|it| !it.is_signed));
    assert!(fault(open(&unsigned, Some(&keys), "b")).contains("not signed"));
    // By another key: the files of one bundle, the signature of another version.
    let mut parts = Vec::new();
    for bytes in [bench.pack(7, true), bench.pack(8, true)] {
        let mut tar = tar::Archive::new(zstd::Decoder::new(&*bytes).unwrap());
        let members: Vec<Vec<u8>> = tar
            .entries()
            .unwrap()
            .map(|it| {
                let mut bytes = Vec::new();
                it.unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            })
            .collect();
        parts.push(members);
    }
    let mixed = archive(&[
        (MANIFEST, EntryType::Regular, &parts[1][0]),
        (SIGNATURE, EntryType::Regular, &parts[0][1]),
        ("bundle/a.cedar", EntryType::Regular, &parts[0][2]),
        ("bundle/b.cedar", EntryType::Regular, &parts[0][3]),
        ("bundle/entities/e.json", EntryType::Regular, &parts[0][4]),
    ]);
    assert!(fault(open(&mixed, Some(&keys), "b")).contains("by none of the keys"));
    assert!(open(&mixed, None, "b").is_ok());
}

#[test]
fn a_key_that_others_can_read_or_that_is_none_is_refused() {
    let bench = Bench::new();
    fs::set_permissions(bench.path("key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let open_key = SigningKey::read(&bench.path("key.pem")).err().unwrap();
    assert!(open_key.to_string().contains("640"), "{open_key}");
    let keys = VerifyingKeys::read(&["key.pem".into()], bench.dir.path());
    assert!(
        keys.unwrap_err()
            .to_string()
            .contains("no public Ed25519 key")
    );
    assert!(VerifyingKeys::read(&["gone".into()], bench.dir.path()).is_err());
}

#[test]
fn what_has_another_form_is_refused() {
    use EntryType as Is;
    let a = "permit (principal, action, resource);";
    let plain = manifest(&[("a.cedar", a)]);
    let file = a.as_bytes();
    let good = archive(&[
        (MANIFEST, Is::Regular, &plain),
        ("bundle/a.cedar", Is::Regular, file),
    ]);
    assert!(open(&good, None, "b").is_ok());
    let twice = manifest(&[("a.cedar", a), ("b.cedar", a)]);
    let up = manifest(&[("../a.cedar", a)]);
    let root = manifest(&[("/a.cedar", a)]);
    let dot = manifest(&[("./a.cedar", a)]);
    let deep = "d/".repeat(MAX_DEPTH_FOR_TESTS) + "a.cedar";
    let deep_path = format!("bundle/{deep}");
    let deep = manifest(&[(&deep, a)]);
    let other = manifest(&[("a.txt", a)]);
    let config = manifest(&[("callgate.toml", a)]);
    let mut spaced = plain.clone();
    spaced.insert(1, b' ');
    let newer = String::from_utf8(plain.clone())
        .unwrap()
        .replace("bundle/1", "bundle/2");
    let cases: &[(&str, Vec<u8>)] = &[
        (
            "first file is not",
            archive(&[("bundle/a.cedar", Is::Regular, file)]),
        ),
        (
            "not a regular file",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("bundle/a.cedar", Is::Symlink, b""),
            ]),
        ),
        (
            "not a regular file",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("bundle/a.cedar", Is::Link, b""),
            ]),
        ),
        (
            "not a regular file",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("bundle/d", Is::Directory, b""),
            ]),
        ),
        (
            "not a regular file",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("x", Is::XHeader, b"12 path=abc\n"),
            ]),
        ),
        (
            "not a regular file",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("x", Is::GNULongName, b"bundle/a.cedar"),
            ]),
        ),
        (
            "`b.cedar` is listed, and `a.cedar` follows",
            archive(&[
                (MANIFEST, Is::Regular, &twice),
                ("bundle/a.cedar", Is::Regular, file),
                ("bundle/a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "listed but not there",
            archive(&[
                (MANIFEST, Is::Regular, &twice),
                ("bundle/a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "is not listed",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("bundle/a.cedar", Is::Regular, file),
                ("bundle/b.cedar", Is::Regular, file),
            ]),
        ),
        (
            "not the file that is listed",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                (
                    "bundle/a.cedar",
                    Is::Regular,
                    b"forbid (principal, action, resource);",
                ),
            ]),
        ),
        (
            "leads out",
            archive(&[
                (MANIFEST, Is::Regular, &up),
                ("bundle/../a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "leads out",
            archive(&[
                (MANIFEST, Is::Regular, &root),
                ("bundle//a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "leads out",
            archive(&[
                (MANIFEST, Is::Regular, &dot),
                ("bundle/./a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "leads out",
            archive(&[
                (MANIFEST, Is::Regular, &deep),
                (&deep_path, Is::Regular, file),
            ]),
        ),
        (
            "not a part of a bundle",
            archive(&[
                (MANIFEST, Is::Regular, &other),
                ("bundle/a.txt", Is::Regular, file),
            ]),
        ),
        (
            "not a part of a bundle",
            archive(&[
                (MANIFEST, Is::Regular, &config),
                ("bundle/callgate.toml", Is::Regular, file),
            ]),
        ),
        (
            "not a part of a bundle",
            archive(&[
                (MANIFEST, Is::Regular, &plain),
                ("/etc/passwd", Is::Regular, file),
            ]),
        ),
        (
            "not written as",
            archive(&[
                (MANIFEST, Is::Regular, &spaced),
                ("bundle/a.cedar", Is::Regular, file),
            ]),
        ),
        (
            "`format` is not",
            archive(&[(MANIFEST, Is::Regular, newer.as_bytes())]),
        ),
        ("something follows", [good.clone(), b"x".to_vec()].concat()),
        ("something follows", [good.clone(), good.clone()].concat()),
        ("no archive", good[..good.len() / 2].to_vec()),
        ("no archive", b"PK".to_vec()),
        ("first file is not", archive(&[])),
    ];
    for (expected, bytes) in cases {
        let found = fault(open(bytes, None, "b"));
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

/// One more directory than a bundle may have below one another.
const MAX_DEPTH_FOR_TESTS: usize = crate::bundle::files::walk::MAX_DEPTH + 1;

#[test]
fn what_unpacks_to_more_than_a_bundle_may_hold_is_refused_early() {
    let bomb = vec![b' '; 65 << 20];
    let bytes = archive(&[(MANIFEST, EntryType::Regular, &bomb)]);
    assert!(bytes.len() < 1 << 20);
    assert!(fault(open(&bytes, None, "b")).contains("larger than"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No change of a signed archive is accepted, unless what is read of it is the same.
    #[test]
    fn no_changed_byte_of_a_signed_archive_changes_what_is_read(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let bench = Bench::new();
        let good = bench.pack(7, true);
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let read = open(&good, Some(&bench.keys()), "b").unwrap();
        if let Ok(changed) = open(&bytes, Some(&bench.keys()), "b") {
            prop_assert_eq!(changed.files.digest, read.files.digest);
            prop_assert_eq!(changed.version, read.version);
        }
    }

    /// Whatever the bytes are, they are an archive or they are refused.
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut framed = zstd::encode_all(&*bytes, 1).unwrap();
        prop_assert!(open(&framed, None, "b").is_err());
        framed.extend(bytes);
        prop_assert!(open(&framed, None, "b").is_err());
    }
}
