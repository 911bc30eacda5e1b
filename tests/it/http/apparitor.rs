//! A real enforcement point over AuthZEN: apparitor in front of the tools of a FastMCP server, and a real client.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::grpc::transport::digest;
use crate::support::process::{Bundle, Server, client, on_lines, python};
use crate::support::worlds;

/// apparitor has its own words for what it asks about, and lists are asked about like calls without arguments.
const CONFIG: &str = r#"
[telemetry]
decision_log = "all"

[[callers]]
id = "desk"
token_sha256 = ["DIGEST"]
rights = { rpcs = ["authzen.Evaluation"], assert_identity = true, assert_delegation = true }

[[authzen.mcp]]
callers = ["desk"]
server_from = "id"
subject_types = ["user"]
agent = "helper"
lists = true
actions = { "tool_call.execute" = "tools/call", "resource.read" = "resources/read", "prompt.get" = "prompts/get" }
resources = { mcp_tool = "tool", mcp_resource = "resource", mcp_prompt = "prompt" }
"#;

const MORE: &str = r#"
@id("etc") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has target && context.target in Mcp::Resource::"file:///etc" };
@id("context") permit (principal in Mcp::Group::"staff", action in Mcp::Action::"use_context", resource);
"#;

fn ask(server: &Server, arguments: &str, lines: &[Json]) -> Vec<Json> {
    let mut command = Command::new(python());
    command
        .arg(client("apparitor_pep.py"))
        .arg(format!("http://{}", server.http_target()))
        .arg("secret")
        .arg(arguments);
    on_lines(&mut command, lines)
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn tools_resources_prompts_and_lists_are_what_the_decisions_say() {
    let text = json!({"type": "string"});
    let taking =
        |properties: Json| json!({"input_schema": {"type": "object", "properties": properties}});
    let mut adding = taking(json!({"path": text, "text": text}));
    adding["input_schema"]["required"] = json!(["path"]);
    adding["target_arguments"] = json!(["path"]);
    let world = worlds::notes()
        .config(&CONFIG.replace("DIGEST", &digest("secret")))
        .file("more.cedar", MORE)
        .server("notes", "alice")
        .tool_with("list_notes", "read", taking(json!({"folder": text})))
        .tool_with("add_note", "write", adding)
        .tool_with("drop_notes", "admin", taking(json!({})));
    let bundle = Bundle::of(&world);
    let server = Server::start(&bundle, &[("CALLGATE_LOG_FORMAT", "json")]);
    let call = |who: &str, tool: &str, arguments: Json| json!({"token": format!("token-{who}"), "tool": tool, "arguments": arguments});
    let long = "x".repeat(200_000);
    let rows = [
        (
            call("alice", "list_notes", json!({"folder": "in"})),
            Ok("notes of in"),
            "",
        ),
        (call("bob", "list_notes", json!({})), Ok("notes of "), ""),
        (
            call("nobody", "add_note", json!({"path": "/srv/a"})),
            Err(()),
            "DELEGATOR_DENIED",
        ),
        (
            call("alice", "add_note", json!({"path": "/srv/a"})),
            Ok("added /srv/a"),
            "",
        ),
        (
            call("alice", "add_note", json!({"path": "/etc/passwd"})),
            Err(()),
            "FORBIDDEN",
        ),
        (
            call("alice", "add_note", json!({"path": "/srv/../etc/passwd"})),
            Err(()),
            "FORBIDDEN",
        ),
        // What does not fit into its question is left out of it, so nobody can say where the note goes.
        (
            call(
                "alice",
                "add_note",
                json!({"path": "/etc/passwd", "text": long}),
            ),
            Err(()),
            "CONTEXT_MISSING",
        ),
        (
            call("bob", "add_note", json!({"path": "/srv/a"})),
            Err(()),
            "DELEGATOR_DENIED",
        ),
        (call("alice", "drop_notes", json!({})), Err(()), "FORBIDDEN"),
        (
            call("alice", "not_registered", json!({})),
            Err(()),
            "TOOL_UNKNOWN",
        ),
        (
            json!({"token": "token-alice", "resource": "note://today"}),
            Ok("today's note"),
            "",
        ),
        (
            json!({"token": "token-bob", "resource": "note://today"}),
            Err(()),
            "DELEGATOR_DENIED",
        ),
        (
            json!({"token": "token-alice", "prompt": "summary"}),
            Ok("sum it up"),
            "",
        ),
        (
            json!({"token": "token-bob", "prompt": "summary"}),
            Err(()),
            "DELEGATOR_DENIED",
        ),
    ];
    let questions: Vec<Json> = rows.iter().map(|(question, ..)| question.clone()).collect();
    let answers = ask(&server, "whole", &questions);
    assert_eq!(answers.len(), rows.len());
    for ((question, wanted, _), answer) in rows.iter().zip(&answers) {
        match wanted {
            Ok(text) => assert_eq!(answer["text"], *text, "{question}: {answer}"),
            Err(()) => assert!(answer["refused"].is_string(), "{question}: {answer}"),
        }
    }
    // A tool is in the list if some call of it would be allowed.
    let lists = ["alice", "bob", "nobody"].map(|who| json!({"token": format!("token-{who}")}));
    let listed = ask(&server, "whole", &lists);
    assert_eq!(listed[0]["tools"], json!(["add_note", "list_notes"]));
    assert_eq!(listed[1]["tools"], json!(["list_notes"]));
    assert_eq!(listed[2]["tools"], json!(["list_notes"]));

    // What it hides of arguments, as it does unless told otherwise, cannot be judged.
    let hidden =
        ["/srv/a", "/etc/passwd"].map(|path| call("alice", "add_note", json!({"path": path})));
    for answer in ask(&server, "hidden", &hidden) {
        assert!(answer["refused"].is_string(), "{answer}");
    }

    let (_, log) = server.stop();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let decided: Vec<Json> = lines
        .filter(|it| it["message"] == "authorization decision")
        .collect();
    let reasons: Vec<&str> = decided
        .iter()
        .filter_map(|it| it["reason"].as_str())
        .collect();
    for (question, _, reason) in rows.iter().filter(|row| !row.2.is_empty()) {
        assert!(reasons.contains(reason), "{question}: {reasons:?}");
    }
    assert!(decided.iter().all(|it| it["adapter"] == "authzen"), "{log}");
}
