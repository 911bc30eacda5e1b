//! Every configuration of Callgate that is shipped, as a file, within another file or made by a command: it can be read,
//! and whoever pastes it is not taken for an agent that acts by itself where a gateway forgets to name the user.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use callgate::analysis::check;
use callgate::config::Config;

use crate::support::process::Bundle;

/// Mark directories to take policies from; nobody serves them.
const NOT_SERVED: [&str; 2] = [
    "policies/library/callgate.toml",
    "policies/library/minimal/callgate.toml",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The part for `callgate.toml` in the comments of another configuration, without the marks of the comment.
fn in_comments(text: &str) -> Option<String> {
    let (_, after) = text.split_once("# In callgate.toml:\n#\n")?;
    let lines = after.lines().take_while(|line| line.starts_with("#   "));
    Some(lines.map(|line| format!("{}\n", &line[4..])).collect())
}

/// The blocks of TOML in a document.
fn in_fences(text: &str) -> Vec<String> {
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next().map(str::to_owned))
        .collect()
}

/// Each configuration by where it is.
fn configurations() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    for folder in ["deploy", "policies", "examples"] {
        files_below(&root().join(folder), &mut files);
    }
    let mut found = BTreeMap::new();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let name = path.strip_prefix(root()).expect("below the root");
        let name = name.to_string_lossy().into_owned();
        if path.file_name().is_some_and(|it| it == "callgate.toml") {
            found.insert(name, text);
        } else if let Some(part) = in_comments(&text) {
            found.insert(name, part);
        } else if path.extension().is_some_and(|it| it == "md") {
            for (at, block) in in_fences(&text).into_iter().enumerate() {
                found.insert(format!("{name} {at}"), block);
            }
        }
    }
    found.retain(|name, _| !NOT_SERVED.contains(&name.as_str()));
    found
}

#[test]
fn every_shipped_configuration_wants_each_call_to_name_a_user() {
    let found = configurations();
    for expected in [
        "policies/callgate.toml",
        "deploy/systemd/callgate.toml",
        "deploy/sidecar/callgate.toml",
        "deploy/toolhive/callgate.toml",
        "deploy/agentgateway/config.yaml",
        "deploy/envoy/ext-authz.yaml",
        "deploy/envoy/ext-proc.yaml",
        "deploy/istio/README.md 0",
    ] {
        assert!(found.contains_key(expected), "{expected}: {found:?}");
    }
    for (name, text) in found {
        let config = Config::from_toml(&text, "callgate.toml");
        let config = config.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        // Of the file, or of each caller in it.
        let by_caller = |it: Option<bool>| it.unwrap_or(config.require_delegation);
        let is_demanded = match config.callers.as_slice() {
            [] => config.require_delegation,
            callers => callers.iter().all(|it| by_caller(it.require_delegation)),
        };
        assert!(is_demanded, "{name}: `require_delegation`");
    }
}

/// The shipped policies as they are installed: without their own configuration.
fn installed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut files = Vec::new();
    files_below(&root().join("policies"), &mut files);
    for from in files {
        let name = from.strip_prefix(root().join("policies")).expect("below");
        let to = dir.path().join(name);
        fs::create_dir_all(to.parent().expect("a parent")).expect("directories");
        fs::copy(&from, &to).expect("copied");
    }
    fs::remove_file(dir.path().join("callgate.toml")).expect("taken away");
    dir
}

#[test]
fn the_shipped_policies_are_in_order_under_every_configuration_that_is_shipped_for_them() {
    let dir = installed();
    let own = fs::read_to_string(root().join("policies/callgate.toml")).expect("settings");
    let toolhive =
        fs::read_to_string(root().join("deploy/toolhive/callgate.toml")).expect("settings");
    let beside = tempfile::tempdir().expect("a directory");
    let added = beside.path().join("callgate.toml");
    let text = own.replacen("without_callers = true\n", "", 1) + "\n" + &toolhive;
    fs::write(&added, text).expect("written");
    for config in [
        root().join("deploy/systemd/callgate.toml"),
        root().join("deploy/sidecar/callgate.toml"),
        added,
    ] {
        let checked = check::check(dir.path(), Some(&config), true);
        let report = checked.unwrap_or_else(|faults| panic!("{}: {faults}", config.display()));
        assert!(
            report.lints.is_empty(),
            "{}: {:?}",
            config.display(),
            report.lints
        );
    }
}

