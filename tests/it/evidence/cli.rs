//! What the verbs of `callgate audit` say.

use std::fs;

use crate::evidence::fixtures::{FULL, records, write_log};
use crate::support::command::{Ran, Workplace};

fn workplace() -> Workplace {
    let workplace = Workplace::new(&[]);
    write_log(&workplace.path().join("audit"), &records(), 4);
    workplace
}

fn said(words: &[&str]) -> String {
    let ran = workplace().run(&[&["audit"], words].concat());
    harmless(&ran);
    ran.transcript()
}

/// Nothing of a record acts on a terminal or begins a line.
fn harmless(ran: &Ran) {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let is_harmful = |c: char| c.is_control() && c != '\n' || ['\u{202e}', '\u{200b}'].contains(&c);
    assert!(!said.contains(is_harmful), "{said:?}");
    assert!(
        !said.lines().any(|line| line.starts_with("allow \\u{7}")),
        "{said}"
    );
}

#[test]
fn queries_choose_records() {
    insta::assert_snapshot!(said(&["query"]));
    insta::assert_snapshot!(said(&["query", "--user", "sam", "--decision", "deny"]));
    insta::assert_snapshot!(said(&[
        "query",
        "--tool",
        "git/git_log",
        "--last",
        "1",
        "--kind",
        "decision"
    ]));
    insta::assert_snapshot!(said(&["query", "--decision-id", FULL, "--output", "json"]));
    insta::assert_snapshot!(said(&["query", "--decision", "maybe"]));
    insta::assert_snapshot!(said(&["query", "--log", "elsewhere"]));
}

#[test]
fn a_decision_is_a_story() {
    insta::assert_snapshot!(said(&["show", FULL]));
    insta::assert_snapshot!(said(&["show", "0"]));
    insta::assert_snapshot!(said(&["show", "99"]));
    insta::assert_snapshot!(said(&["show", "nonsense"]));
}

#[test]
fn tail_is_json_where_nobody_watches() {
    let ran = workplace().run(&["audit", "tail", "-n", "3"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (0, 3),
        "{}",
        ran.transcript()
    );
    for line in ran.stdout.lines() {
        let _: serde_json::Value = serde_json::from_str(line).expect("json");
    }
    insta::assert_snapshot!(said(&["tail", "-n", "2", "--output", "text"]));
}

#[test]
fn verify_finds_a_change_and_says_where() {
    insta::assert_snapshot!(said(&["verify"]));
    let workplace = workplace();
    let key = workplace.read("audit/tree/key.pub");
    workplace.write("old.checkpoint", workplace.read("audit/tree/checkpoint"));
    let ran = workplace.run(&[
        "audit",
        "verify",
        "--key",
        &key,
        "--checkpoint",
        "old.checkpoint",
        "--output",
        "json",
    ]);
    insta::assert_snapshot!(ran.transcript());
    let file = "audit/segments/00000000000000000004.log";
    let mut content = fs::read(workplace.path().join(file)).expect("a file");
    content[40] ^= 8;
    workplace.write(file, content);
    insta::assert_snapshot!(workplace.run(&["audit", "verify"]).transcript());
    fs::remove_file(workplace.path().join(file)).expect("removed");
    let ran = workplace.run(&["audit", "verify", "--output", "json"]);
    assert_eq!(ran.code, 3);
    assert_eq!(ran.json()["faults"][0]["kind"], "missing");
    insta::assert_snapshot!(
        workplace
            .run(&["audit", "verify", "--key", "nowhere"])
            .transcript()
    );
}

#[test]
fn a_proof_is_checked_without_the_log() {
    let workplace = workplace();
    let ran = workplace.run(&["audit", "prove", FULL]);
    insta::assert_snapshot!(ran.transcript());
    let key = workplace.read("audit/tree/key.pub");
    workplace.write("proof", &ran.stdout);
    let ran = workplace.run(&[
        "audit",
        "prove",
        FULL,
        "--without-record",
        "--to",
        "bare",
        "--record-to",
        "record",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    fs::remove_dir_all(workplace.path().join("audit")).expect("removed");
    let check = |words: &[&str]| {
        let words = [&["audit", "verify-proof"], words, &["--key", &key]].concat();
        workplace.run(&words)
    };
    insta::assert_snapshot!(check(&["proof"]).transcript());
    assert_eq!(check(&["bare", "--record", "record"]).code, 0);
    assert_eq!(check(&["bare"]).code, 3);
    assert_eq!(check(&["bare", "--record", "proof"]).code, 3);
    workplace.write(
        "other",
        workplace.read("proof").replace("index 2", "index 3"),
    );
    insta::assert_snapshot!(check(&["other"]).transcript());
}

#[test]
fn exports_are_written_for_others() {
    insta::assert_snapshot!(
        said(&["export", "--format", "csv", "--code", "NO_PERMIT"]).replace('\r', "")
    );
    insta::assert_snapshot!(said(&["export", "--format", "jsonl", "--kind", "notice"]));
    let ran = workplace().run(&["audit", "export", "--format", "ocsf"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (0, 8),
        "{}",
        ran.transcript()
    );
    assert_eq!(
        ran.stderr,
        "note: 4 records left out: OCSF has no class for outcomes and notices\n"
    );
    let workplace = workplace();
    let ran = workplace.run(&[
        "audit",
        "export",
        "--format",
        "parquet",
        "--to",
        "out.parquet",
    ]);
    match cfg!(feature = "parquet") {
        true => {
            let file = fs::read(workplace.path().join("out.parquet")).expect("a file");
            assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
        }
        false => insta::assert_snapshot!(ran.transcript()),
    }
}
