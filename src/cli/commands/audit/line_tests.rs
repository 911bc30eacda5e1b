use super::*;
use crate::audit::fixtures::records;

#[test]
fn every_kind_of_record_is_a_line() {
    let lines: String = records().iter().map(|it| Paint::plain().line(it)).collect();
    insta::assert_snapshot!(lines);
    assert_eq!(lines.lines().count(), records().len());
}

#[test]
fn colours_are_the_only_control_characters() {
    for record in records() {
        let coloured = Paint::coloured().line(&record);
        let mut plain = coloured.clone();
        for code in ["0", "1", "2", "32", "33", "1;31"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, Paint::plain().line(&record));
        assert!(!plain.trim_end().contains(char::is_control), "{plain:?}");
        assert!(coloured.contains("\u{1b}[0m"));
    }
}