#[test]
fn no_file_that_is_taken_away_puts_the_library_or_what_its_tests_stand_on_into_force_unsaid() {
    let dir = installed();
    let config = root().join("deploy/systemd/callgate.toml");
    fs::remove_file(dir.path().join("library/callgate.toml")).expect("taken away");
    let faults = check::check(dir.path(), Some(&config), false).expect_err("a fault");
    let said = faults.to_string();
    let (first, then) = (
        said.find("[bundle] apart"),
        said.find("take that file away"),
    );
    assert!(said.contains("library/minimal"), "{said}");
    assert!(first < then && first.is_some(), "{said}");
    assert!(
        said.contains("what is in the directory is in force"),
        "{said}"
    );
    // Whoever goes on is told of the permit itself.
    fs::remove_file(dir.path().join("library/minimal/callgate.toml")).expect("taken away");
    let report = check::check(dir.path(), Some(&config), false).expect("in order");
    let open = |it: &&callgate::bundle::diagnostic::BundleDiagnostic| {
        it.message.contains("`minimal.permit` permits everything")
    };
    assert_eq!(report.warnings.iter().filter(open).count(), 1);
}

#[test]
fn so_do_the_chart_and_what_init_writes() {
    let chart = root().join("deploy/helm/callgate");
    let values = fs::read_to_string(chart.join("values.yaml")).expect("values");
    assert!(values.lines().any(|it| it == "requireDelegation: true"));
    let written = fs::read_to_string(chart.join("templates/_config.tpl")).expect("a template");
    assert!(written.contains("\nrequire_delegation = {{ .Values.requireDelegation }}\n"));
    assert!(values.lines().any(|it| it == "  apart: [library]"));
    assert!(written.contains("\napart = {{ toJson .apart }}\n"));

    let bundle = Bundle::empty();
    let names = ["--user", "sam", "--agent", "helper", "--server", "files"];
    let made = bundle.run(&[&["init", "made"][..], &names].concat());
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(bundle.folder().join("made/callgate.toml")).expect("settings");
    let config = Config::from_toml(&text, "callgate.toml").expect("settings");
    assert!(config.require_delegation);
}

/// Where calls name a workload's certificate and nothing else, so that each acts by itself. The file says so.
const OF_WORKLOADS: [&str; 1] = ["deploy/gateway-api/values.yaml"];

/// The text of a block in YAML, without its indentation.
fn block(yaml: &str, name: &str) -> Option<String> {
    let (_, after) = yaml.split_once(&format!("\n{name}: |\n"))?;
    let is_inside = |line: &&str| line.is_empty() || line.starts_with("  ");
    let lines = after.lines().take_while(is_inside);
    Some(
        lines
            .map(|it| it.trim_start_matches("  ").to_owned() + "\n")
            .collect(),
    )
}

#[test]
fn so_do_the_values_that_are_shipped_for_the_chart() {
    let mut files = Vec::new();
    files_below(&root().join("deploy"), &mut files);
    let mut seen = 0;
    for path in files {
        let name = path.strip_prefix(root()).expect("below the root");
        let name = name.to_string_lossy().into_owned();
        if path.file_name().is_none_or(|it| it != "values.yaml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).expect("values");
        let waived = text.lines().any(|it| it == "requireDelegation: false");
        let is_said = text.contains("A workload acts by itself");
        let is_of_workloads = OF_WORKLOADS.contains(&name.as_str());
        assert_eq!(waived, is_of_workloads, "{name}");
        assert_eq!(is_said, is_of_workloads, "{name}");
        assert!(!text.contains("\n    require_delegation: false"), "{name}");
        if let Some(config) = block(&text, "config") {
            let read = Config::from_toml(&config, "callgate.toml");
            read.unwrap_or_else(|faults| panic!("{name}: {faults:?}\n{config}"));
        }
    }
    assert!(seen >= 3, "{seen} files");
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    String::from_utf8_lossy(&output.stdout).into_owned() + &error
}

/// The shipped policies with the shipped settings: an agent that may read for its user may not for nobody.
#[test]
fn a_gateway_that_leaves_out_the_user_is_denied_by_what_is_shipped() {
    let bundle = Bundle::shipped();
    let call = [
        "authorize",
        "--agent",
        "release",
        "--server",
        "git",
        "--tool",
        "git_log",
        "--arg",
        "repo_path=/srv/app",
    ];
    let for_user = bundle.run(&[&call[..], &["--user", "sam"]].concat());
    assert!(
        text(&for_user).starts_with("allow\n"),
        "{}",
        text(&for_user)
    );
    let for_nobody = bundle.run(&call);
    let said = text(&for_nobody);
    assert!(!for_nobody.status.success(), "{said}");
    assert!(said.contains("CONTEXT_MISSING"), "{said}");
}
