//! The policy library: each policy alone decides as its tests say, and the tables of its page are generated.
//!
//! After a change of the library:
//!
//! ```sh
//! CALLGATE_UPDATE_DOCS=1 cargo test --test it policies::library
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use callgate::analysis::policy_test::TestedBundle;
use callgate::analysis::policy_test::mutate::mutate;
use callgate::bundle;

const PAGE: &str = "policies/library/README.md";
const START: &str =
    "<!-- generated: CALLGATE_UPDATE_DOCS=1 cargo test --test it policies::library -->";
const END: &str = "<!-- end of what is generated -->";
/// The fewest policies.
const MIN_POLICIES: usize = 25;

/// The controls that policies may name, with their titles.
const CONTROLS: &[(&str, &str)] = &[
    ("OWASP:ASI01", "Agent Goal Hijack"),
    ("OWASP:ASI02", "Tool Misuse and Exploitation"),
    ("OWASP:ASI03", "Identity and Privilege Abuse"),
    ("OWASP:ASI04", "Agentic Supply Chain Vulnerabilities"),
    ("OWASP:ASI05", "Unexpected Code Execution"),
    ("OWASP:ASI06", "Memory & Context Poisoning"),
    ("OWASP:ASI07", "Insecure Inter-Agent Communication"),
    ("OWASP:ASI08", "Cascading Failures"),
    ("OWASP:ASI09", "Human-Agent Trust Exploitation"),
    ("OWASP:ASI10", "Rogue Agents"),
    ("OWASP:MCP01", "Token Mismanagement & Secret Exposure"),
    ("OWASP:MCP02", "Privilege Escalation via Scope Creep"),
    ("OWASP:MCP03", "Tool Poisoning"),
    ("OWASP:MCP04", "Supply Chain & Dependency Tampering"),
    ("OWASP:MCP05", "Command Injection & Execution"),
    ("OWASP:MCP06", "Intent Flow Subversion"),
    ("OWASP:MCP07", "Insufficient Authentication & Authorization"),
    ("OWASP:MCP08", "Lack of Audit and Telemetry"),
    ("OWASP:MCP09", "Shadow MCP Servers"),
    ("OWASP:MCP10", "Context Injection & Over-Sharing"),
    ("OWASP:NHI1", "Improper Offboarding"),
    ("OWASP:NHI2", "Secret Leakage"),
    ("OWASP:NHI3", "Vulnerable Third-Party NHI"),
    ("OWASP:NHI4", "Insecure Authentication"),
    ("OWASP:NHI5", "Overprivileged NHI"),
    ("OWASP:NHI6", "Insecure Cloud Deployment Configurations"),
    ("OWASP:NHI7", "Long-Lived Secrets"),
    ("OWASP:NHI8", "Environment Isolation"),
    ("OWASP:NHI9", "NHI Reuse"),
    ("OWASP:NHI10", "Human Use of NHI"),
    ("NIST-CSF:GV.SC-07", "risks of suppliers are followed"),
    ("NIST-CSF:ID.AM-02", "inventory of software and services"),
    (
        "NIST-CSF:PR.AA-01",
        "identities and credentials are managed",
    ),
    ("NIST-CSF:PR.AA-03", "users and services are authenticated"),
    (
        "NIST-CSF:PR.AA-05",
        "least privilege and separation of duties",
    ),
    ("NIST-CSF:PR.DS-02", "data in transit is protected"),
    ("NIST-CSF:DE.CM-06", "external services are monitored"),
    ("NIST-CSF:DE.CM-09", "computing and its data are monitored"),
    ("NIST-CSF:RS.MI-01", "incidents are contained"),
    ("NIST-800-207:2", "all communication is secured"),
    ("NIST-800-207:3", "access is granted per session"),
    ("NIST-800-207:4", "access is determined by dynamic policy"),
    ("NIST-800-207:6", "authentication and authorization first"),
    ("NIST-AI-RMF:MAP", "Map"),
    ("NIST-AI-RMF:MEASURE", "Measure"),
    ("NIST-AI-RMF:MANAGE", "Manage"),
    ("CSA-MAESTRO:L1", "Foundation Models"),
    ("CSA-MAESTRO:L2", "Data Operations"),
    ("CSA-MAESTRO:L3", "Agent Frameworks"),
    ("CSA-MAESTRO:L5", "Evaluation and Observability"),
    ("CSA-MAESTRO:L6", "Security and Compliance"),
    ("CSA-MAESTRO:L7", "Agent Ecosystem"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of policies in a directory, by name without extension.
fn policies_in(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join(folder)).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|it| it == "cedar") {
            let stem = path.file_stem().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("policies");
            found.insert(stem.into_owned(), text);
        }
    }
    found
}

/// The values of one annotation, one for each policy that has it.
fn annotations<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("@{name}(\"");
    let lines = text.lines();
    lines
        .filter_map(|line| line.strip_prefix(&start)?.strip_suffix("\")"))
        .collect()
}

