//! What authors of policies use: lints, formats for build servers, formatting, the whole schema, completions, pages.

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
        15
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
    for shell in ["bash", "zsh", "fish"] {
        let ran = workplace.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("prove"), "{shell}");
    }
    let ran = workplace.run(&["man", "pages"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(workplace.read("pages/callgate-prove.1").contains("ceiling"));
    assert!(workplace.read("pages/callgate.1").contains("callgate"));
}
