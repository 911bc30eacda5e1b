use super::*;
use crate::audit::fixtures::records;
use crate::audit::outcome_check::OutcomeDoubt;
use crate::audit::record::StoredRecord;

fn found() -> Vec<FoundRecord> {
    let found = records().into_iter().map(|message| {
        let stored = StoredRecord::from_message(&message).expect("a record");
        FoundRecord::new(stored, message)
    });
    found.collect()
}

#[test]
fn a_decision_is_told_with_what_belongs_to_it() {
    let found = found();
    let story = |at: usize, parent: Option<usize>, later: &[FoundRecord]| {
        let story = Story {
            record: &found[at],
            parent: parent.map(|at| &found[at]),
            approvals: &[],
            later,
            signed: Some(9),
        };
        story.text()
    };
    insta::assert_snapshot!(story(2, Some(1), &found[5..6]));
    insta::assert_snapshot!(story(3, None, &found[4..5]));
    let hostile = story(8, None, &[]);
    assert!(
        !hostile.contains(|c: char| c.is_control() && c != '\n'),
        "{hostile:?}"
    );
    assert!(!hostile.contains('\u{202e}'), "{hostile:?}");
    insta::assert_snapshot!(story(6, None, &[]));
}

#[test]
fn what_was_told_of_a_denied_call_is_told_as_that() {
    let found = found();
    let mut outcome = found[4].clone();
    outcome.doubts = vec![
        OutcomeDoubt::Denied,
        OutcomeDoubt::OtherCaller("gate\u{202e}way".to_owned()),
    ];
    let story = Story {
        record: &found[2],
        parent: None,
        approvals: &[],
        later: &[outcome],
        signed: None,
    };
    let told =
        "told by envoy, although the call was denied, and gate\\u{202e}way had asked for it\n";
    assert!(story.text().contains(told), "{}", story.text());
}

#[test]
fn who_gave_the_approval_is_told() {
    let mut found = found();
    if let Some(record::Kind::Write(write)) = &mut found[6].message.kind {
        (write.verb, write.id) = ("ApproveCall".to_owned(), "a-1".to_owned());
    }
    let story = Story {
        record: &found[2],
        parent: None,
        approvals: &found[6..7],
        later: &[],
        signed: None,
    };
    let text = story.text();
    let line = text.lines().find(|line| line.starts_with("  approval "));
    let line = line.expect("a line");
    assert!(
        line.contains("ApproveCall") && line.contains("user:sam"),
        "{text}"
    );
}
