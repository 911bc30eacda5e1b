//! What the verbs of `callgate audit` say. How a record is told in a line and as a story is in snapshots beside the code.

use std::fs;

use callgate::audit::record::schema::record;

use crate::evidence::fixtures::{CHILD, FULL, id, records, write_log};
use crate::support::command::{Ran, Workplace};

fn workplace() -> Workplace {
    workplace_of(4)
}

/// A log with so many records a file.
fn workplace_of(per_file: usize) -> Workplace {
    let workplace = Workplace::new(&[]);
    write_log(&workplace.path().join("audit"), &records(), per_file);
    workplace
}

/// Runs a verb on the log, and holds what it says to be harmless.
fn ran(words: &[&str]) -> Ran {
    let ran = workplace().run(&[&["audit"], words].concat());
    harmless(&ran);
    ran
}

/// What a verb says that ends well.
fn said(words: &[&str]) -> String {
    let ran = ran(words);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
    ran.stdout
}

/// The error of a verb that fails.
fn failed(words: &[&str]) -> String {
    let ran = ran(words);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{words:?}");
    ran.stderr
}

/// What verifies the log with a key and a checkpoint that were kept.
fn verify_from_elsewhere(workplace: &Workplace) -> [String; 6] {
    let key = workplace.read("audit/tree/key.pub");
    workplace.write("old.checkpoint", workplace.read("audit/tree/checkpoint"));
    [
        "audit",
        "verify",
        "--key",
        &key,
        "--checkpoint",
        "old.checkpoint",
    ]
    .map(str::to_owned)
}

/// Nothing of a record acts on a terminal or begins a line.
fn harmless(ran: &Ran) {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let is_harmful =
        |c: char| c.is_control() && !"\r\n".contains(c) || "\u{202e}\u{200b}".contains(c);
    assert!(!said.contains(is_harmful), "{said:?}");
    let is_foreign = |line: &str| line.starts_with("allow \\u{7}");
    assert!(!said.lines().any(is_foreign), "{said}");
}

/// The ids at the ends of lines.
fn ids(said: &str) -> Vec<&str> {
    let ends = said
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    ends.collect()
}

#[test]
fn queries_choose_records() {
    let all = said(&["query"]);
    assert_eq!(all.lines().count(), records().len(), "{all}");
    let denied = said(&["query", "--user", "sam", "--decision", "deny"]);
    assert_eq!(denied.lines().count(), 2, "{denied}");
    assert!(
        denied.contains(
            "deny    agent:support for user:sam  tools/call github/create_issue  FORBIDDEN"
        )
    );
    assert!(
        denied.contains("denied  user:sam  StopEntity d-3  NO_PERMIT"),
        "{denied}"
    );
    let flips = said(&["query", "--shadow"]);
    assert_eq!(ids(&flips), [FULL]);
    assert!(flips.contains("in shadow mcp.new-rule"), "{flips}");
    let last = said(&["query", "--tool", "git/git_log", "--last", "1"]);
    assert_eq!(ids(&last), [CHILD]);
    let first = said(&["query", "--tool", "git/git_log", "--limit", "1"]);
    assert_eq!(ids(&first), ["0191e2a0-0000-7000-8000-000000000001"]);
    let json = said(&["query", "--decision-id", FULL, "--output", "json"]);
    let record: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(record["chain"]["actors"][0], "Mcp::Agent::\"planner\"");
    assert_eq!(record["decision"], "deny");
    assert!(failed(&["query", "--decision", "maybe"]).contains("neither allow nor deny"));
    assert!(failed(&["query", "--log", "elsewhere"]).contains("no decision log in `elsewhere`"));
}

