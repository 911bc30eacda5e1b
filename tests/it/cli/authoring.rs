//! What authors of policies use: lints, formats for build servers, formatting, the whole schema, completions, pages.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::command::Workplace;

const LINTED: &[(&str, &str)] = &[
    (
        "policies/a.cedar",
        "permit(principal,action,resource);\n@id(\"b\")\n@owner(\"it\")\npermit (principal is Mcp::User, action in Mcp::Action::\"call_read\", resource);\n",
    ),
    (
        "policies/entities/people.json",
        "[{\"uid\": {\"type\": \"Mcp::User\", \"id\": \"owen\"}, \"attrs\": {}, \"parents\": []}]",
    ),
    (
        "policies/tools/git.json",
        "{\"server\": {\"name\": \"git\", \"owner\": \"owen\"}, \"tools\": {\n\"git_log\": {\"access\": \"read\", \"status\": \"proposed\", \"yields\": [\"private\"], \"egress\": true, \"sensitivity\": \"internal\"},\n\"git_show\": {\"access\": \"read\", \"status\": \"proposed\", \"yields\": [\"private\"], \"egress\": true, \"sensitivity\": \"internal\"}}}",
    ),
];

#[test]
fn lints_are_one_line_each_or_in_detail() {
    let workplace = Workplace::new(LINTED);
    let ran = workplace.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    insta::assert_snapshot!("check_lints", ran.transcript());
    let ran = workplace.run(&["check", "--details", "--deny-lints"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    insta::assert_snapshot!("check_lints_in_detail", ran.transcript());
}

#[test]
fn a_lint_is_explained_and_an_unknown_one_is_an_error() {
    let workplace = Workplace::new(&[]);
    let ran = workplace.run(&["check", "--explain", "wide-permit"]);
    insta::assert_snapshot!("check_explain", ran.transcript());
    assert_eq!(
        workplace
            .run(&["check", "--explain", "all"])
            .stdout
            .lines()
            .count(),
        21
    );
    assert_eq!(workplace.run(&["check", "--explain", "wide"]).code, 1);
}

#[test]
fn build_servers_are_told_of_lints_and_of_faults() {
    let workplace = Workplace::new(LINTED);
    let ran = workplace.run(&["check", "--output", "github"]);
    insta::assert_snapshot!("check_github", ran.transcript());
    let sarif = workplace.run(&["check", "--output", "sarif"]).json();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("rules");
    for result in results {
        assert!(
            rules.iter().any(|rule| rule["id"] == result["ruleId"]),
            "{result}"
        );
        let place = &result["locations"][0]["physicalLocation"];
        let file = place["artifactLocation"]["uri"].as_str().expect("a file");
        assert!(workplace.path().join(file).is_file(), "{file}");
        assert!(
            place["region"]["startLine"]
                .as_u64()
                .is_some_and(|line| line > 0)
        );
    }
    assert!(results.len() >= 6, "{results:#?}");
    workplace.write("policies/b.cedar", "permit (\n");
    let ran = workplace.run(&["check", "--output", "github"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stdout
            .starts_with("::error file=policies/b.cedar,line="),
        "{}",
        ran.stdout
    );
}

#[test]
fn policies_are_formatted_once() {
    let workplace = Workplace::new(LINTED);
    let ran = workplace.run(&["fmt", "--check"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!("fmt_check", ran.transcript());
    assert_eq!(workplace.run(&["fmt"]).code, 0);
    insta::assert_snapshot!("fmt_file", workplace.read("policies/a.cedar"));
    assert_eq!(workplace.run(&["fmt", "--check"]).code, 0);
    workplace.write("policies/b.cedar", "permit (\n");
    let ran = workplace.run(&["fmt"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
}

#[test]
fn the_whole_schema_is_one_that_cedar_reads() {
    let workplace = Workplace::new(LINTED);
    let typed = "{\"server\": {\"name\": \"hub\", \"owner\": \"owen\"}, \"tools\": {\"find\": {\"access\": \"read\", \"status\": \"confirmed\", \"yields\": [], \"egress\": false, \"sensitivity\": \"internal\", \"typed\": true, \"input_schema\": {\"type\": \"object\", \"properties\": {\"text\": {\"type\": \"string\"}}, \"required\": [\"text\"]}}}}";
    workplace.write("policies/tools/hub.json", typed);
    workplace.write(
        "policies/own.cedarschema",
        "namespace Acme { entity Room; }\n",
    );
    let ran = workplace.run(&["schema"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let read = callgate_engine::cedar::api::Schema::from_cedarschema_str(&ran.stdout);
    let (schema, _) = read.unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
    let actions: Vec<String> = schema.actions().map(ToString::to_string).collect();
    assert!(
        actions.iter().any(|it| it == "Mcp::Action::\"hub/find\""),
        "{actions:?}"
    );
    assert!(ran.stdout.contains("namespace Acme"), "{}", ran.stdout);
    let json = workplace.run(&["schema", "--json"]).json();
    assert!(json["Mcp"]["actions"]["hub/find"].is_object());
    workplace.write("policies/own.cedarschema", "namespace Acme { entity Room\n");
    assert_eq!(workplace.run(&["schema"]).code, 3);
}

#[test]
fn shells_and_manual_pages_know_every_command() {
    let workplace = Workplace::new(&[]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = workplace.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        for verb in ["authorize", "access", "explain", "init", "prove", "test"] {
            assert!(ran.stdout.contains(verb), "{shell} does not know {verb}");
        }
        workplace.write(&format!("completions.{shell}"), &ran.stdout);
    }
    assert_eq!(workplace.run(&["completions", "command.com"]).code, 1);
    // The one shell that is there wherever tests run has to be able to read it.
    let read = Command::new("bash")
        .args(["-n", "completions.bash"])
        .current_dir(workplace.path())
        .output()
        .expect("bash runs");
    assert!(read.status.success(), "{read:?}");
    let ran = workplace.run(&["man", "pages"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(workplace.read("pages/callgate-prove.1").contains("ceiling"));
    assert!(workplace.read("pages/callgate.1").contains("callgate"));
}

/// Lines of a process, each as soon as it is there.
fn lines_of(process: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let out = process.stdout.take().expect("its output");
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn watched_tests_run_again_when_a_file_changes_and_outlast_faults() {
    let workplace = Workplace::new(&[]);
    let made = workplace.run(&["init", "--user", "ana", "--agent", "helper"]);
    assert_eq!(made.code, 0, "{}", made.transcript());
    let mut process = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["test", "--watch"])
        .current_dir(workplace.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let lines = lines_of(&mut process);
    let until = |wanted: &str| {
        let mut seen = Vec::new();
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
            if line.contains(wanted) {
                return Ok(());
            }
            seen.push(line);
        }
        Err(seen)
    };
    let waits = "waiting for changes";
    let mut seen = vec![until("8 passed"), until(waits)];
    let policies = workplace.read("policies/first.cedar");
    workplace.write(
        "policies/first.cedar",
        policies.replace("permit (", "forbid ("),
    );
    seen.extend([until("FAILED"), until(waits)]);
    workplace.write("policies/first.cedar", "permit (");
    seen.push(until(waits));
    workplace.write("policies/first.cedar", &policies);
    seen.extend([until("8 passed"), until(waits)]);
    let tests = workplace.read("policies/tests/first.yaml");
    workplace.write(
        "policies/tests/first.yaml",
        format!("now: 2026-02-01T00:00:00Z\n{tests}"),
    );
    seen.push(until("8 passed"));
    process.kill().expect("ended");
    process.wait().expect("ended");
    assert!(seen.iter().all(Result::is_ok), "{seen:?}");
}

#[test]
fn a_test_that_is_not_read_is_told() {
    let workplace = Workplace::new(&[]);
    workplace.run(&["init", "--user", "ana", "--agent", "helper"]);
    let test = workplace.read("policies/tests/first.yaml");
    workplace.write("policies/tests/more.json", "{}");
    let ran = workplace.run(&["test"]);
    assert!(
        ran.code == 0
            && ran.stderr.contains("tests/more.json")
            && ran.stderr.contains("this file is not read"),
        "{}",
        ran.transcript()
    );
    let ran = workplace.run(&["test", "--output", "json"]);
    assert!(
        ran.code == 0 && ran.stdout.contains("tests/more.json") && ran.stderr.is_empty(),
        "{}",
        ran.transcript()
    );
    workplace.write("policies/tests/more.YAML", &test);
    let ran = workplace.run(&["test"]);
    assert!(
        ran.code == 3 && ran.stderr.contains("call it `more.yaml`"),
        "{}",
        ran.transcript()
    );
}

#[test]
fn what_chooses_no_test_or_policy_is_an_error() {
    let workplace = Workplace::new(&[]);
    workplace.run(&["init", "--user", "ana", "--agent", "helper"]);
    for (arguments, said) in [
        (
            &["test", "--only", "elsewhere"][..],
            "no test has `elsewhere` in its name or file",
        ),
        (
            &["test", "--mutate", "--no-proof", "--policy", "elsewhere"],
            "no policy has `elsewhere` in its id",
        ),
        (
            &["explain", "elsewhere"],
            "`elsewhere` is no id of a decision",
        ),
    ] {
        let ran = workplace.run(arguments);
        assert!(
            ran.code == 1 && ran.stderr.contains(said),
            "{}",
            ran.transcript()
        );
    }
    // A directory that has something in it is left as it is.
    let before = workplace.read("policies/first.cedar");
    let again = workplace.run(&["init", "--user", "eve", "--agent", "other"]);
    assert_eq!(again.code, 1, "{}", again.transcript());
    assert_eq!(workplace.read("policies/first.cedar"), before);
}
