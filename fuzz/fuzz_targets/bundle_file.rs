//! Files of a directory: whatever a file holds, it is compiled, or it has faults that point into it; the same file gives the
//! same result. The first byte says which kind of file the rest is.

#![no_main]

use std::sync::Arc;

use callgate::bundle;
use callgate::bundle::files::{BundleFiles, FileKind, SourceFile};
use libfuzzer_sys::fuzz_target;

const KINDS: [(FileKind, &str); 6] = [
    (FileKind::Policies, "a.cedar"),
    (FileKind::Schema, "a.cedarschema"),
    (FileKind::Entities, "entities/a.json"),
    (FileKind::Registration, "tools/a.json"),
    (FileKind::Links, "links/a.json"),
    (FileKind::Config, "callgate.toml"),
];

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let (kind, file) = KINDS[usize::from(*first) % KINDS.len()];
    let told = |compiled: Result<bundle::Bundle, bundle::diagnostic::BundleError>| match compiled {
        Ok(bundle) => bundle.warnings,
        Err(faults) => faults.iter().cloned().collect(),
    };
    let files = files(kind, file, text);
    let found = told(bundle::compile(&files));
    let lines = text.split('\n').count();
    for fault in found.iter().filter(|it| *it.file == *file) {
        let line = fault.line.unwrap_or(1) as usize;
        assert!(
            (1..=lines).contains(&line),
            "line {line} of {lines}: {fault:?}"
        );
        assert!(fault.column.is_none_or(|it| it >= 1), "{fault:?}");
    }
    assert_eq!(
        found,
        told(bundle::compile(&files)),
        "the same files, the same result"
    );
});

fn files(kind: FileKind, file: &str, text: &str) -> BundleFiles {
    BundleFiles::from_sources(vec![SourceFile {
        kind,
        file: Arc::from(file),
        stem: Arc::from("a"),
        text: Arc::from(text),
        digest: None,
    }])
}