#[test]
fn what_cannot_be_there_is_no_answer() {
    for (words, told) in [
        (
            &["verify", "--from", "99"][..],
            "the log has no record 99: its last one is 11",
        ),
        (&["verify", "--to", "12"], "the log has no record 12"),
        (
            &["verify", "--from", "5", "--to", "3"],
            "comes after record 3",
        ),
        (
            &["verify", "--log", "elsewhere"],
            "no decision log in `elsewhere`",
        ),
        (&["query", "--code", "NOPE"], "it is no reason code"),
        (
            &["query", "--since", "1h", "--until", "2h"],
            "`--until` is not after `--since`",
        ),
        (
            &["tail", "--since", "1h", "--until", "2h", "--output", "text"],
            "`--until` is not after `--since`",
        ),
    ] {
        let error = failed(words);
        assert!(error.contains(told), "{words:?}: {error}");
    }
    let part = said(&["verify", "--from", "3", "--to", "5"]);
    assert!(part.contains("\n  records 3 to 5\n  3 proven by"), "{part}");
    let one = said(&["verify", "--from", "11"]);
    assert!(one.contains("\n  records 11 to 11\n  1 proven by"), "{one}");
    let code = |code| said(&["query", "--code", code]);
    assert_eq!(code("no_permit"), code("NO_PERMIT"));
}

