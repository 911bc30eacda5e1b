//! What is on record of a question of COAZ-MCP that is denied before it is decided: all that is known of the call.

use callgate::audit::record::schema::Verdict;
use serde_json::{Value as Json, json};

use crate::http::authzen::EVALUATION;
use crate::replay::stage::Stage;
use crate::support::plain_http::post;

const CONFIG: &str = r#"
without_callers = true
[[authzen.mcp]]
SERVER
subject_types = ["user"]
session_key = "session"
task_key = "task"
delegations_key = "grants"
"#;

const PROPERTIES: &str = "server_from = \"properties\"";

const AUD: &str = "server_from = \"aud\"\naudiences = { \"https://git.example.com\" = \"git\", \"https://wiki.example.com\" = \"wiki\" }";

async fn stage(server: &str, more: &str) -> Stage {
    let config = CONFIG.replace("SERVER", server) + more;
    Stage::new(&config, &[]).await
}

fn call(properties: Json) -> Json {
    json!({
        "subject": {"type": "user", "id": "ana"},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": "log", "properties": properties},
        "context": {"agent": "coder", "session": "s-1", "task": "t-1", "grants": ["g-1"]},
    })
}

/// The question with another value at a path.
fn with(mut question: Json, path: &str, value: Json) -> Json {
    *question.pointer_mut(path).expect(path) = value;
    question
}

/// The reason of the deny, and method, server, tool, subject and root of the chain on record.
async fn denied(stage: &Stage, question: &Json) -> (String, [String; 5]) {
    let reply = post(&stage.server, EVALUATION, question).await;
    assert_eq!(reply.status, 200, "{question}: {reply:?}");
    let answer = reply.json();
    assert_eq!(answer["decision"], false, "{question}: {answer}");
    let context = &answer["context"];
    let contents = stage.contents();
    let id = context["id"].as_str().expect("an id");
    let record = contents.decision(id);
    assert_eq!(record.verdict(), Verdict::Deny);
    assert_eq!(context["reason"], record.reasons[0].code);
    // In every one of them these are known.
    assert_eq!(record.adapter, "authzen", "{question}");
    assert_eq!((&*record.session_id, &*record.task_id), ("s-1", "t-1"));
    let chain = record.chain.clone().expect("somebody it acts for");
    assert_eq!(chain.delegation_ids, ["g-1"]);
    assert!(!contents.with_capsule.contains(id), "nothing to replay");
    let known = [
        record.operation.clone(),
        record.server.clone(),
        record.tool.clone(),
        record.subject.clone(),
        chain.root,
    ];
    (record.reasons[0].code.clone(), known)
}

const CODER: &str = r#"Mcp::Agent::"coder""#;
const ANA: &str = r#"Mcp::User::"ana""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_denied_before_it_is_decided_is_on_record_with_all_that_is_known() {
    let by_properties = stage(PROPERTIES, "").await;
    let by_audience = stage(AUD, "").await;
    let fixed = stage("server = \"git\"\nagent = \"coder\"", "").await;
    let by_id = stage("server_from = \"id\"", "").await;
    let given = || json!({"server": "git", "arguments": {}});
    let git = "https://git.example.com";
    let all = ["tools/call", "git", "log", CODER, ANA];
    let of_server = ["tools/call", "git", "", CODER, ANA];
    let nowhere = ["tools/call", "", "log", CODER, ANA];
    let (missing, invalid) = ("CONTEXT_MISSING", "CONTEXT_INVALID");
    for (stage, question, code, known) in [
        (
            &by_properties,
            call(json!({"server": "git", "arguments": {"path": "***redacted***"}})),
            missing,
            all,
        ),
        (
            &by_properties,
            call(json!({"server": "git", "arguments": {"path": "a", "_truncated": true}})),
            missing,
            all,
        ),
        (
            &by_properties,
            with(call(given()), "/resource/type", json!("resource")),
            invalid,
            of_server,
        ),
        (
            &fixed,
            with(call(json!({})), "/resource/type", json!("prompt")),
            invalid,
            of_server,
        ),
        (
            &by_properties,
            with(call(given()), "/subject/type", json!("workload")),
            invalid,
            ["tools/call", "git", "log", CODER, r#"workload::"ana""#],
        ),
        (
            &by_properties,
            with(call(given()), "/subject/type", json!("a workload")),
            invalid,
            [
                "tools/call",
                "git",
                "log",
                CODER,
                r#"Authzen::Nameless::"a workload::\"ana\"""#,
            ],
        ),
        (
            &fixed,
            with(call(given()), "/context/agent", json!("other")),
            invalid,
            ["tools/call", "git", "log", r#"Mcp::Agent::"other""#, ANA],
        ),
        (
            &by_properties,
            call(json!({"arguments": {}})),
            invalid,
            nowhere,
        ),
        (
            &by_audience,
            call(json!({"arguments": {}})),
            invalid,
            nowhere,
        ),
        (&by_id, call(json!({"arguments": {}})), invalid, nowhere),
        (
            &by_audience,
            call(json!({"aud": git, "server": "wiki", "arguments": {}})),
            invalid,
            all,
        ),
        (
            &fixed,
            call(json!({"server": "wiki", "arguments": {}})),
            invalid,
            all,
        ),
        (
            &by_audience,
            call(json!({"aud": [git, "https://wiki.example.com"], "arguments": {}})),
            invalid,
            nowhere,
        ),
    ] {
        let (found, on_record) = denied(stage, &question).await;
        assert_eq!(found, code, "{question}");
        assert_eq!(on_record, known.map(str::to_owned), "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_question_is_waived_only_where_nothing_holds_always() {
    const HOLDS: &str = r#"
@id("never") @mode("enforce") forbid (principal, action in Mcp::Action::"call_tool", resource in Mcp::Server::"wiki");
"#;
    let observed = CONFIG.replace("SERVER", PROPERTIES) + "\n[observe]\nservice = true\n";
    let question = call(json!({"server": "git", "arguments": {"path": "***redacted***"}}));
    for (files, is_allow) in [(&[][..], true), (&[("never.cedar", HOLDS)][..], false)] {
        let stage = Stage::new(&observed, files).await;
        let answer = post(&stage.server, EVALUATION, &question).await.json();
        assert_eq!(answer["decision"], is_allow, "{answer}");
        let contents = stage.contents();
        let id = answer["context"]["id"].as_str().expect("an id");
        let record = contents.decision(id);
        assert_eq!(record.verdict(), Verdict::Deny);
        assert_eq!(record.is_observed, is_allow);
        assert_eq!((&*record.server, &*record.tool), ("git", "log"));
    }
}

/// A list that an enforcement point asks about entry by entry is none if it is not clear what is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_denied_is_none_about_a_list() {
    let stage = stage(&format!("{PROPERTIES}\nlists = true"), "").await;
    let unclear = with(
        call(json!({"server": "git", "arguments": {}})),
        "/subject/type",
        json!("workload"),
    );
    let (code, known) = denied(&stage, &unclear).await;
    assert_eq!(
        (code.as_str(), known[0].as_str()),
        ("CONTEXT_INVALID", "tools/call")
    );
}
