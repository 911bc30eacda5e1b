//! `callgate replay` on filtered lists and searches: each entry is decided again.

use callgate::proto::v1;
use serde_json::{Value as Json, json};

use crate::http::authzen::RESOURCES;
use crate::replay::stage::Stage;
use crate::support::in_process::call;
use crate::support::plain_http;

const CONFIG: &str = "without_callers = true\n";
const NO_LOG: &str = r#"
@id("no_more_logs") forbid (principal, action, resource == Mcp::Tool::"git/log");
"#;

async fn list(stage: &Stage, tools: &[&str]) -> Vec<String> {
    let request = v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: tools.iter().map(ToString::to_string).collect(),
        at_least_revision: 0,
    };
    let mut client = stage.server.client().await;
    let answer = client.filter_tools(request).await.expect("an answer");
    answer.into_inner().tools
}

fn replayed(stage: &Stage, files: &[(&str, &str)], exit: i32) -> Json {
    let ran = stage.replay(files, &["--output", "json"]);
    assert_eq!(ran.code, exit, "{}", ran.transcript());
    ran.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_flips_nothing_with_the_same_policies_and_one_entry_with_a_forbid() {
    let stage = Stage::new(CONFIG, &[]).await;
    let shown = list(&stage, &["log", "commit", "purge", "new_one"]).await;
    assert_eq!(shown, ["log", "commit"]);
    list(&stage, &[]).await;

    let same = replayed(&stage, &[], 0);
    for (field, expected) in [
        ("records", 2),
        ("replayed", 2),
        ("lists", 2),
        ("entries", 4),
        ("same", 4),
        ("flipped", 0),
    ] {
        assert_eq!(same[field], expected, "{field}: {same}");
    }

    let stricter = replayed(&stage, &[("no_log.cedar", NO_LOG)], 4);
    assert_eq!(stricter["same"], 3, "{stricter}");
    assert_eq!(stricter["flipped"], 1, "{stricter}");
    let group = &stricter["flips"][0];
    assert_eq!(group["was"]["decision"], "allow", "{group}");
    assert_eq!(group["becomes"]["code"], "FORBIDDEN", "{group}");
    assert_eq!(group["operations"], json!([["tools/list git/log", 1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_decided_again_on_its_candidates() {
    let stage = Stage::new(CONFIG, &[]).await;
    let body = json!({
        "subject": {"type": "Mcp::Agent", "id": "coder"},
        "action": {"name": "call_read"},
        "resource": {"type": "Mcp::Tool"},
        "context": {
            "initiator": "client",
            "identity": {"verified": true, "method": "test", "asserted_groups": [], "asserted_attributes": []},
            "environment": {"now": "2026-01-01", "gateway": {"type": "Mcp::Gateway", "id": "edge"}},
        },
    });
    let found = plain_http::post(&stage.server, RESOURCES, &body).await;
    let found = found.json();
    let hits = found["results"].as_array().expect("results").len();
    let same = replayed(&stage, &[], 0);
    assert_eq!(same["lists"], 1, "{found} {same}");
    assert_eq!(same["same"], same["entries"], "{same}");
    assert!(same["entries"].as_u64() >= Some(2), "{found} {same}");

    let nothing = "@id(\"nothing\") forbid (principal, action, resource);\n";
    let stricter = replayed(
        &stage,
        &[("nothing.cedar", nothing)],
        if hits > 0 { 4 } else { 0 },
    );
    assert_eq!(stricter["flipped"], hits, "{found} {stricter}");
}
