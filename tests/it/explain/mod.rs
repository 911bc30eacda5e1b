//! `callgate explain` and `callgate access`, as their users see them.

mod by_server;
mod recorded;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use callgate::proto::v1;
use serde_json::Value as Json;

use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::{call_for, entity, start};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .env_remove("CALLGATE_ENDPOINT")
        .output()
        .expect("the binary runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn with_policies<'a>(args: &[&'a str], dir: &'a str) -> Vec<&'a str> {
    [args, &["--policies", dir]].concat()
}

const MERGE: [&str; 15] = [
    "explain",
    "--agent",
    "release",
    "--user",
    "ravi",
    "--server",
    "github",
    "--tool",
    "merge_pull_request",
    "--arg",
    "owner=larkwood",
    "--arg",
    "repo=shop",
    "--arg",
    "pull_number=7",
];

#[test]
fn an_explanation_reads_as_a_page() {
    let dir = shipped().display().to_string();
    let output = run(&with_policies(&MERGE, &dir));
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output);
    // The time of the call is the only thing that differs from run to run.
    let lines = said
        .lines()
        .map(|line| match line.starts_with("  environment = ") {
            true => "  environment = …",
            false => line,
        });
    let page: Vec<&str> = lines.collect();
    insta::assert_snapshot!("explanation", page.join("\n"));
}

#[test]
fn an_explanation_is_json_for_programs_and_a_sentence_for_agents() {
    let dir = shipped().display().to_string();
    let json = [&MERGE[..], &["--output", "json"]].concat();
    let output = run(&with_policies(&json, &dir));
    let answer: Json = serde_json::from_str(&text(&output)).expect("JSON");
    let explanation = &answer["explanation"];
    let kinds: Vec<&str> = explanation["proposals"][0]["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter_map(|change| change["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["session", "approval"]);
    assert_eq!(explanation["chain"][0]["entity"]["id"], "ravi");
    assert_eq!(
        explanation["requests"][0]["policies"][0]["state"],
        "POLICY_STATE_SATISFIED"
    );

    let for_agent = [&MERGE[..], &["--for-agent"]].concat();
    let said = text(&run(&with_policies(&for_agent, &dir)));
    assert_eq!(said.lines().count(), 1);
    for secret in ["approvals.admin", "Group", "ravi", "owen", "second person"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test]
async fn a_server_explains_what_it_decides() {
    let server = start("").await;
    let request = v1::AuthorizeRequest {
        explain: true,
        ..call_for("commit", "bob")
    };
    let answer = server.client().await.authorize(request).await;
    let answer = answer.expect("an answer").into_inner();
    let explanation = answer.explanation.expect("an explanation");
    let chain: Vec<_> = explanation
        .chain
        .iter()
        .map(|it| (it.role.as_str(), it.entity.clone()))
        .collect();
    assert_eq!(
        chain,
        [
            ("root", entity("Mcp::User", "bob")),
            ("subject", entity("Mcp::Agent", "coder"))
        ]
    );
    let asked: Vec<_> = explanation
        .requests
        .iter()
        .map(|it| (it.principal.clone(), it.decision()))
        .collect();
    assert_eq!(
        asked,
        [
            (entity("Mcp::Agent", "coder"), v1::Decision::Allow),
            (entity("Mcp::User", "bob"), v1::Decision::Deny)
        ]
    );
    assert!(explanation.facts.is_some());
    assert!(!explanation.for_agent.is_empty());
}

#[test]
fn access_is_a_matrix_of_everyone_and_a_list_with_conditions_for_one() {
    let dir = shipped().display().to_string();
    let matrix = run(&with_policies(&["access", "--server", "git"], &dir));
    assert_eq!(matrix.status.code(), Some(0));
    insta::assert_snapshot!("access_matrix", text(&matrix));
    let one = ["access", "user:ines", "--tool", "github/create_repository"];
    insta::assert_snapshot!("access_of_one", text(&run(&with_policies(&one, &dir))));
}

#[test]
fn access_has_a_form_for_every_reader() {
    let dir = shipped().display().to_string();
    let output = |format: &str| {
        let args = [
            "access",
            "agent:support",
            "--server",
            "slack",
            "--output",
            format,
        ];
        text(&run(&with_policies(&args, &dir)))
    };
    let csv = output("csv");
    assert!(
        csv.starts_with("who,for,tool,access,needs_approval,why\r\n"),
        "{csv}"
    );
    assert!(output("svg").starts_with("<svg "));
    let json: Json = serde_json::from_str(&output("json")).expect("JSON");
    let cell = &json["rows"][0]["cells"][0];
    assert_eq!(cell["tool"], "slack/slack_add_reaction");
    let open = cell["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .find(|it| it["access"] == "conditional");
    let open = open.expect("for some people");
    assert_eq!(open["for"][0], "Mcp::User::\"sam\"");
    assert!(open["principals"][0]["none_of"][0]["cedar"].is_string());
    let nobody = run(&with_policies(&["access", "agent:nobody"], &dir));
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn a_change_tells_what_it_widens() {
    let policies = fs::read_to_string(shipped().join("admin.cedar")).expect("a file");
    let wider = policies.replace(
        "Mcp::Group::\"release-managers\"",
        "Mcp::Group::\"developers\"",
    );
    assert_ne!(wider, policies);
    let changed = BundleDir::copy_of("policies")
        .file("admin.cedar", wider)
        .write();
    let dir = shipped().display().to_string();
    let said = difference("github/merge_pull_request", changed.path(), "text");
    assert!(said.contains("wider:"), "{said}");
    for who in ["user:lena", "user:owen"] {
        assert!(
            said.contains(&format!("{who} → github/merge_pull_request")),
            "{said}"
        );
    }
    assert!(
        !said.contains("narrower") && !said.contains("user:sam"),
        "{said}"
    );
    let same = run(&with_policies(&["access", "--diff", &dir], &dir));
    assert_eq!(text(&same), "nothing changes\n");
}

/// How access to a tool differs in a changed copy of the shipped directory.
fn difference(tool: &str, changed: &Path, format: &str) -> String {
    let changed = changed.display().to_string();
    let args = [
        "access", "--tool", tool, "--diff", &changed, "--output", format,
    ];
    let dir = shipped().display().to_string();
    text(&run(&with_policies(&args, &dir)))
}

#[test]
fn a_tool_whose_calls_have_fewer_targets_is_wider() {
    let file = shipped().join("tools/filesystem.json");
    let text_of_it = fs::read_to_string(file).expect("it is shipped");
    let mut registration: Json = serde_json::from_str(&text_of_it).expect("JSON");
    registration["tools"]["read_text_file"]["target_arguments"] = Json::Array(Vec::new());
    let changed = BundleDir::copy_of("policies")
        .file("tools/filesystem.json", registration.to_string())
        .write();
    let difference = |format| difference("filesystem/read_text_file", changed.path(), format);
    let said = difference("text");
    assert!(
        said.contains("registration of filesystem/read_text_file: target_arguments"),
        "{said}"
    );
    let said: Json = serde_json::from_str(&difference("json")).expect("JSON");
    let change = &said["registrations"][0];
    assert_eq!(change["direction"], "wider", "{said}");
    assert_eq!(change["part"], "target_arguments");
    assert_eq!(change["after"], Json::Array(Vec::new()));
}
