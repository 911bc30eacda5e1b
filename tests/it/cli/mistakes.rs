//! Every class of mistake in a directory is found, explained and located: [mistakes.yaml](mistakes.yaml), which docs/checks.md
//! lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::support::command::{Ran, Workplace};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// A directory in order, by path.
    good: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    about: String,
    mistake: String,
    /// What stands in place of good files, or beside them.
    files: BTreeMap<String, String>,
    verb: String,
    /// The file with the line.
    at: String,
    says: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> Table {
    let text = fs::read_to_string(root().join("tests/it/cli/mistakes.yaml")).expect("the table");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a verb in a directory with these files.
fn ran(good: &BTreeMap<String, String>, files: &BTreeMap<String, String>, verb: &str) -> Ran {
    let workplace = Workplace::new(&[]);
    for (path, text) in good.iter().chain(files) {
        workplace.write(&format!("policies/{path}"), text);
    }
    workplace.run(&verb.split(' ').collect::<Vec<_>>())
}

#[test]
fn every_mistake_is_found_explained_and_located() {
    let table = table();
    for verb in ["check --strict", "test"] {
        let ran = ran(&table.good, &BTreeMap::new(), verb);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
    }
    let classes: BTreeSet<(&str, &str)> = table
        .mistakes
        .iter()
        .map(|it| (it.about.as_str(), it.mistake.as_str()))
        .collect();
    assert_eq!(
        classes.len(),
        table.mistakes.len(),
        "a mistake is there twice"
    );
    let of_check = table.mistakes.iter();
    let of_check = of_check.filter(|it| it.verb.starts_with("check")).count();
    assert!(of_check >= 40, "only {of_check} classes by check");
    let mut golden = String::new();
    for it in &table.mistakes {
        let ran = ran(&table.good, &it.files, &it.verb);
        let (about, mistake) = (&it.about, &it.mistake);
        assert_eq!(ran.code, 3, "{about}: {mistake}: {}", ran.transcript());
        let (place, is_right) = (format!("--> ./{}", it.at), ran.stderr.contains(&it.says));
        assert!(
            is_right,
            "{about}: {mistake}: {}: {}",
            it.says,
            ran.transcript()
        );
        assert!(
            ran.stderr.contains(&place),
            "{about}: {mistake}: {place}: {}",
            ran.transcript()
        );
        golden.push_str(&format!(
            "=== {about}: {mistake}: callgate {}\n{}\n",
            it.verb, ran.stderr
        ));
    }
    insta::assert_snapshot!("mistakes", golden);
}

#[test]
fn the_documentation_lists_them() {
    let page = fs::read_to_string(root().join("docs/checks.md")).expect("the page");
    for it in &table().mistakes {
        let row = format!("| {} | {} |", it.mistake, it.says);
        assert!(page.contains(&row), "docs/checks.md lacks the row\n{row}");
    }
}
