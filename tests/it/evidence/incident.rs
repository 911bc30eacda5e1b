//! What an auditor asks after an incident: who stopped whom, whether a record is the one that was signed, and what is not there any more.

use std::fs;

use callgate::audit::record::Record;
use callgate::audit::record::schema::{
    ControlWrite, Notice, Reason, Stop, Verdict, notice, record,
};
use serde_json::Value;

use crate::evidence::fixtures::{CHILD, FULL, many, records, write_log, write_segments};
use crate::support::command::Workplace;

/// A log with four records a file.
fn workplace(records: &[Record]) -> Workplace {
    let workplace = Workplace::new(&[]);
    write_log(&workplace.path().join("audit"), records, 4);
    workplace
}

/// A log in whose files one record is another than in its tree, with a checksum that is right.
fn forged(index: usize, change: impl Fn(&mut record::Kind)) -> Workplace {
    let workplace = workplace(&records());
    let mut records = records();
    records[index].kind.as_mut().map(change);
    write_segments(&workplace.path().join("audit"), &records, 4);
    workplace
}

#[test]
fn a_story_says_that_a_record_is_not_the_one_that_was_signed() {
    let allow = |kind: &mut record::Kind| match kind {
        record::Kind::Decision(it) => it.set_verdict(Verdict::Allow),
        other => panic!("{other:?}"),
    };
    let workplace = forged(2, allow);
    let told = "warning: record 2 is NOT the one that was signed: it was changed";
    let ran = workplace.run(&["audit", "show", FULL]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
    let of_tree = "2, NOT THE ONE in the checkpoint over 12, leaf ";
    assert!(ran.stdout.contains(of_tree), "{}", ran.transcript());
    let json = workplace.run(&["audit", "show", "2", "--output", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["checkpoint"]["coverage"], "other_record");
    // So it is where it is told with another one.
    let led = workplace.run(&["audit", "show", CHILD]);
    assert_eq!(led.code, 3, "{}", led.transcript());
    assert!(led.stderr.contains(told), "{}", led.transcript());
    assert!(
        led.stdout.contains("in the checkpoint over 12, leaf "),
        "{}",
        led.transcript()
    );
    // A record that is as it was is none that a damaged tree proves.
    for tile in ["audit/tree/tile/0/000.p/12", "audit/tree/checkpoint"] {
        let workplace = self::workplace(&records());
        fs::remove_file(workplace.path().join(tile)).expect("removed");
        let ran = workplace.run(&["audit", "show", "2"]);
        assert!(
            !ran.stdout.contains(", in the checkpoint"),
            "{}",
            ran.transcript()
        );
        assert_eq!(ran.code == 3, tile.contains("tile"), "{}", ran.transcript());
    }
}

#[test]
fn a_story_says_that_an_outcome_is_cut() {
    let workplace = Workplace::new(&[]);
    let mut records = records();
    records[4].is_cut = true;
    write_log(&workplace.path().join("audit"), &records, 4);
    let ran = workplace.run(&["audit", "show", "3"]);
    let told = "told by envoy, the record was too long: there may be more of each long list\n";
    assert!(ran.stdout.contains(told), "{}", ran.transcript());
    let ran = self::workplace(&self::records()).run(&["audit", "show", "3"]);
    assert!(!ran.stdout.contains("too long"), "{}", ran.transcript());
}

fn write(verb: &str, id: &str, why: &str) -> record::Kind {
    record::Kind::Write(ControlWrite {
        verb: verb.to_owned(),
        actor: "Mcp::User::\"ines\"".to_owned(),
        outcome: "done".to_owned(),
        id: id.to_owned(),
        stop_reason: why.to_owned(),
        ..ControlWrite::default()
    })
}

#[test]
fn a_deny_for_a_stop_names_who_stopped_whom_and_why() {
    let (agent, tool) = ("Mcp::Agent::\"support\"", "Mcp::Tool::\"github/merge\"");
    let mut repeated = write("StopEntity", agent, "INC-4712");
    if let record::Kind::Write(it) = &mut repeated {
        it.outcome = "repeated".to_owned();
    }
    let mut all = many(16);
    for (at, kind) in [
        (1, write("StopEntity", agent, "an older one")),
        (2, write("ResumeEntity", agent, "")),
        (3, write("StopEntity", agent, "INC-4711")),
        (4, write("StopEntity", tool, "review")),
        (7, write("StopEntity", agent, "a later one")),
        // It was in force before it could be put on record.
        (12, repeated),
    ] {
        all[at].kind = Some(kind);
    }
    let stop = |entity: &str, reason: &str| Stop {
        entity: entity.to_owned(),
        actor: "Mcp::User::\"ines\"".to_owned(),
        reason: reason.to_owned(),
        at: all[3].at,
    };
    let stops = [
        (5, stop(agent, "INC-4711")),
        (6, stop(tool, "review")),
        (9, stop(agent, "INC-4712")),
        // Made by another replica.
        (10, stop(agent, "an older one of another log")),
    ];
    for (at, stop) in stops {
        let Some(record::Kind::Decision(it)) = &mut all[at].kind else {
            panic!("a decision");
        };
        it.set_verdict(Verdict::Deny);
        (it.server, it.tool) = ("github".to_owned(), "merge".to_owned());
        it.reasons = vec![Reason {
            code: "STOPPED".to_owned(),
            stop: Some(stop),
            ..Reason::default()
        }];
    }
    let workplace = workplace(&all);
    let written = |entity: &str, outcome: &str, reason: &str| {
        format!("{outcome:6}  user:ines  StopEntity {entity}  reason {reason}\n")
    };
    for (at, stopped, by) in [
        (
            "5",
            "agent:support by user:ines at 2030-01-31T",
            written(agent, "done", "INC-4711"),
        ),
        (
            "6",
            "tool:github/merge by user:ines at 2030-01-31T",
            written(tool, "done", "review"),
        ),
        (
            "9",
            ", reason INC-4712\n",
            written(agent, "repeated", "INC-4712"),
        ),
        (
            "10",
            ", reason \"an older one of another log\"\n",
            "no write in this log\n".to_owned(),
        ),
    ] {
        let ran = workplace.run(&["audit", "show", at]);
        assert!(ran.stdout.contains(stopped), "{}", ran.transcript());
        let line = (ran.stdout.lines()).find(|line| line.starts_with("  its write "));
        let line = format!("{}\n", line.unwrap_or_default());
        assert!(line.ends_with(&by), "{}", ran.transcript());
    }
    // They are found by whom they are about.
    for (words, number) in [
        (&["--agent", "support", "--kind", "write"][..], 5),
        (&["--tool", "github/merge", "--kind", "write"], 1),
        (&["--server", "github", "--kind", "write"], 1),
        (&["--user", "ines", "--kind", "write"], 6),
    ] {
        let ran = workplace.run(&[&["audit", "query"], words].concat());
        assert_eq!(ran.stdout.lines().count(), number, "{}", ran.transcript());
    }
}

#[test]
fn readers_say_where_a_log_begins_of_which_the_oldest_records_were_removed() {
    let mut records = many(12);
    records[8].kind = Some(record::Kind::Notice(Notice {
        kind: notice::Kind::Removed.into(),
        text: "records".to_owned(),
        last: 3,
        ..Notice::default()
    }));
    let workplace = workplace(&records);
    let said = |words: &[&str]| workplace.run(&[&["audit"], words].concat()).stderr;
    let told = "note: the log begins with record 4, of 2030-01-31T15:00:";
    assert!(!said(&["query"]).contains(told));
    fs::remove_file(
        workplace
            .path()
            .join("audit/segments/00000000000000000000.log"),
    )
    .expect("removed");
    for words in [
        &["query"][..],
        &["query", "--agent", "nobody"],
        &["query", "--until", "2029-01-01T00:00:00Z"],
        &["query", "--since", "2029-01-01T00:00:00Z"],
        &["export", "--format", "csv"],
    ] {
        assert!(said(words).contains(told), "{words:?}: {}", said(words));
    }
    // What is asked for is there as a whole.
    assert!(!said(&["query", "--since", "2040-01-01T00:00:00Z"]).contains(told));
}

#[test]
fn what_no_outcome_has_is_not_called_misspelt() {
    let workplace = workplace(&records());
    let ran = workplace.run(&["audit", "query", "--kind", "outcome", "--agent", "support"]);
    let told = "of outcomes and notices they never hold";
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
    let ran = workplace.run(&["audit", "query", "--limit", "0"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
}

#[test]
fn a_part_that_begins_where_the_log_ends_is_not_verified() {
    let workplace = workplace(&records());
    let ran = workplace.run(&["audit", "verify", "--from", "12"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    assert!(
        ran.transcript()
            .contains("the log has no record 12: its last one is 11")
    );
    let last = workplace.run(&["audit", "verify", "--from", "11"]);
    assert_eq!(last.code, 0, "{}", last.transcript());
}

#[test]
fn no_verb_writes_over_evidence() {
    let workplace = workplace(&records());
    let file = "audit/segments/00000000000000000004.log";
    for words in [
        &["export", "--format", "csv", "--to", file][..],
        &["prove", "3", "--to", "audit/tree/checkpoint"],
        &["prove", "3", "--record-to", "audit/tree/key.pub"],
    ] {
        let ran = workplace.run(&[&["audit"], words].concat());
        assert_eq!(ran.code, 1, "{}", ran.transcript());
        let told = "is in the decision log";
        assert!(ran.transcript().contains(told), "{}", ran.transcript());
    }
    assert_eq!(workplace.run(&["audit", "verify"]).code, 0);
}
