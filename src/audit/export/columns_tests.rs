use super::*;
use crate::audit::fixtures;

fn cells(record: &Record) -> Vec<(&'static str, String)> {
    let cells = row(record, "").into_iter().zip(COLUMNS);
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
fn a_row_says_what_was_asked_of_cedar_and_what_a_call_used_up() {
    let rows = fixtures::asked_and_used().map(|it| cells(&it));
    let cell = |at: usize, name: &str| {
        let found = rows[at].iter().find(|(column, _)| *column == name);
        found.map(|(_, text)| text.as_str()).unwrap_or_default()
    };
    assert_eq!(cell(0, "cedar_action"), r#"Mcp::Action::"call_read""#);
    assert_eq!(
        cell(0, "cedar_resource"),
        r#"Mcp::Tool::"github/get_issue""#
    );
    assert_eq!(cell(0, "reason_policies"), "no-issues");
    assert_eq!(cell(1, "sought"), "subject");
    assert_eq!([cell(1, "kept"), cell(1, "hidden")], ["0", "7"]);
    assert_eq!(cell(2, "kept"), "1");
    assert_eq!([cell(2, "hidden"), cell(2, "shown")], ["3", "2"]);
    assert_eq!(cell(3, "approval_ids"), "appr-1 appr-2");
    assert_eq!(cell(3, "approval_id"), "appr-2");
    assert_eq!(cell(3, "actors"), r#"Mcp::Agent::"planner""#);
    assert_eq!(
        [cell(3, "scopes"), cell(3, "is_verified")],
        ["issues", "true"]
    );
    assert_eq!(
        [cell(3, "budget_task_id"), cell(3, "tool_budget_id")],
        ["task-1", "counter-1"]
    );
    assert_eq!(
        [cell(3, "reads"), cell(3, "target_labels")],
        ["true", "secret"]
    );
    assert_eq!(cell(3, "jsonrpc_id"), "17");
    assert_eq!(cell(3, "would_use"), r#"{"approval_id":"appr-3"}"#);
    assert_eq!(cell(4, "policies"), "admins-may-grant");
}

/// Whoever reads a column by its place still finds it there.
#[test]
fn columns_are_only_added_at_the_end() {
    let before = COLUMNS.map(|(name, _)| name);
    assert_eq!(before[0], "index");
    assert_eq!(before[30..33], ["obligations", "approval_id", "labels"]);
    assert_eq!(before[47..50], ["since", "is_cut", "cedar_action"]);
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
