use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn digests(names: &[&str]) -> FileDigests {
    names
        .iter()
        .map(|name| (Arc::from(*name), [0xaa; 32]))
        .collect()
}

fn faults(text: &str, names: &[&str]) -> Vec<String> {
    let file: Arc<str> = Arc::from(NAME);
    let origin = SourceText { file: &file, text };
    let found = check(origin, &digests(names), |name| Arc::from(name));
    let told = found.iter().map(|fault| {
        let line = fault
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        format!("{}{line}: {}", fault.file, fault.message)
    });
    told.collect()
}

#[test]
fn what_is_written_is_read_and_fits() {
    let names = ["a.cedar", "entities/b c.json", "tools/\u{fc}.json"];
    let written = text(&digests(&names));
    assert_eq!(faults(&written, &names), [""; 0]);
    assert_eq!(faults(&format!("{A} *./a.cedar\n"), &["a.cedar"]), [""; 0]);
    assert_eq!(faults("", &[]), [""; 0]);
}

#[test]
fn every_difference_is_a_fault_of_the_file_it_is_about() {
    let written = text(&digests(&["a.cedar", "b.cedar"]));
    assert_eq!(
        faults(&written, &["b.cedar", "c.cedar"]),
        [
            "c.cedar: this file is not in `manifest.sha256`",
            "manifest.sha256:1: `a.cedar` is listed but not there",
        ]
    );
    let other = format!("{}  a.cedar\n", A.replace('a', "b"));
    assert_eq!(
        faults(&other, &["a.cedar"]),
        ["a.cedar: this file is not the one that `manifest.sha256` lists: its digest differs"]
    );
}

#[test]
fn a_line_that_is_none_is_a_fault_with_its_place() {
    let bad = |line: &str| {
        let found = faults(&format!("{A}  a.cedar\n{line}\n"), &["a.cedar"]);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("manifest.sha256:2: this"), "{found:?}");
    };
    bad("");
    bad("a.cedar");
    bad(&format!("{A} a.cedar"));
    bad(&format!("{}  b.cedar", &A[1..]));
    bad(&format!("g{}  b.cedar", &A[1..]));
    bad(&format!("{A}  ../b.cedar"));
    bad(&format!("{A}  /etc/b.cedar"));
    bad(&format!("{A}  x//b.cedar"));
    bad(&format!("{A}  a.cedar"));
    let escaped = faults(&format!("\\{A}  a\\nb.cedar\n"), &[]);
    assert!(
        escaped[0].contains("a backslash or a line break"),
        "{escaped:?}"
    );
}
