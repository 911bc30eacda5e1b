//! Programs of others: Go's transparency log packages verify what Callgate writes, the published OCSF schema validates what it
//! exports.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use callgate::audit::frame;
use callgate::audit::log_files::{self, SEGMENTS};
use callgate::audit::record::Record;
use callgate::audit::record::schema::{Decision, Notice, Verdict, notice, record};
use callgate::audit::tree::hash::TreeHash;

use crate::evidence::fixtures::{self, bytes, many, records, write_log, write_tree};
use crate::support::command::Workplace;
use crate::support::parts;
use crate::support::process::python;

fn go(words: &[&str]) -> Output {
    let output = Command::new(parts::tlog_verify()).args(words).output();
    output.expect("the verifier runs")
}

/// What the verifier says of a log; `Err` if it finds a fault.
fn go_log(mode: &str, log: &Path) -> Result<String, String> {
    let key = log.join("tree/key.pub");
    let output = go(&[
        mode,
        log.to_str().expect("text"),
        key.to_str().expect("text"),
    ]);
    let said = String::from_utf8(output.stdout).expect("text");
    match output.status.success() {
        true => Ok(said),
        false => Err(said),
    }
}

#[test]
#[ignore = "needs the verifier of logs in Go"]
fn go_verifies_a_log_and_finds_every_flipped_bit() {
    let dir = tempfile::tempdir().expect("a directory");
    for count in [1, 256, 1_000] {
        let log = dir.path().join(count.to_string());
        write_log(&log, &many(count), 4);
        let said = go_log("log", &log);
        assert_eq!(
            said,
            Ok(format!("{count} records are as they were logged\n"))
        );
    }
    let said = go_log("flips", &dir.path().join("1000")).expect("all are found");
    println!("{said}");
    let flips: u64 = said
        .split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    assert!(flips > 400_000, "{said}");
}

#[test]
#[ignore = "needs the verifier of logs in Go"]
fn go_begins_with_the_first_file_and_tells_what_it_did_not_see() {
    let dir = tempfile::tempdir().expect("a directory");
    for (what, last, wanted) in [
        (
            "records",
            199,
            Ok(
                "200 records are as they were logged; 200 before them were removed, as the log says, and not seen\n",
            ),
        ),
        (
            "records",
            99,
            Err(
                "fault: records 100 to 199 are missing, and the log does not say that it removed them\n",
            ),
        ),
        (
            "capsules",
            199,
            Err(
                "fault: records 0 to 199 are missing, and the log does not say that it removed them\n",
            ),
        ),
    ] {
        let log = dir.path().join(format!("{what}-{last}"));
        let mut records = many(400);
        records[350].kind = Some(record::Kind::Notice(Notice {
            kind: notice::Kind::Removed.into(),
            text: what.to_owned(),
            last,
            ..Notice::default()
        }));
        write_log(&log, &records, 100);
        for first in [0, 100] {
            fs::remove_file(log.join(SEGMENTS).join(log_files::name(first))).expect("removed");
        }
        let said = go_log("log", &log);
        let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(said, wanted, "{what} {last}");
        // What was removed is no change of what is there.
        let file = log.join(SEGMENTS).join(log_files::name(300));
        let mut content = fs::read(&file).expect("a file");
        content[40] ^= 1;
        fs::write(&file, content).expect("written");
        assert!(go_log("log", &log).is_err());
    }
}

#[test]
#[ignore = "needs the verifier of logs in Go"]
fn go_finds_a_thousand_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let whole = many(1_000);
    write_log(&log, &whole, 128);
    let folder = log.join(SEGMENTS);
    for case in 0..1_000_usize {
        let (at, other) = (case * 619 % 1_000, (case * 283 + 1) % 1_000);
        let mut records = whole.clone();
        match case % 4 {
            0 => drop(records.remove(at)),
            1 if at != other => records.swap(at, other),
            1 => drop(records.pop()),
            2 => records.truncate(at),
            _ => records.insert(at, whole[other].clone()),
        }
        fs::remove_dir_all(&folder).expect("removed");
        fs::create_dir_all(&folder).expect("made");
        for (number, records) in records.chunks(128).enumerate() {
            let first = number as u64 * 128;
            let mut file = frame::header(frame::Contents::Records, first).to_vec();
            records
                .iter()
                .for_each(|it| frame::push(&mut file, &bytes(it)));
            fs::write(folder.join(log_files::name(first)), file).expect("written");
        }
        assert!(go_log("log", &log).is_err(), "{case}: {at} {other}");
    }
}

