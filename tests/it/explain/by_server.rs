//! `ExplainDecision`, and `callgate explain` that asks a server for it.

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use tonic::{Code, Request, Status};

use crate::explain::recorded::{CONFIG, STRICTER, ask};
use crate::grpc::transport::{digest, with_token};
use crate::replay::stage::Stage;
use crate::support::command::{Ran, Workplace};
use crate::support::in_process::{self, call, call_for, entity};
use crate::support::worlds;

async fn explain(
    stage: &Stage,
    request: Request<v1::ExplainDecisionRequest>,
) -> Result<v1::ExplainDecisionResponse, Status> {
    let mut control = ControlClient::new(stage.server.channel().await);
    let explained = control.explain_decision(request).await?;
    Ok(explained.into_inner())
}

fn about(decision_id: &str) -> v1::ExplainDecisionRequest {
    v1::ExplainDecisionRequest {
        decision_id: decision_id.to_owned(),
    }
}

/// Runs `callgate explain` on the server.
fn run(stage: &Stage, id: &str, args: &[&str]) -> Ran {
    let endpoint = format!("http://{}", stage.server.address);
    let start = ["explain", id, "--endpoint", &endpoint];
    Workplace::new(&[]).run(&[&start[..], args].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_explains_what_it_has_on_record_as_it_explained_the_call() {
    let stage = Stage::new(CONFIG, &[]).await;
    let mut outcomes = [0, 0];
    for tool in ["log", "commit", "purge", "new_one"] {
        for mut request in [call(tool), call_for(tool, "bob"), call_for(tool, "ana")] {
            request.explain = true;
            let answer = ask(&stage, request).await;
            let is_deny = answer.decision() == v1::Decision::Deny;
            outcomes[usize::from(is_deny)] += 1;

            let asked = Request::new(about(&answer.decision_id));
            let explained = explain(&stage, asked).await.expect("an explanation");
            let recorded = explained.recorded.expect("a record");
            assert_eq!(recorded.decision_id, answer.decision_id);
            assert_eq!(recorded.decision, answer.decision);
            assert!(recorded.same_bundle && recorded.same_decision && !recorded.observed);
            assert!(recorded.at.is_some());
            let mut again = explained.response.expect("a response");
            assert_eq!(again.revision, 0);
            again.revision = answer.revision;
            // A challenge can only be met by who was given it.
            assert!(again.approval.is_none());
            again.approval.clone_from(&answer.approval);
            assert_eq!(again, answer, "{tool}");
        }
    }
    assert!(outcomes.iter().all(|it| *it > 0), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_the_same_from_a_server_as_from_its_log() {
    let stage = Stage::new(CONFIG, &[]).await;
    let id = ask(&stage, call_for("purge", "bob")).await.decision_id;
    let here = stage.run(&["explain", &id], &[]);
    let there = tokio::task::block_in_place(|| run(&stage, &id, &[]));
    assert_eq!((here.code, there.code), (2, 2), "{}", there.transcript());
    let differs = |line: &&str| line.contains("decided with") || line.contains("Made again with");
    let common = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !differs(line));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(common(&here.stdout), common(&there.stdout));
    for said in [
        "\n  decided with the bundle in service\n",
        "\nMade again with the bundle in service: the same\n",
    ] {
        assert!(there.stdout.contains(said), "{said}: {}", there.stdout);
    }
    let json = run(&stage, &id, &["--output", "json"]).json();
    assert_eq!(json["recorded"]["decisionId"], id);
    assert_eq!(json["recorded"]["decision"], "DECISION_DENY");
    assert_eq!(json["recorded"].get("directory"), None);
    let agent = run(&stage, &id, &["--for-agent"]).stdout;
    assert_eq!(agent.lines().count(), 1, "{agent}");
    assert!(!agent.contains("bob"), "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_service_by_now_explains_it() {
    let stage = Stage::new(CONFIG, &[]).await;
    let id = ask(&stage, call("commit")).await.decision_id;
    let stricter = worlds::small().file("stricter.cedar", STRICTER).load();
    stage.server.service.publish(stricter).expect("published");
    let explained = explain(&stage, Request::new(about(&id))).await;
    let explained = explained.expect("an explanation");
    let recorded = explained.recorded.expect("a record");
    assert_eq!(recorded.decision(), v1::Decision::Allow);
    assert!(!recorded.same_bundle && !recorded.same_decision);
    let again = explained.response.expect("a response");
    assert_eq!(again.decision(), v1::Decision::Deny);
    assert_eq!(again.determining_policies[0].id, "no_more_commits");
    // Nothing of it went on record: it was no call.
    let records = stage.log.records();
    run(&stage, &id, &[]);
    assert_eq!(stage.log.records(), records);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_cannot_explain_has_a_status_of_its_own() {
    let stage = Stage::new(CONFIG, &[]).await;
    let cedar = v1::IsAuthorizedRequest {
        principal: entity("Mcp::Agent", "coder"),
        action: entity("Mcp::Action", "govern"),
        resource: entity("Mcp::User", "bob"),
        ..Default::default()
    };
    let asked = stage.server.client().await.is_authorized(cedar).await;
    let cedar = asked.expect("an answer").into_inner().decision_id;
    let unknown = "0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11";
    let no_version_7 = "7b1b0ab6-1c4e-4b6e-9d5c-0a5d8c1c9f11";
    for (id, code, said) in [
        (
            cedar.as_str(),
            Code::FailedPrecondition,
            "only calls are explained",
        ),
        (unknown, Code::NotFound, "has no decision 0190a9c2"),
        (no_version_7, Code::InvalidArgument, "`decision_id`"),
        ("", Code::InvalidArgument, "`decision_id`"),
    ] {
        let status = explain(&stage, Request::new(about(id))).await;
        let status = status.expect_err("no explanation");
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(said), "{status}");
    }
    let ran = run(&stage, unknown, &[]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    assert!(ran.stderr.contains("has no decision"), "{}", ran.stderr);
    let id = ask(&stage, call("log")).await.decision_id;
    let ran = run(&stage, &id, &["--log", "somewhere"]);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    std::fs::remove_dir_all(stage.folder.path().join("capsules")).expect("they are there");
    let status = explain(&stage, Request::new(about(&id))).await;
    let status = status.expect_err("no explanation");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("its capsule"), "{status}");
}

#[tokio::test]
async fn without_a_log_there_is_nothing_to_explain() {
    let server = in_process::start(CONFIG).await;
    let answer = server.client().await.authorize(call("log")).await;
    let id = answer.expect("an answer").into_inner().decision_id;
    let mut control = ControlClient::new(server.channel().await);
    let status = control.explain_decision(about(&id)).await;
    let status = status.expect_err("no explanation");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("no decision log"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_use_it_and_see_policies_is_told() {
    let caller = |id: &str, rights: &str| {
        let digest = digest(id);
        format!("[[callers]]\nid = \"{id}\"\ntoken_sha256 = [\"{digest}\"]\nrights = {rights}\n")
    };
    let config = [
        caller(
            "gateway",
            r#"{ rpcs = ["*"], assert_identity = true, explain = true }"#,
        ),
        caller("writer", r#"{ rpcs = ["Control/*"] }"#),
        caller(
            "auditor",
            r#"{ rpcs = ["ExplainDecision"], explain = true }"#,
        ),
    ];
    let stage = Stage::new(&config.concat(), &[]).await;
    let mut client = stage.server.client().await;
    let answer = client.authorize(with_token(call("log"), "gateway")).await;
    let id = answer.expect("an answer").into_inner().decision_id;
    // `"*"` is about decisions of one's own.
    for (token, said) in [
        (
            "gateway",
            "caller `gateway` has no right to use `ExplainDecision`: add it to `rights.rpcs`",
        ),
        (
            "writer",
            "caller `writer` has no right to explanations: set `rights.explain`",
        ),
    ] {
        let status = explain(&stage, with_token(about(&id), token)).await;
        let status = status.expect_err("no right");
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert_eq!(status.message(), said);
    }
    let told = explain(&stage, with_token(about(&id), "auditor")).await;
    let told = told.expect("an explanation").recorded.expect("a record");
    assert_eq!(told.decision_id, id);
}
