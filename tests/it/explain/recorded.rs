//! `callgate explain` and `callgate access` on the decision log of a server.

use callgate::proto::v1;
use serde_json::Value as Json;

use crate::replay::stage::{Files, Stage};
use crate::support::command::Workplace;
use crate::support::in_process::{call, call_for, entity};
use crate::support::worlds;

pub(super) const CONFIG: &str = "without_callers = true\n";
const OBSERVED: &str = "without_callers = true\n[observe]\nservice = true\n";
pub(super) const STRICTER: &str = r#"
@id("no_more_commits") @reason("enough") forbid (principal, action, resource == Mcp::Tool::"git/commit");
"#;

pub(super) async fn ask(stage: &Stage, request: v1::AuthorizeRequest) -> v1::AuthorizeResponse {
    let answer = stage.server.client().await.authorize(request).await;
    answer.expect("an answer").into_inner()
}

/// Explains a decision as JSON.
fn explained(stage: &Stage, files: Files<'_>, id: &str, exit: i32) -> Json {
    let ran = stage.run(&["explain", id, "--output", "json"], files);
    assert_eq!(ran.code, exit, "{}", ran.transcript());
    ran.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_decision_is_explained_as_the_server_explained_it() {
    let stage = Stage::new(CONFIG, &[]).await;
    let mut outcomes = [0, 0];
    for tool in ["log", "commit", "purge", "new_one"] {
        for mut request in [call(tool), call_for(tool, "bob"), call_for(tool, "ana")] {
            request.explain = true;
            let answer = ask(&stage, request).await;
            let is_deny = answer.decision() == v1::Decision::Deny;
            outcomes[usize::from(is_deny)] += 1;
            let exit = if is_deny { 2 } else { 0 };
            let found = explained(&stage, &[], &answer.decision_id, exit);
            let recorded = &found["recorded"];
            assert_eq!(recorded["sameBundle"], true, "{found}");
            assert_eq!(recorded["sameDecision"], true, "{found}");
            let said = callgate::proto::json::write("AuthorizeResponse", &answer).expect("JSON");
            for part in ["reasons", "determiningPolicies"] {
                assert_eq!(found["response"][part], said[part], "{part}");
            }
            for part in ["chain", "requests", "proposals", "forAgent"] {
                let (one, other) = (
                    &found["response"]["explanation"][part],
                    &said["explanation"][part],
                );
                assert_eq!(one, other, "{part} of {tool}");
            }
        }
    }
    assert!(outcomes.iter().all(|it| *it > 0), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_decides_otherwise_is_told_apart() {
    let stage = Stage::new(CONFIG, &[]).await;
    let id = ask(&stage, call("commit")).await.decision_id;
    let files = [("stricter.cedar", STRICTER)];
    let same = stage.run(&["explain", &id], &[]);
    let other = stage.run(&["explain", &id], &files);
    assert_eq!((same.code, other.code), (0, 2), "{}", other.transcript());
    assert!(same.stdout.contains(": the same\n"), "{}", same.stdout);
    for said in [
        "\n  allow at ",
        "decided with another bundle than",
        "ANOTHER DECISION OR REASON",
        "forbid no_more_commits applies",
    ] {
        assert!(other.stdout.contains(said), "{said}: {}", other.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_observed_is_explained_as_it_was_decided() {
    let stage = Stage::new(OBSERVED, &[]).await;
    let mut request = call_for("purge", "bob");
    request.explain = true;
    let answer = ask(&stage, request).await;
    assert!(answer.observed && answer.decision() == v1::Decision::Allow);
    let explanation = answer.explanation.expect("an explanation");
    assert!(!explanation.for_agent.is_empty() && !explanation.requests.is_empty());
    let found = explained(&stage, &[], &answer.decision_id, 2);
    assert_eq!(found["recorded"]["enforced"], false);
    assert_eq!(found["recorded"]["sameDecision"], true, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_says_why() {
    let stage = Stage::new(CONFIG, &[]).await;
    let id = ask(&stage, call("log")).await.decision_id;
    let cedar = v1::IsAuthorizedRequest {
        principal: entity("Mcp::Agent", "coder"),
        action: entity("Mcp::Action", "govern"),
        resource: entity("Mcp::User", "bob"),
        ..Default::default()
    };
    let asked = stage.server.client().await.is_authorized(cedar).await;
    let cedar = asked.expect("an answer").into_inner().decision_id;
    let unknown = "0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11";
    let fails = |id: &str, args: &[&str], why: &str| {
        let ran = stage.run(&[&["explain", id], args].concat(), &[]);
        assert_eq!(ran.code, 1, "{}", ran.transcript());
        assert!(ran.stderr.contains(why), "{}", ran.transcript());
    };
    fails(&cedar, &[], "only calls are explained");
    fails(unknown, &[], "has no decision");
    fails(
        &id,
        &["--key", "nowhere"],
        "there is no capsule key `nowhere`",
    );
    std::fs::remove_dir_all(stage.folder.path().join("capsules")).expect("they are there");
    fails(&id, &[], "its capsule is not there");
    let first = stage
        .folder
        .path()
        .join("segments/00000000000000000000.log");
    let mut content = std::fs::read(&first).expect("a file");
    content[40] ^= 8;
    std::fs::write(&first, content).expect("written");
    fails(unknown, &[], "which is damaged: ");
    // A decision is given in place of a call.
    let ran = stage.run(&["explain", &id, "--agent", "coder"], &[]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_what_a_server_put_on_record() {
    let stage = Stage::new(CONFIG, &[]).await;
    let mut used = [0_u64; 2];
    for (place, tool) in ["log", "purge"].into_iter().enumerate() {
        for request in [call(tool), call_for(tool, "ana"), call(tool)] {
            let answer = ask(&stage, request).await;
            used[place] += u64::from(answer.decision() == v1::Decision::Allow);
        }
        // What was only tried is no use.
        let mut tried = call(tool);
        tried.dry_run = true;
        ask(&stage, tried).await;
    }
    assert!(used[0] > 0, "{used:?}");
    let log = stage.folder.path().to_str().expect("text").to_owned();
    let args = ["access", "agent:coder", "--with-usage", &log];
    let ran = stage.with_directory(&[&args[..], &["--output", "json"]].concat(), &[]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let report = ran.json();
    assert_eq!(report["usage"]["unreadable"], 0);
    let cells = report["rows"][0]["cells"].as_array().expect("cells");
    let count = |tool: &str| {
        let cell = cells.iter().find(|cell| cell["tool"] == tool);
        cell.map(|cell| cell["used"].as_u64().expect("a number"))
    };
    assert_eq!(count("git/log"), Some(used[0]));
    assert_eq!(count("git/purge"), Some(used[1]));
    assert_eq!(count("git/commit"), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_used_is_taken_away_with_tests() {
    let stage = Stage::new(CONFIG, &[]).await;
    for request in [call("log"), call_for("log", "ana")] {
        ask(&stage, request).await;
    }
    let directory = worlds::small().write();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let log = stage.folder.path().display().to_string();
    let (policies, proposed) = (path(""), path("unused.cedar"));
    let args = [
        "access",
        "agent:coder",
        "--with-usage",
        &log,
        "--policies",
        &policies,
        "--propose",
        &proposed,
    ];
    let workplace = Workplace::new(&[]);
    let ran = workplace.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(
        ran.stderr.contains("nothing becomes wider"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("unused.yaml: "), "{}", ran.stderr);
    let tested = workplace.run(&["test", &policies]);
    assert_eq!(tested.code, 0, "{}", tested.transcript());
    assert!(!tested.stdout.starts_with("0 passed"), "{}", tested.stdout);
    // A second proposal would overwrite the first.
    let again = workplace.run(&args);
    assert_eq!(again.code, 1, "{}", again.transcript());
    std::fs::remove_file(&proposed).expect("removed");
    // The tests name the policy, so they do not pass without it.
    let tested = workplace.run(&["test", &policies]);
    assert_eq!(tested.code, 3, "{}", tested.transcript());
    let said = "there is no policy `unused.agent_coder`";
    assert!(tested.stderr.contains(said), "{}", tested.stderr);
}