#[test]
#[ignore = "needs the verifier of logs in Go"]
fn go_checks_proofs_and_that_a_log_extends_an_older_checkpoint() {
    let workplace = Workplace::new(&[]);
    let log = workplace.path().join("audit");
    write_log(&log, &many(700), 100);
    let key = log.join("tree/key.pub");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    for index in ["0", "255", "256", "699"] {
        let ran = workplace.run(&["audit", "prove", index, "--to", "proof"]);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        let proof = text(&workplace.path().join("proof"));
        let output = go(&["proof", &proof, &text(&key)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("record {index} of 700 is in the log\n"));
        workplace.write(
            "proof",
            workplace.read("proof").replace("extra C", "extra D"),
        );
        assert!(!go(&["proof", &proof, &text(&key)]).status.success());
    }
    let old = workplace.path().join("old");
    fs::copy(log.join("tree/checkpoint"), &old).expect("copied");
    let leaves: Vec<_> = many(900)
        .iter()
        .map(|it| TreeHash::leaf(&bytes(it)))
        .collect();
    write_tree(&log, &leaves[..700], &leaves[700..]);
    let output = go(&["extends", &text(&old), &text(&log), &text(&key)]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "900 records extend 700\n"
    );
}

/// The commands in `docs/audit-evidence.md`.
#[test]
#[ignore = "needs openssl and xxd"]
fn a_proof_is_checked_with_openssl_as_told() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit-evidence.md");
    let page = fs::read_to_string(page).expect("a page");
    let commands = page
        .split("```bash\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let workplace = Workplace::new(&[]);
    write_log(&workplace.path().join("audit"), &many(700), 100);
    workplace.write("log.pub", workplace.read("audit/tree/key.pub"));
    // Whether it exits with 0, and what it says.
    let check = || {
        let mut bash = Command::new("bash");
        bash.args(["-c", commands.expect("commands")]);
        let output = bash
            .current_dir(workplace.path())
            .output()
            .expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    };
    for index in ["0", "255", "256", "512", "699"] {
        let ran = workplace.run(&["audit", "prove", index, "--to", "decision.tlog-proof"]);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        let (is_good, said) = check();
        assert!(
            is_good && said.contains("the record is in the tree"),
            "{index}: {said}"
        );
        assert!(
            said.contains("Signature Verified Successfully"),
            "{index}: {said}"
        );
    }
    let proof = workplace.read("decision.tlog-proof");
    let more = proof.replace("index 699", "index 700");
    let beyond = proof.replace("index 699", "index 8891");
    let other = proof.replace("extra C", "extra D");
    let before = proof.replace("index 699", "index 698");
    let mut lines: Vec<_> = proof.lines().collect();
    lines.remove(3);
    let fewer = lines.join("\n");
    for changed in [before, more, beyond, other, fewer] {
        assert_ne!(changed, proof);
        workplace.write("decision.tlog-proof", changed);
        let (is_good, said) = check();
        assert!(!is_good, "{said}");
        assert!(!said.contains("Signature Verified"), "{said}");
        assert!(said.contains("the record is NOT in the tree"), "{said}");
    }
    // A checkpoint that another key has signed.
    let (head, signature) = proof.rsplit_once(' ').expect("a signature");
    let forged = signature.replacen(|char: char| char != 'A', "A", 9);
    workplace.write("decision.tlog-proof", format!("{head} {forged}"));
    assert!(!check().0);
}

#[test]
#[ignore = "needs the published OCSF schema"]
fn exported_events_are_valid_in_the_published_ocsf_schema() {
    let workplace = Workplace::new(&[]);
    let mut records = records();
    // A search for subjects has none itself.
    records.push(Record {
        index: Some(records.len() as u64),
        at: fixtures::START,
        kind: Some(record::Kind::Decision(Decision {
            id: fixtures::id(9).into(),
            verdict: Verdict::Allow.into(),
            operation: "cedar/search".to_owned(),
            sought: "subject".to_owned(),
            caller: "pep".to_owned(),
            adapter: "authzen".to_owned(),
            ..Decision::default()
        })),
        ..Record::default()
    });
    for record in fixtures::asked_and_used() {
        records.push(Record {
            index: Some(records.len() as u64),
            ..record
        });
    }
    write_log(&workplace.path().join("audit"), &records, 4);
    let ran = workplace.run(&["audit", "export", "--format", "ocsf"]);
    let said = validated(&ran.stdout);
    assert_eq!(said, (true, "14 valid events\n".to_owned()));
    let (is_valid, said) = validated(&ran.stdout.replace("\"activity_id\"", "\"activityid\""));
    assert!(!is_valid && said.contains("activity_id"), "{said}");
}

fn validated(events: &str) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/ocsf_events.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut input = child.stdin.take().expect("stdin");
    input.write_all(events.as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("text");
    (output.status.success(), said)
}

/// The figure `audit.verify_records_per_s`: a log as the server writes it, verified as a whole.
#[test]
fn verifying_is_measured() {
    let dir = tempfile::tempdir().expect("a directory");
    let records = many(20_000);
    write_log(dir.path(), &records, 5_000);
    let request = callgate::audit::verify::Request {
        directory: dir.path().to_owned(),
        key: fixtures::verifying_key(),
        older: Vec::new(),
        from: 0,
        to: None,
    };
    let started = std::time::Instant::now();
    let report = callgate::audit::verify::verify(&request).expect("a log");
    let rate = 20_000.0 / started.elapsed().as_secs_f64();
    assert!(report.ok && report.proven == 20_000, "{report:?}");
    println!("METRIC audit.verify_records_per_s {rate:.0}");
}
