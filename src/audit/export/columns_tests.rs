use super::*;

fn cells(record: &Record) -> Vec<(&'static str, String)> {
    let cells = row(record).into_iter().zip(COLUMNS);
    let shown = cells.filter_map(|(cell, (name, _))| match cell {
        Cell::Empty => None,
        Cell::Text(text) => Some((name, text)),
        Cell::Number(number) => Some((name, number.to_string())),
    });
    shown.filter(|(name, _)| *name != "at").collect()
}

fn of_notice(notice: Notice) -> Vec<(&'static str, String)> {
    let cells = cells(&Record {
        kind: Some(record::Kind::Notice(notice)),
        ..Record::default()
    });
    let rest = cells.into_iter().filter(|(name, _)| *name != "kind");
    rest.collect()
}

#[test]
fn removed_capsules_are_told_from_removed_records() {
    let removed = |text: &str| {
        of_notice(Notice {
            kind: notice::Kind::Removed.into(),
            text: text.to_owned(),
            first: 3,
            last: 274,
            ..Notice::default()
        })
    };
    let wanted = |text: &str| {
        [
            ("notice", "removed"),
            ("text", text),
            ("first", "3"),
            ("last", "274"),
        ]
        .map(|(name, text)| (name, text.to_owned()))
    };
    assert_eq!(removed(REMOVED_RECORDS), wanted("records 3 to 274"));
    assert_eq!(removed("capsules"), wanted("capsules of records 3 to 274"));
    let lost = of_notice(Notice {
        kind: notice::Kind::Lost.into(),
        last: 2,
        ..Notice::default()
    });
    assert_eq!(
        lost[1..].to_vec(),
        [
            ("text", "records 0 to 2".to_owned()),
            ("first", "0".to_owned()),
            ("last", "2".to_owned()),
        ]
    );
}

#[test]
fn a_row_says_since_when_records_are_missing_and_that_a_record_is_cut() {
    let degraded = of_notice(Notice {
        kind: notice::Kind::Degraded.into(),
        text: "no space".to_owned(),
        since: 7,
        ..Notice::default()
    });
    assert_eq!(
        degraded[1..].to_vec(),
        [("text", "no space".to_owned()), ("since", "7".to_owned()),]
    );
    let cut = cells(&Record {
        is_cut: true,
        kind: Some(record::Kind::Decision(Decision::default())),
        ..Record::default()
    });
    assert!(cut.contains(&("is_cut", "true".to_owned())));
}

#[test]
fn the_items_of_a_list_can_be_told_apart() {
    assert_eq!(list(["private", "untrusted"]), "private untrusted");
    assert_eq!(list(["a b"]), "\"a b\"");
    assert_eq!(list(["a", "b"]), "a b");
    assert_eq!(list(["\"a\" b", "c"]), r#""\"a\" b" c"#);
    assert_eq!(list(["\"a\"", "b\"c", ""]), r#""\"a\"" b"c """#);
    assert_eq!(list([""]), "\"\"");
    assert_eq!(list([""; 0]), "");
}
