//! What an import proposes, held against what was written down before, from the definitions: `tests/data/judgements`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate::analysis::catalogue;
use callgate::analysis::import::{self, ImportOptions};
use callgate::bundle::diagnostic::SourceText;
use callgate::bundle::parse::registration::{AccessLevel, Registration, ToolEntry};
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
        let registered: Registration = serde_json::from_str(&text).expect("a registration");
        held += no_milder(&server, &registered.tools);
    }
    assert!(held > 60, "{held} tools");
}

/// Nor does the catalogue, or that it does less.
#[test]
fn the_catalogue_is_no_milder_than_the_judgements() {
    let mut held = 0;
    for server in catalogue::servers() {
        let tools = catalogue::tools(server).expect("a registration");
        held += no_milder(server, &tools);
        let judged = judgements_of(server);
        for (name, tool) in &tools {
            let least = judged.tools[name].access;
            assert!(tool.access >= least, "{server}/{name} is {least:?}");
        }
    }
    assert!(held > 110, "{held} tools");
}

/// The number of tools that were held.
fn no_milder(server: &str, tools: &BTreeMap<String, ToolEntry>) -> usize {
    let judged = judgements_of(server);
    for (name, tool) in tools {
        let judged = judged.tools.get(name);
        let judged = judged.unwrap_or_else(|| panic!("{server}/{name} has no judgement"));
        for label in &judged.labels {
            let is_there = tool.yields.contains(label);
            assert!(is_there, "{server}/{name} brings `{label}`");
        }
        let is_told = tool.egress || !judged.egress;
        assert!(is_told, "{server}/{name} can carry data out");
    }
    tools.len()
}

fn judgements_of(server: &str) -> Judgements {
    let text = std::fs::read_to_string(judgements().join(format!("{server}.toml")));
    toml::from_str(&text.expect("judgements")).expect("judgements")
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
        let judged = judgements_of(&server);
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
    measure(&public_lists(), 60);
}

fn public_lists() -> PathBuf {
    let lists = std::env::var_os("CALLGATE_TEST_LISTS");
    let own = || fetched("registrations/lists", "tests/registrations/fetch");
    lists.map_or_else(own, PathBuf::from)
}

/// Of what the servers list that were asked, the catalogue confirms every tool.
#[test]
#[ignore = "needs the lists of public servers: tests/registrations/fetch installs the servers and asks them"]
fn the_catalogue_confirms_what_its_servers_list() {
    let mut held = 0;
    for server in catalogue::servers() {
        let Ok(text) = std::fs::read_to_string(public_lists().join(format!("{server}.json")))
        else {
            continue;
        };
        let file = Arc::from("list.json");
        let origin = SourceText {
            file: &file,
            text: &text,
        };
        let choices = ImportOptions {
            server: "mine".to_owned(),
            catalogue: Some(server.to_owned()),
            ..ImportOptions::default()
        };
        let imported = import::import(origin, None, &choices).expect("imported");
        assert_eq!(imported.awaiting(), 0, "{server}");
        held += 1;
    }
    assert!(held > 0, "no server of the catalogue was asked");
}
