//! What an import proposes, held against what was written down before, from the definitions: `tests/data/judgements`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate::analysis::import::{self, ImportOptions};
use callgate::bundle::diagnostic::SourceText;
use callgate::bundle::parse::registration::{AccessLevel, ToolEntry};
use serde::Deserialize;

use crate::support::parts::{fetched, public_data};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgements {
    tools: BTreeMap<String, Judged>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    access: AccessLevel,
    labels: Vec<String>,
    egress: bool,
    /// For whoever reads the file.
    #[serde(rename = "why")]
    _why: String,
}

/// How far proposals are from the judgements.
#[derive(Default)]
struct Measured {
    tools: usize,
    too_weak: usize,
    unlabelled: usize,
    egress_missed: usize,
    too_strict: usize,
    more_labels: usize,
    more_egress: usize,
    /// One line for each difference.
    differences: String,
}

impl Measured {
    fn hold(&mut self, server: &str, name: &str, proposed: &ToolEntry, judged: &Judged) {
        let mut say = |what: &str, why: &str| {
            let why = proposed.why.get(why).map_or("", String::as_str);
            let _ = writeln!(self.differences, "{what:14} {server}/{name}: {why}");
        };
        let missing = judged.labels.iter().any(|it| !proposed.yields.contains(it));
        let more = proposed.yields.iter().any(|it| !judged.labels.contains(it));
        if proposed.access < judged.access {
            say("TOO WEAK", "access");
        }
        if proposed.access > judged.access {
            say("too strict", "access");
        }
        if missing {
            say("LABEL MISSING", "yields");
        }
        if judged.egress && !proposed.egress {
            say("EGRESS MISSED", "access");
        }
        self.tools += 1;
        self.too_weak += usize::from(proposed.access < judged.access);
        self.too_strict += usize::from(proposed.access > judged.access);
        self.unlabelled += usize::from(missing);
        self.more_labels += usize::from(more);
        self.egress_missed += usize::from(judged.egress && !proposed.egress);
        self.more_egress += usize::from(!judged.egress && proposed.egress);
    }

    fn add(&mut self, other: Self) {
        self.tools += other.tools;
        self.too_weak += other.too_weak;
        self.too_strict += other.too_strict;
        self.unlabelled += other.unlabelled;
        self.more_labels += other.more_labels;
        self.egress_missed += other.egress_missed;
        self.more_egress += other.more_egress;
        self.differences += &other.differences;
    }

    fn row(&self, server: &str) -> String {
        format!(
            "| {server} | {} | {} | {} | {} | {} | {} | {} |",
            self.tools,
            self.too_weak,
            self.unlabelled,
            self.egress_missed,
            self.too_strict,
            self.more_labels,
            self.more_egress
        )
    }

    fn holds_its_promises(&self) {
        let table = &self.differences;
        assert_eq!(self.too_weak, 0, "access too weak:\n{table}");
        assert_eq!(self.egress_missed, 0, "egress missed:\n{table}");
        assert!(
            self.unlabelled * 50 <= self.tools,
            "a label is missing for more than 2 %:\n{table}"
        );
        assert!(
            self.too_strict * 10 <= self.tools * 3,
            "access is too strict for more than 30 %:\n{table}"
        );
    }
}

/// What is shipped says of no tool that its results bring less, or that it sends less, than was judged.
#[test]
fn shipped_registrations_are_no_milder_than_the_judgements() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tools");
    let mut held = 0;
    for entry in std::fs::read_dir(folder).expect("the registrations") {
        let path = entry.expect("an entry").path();
        let server = path.file_stem().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("a registration");
        let registered: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let judged = std::fs::read_to_string(judgements().join(format!("{server}.toml")));
        let judged: Judgements = toml::from_str(&judged.expect("judgements")).expect("judgements");
        for (name, tool) in registered["tools"].as_object().expect("tools") {
            let judged = judged.tools.get(name);
            let judged = judged.unwrap_or_else(|| panic!("{server}/{name} has no judgement"));
            let yields = tool["yields"].as_array().expect("labels");
            for label in &judged.labels {
                let is_there = yields.iter().any(|it| it == label.as_str());
                assert!(is_there, "{server}/{name} brings `{label}`");
            }
            let sends = tool["egress"] == true;
            assert!(
                sends || !judged.egress,
                "{server}/{name} can carry data out"
            );
            held += 1;
        }
    }
    assert!(held > 60, "{held} tools");
}

fn judgements() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/judgements")
}

/// Holds every list in a folder against the judgements of its server, and prints the table.
fn measure(lists: &Path, wanted: usize) {
    let mut all = Measured::default();
    let mut paths: Vec<_> = std::fs::read_dir(lists)
        .expect("the lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    paths.sort();
    println!(
        "| server | tools | too weak | label missing | egress missed | too strict | more labels | more egress |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for path in paths {
        let server = path.file_stem().expect("a name").to_string_lossy();
        let judged = judgements().join(format!("{server}.toml"));
        let judged = std::fs::read_to_string(judged).expect("judgements");
        let judged: Judgements = toml::from_str(&judged).expect("judgements");
        let text = std::fs::read_to_string(&path).expect("a list");
        let file = Arc::from("list.json");
        let origin = SourceText {
            file: &file,
            text: &text,
        };
        let choices = ImportOptions {
            server: server.to_string(),
            ..ImportOptions::default()
        };
        let imported = import::import(origin, None, &choices).expect("imported");
        let mut measured = Measured::default();
        for (name, entry) in &imported.registration.tools {
            let judged = judged.tools.get(name).expect("a judgement of every tool");
            measured.hold(&server, name, entry, judged);
        }
        println!("{}", measured.row(&server));
        all.add(measured);
    }
    println!("{}\n\n{}", all.row("all"), all.differences);
    assert!(all.tools >= wanted, "{} tools", all.tools);
    all.holds_its_promises();
}

#[test]
#[ignore = "needs public data: data/mcp-tools"]
fn lists_of_nine_servers() {
    measure(&public_data("mcp-tools"), 89);
}

#[test]
#[ignore = "needs the lists of public servers: tests/registrations/fetch installs the servers and asks them"]
fn lists_of_public_servers() {
    let lists = std::env::var_os("CALLGATE_TEST_LISTS");
    let own = || fetched("registrations/lists", "tests/registrations/fetch");
    measure(&lists.map_or_else(own, PathBuf::from), 60);
}
