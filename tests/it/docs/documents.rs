//! What the documents point at is there: every link between them, with its heading, and every test that
//! `ARCHITECTURE.md` names for an invariant.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The README stays short enough to be read.
const MOST_LINES_OF_README: usize = 170;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

/// All documents, those of generated and installed things excepted.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).expect("the root") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
    for folder in ["docs", "deploy", "fuzz", "tests", "crates"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            files_below(&folder, "md", &mut found);
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

/// A text without what stands in fences: commands and code link to nothing.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && !line.starts_with("```")
    });
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut faults = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for rest in prose(&text).split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("a folder").join(path),
            };
            let is_there = match heading {
                "" => target.exists(),
                _ => fs::read_to_string(&target).is_ok_and(|it| anchors(&it).contains(heading)),
            };
            if !is_there {
                faults.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The steps of the walks are table rows that begin with a number: `path` → `function`, once or more.
#[test]
fn the_walks_lead_through_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the document");
    let (mut faults, mut steps) = (Vec::new(), 0);
    for row in text.lines() {
        let mut cells = row.split('|').skip(1);
        let number = cells.next().unwrap_or_default().trim();
        if number.parse::<u8>().is_err() {
            continue;
        }
        let step = cells.next().unwrap_or_default();
        let quoted: Vec<&str> = step.split('`').skip(1).step_by(2).collect();
        for (at, name) in quoted.iter().enumerate() {
            if !name.contains('/') {
                continue;
            }
            steps += 1;
            let path = match name.starts_with("crates/") {
                true => root.join(name),
                false => root.join("src").join(name),
            };
            let is_file = name.ends_with(".rs");
            let source = if is_file {
                fs::read_to_string(&path).unwrap_or_default()
            } else {
                String::new()
            };
            let function = quoted.get(at + 1).filter(|next| !next.contains('/'));
            let function = function.map(|it| it.rsplit("::").next().unwrap_or(it));
            let is_there = match (is_file, function) {
                (false, _) => path.is_dir(),
                (true, None) => path.is_file(),
                (true, Some(function)) => source.contains(&format!("fn {function}")),
            };
            if !is_there {
                faults.push(format!("{number}: {name} {function:?}"));
            }
        }
    }
    assert!(steps > 20, "only {steps} steps");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# One\n## The `[x]` of Envoy, twice\n```sh\n# no heading\n```\n";
    let expected = ["one", "the-x-of-envoy-twice"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}

#[test]
fn the_tests_that_hold_the_invariants_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let (_, table) = text
        .split_once("| invariant | held by |\n")
        .expect("the table");
    let rows = table.lines().skip(1).take_while(|it| it.starts_with('|'));
    let mut sources = Vec::new();
    for folder in ["src", "tests", "crates", "fuzz"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            files_below(&folder, "rs", &mut sources);
        }
    }
    let sources: String = sources
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let tests = cells.last().expect("a cell").split('`').skip(1).step_by(2);
        let mut of_row = 0;
        for test in tests {
            let is_there = sources.contains(&format!("fn {test}("));
            assert!(is_there, "no test is called {test}: {row}");
            of_row += 1;
        }
        assert!(of_row > 0, "no test: {row}");
        named += of_row;
    }
    assert!(named > 30, "{named} tests");
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let lines = text.lines().count();
    assert!(lines <= MOST_LINES_OF_README, "{lines} lines");
}