/// A directory with one policy of the library, its tests, and what both stand on.
fn alone(name: &str) -> TestedBundle {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let library = root().join("policies/library");
    let copy = |from: PathBuf, to: &str| {
        fs::copy(&from, dir.path().join(to)).unwrap_or_else(|it| panic!("{}: {it}", from.display()))
    };
    fs::create_dir(dir.path().join("tests")).expect("made");
    copy(library.join("minimal/minimal.cedar"), "minimal.cedar");
    copy(library.join(format!("{name}.cedar")), "policy.cedar");
    copy(
        library.join(format!("tests/{name}.yaml")),
        "tests/tests.yaml",
    );
    TestedBundle::load(dir.path(), None).unwrap_or_else(|faults| panic!("{name}: {faults}"))
}

#[test]
fn every_policy_of_the_library_is_tested_alone_and_no_change_of_it_goes_unnoticed() {
    let mut faults = Vec::new();
    for name in policies_in("policies/library").keys() {
        let tested = alone(name);
        let ran = tested.run(None, true).expect("the tests run");
        for case in ran.failures() {
            faults.push(format!("{name}: {case:#?}"));
        }
        let coverage = ran.coverage.as_ref().expect("it was asked for");
        for policy in &coverage.policies {
            let conditions = policy.conditions.iter().filter(|it| !it.is_covered());
            faults.extend(conditions.map(|it| format!("{name}: {}: {}", it.lacks(), it.text)));
        }
        if ran.is_passed() {
            let report = mutate(&tested, Some("library."), false).expect("the tests run");
            assert!(!report.mutants.is_empty(), "{name}");
            faults.extend(report.survivors().map(|it| format!("{name}: {it:?}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_library_is_whole_and_loaded_by_nobody_else() {
    let library = bundle::load(&root().join("policies/library"));
    let library = library.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(library.policies.len() > MIN_POLICIES);
    let shipped = bundle::load(&root().join("policies"));
    let shipped = shipped.unwrap_or_else(|faults| panic!("{faults}"));
    let ids = shipped.policies.iter().map(|policy| policy.id.as_str());
    assert_eq!(ids.filter(|id| id.starts_with("library.")).count(), 0);

    for (name, text) in policies_in("policies/library") {
        let ids = annotations(&text, "id");
        assert_eq!(ids.first(), Some(&format!("library.{name}").as_str()));
        for needed in ["owner", "controls", "reason"] {
            assert_eq!(
                annotations(&text, needed).len(),
                ids.len(),
                "{name}: {needed}"
            );
        }
        for control in annotations(&text, "controls") {
            for control in control.split(',') {
                let is_known = CONTROLS.iter().any(|(known, _)| *known == control);
                assert!(is_known, "{name}: {control}");
            }
        }
        assert!(text.contains("\n// Do not use it "), "{name}");
    }
}

/// What the head of a policy's file says: what it is there for, and when not to use it.
fn head(text: &str) -> (String, String) {
    let lines = text.lines().map_while(|line| line.strip_prefix("//"));
    let head = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let (what, not) = head.split_once("Do not use it ").expect("when not");
    (what.trim().to_owned(), not.trim().to_owned())
}

fn tables() -> String {
    let library = policies_in("policies/library");
    let mut page = format!("{START}\n\n## Policies\n\n| policy | | not |\n|---|---|---|\n");
    for (name, text) in &library {
        let (what, not) = head(text);
        let _ = writeln!(page, "| [{name}]({name}.cedar) | {what} | {not} |");
    }
    page.push_str("\n## Coverage by control\n\n");
    page.push_str("| control | | in the library | in [policies/](..) |\n|---|---|---|---|\n");
    let shipped = policies_in("policies");
    for (control, title) in CONTROLS {
        let names = library.iter().filter(|(_, text)| {
            let mut controls = annotations(text, "controls").into_iter();
            controls.any(|it| it.split(',').any(|it| it == *control))
        });
        let names: Vec<String> = names.map(|(name, _)| format!("`{name}`")).collect();
        let there = shipped
            .values()
            .flat_map(|text| annotations(text, "controls"));
        let count = there.filter(|it| it.split(',').any(|it| it == *control));
        let (names, count) = (names.join(", "), count.count());
        let _ = writeln!(page, "| {control} | {title} | {names} | {count} |");
    }
    page + END
}

#[test]
fn the_page_of_the_library_has_the_tables_that_its_policies_make() {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(START).expect("where the tables start");
    let (_, after) = rest.split_once(END).expect("where the tables end");
    let wanted = format!("{before}{}{after}", tables());
    if std::env::var_os("CALLGATE_UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("written");
    } else {
        assert!(page == wanted, "run it with CALLGATE_UPDATE_DOCS=1");
    }
}
