//! What every command says, on good and on bad input, word by word. Long words, which are digests and signatures, and times are
//! left out.

use crate::cli::closed_pipes::{VERBS, arguments, outcome, workplace};

/// The lines of one stream that are kept: scripts and pages are long.
const MAX_LINES: usize = 12;

fn redacted(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().take(MAX_LINES) {
        let ends = [
            (" ms a case)", " ("),
            // The id of a decision that was made now, and the moment of one.
            (" at revision 1", "decision  "),
            ("Z\\\")\"}", "environment = "),
        ];
        let cut = ends.iter().find(|(end, _)| line.ends_with(end));
        let line = match cut.and_then(|(_, from)| line.split_once(from)) {
            Some((before, _)) => format!("{before} [new each time]"),
            None => line.to_owned(),
        };
        let words = line.split(' ').map(|word| {
            let is_long = word.chars().count() > 40 && !word.contains("::");
            if is_long { "[long]" } else { word }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    let more = text.lines().count().saturating_sub(MAX_LINES);
    if more > 0 {
        lines.push("…".to_owned());
    }
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

fn golden(directory: &str, is_meant: impl Fn(&str) -> bool) -> String {
    let workplace = workplace();
    let mut golden = String::new();
    for line in VERBS.iter().filter(|line| is_meant(line)) {
        let (code, stdout, stderr) =
            outcome(&workplace, &arguments(line, directory), (false, false));
        let (stdout, stderr) = (redacted(&stdout), redacted(&stderr));
        let line = line.replace("DIR", directory);
        golden.push_str(&format!("$ callgate {line}\n{stdout}"));
        if !stderr.is_empty() {
            golden.push_str(&format!("  stderr\n{stderr}"));
        }
        golden.push_str(&format!("  exit {code}\n\n"));
    }
    golden
}

#[test]
fn every_command_on_good_input() {
    insta::assert_snapshot!("good_input", golden("good", |_| true));
}

#[test]
fn every_command_that_reads_a_directory_on_bad_input() {
    insta::assert_snapshot!("bad_input", golden("bad", |line| line.contains("DIR")));
}

#[test]
fn the_verbs_of_the_log_on_bad_input() {
    let workplace = workplace();
    let mut golden = String::new();
    for line in [
        "audit query --log absent",
        "audit query --decision maybe --log audit",
        "audit query --since yesterday --log audit",
        "audit show 99 --log audit",
        "audit show nonsense --log audit",
        "audit tail --log absent",
        "audit export --format xml --log audit",
        "audit export --format csv --log absent",
        "audit verify --log absent",
        "audit verify --log audit --key list.json",
        "audit prove 99 --log audit",
        "audit verify-proof list.json --key list.json",
        "replay good --log absent",
        "explain 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11 --policies good --log audit",
        "access --policies good --with-usage absent",
    ] {
        let (code, stdout, stderr) = outcome(&workplace, &arguments(line, "good"), (false, false));
        assert_ne!(code, 0, "{line}: {stdout}");
        golden.push_str(&format!(
            "$ callgate {line}\n{}{}  exit {code}\n\n",
            redacted(&stdout),
            redacted(&stderr)
        ));
    }
    insta::assert_snapshot!("bad_log", golden);
}
