//! The shipped policies: in order, and every row of the tables in `cases/` decided as it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use callgate::bundle::{self, Bundle};

use crate::policies::rows::{Case, Table};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Bundle {
    bundle::load(&root().join("policies")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn tables() -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(root().join("tests/it/policies/cases")).expect("the tables") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a table");
        let table =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        tables.push((path.display().to_string(), table));
    }
    tables
}

#[test]
fn every_row_is_decided_as_it_says() {
    let bundle = shipped();
    let mut differences = Vec::new();
    let mut rows = 0;
    for (file, table) in tables() {
        for case in table.case {
            rows += 1;
            let decision = case.decide(&bundle);
            differences.extend(
                case.difference(&decision)
                    .map(|difference| format!("{file}: {difference}")),
            );
        }
    }
    assert!(rows > 50, "only {rows} rows were found");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_shipped_policy_decides_some_row() {
    let named: BTreeSet<String> = tables()
        .into_iter()
        .flat_map(|(_, table)| table.case)
        .flat_map(|case| case.policies().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let bundle = shipped();
    let untested: Vec<_> = bundle
        .policies
        .iter()
        .map(|policy| policy.id.as_str())
        .filter(|id| !named.contains(*id))
        .collect();
    // Nothing that is shipped is restricted or suspended: their own tests are below.
    assert_eq!(untested, ["data.restricted", "kill_switch.suspended"]);
}

#[test]
fn every_policy_says_who_answers_for_it_and_why() {
    let bundle = shipped();
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
    assert!(bundle.counts.level <= 2);
    assert!(
        bundle
            .policies
            .iter()
            .all(|policy| policy.owner.is_some() && !policy.id.contains('#'))
    );
    for entry in fs::read_dir(root().join("policies")).expect("the policies") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            let text = fs::read_to_string(&path).expect("policies");
            for policy in text.split("@id(").skip(1) {
                for annotation in ["@owner(\"", "@controls(\"", "@reason(\""] {
                    assert!(
                        policy.contains(annotation),
                        "{}: no {annotation} in {policy}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// The shipped directory with one change.
fn changed(file: &str, change: impl FnOnce(String) -> String) -> Bundle {
    let dir = tempfile::tempdir().expect("a temporary directory");
    copy(&root().join("policies"), dir.path());
    let path = dir.path().join(file);
    let before = fs::read_to_string(&path).expect("a file");
    let after = change(before.clone());
    assert_ne!(before, after);
    fs::write(&path, after).expect("a file");
    bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

fn answer(bundle: &Bundle, row: &str) {
    let case: Case = toml::from_str(row).expect("a row");
    let decision = case.decide(bundle);
    assert_eq!(case.difference(&decision), None);
}

#[test]
fn one_word_takes_a_server_out_of_service() {
    let suspended = changed("tools/slack.json", |text| {
        text.replace("\"messaging\"", "\"messaging\", \"suspended\"")
    });
    answer(
        &suspended,
        "it = 'its tools are not called'\nuser = 'tara'\nserver = 'slack'\ntool = 'slack_list_channels'\n\
         want = 'deny'\nreason = 'FORBIDDEN'\npolicies = ['kill_switch.suspended']",
    );
    let inactive = changed("tools/github.json", |text| {
        text.replace("\"active\": true", "\"active\": false")
    });
    for row in [
        "it = 'it asks nothing'\nfrom_server = 'github'\nkind = 'sample'\n\
         want = 'deny'\nreason = 'SERVER_UNKNOWN'",
        "it = 'nobody calls it'\nuser = 'sam'\nserver = 'github'\ntool = 'get_issue'\n\
         want = 'deny'\nreason = 'SERVER_UNKNOWN'",
    ] {
        answer(&inactive, row);
    }
}