#[test]
fn readers_say_what_of_a_log_they_cannot_read() {
    let workplace = workplace();
    let segments = workplace.path().join("audit/segments");
    fs::remove_file(segments.join("00000000000000000008.log")).expect("removed");
    let ran = workplace.run(&["audit", "query"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let told = "warning: records 8 to 11 are missing or damaged\n";
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
    // The last record that is asked for comes before them.
    let ran = workplace.run(&["audit", "query", "--limit", "1"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let file = "audit/segments/00000000000000000004.log";
    let mut content = fs::read(workplace.path().join(file)).expect("a file");
    content[40] ^= 8;
    workplace.write(file, content);
    let nowhere = "0191e2a0-0000-7000-8000-0000000000ff";
    let ran = workplace.run(&["audit", "show", nowhere]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    let told = "which is damaged: records 4 to 4 are missing or damaged";
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
    fs::remove_dir_all(&segments).expect("removed");
    let ran = workplace.run(&["audit", "verify"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    let cut = "records 0 to 11 are cut off";
    assert!(ran.stdout.contains(cut), "{}", ran.transcript());
    assert!(!ran.stdout.contains("removed"), "{}", ran.transcript());
}

#[test]
fn a_checkpoint_that_is_none_or_cannot_be_compared_says_nothing_of_the_log() {
    let workplace = workplace();
    let words = verify_from_elsewhere(&workplace);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = workplace.run(&["audit", "verify", "--checkpoint", "audit/tree/key.pub"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    let told = "`audit/tree/key.pub` is no checkpoint";
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
    workplace.write("audit/tree/checkpoint", "nothing");
    let ran = workplace.run(&words);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    assert!(!ran.stdout.contains("cut off"), "{}", ran.transcript());
}

#[test]
fn a_decision_is_a_story() {
    let story = said(&["show", FULL]);
    for part in [
        "DENY tools/call github/create_issue\n",
        "  chain     user:sam → agent:planner → agent:support\n",
        "  because   FORBIDDEN, for user:sam, missing approval, by mcp.writes-need-approval\n",
        "  led to    2030-01-31T15:00:07.500Z  allow",
        "in the checkpoint over 12, leaf ",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    let outcome = said(&["show", "3"]);
    assert!(
        outcome.contains(
            "outcome   result, 1234 bytes, labels untrusted, after 1s 500ms, told by envoy\n"
        ),
        "{outcome}"
    );
    assert!(said(&["show", "0"]).contains("start: 0.1.0"));
    assert!(failed(&["show", "99"]).contains("the log has no record 99"));
    assert!(failed(&["show", "nonsense"]).contains("neither the id of a decision"));
}

#[test]
fn a_story_says_that_a_part_of_it_may_be_missing() {
    let told = "none in what can be read of the log";
    let whole = workplace().run(&["audit", "show", "3"]);
    assert!(!whole.stdout.contains(told), "{}", whole.transcript());
    // The outcome of the decision at 3 is at 4, in the next file.
    for is_gone in [true, false] {
        let workplace = workplace_of(4);
        let file = "audit/segments/00000000000000000004.log";
        let path = workplace.path().join(file);
        let mut content = fs::read(&path).expect("a file");
        match is_gone {
            true => fs::remove_file(&path).expect("removed"),
            false => {
                content[40] ^= 8;
                workplace.write(file, content);
            }
        }
        let ran = workplace.run(&["audit", "show", "3"]);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        assert!(ran.stdout.contains(told), "{}", ran.transcript());
        assert!(!ran.stdout.contains("nobody"), "{}", ran.transcript());
        assert!(
            ran.stderr.contains("warning: records 4 to"),
            "{}",
            ran.transcript()
        );
        let ran = workplace.run(&["audit", "show", "3", "--output", "json"]);
        let story: serde_json::Value = serde_json::from_str(&ran.stdout).expect("json");
        assert_eq!(story["faults"].as_array().map(Vec::len), Some(1), "{story}");
    }
    // Where the end is cut off, the checkpoint says so.
    let workplace = workplace_of(4);
    for file in ["00000000000000000004.log", "00000000000000000008.log"] {
        fs::remove_file(workplace.path().join("audit/segments").join(file)).expect("removed");
    }
    let ran = workplace.run(&["audit", "show", "3"]);
    assert!(ran.stdout.contains(told), "{}", ran.transcript());
    // Who gave the approval may be in what is missing before.
    let workplace = workplace_of(4);
    let first = workplace
        .path()
        .join("audit/segments/00000000000000000000.log");
    let mut content = fs::read(&first).expect("a file");
    content[40] ^= 8;
    fs::write(&first, content).expect("written");
    let ran = workplace.run(&["audit", "show", FULL]);
    let told = "parts of the log before this record cannot be read";
    assert!(ran.stdout.contains(told), "{}", ran.transcript());
}

#[test]
fn tail_holds_outcomes_against_their_decisions() {
    let mut all = records();
    let outcome = |index: u64, number: u8| {
        let of = &records()[4];
        let mut outcome = of.clone();
        if let Some(record::Kind::Outcome(it)) = &mut outcome.kind {
            it.decision_id = id(number).into();
        }
        outcome.index = Some(index);
        outcome
    };
    // Of a denied call, which another had asked for, and of a dry run.
    all.extend([outcome(12, 2), outcome(13, 6)]);
    let workplace = Workplace::new(&[]);
    write_log(&workplace.path().join("audit"), &all, 14);
    let doubts = |words: &[&str]| {
        let ran = workplace.run(&[&["audit"], words, &["--output", "json"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        let doubts = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("json");
            record["doubts"].to_string()
        };
        ran.stdout.lines().map(doubts).collect::<Vec<_>>()
    };
    let expected = [r#"["denied","other_caller"]"#, r#"["dry_run"]"#];
    assert_eq!(doubts(&["query", "--last", "2"]), expected);
    assert_eq!(doubts(&["tail", "-n", "2"]), expected);
    // Whatever else is asked for.
    assert_eq!(doubts(&["tail", "-n", "2", "--kind", "outcome"]), expected);
}

#[test]
fn a_query_says_that_records_with_cut_lists_may_belong_to_it() {
    let workplace = Workplace::new(&[]);
    let mut all = records();
    all[3].is_cut = true;
    write_log(&workplace.path().join("audit"), &all, 4);
    let warned = |words: &[&str]| {
        let ran = workplace.run(&[&["audit", "query"], words].concat());
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        ran.stderr
            .contains("warning: 1 record with lists that are cut")
    };
    assert!(warned(&["--approval", "a-99"]));
    assert!(warned(&["--approval", "a-99", "--server", "git"]));
    assert!(!warned(&["--approval", "a-99", "--server", "github"]));
    assert!(!warned(&["--server", "github"]));
}

#[test]
fn tail_is_json_where_nobody_watches() {
    let ran = workplace().run(&["audit", "tail", "-n", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let index = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("json");
        record["index"].as_u64()
    };
    let indices: Vec<_> = ran.stdout.lines().filter_map(index).collect();
    assert_eq!(indices, [9, 10, 11]);
    let text = said(&["tail", "-n", "2", "--output", "text"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.ends_with("of tools/call git  told by envoy\n"),
        "{text}"
    );
}

#[test]
fn verify_finds_a_change_and_says_where() {
    let good = said(&["verify"]);
    assert!(
        good.starts_with("ok: callgate.example/test is what was logged\n"),
        "{good}"
    );
    assert!(
        good.contains("  12 proven by the checkpoint over 12, root "),
        "{good}"
    );
    let workplace = workplace();
    let words = verify_from_elsewhere(&workplace);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = workplace.run(&[&words[..], &["--output", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert_eq!(ran.json()["older_checkpoints"], 1);
    let file = "audit/segments/00000000000000000004.log";
    let mut content = fs::read(workplace.path().join(file)).expect("a file");
    content[40] ^= 8;
    workplace.write(file, content);
    let ran = workplace.run(&words);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    assert!(ran.stdout.starts_with("NOT OK: "), "{}", ran.transcript());
    let told = "  record 4 is damaged (segments/00000000000000000004.log, byte 16)\n";
    assert!(ran.stdout.contains(told), "{}", ran.transcript());
    fs::remove_file(workplace.path().join(file)).expect("removed");
    let ran = workplace.run(&["audit", "verify", "--output", "json"]);
    assert_eq!(
        (ran.code, &ran.json()["faults"][0]["kind"]),
        (3, &"missing".into())
    );
    let ran = workplace.run(&["audit", "verify", "--key", "nowhere"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
}

#[test]
fn a_proof_is_checked_without_the_log() {
    let workplace = workplace();
    let ran = workplace.run(&["audit", "prove", FULL]);
    assert!(
        ran.stdout.starts_with("c2sp.org/tlog-proof@v1\nextra "),
        "{}",
        ran.transcript()
    );
    let key = workplace.read("audit/tree/key.pub");
    workplace.write("proof", &ran.stdout);
    let files = ["--to", "bare", "--record-to", "record"];
    let ran = workplace.run(&[&["audit", "prove", FULL, "--without-record"][..], &files].concat());
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(!workplace.read("bare").contains("extra"));
    fs::remove_dir_all(workplace.path().join("audit")).expect("removed");
    let check = |words: &[&str]| {
        let words = [&["audit", "verify-proof"], words, &["--key", &key]].concat();
        workplace.run(&words)
    };
    let ran = check(&["proof"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let told = "ok: record 2 of 12 records of callgate.example/test\n";
    assert!(ran.stdout.starts_with(told), "{}", ran.transcript());
    assert_eq!(check(&["bare", "--record", "record"]).code, 0);
    let ran = check(&["bare"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    assert!(ran.stderr.contains("`--record`"), "{}", ran.transcript());
    assert_eq!(check(&["bare", "--record", "proof"]).code, 3);
    workplace.write(
        "other",
        workplace.read("proof").replace("index 2", "index 3"),
    );
    let ran = check(&["other"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    assert!(
        ran.stdout.starts_with("NOT PROVEN: "),
        "{}",
        ran.transcript()
    );
}

#[test]
fn exports_are_written_for_others() {
    let csv = said(&["export", "--format", "csv", "--code", "NO_PERMIT"]);
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("index,at,kind,decision_id,"), "{csv}");
    assert!(
        lines[1].starts_with("7,2030-01-31T15:00:10.500000000Z,write,,deny,"),
        "{csv}"
    );
    assert_eq!(lines[2..], [""], "{csv}");
    assert_eq!(
        said(&["export", "--format", "jsonl", "--kind", "notice"])
            .lines()
            .count(),
        2
    );
    let ran = workplace().run(&["audit", "export", "--format", "ocsf"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (0, 8),
        "{}",
        ran.transcript()
    );
    let note = "note: 4 records left out: OCSF has no class for outcomes and notices\n";
    assert_eq!(ran.stderr, note);
    let workplace = workplace();
    let export = |words: &[&str]| {
        let to = ["audit", "export", "--format", "csv", "--to", "out.csv"];
        workplace.run(&[&to, words].concat()).code
    };
    workplace.write("out.csv", "of before");
    assert_eq!(export(&["--log", "elsewhere"]), 1);
    assert_eq!(workplace.read("out.csv"), "of before");
    assert_eq!(export(&["--code", "NO_PERMIT"]), 0);
    assert_eq!(workplace.read("out.csv"), csv);
    let ran = workplace.run(&[
        "audit",
        "export",
        "--format",
        "parquet",
        "--to",
        "out.parquet",
    ]);
    if cfg!(feature = "parquet") {
        let file = fs::read(workplace.path().join("out.parquet")).expect("a file");
        assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    } else {
        assert_eq!(ran.code, 1, "{}", ran.transcript());
        assert!(
            ran.stderr.contains("--features parquet"),
            "{}",
            ran.transcript()
        );
    }
}

#[test]
fn readers_say_that_the_oldest_file_is_missing() {
    let workplace = workplace();
    let segments = workplace.path().join("audit/segments");
    fs::remove_file(segments.join("00000000000000000000.log")).expect("removed");
    let told = "warning: records 0 to 3 are missing or damaged\n";
    for words in [
        &["query"][..],
        &["query", "--limit", "1"],
        &["query", "--since", "2000-01-01T00:00:00Z"],
        &["tail"],
        &["export", "--format", "jsonl"],
    ] {
        let ran = workplace.run(&[&["audit"], words].concat());
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        assert!(ran.stderr.contains(told), "{}", ran.transcript());
    }
    let ran = workplace.run(&["audit", "tail", "-n", "3"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for (id, told) in [
        (FULL, "which is damaged: records 0 to 3 are missing"),
        ("1", "those before 4 are missing"),
    ] {
        for verb in ["show", "prove"] {
            let ran = workplace.run(&["audit", verb, id]);
            assert_eq!(ran.code, 1, "{}", ran.transcript());
            assert!(ran.stderr.contains(told), "{}", ran.transcript());
        }
    }
}

#[test]
fn one_damaged_file_hides_no_other_and_an_error_is_one_line() {
    let workplace = workplace();
    let file = workplace
        .path()
        .join("audit/segments/00000000000000000004.log");
    fs::remove_file(&file).expect("removed");
    fs::write(file.with_extension("log.zst"), "no zstd").expect("written");
    for words in [
        &["query", "--output", "json"][..],
        &["query", "--last", "3", "--output", "json"],
        &["export", "--format", "jsonl"],
    ] {
        let ran = workplace.run(&[&["audit"], words].concat());
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        let told = "warning: records 4 to 7 are missing or damaged\n";
        assert!(ran.stderr.contains(told), "{}", ran.transcript());
        let last = ran.stdout.lines().last().expect("a line");
        assert!(last.contains("\"index\":11,"), "{}", ran.transcript());
    }
    fs::remove_dir_all(workplace.path().join("audit/segments")).expect("removed");
    let ran = workplace.run(&["audit", "query", "--output", "json"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 1));
    assert!(
        ran.stdout.starts_with("{\"ok\":false,\"error\":"),
        "{}",
        ran.transcript()
    );
}

#[test]
fn a_condition_without_a_name_is_refused() {
    for words in [
        ["--session", ""],
        ["--task", ""],
        ["--server", ""],
        ["--tool", ""],
        ["--tool", "slack/"],
        ["--tool", "/post"],
        ["--policy", ""],
        ["--owner", ""],
        ["--control", ""],
        ["--approval", ""],
        ["--delegation", ""],
        ["--user", ""],
        ["--agent", ""],
    ] {
        failed(&[&["query"], &words[..]].concat());
    }
    assert_eq!(said(&["query", "--approval", "a-1"]).lines().count(), 1);
    assert_eq!(said(&["query", "--delegation", "d-2"]).lines().count(), 1);
}

#[test]
fn without_a_tree_it_is_said_what_to_bring() {
    let workplace = workplace();
    fs::remove_dir_all(workplace.path().join("audit/tree")).expect("removed");
    let ran = workplace.run(&["audit", "verify"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    let told = "the log's tree is gone, and with it its checkpoint and its key: `callgate audit verify --key` takes";
    assert!(ran.stderr.contains(told), "{}", ran.transcript());
}
