//! `callgate check`, as a person and as a pipeline see it.

use crate::support::command::Workplace;

const GOOD: &[(&str, &str)] = &[
    (
        "policies/reads.cedar",
        "@id(\"staff\")\n@owner(\"security\")\npermit (principal in Mcp::Group::\"staff\", action in Mcp::Action::\"call_read\", resource);\n",
    ),
    (
        "policies/trial.cedar",
        "@mode(\"shadow\")\n@onwer(\"security\")\nforbid (principal, action in Mcp::Action::\"call_tool\", resource)\nunless { resource.confirmed };\n",
    ),
    (
        "policies/entities/people.json",
        "[{\"uid\": {\"type\": \"Mcp::User\", \"id\": \"owen\"}, \"attrs\": {}, \"parents\": []}]",
    ),
    (
        "policies/tools/git.json",
        "{\"server\": {\"name\": \"git\", \"owner\": \"owen\"}, \"tools\": {\"git_log\": {\"access\": \"read\", \"status\": \"proposed\", \"yields\": [\"private\"], \"egress\": false, \"sensitivity\": \"internal\"}}}",
    ),
];

const FAULTY: &[(&str, &str)] = &[
    (
        "policies/a.cedar",
        "permit (principal, action, resource)\nwhen { context.purpse == \"x\" };\n",
    ),
    ("policies/b.cedar", "permit (principal, action, resource\n"),
    (
        "policies/entities/people.json",
        "[\n  {\"uid\": {\"type\": \"Mcp::User\", \"id\": \"owen\"}, \"attrs\": {\"nme\": \"Owen\"}, \"parents\": []}\n]\n",
    ),
    (
        "policies/tools/git.json",
        "{\n  \"server\": {\"name\": \"git\", \"owner\": \"owen\"},\n  \"tools\": {\n    \"git_log\": {\"access\": \"look\", \"status\": \"confirmed\", \"yields\": [], \"egress\": false, \"sensitivity\": \"internal\"}\n  }\n}\n",
    ),
    (
        "policies/callgate.toml",
        "[schema]\nmax_dereference_level = \"far\"\n",
    ),
];

#[test]
fn a_directory_in_order() {
    let ran = Workplace::new(GOOD).run(&["check", "policies"]);
    insta::assert_snapshot!("check_in_order", ran.transcript());
}

#[test]
fn a_directory_in_order_as_json() {
    let ran = Workplace::new(GOOD).run(&["check", "policies", "--output", "json"]);
    assert_eq!(ran.code, 0);
    insta::assert_json_snapshot!("check_in_order_json", ran.json());
}

#[test]
fn all_faults_at_once() {
    let ran = Workplace::new(FAULTY).run(&["check", "policies"]);
    insta::assert_snapshot!("check_faults", ran.transcript());
}

#[test]
fn all_faults_as_json() {
    let ran = Workplace::new(FAULTY).run(&["check", "policies", "--output", "json"]);
    assert_eq!(ran.code, 3);
    insta::assert_json_snapshot!("check_faults_json", ran.json());
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let workplace = Workplace::new(GOOD);
    assert_eq!(workplace.run(&["check"]).code, 0);
    assert_eq!(workplace.run(&["check", "--strict"]).code, 3);
}

#[test]
fn a_directory_that_is_not_there() {
    let ran = Workplace::new(&[]).run(&["check"]);
    insta::assert_snapshot!("check_no_directory", ran.transcript());
}

#[test]
fn mistakes_on_the_command_line_do_not_look_like_a_deny() {
    let workplace = Workplace::new(&[]);
    for args in [
        &["check", "--bogus"][..],
        &["chek"],
        &[],
        &["import", "tools", "x"],
    ] {
        let ran = workplace.run(args);
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.transcript());
        assert!(!ran.stderr.is_empty());
    }
    for args in [&["--help"][..], &["check", "--help"], &["--version"]] {
        let ran = workplace.run(args);
        assert_eq!(ran.code, 0, "{args:?}");
        assert!(!ran.stdout.is_empty());
    }
}

#[test]
fn the_help_teaches() {
    insta::assert_snapshot!(
        "check_help",
        Workplace::new(&[]).run(&["check", "--help"]).stdout
    );
}

#[test]
fn a_policy_file_without_a_policy_is_listed_and_warned_of() {
    let workplace = Workplace::new(GOOD);
    workplace.write("policies/emptied.cedar", "");
    let ran = workplace.run(&["check", "policies"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    for said in [
        "warning: no policy is in this file\n --> policies/emptied.cedar\n",
        "            policies/emptied.cedar  0 permits, 0 forbids\n",
    ] {
        assert!(ran.stdout.contains(said), "{}", ran.transcript());
    }
}
