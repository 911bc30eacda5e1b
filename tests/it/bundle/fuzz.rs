//! Every kind of bundle file, cut, bent and filled with noise: faults with places, never a panic.

use std::fs;
use std::path::PathBuf;

use callgate::bundle;
use proptest::prelude::*;

use crate::support::bundle_dir::BundleDir;
use crate::support::files;

/// One good file of every kind, from the shipped policies where there is one.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let shipped = |path: &str| {
        fs::read(
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("policies")
                .join(path),
        )
    };
    let shipped = |path: &str| shipped(path).expect("a shipped file");
    vec![
        ("arguments.cedar", shipped("places.cedar")),
        ("s.cedarschema", b"namespace Shop {\n  entity Order in [Mcp::Group] = { total: Long, by: Mcp::User };\n  action buy in [Mcp::Action::\"call_tool\"] appliesTo { principal: Mcp::User, resource: Order, context: { n?: Long } };\n}\n".to_vec()),
        ("entities/people.json", shipped("entities/people.json")),
        ("tools/fetch.json", shipped("tools/fetch.json")),
        ("callgate.toml", shipped("callgate.toml")),
        ("links/l.json", b"[{\"template\": \"t\", \"id\": \"l\", \"principal\": {\"type\": \"Mcp::User\", \"id\": \"a\"}}]".to_vec()),
        ("t.cedar", b"@id(\"t\")\n@mode(\"shadow\")\npermit (principal == ?principal, action, resource);\n".to_vec()),
    ]
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Noise(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let words = prop::sample::select(vec![
        &b"{"[..],
        b"}",
        b"[",
        b"]",
        b"\"",
        b"(",
        b";",
        b"\0",
        b"\xff",
        b"\xe2\x80\xae",
        b"null",
        b"-1",
        b"1e400",
        b"@id(\"x\")",
        b"\\u0000",
        b"//",
        b"?principal",
        b"\r\n",
        b"99999999999999999999",
        b"\"uid\":",
    ]);
    prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (at(), words).prop_map(|(at, word)| Damage::Insert(at, word.to_vec())),
        (at(), 1usize..40).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), 1usize..60).prop_map(|(at, count)| Damage::Repeat(at, count)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Noise),
    ]
}

fn apply(damage: &Damage, mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len().max(1);
    match damage {
        Damage::Cut(at) => bytes.truncate(at.index(len)),
        Damage::Replace(at, byte) => {
            if let Some(place) = bytes.get_mut(at.index(len)) {
                *place = *byte;
            }
        }
        Damage::Insert(at, word) => {
            let at = at.index(len).min(bytes.len());
            bytes.splice(at..at, word.iter().copied());
        }
        Damage::Remove(at, count) => {
            let at = at.index(len).min(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        Damage::Repeat(at, count) => {
            let at = at.index(len).min(bytes.len());
            let end = (at + count).min(bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        Damage::Noise(noise) => bytes.clone_from(noise),
    }
    bytes
}

#[test]
fn the_undamaged_files_load() {
    let files = seeds().into_iter();
    let dir = files.fold(BundleDir::new(), |dir, (path, bytes)| dir.file(path, bytes));
    dir.compile().unwrap_or_else(|faults| panic!("{faults}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_is_told_with_its_place(which in 0usize..7, damages in prop::collection::vec(damage(), 1..4)) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut damaged = "";
        for (index, (name, bytes)) in seeds().into_iter().enumerate() {
            let bytes = if index == which {
                damaged = name;
                damages.iter().fold(bytes, |bytes, damage| apply(damage, bytes))
            } else {
                bytes
            };
            files::write(dir.path(), name, &bytes);
        }
        // Most damage is a fault; some leaves a good file, or harms what refers to the damaged one.
        if let Err(faults) = bundle::load(dir.path()) {
            prop_assert!(faults.count() > 0);
            let text = faults.to_string();
            let has_controls = text.contains(|c: char| c.is_control() && c != '\n');
            prop_assert!(!has_controls, "control characters in {text:?}");
            for fault in faults.iter() {
                prop_assert!(!fault.message.is_empty());
                prop_assert!(
                    fault.file.starts_with(&*dir.path().to_string_lossy()),
                    "no file: {fault}\nafter damage to {damaged}"
                );
                prop_assert!(fault.line.is_none_or(|line| line > 0) && fault.column.is_none_or(|column| column > 0));
            }
        }
    }
}
