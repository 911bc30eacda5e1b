//! Parts that are not ours: a Python gRPC client without stubs, and real public MCP servers.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::support::bundle_dir::BundleDir;
use crate::support::parts::npm;
use crate::support::process::{Bundle, Server, ask, client, on_lines, python};
use crate::support::worlds;

const AUTHORIZE: &str = "callgate.v1.Authorization/Authorize";

fn request(subject: Json, operation: Json) -> Json {
    json!({"call_context": {"subject": {"entity": subject}, "operation": operation}})
}

fn codes(answer: &Json) -> Vec<&str> {
    answer["reasons"]
        .as_array()
        .map(|reasons| {
            reasons
                .iter()
                .filter_map(|reason| reason["code"].as_str())
                .collect()
        })
        .unwrap_or_default()
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_client_without_stubs_learns_the_service_and_asks() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let helper = || json!({"type": "Agent", "id": "helper"});
    let tool = |name: &str| json!({"server": "notes", "call_tool": {"tool": name}});
    for version in ["v1", "v1alpha"] {
        let mut command = Command::new(python());
        command
            .arg(client("call.py"))
            .arg(server.target())
            .args(["--reflection", version]);
        let services = &on_lines(&mut command, &[])[0];
        for service in ["callgate.v1.Authorization", "grpc.health.v1.Health"] {
            assert!(
                services.as_array().unwrap().contains(&json!(service)),
                "{version}: {services}"
            );
        }
        let options = ["--reflection", version];
        let answers = ask(
            &server,
            AUTHORIZE,
            &options,
            &[request(helper(), tool("list_notes"))],
        );
        assert_eq!(
            answers[0]["decision"], "DECISION_ALLOW",
            "{version}: {answers:?}"
        );
    }

    let bob = json!({"type": "User", "id": "bob"});
    let answers = ask(
        &server,
        AUTHORIZE,
        &[],
        &[
            request(helper(), tool("add_note")),
            request(bob, tool("add_note")),
            request(helper(), tool("drop_notes")),
            request(helper(), tool("merge_notes")),
            request(helper(), tool("no_such_tool")),
            request(helper(), json!({"server": "notes", "call_tool": {}})),
            request(helper(), tool("list_notes")),
        ],
    );
    assert_eq!(answers[0]["decision"], "DECISION_ALLOW");
    assert_eq!(answers[0]["determining_policies"][0]["id"], "notes.write");
    assert_eq!(answers[0]["obligations"][0]["id"], "log:full");
    assert_eq!(codes(&answers[1]), ["REASON_CODE_NO_PERMIT"]);
    assert_eq!(codes(&answers[2]), ["REASON_CODE_FORBIDDEN"]);
    assert_eq!(
        answers[2]["reasons"][0]["message"],
        "notes are never dropped by an agent"
    );
    assert_eq!(
        codes(&answers[3]),
        ["REASON_CODE_NO_PERMIT"],
        "a proposal counts as admin"
    );
    assert_eq!(codes(&answers[4]), ["REASON_CODE_TOOL_UNKNOWN"]);
    assert_eq!(
        answers[5]["rpc_error"]["code"], "INVALID_ARGUMENT",
        "{}",
        answers[5]
    );
    let message = answers[5]["rpc_error"]["message"].as_str().unwrap();
    assert!(
        message.contains("call_tool.tool"),
        "the field is named: {message}"
    );
    assert_eq!(
        answers[6]["decision"], "DECISION_ALLOW",
        "a malformed question harms no other"
    );
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_client_without_stubs_streams_and_filters() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let helper = json!({"type": "Agent", "id": "helper"});
    let tools = ["list_notes", "drop_notes", "add_note"];
    let stream: Vec<Json> = (0..60)
        .map(|at| {
            let operation = json!({"server": "notes", "call_tool": {"tool": tools[at % 3]}});
            json!({"correlation_id": at.to_string(), "request": request(helper.clone(), operation)})
        })
        .collect();
    let answers = ask(
        &server,
        "callgate.v1.Authorization/AuthorizeStream",
        &["--stream"],
        &stream,
    );
    assert_eq!(answers.len(), 60);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(
            answer["correlation_id"],
            at.to_string(),
            "in the order asked"
        );
        let expected = if at % 3 == 1 {
            "DECISION_DENY"
        } else {
            "DECISION_ALLOW"
        };
        assert_eq!(answer["response"]["decision"], expected, "{answer}");
    }

    let filter = json!({"call_context": {"subject": {"entity": helper}}, "server": "notes",
        "tools": ["merge_notes", "list_notes", "drop_notes", "add_note"]});
    let answer = &ask(
        &server,
        "callgate.v1.Authorization/FilterTools",
        &[],
        &[filter],
    )[0];
    assert_eq!(
        answer["tools"],
        json!(["list_notes", "add_note"]),
        "in the order given"
    );
    assert_eq!(
        answer["hidden"].as_array().map(Vec::len),
        Some(2),
        "{answer}"
    );

    let cedar = json!({
        "principal": {"type": "Mcp::User", "id": "alice"},
        "action": {"type": "Mcp::Action", "id": "no_such_action"},
        "resource": {"type": "Mcp::Server", "id": "notes"},
    });
    let answer = &ask(
        &server,
        "callgate.v1.Authorization/IsAuthorized",
        &[],
        &[cedar],
    )[0];
    assert_ne!(answer["decision"], "DECISION_ALLOW", "{answer}");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn the_shipped_policies_answer_a_client_without_stubs() {
    let server = Server::start(&Bundle::shipped(), &[]);
    let asked = |agent: &str, person: Option<&str>, server: &str, tool: &str, arguments: Json| {
        let mut asked = request(
            json!({"type": "Agent", "id": agent}),
            json!({"server": server, "call_tool": {"tool": tool, "arguments": arguments}}),
        );
        let context = &mut asked["call_context"];
        context["subject"]["identity"] = json!({"method": "jwt", "verified": true});
        if let Some(person) = person {
            context["delegation"] =
                json!({"root": {"type": "User", "id": person}, "verified": true});
        }
        context["workflow"] = json!({"session_id": format!("{agent} calls {tool}")});
        asked
    };
    let issue = json!({"owner": "acme", "repo": "shop", "issue_number": 1});
    let pull = json!({"owner": "acme", "repo": "shop", "pull_number": 1});
    let post = json!({"channel_id": "C1", "text": "hello"});
    let requests = [
        asked("support", Some("tara"), "github", "get_issue", issue),
        asked(
            "release",
            Some("ravi"),
            "github",
            "merge_pull_request",
            pull.clone(),
        ),
        asked(
            "release",
            Some("owen"),
            "github",
            "merge_pull_request",
            pull,
        ),
        asked(
            "research",
            Some("noor"),
            "slack",
            "slack_post_message",
            post.clone(),
        ),
        asked("support", None, "slack", "slack_post_message", post),
    ];
    let answers = ask(&server, AUTHORIZE, &[], &requests);
    let policies = |answer: &Json| -> Vec<String> {
        let named = answer["determining_policies"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        named
            .iter()
            .map(|policy| policy["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(answers[0]["decision"], "DECISION_ALLOW", "{}", answers[0]);
    assert!(
        policies(&answers[0]).contains(&"reading.people".to_owned()),
        "{}",
        answers[0]
    );
    assert_eq!(
        codes(&answers[1])[0],
        "REASON_CODE_APPROVAL_REQUIRED",
        "a second person has to agree"
    );
    assert!(
        policies(&answers[2]).contains(&"approvals.admin".to_owned()),
        "{}",
        answers[2]
    );
    assert!(
        !codes(&answers[2]).contains(&"REASON_CODE_APPROVAL_REQUIRED"),
        "owen is no release manager, so nobody is asked"
    );
    assert_eq!(codes(&answers[3])[0], "REASON_CODE_FORBIDDEN");
    assert!(
        policies(&answers[3]).contains(&"egress.research".to_owned()),
        "{}",
        answers[3]
    );
    assert!(
        answers[4]["reasons"][0]["missing"] == json!(["delegation"]),
        "what is shipped has gateways name a person: {}",
        answers[4]
    );
}

/// A company around one real server: engineers and their agents read and write, interns only read.
fn company(server: &str) -> Bundle {
    let policies = r#"
@id("SERVER.read")
permit (principal in Mcp::Group::"people", action in Mcp::Action::"call_read", resource in Mcp::Server::"SERVER");

@id("SERVER.write")
permit (principal in Mcp::Group::"engineers", action == Mcp::Action::"call_write", resource in Mcp::Server::"SERVER");
"#;
    let people = ("Mcp::Group", "people");
    let world = BundleDir::new()
        .policies(&policies.replace("SERVER", server))
        .groups(&["people"])
        .entity(("Mcp::Group", "engineers"), json!({}), &[people])
        .user("ana", &["engineers"])
        .user("ivo", &["people"])
        .agent("coder", "ana", &["engineers"]);
    Bundle::of(&world)
}

/// Takes a server's list of tools and registers it, some of the tools confirmed.
fn import(bundle: &Bundle, name: &str, program: &[&str], confirmed: &str) -> Vec<String> {
    let mut command = Command::new(python());
    command
        .arg(client("mcp_gateway.py"))
        .args(["list", "--"])
        .args(program);
    let listed = on_lines(&mut command, &[]).remove(0);
    let path = bundle.folder().join("tools-list.json");
    fs::write(&path, listed.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let imported = bundle.run(&[
        "import",
        "tools",
        path,
        "--server",
        name,
        "--owner",
        "ana",
        "--confirm",
        confirmed,
    ]);
    let said = String::from_utf8_lossy(&imported.stderr);
    assert!(
        imported.status.success(),
        "{}\n{said}",
        String::from_utf8_lossy(&imported.stdout)
    );
    let checked = bundle.run(&["check", "policies"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success(),
        "{}\n{said}",
        String::from_utf8_lossy(&checked.stdout)
    );
    let tools = listed["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Changes the effect of a tool, as its owner would in an editor.
fn reclassify(bundle: &Bundle, name: &str, tool: &str, access: &str) {
    let file = format!("tools/{name}.json");
    let text = fs::read_to_string(bundle.policies().join(&file)).unwrap();
    let mut registration: Json = serde_json::from_str(&text).unwrap();
    registration["tools"][tool]["access"] = json!(access);
    bundle.file(&file, &registration.to_string());
}

/// The agent `coder` makes calls for somebody, through a gateway that asks Callgate and then the server.
fn through_gateway(server: &Server, name: &str, program: &[&str], calls: &[Json]) -> Vec<Json> {
    let mut command = Command::new(python());
    command
        .arg(client("mcp_gateway.py"))
        .args([
            "calls",
            "--callgate",
            server.target(),
            "--server",
            name,
            "--",
        ])
        .args(program);
    let results = on_lines(&mut command, calls);
    assert_eq!(results.len(), calls.len());
    results
}

fn call_for(person: &str, tool: &str, arguments: Json) -> Json {
    json!({
        "subject": {"type": "Agent", "id": "coder"},
        "delegation": {"root": {"type": "User", "id": person}, "verified": true},
        "tool": tool,
        "arguments": arguments,
    })
}

fn ran(result: &Json) -> bool {
    result["ran"] == true && result["is_error"] == false
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn repository(folder: &Path) {
    git(folder, &["init", "--quiet", "--initial-branch", "main"]);
    git(folder, &["config", "user.name", "Ana"]);
    git(folder, &["config", "user.email", "ana@example.com"]);
    fs::write(folder.join("README"), "first\n").unwrap();
    git(folder, &["add", "README"]);
    git(folder, &["commit", "--quiet", "--message", "first"]);
    fs::write(folder.join("README"), "second\n").unwrap();
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_client_without_stubs_delegates_and_revokes() {
    let server = Server::start(&Bundle::shipped(), &[]);
    let control = |method: &str, message: Json| -> Json {
        let path = format!("callgate.v1.Control/{method}");
        ask(&server, &path, &[], &[message]).remove(0)
    };
    let tara = || json!({"entity": {"type": "User", "id": "tara"}, "identity": {"method": "jwt", "verified": true}});
    let delegated = control(
        "GrantDelegation",
        json!({"actor": tara(), "idempotency_key": "one", "to": {"type": "Agent", "id": "support"},
            "scope": {"tools": ["github/get_issue"], "access": "ACCESS_LEVEL_READ"}, "expires_at": "2099-01-01T00:00:00Z"}),
    );
    let fault = delegated["rpc_error"]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(fault.contains("expires_at"), "{delegated}");
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    let delegation = || {
        json!({"actor": tara(), "idempotency_key": "two", "to": {"type": "Agent", "id": "support"},
            "scope": {"tools": ["github/get_issue"], "access": "ACCESS_LEVEL_READ"}, "expires_at": soon})
    };
    let delegated = control("GrantDelegation", delegation());
    let id = delegated["delegation"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{delegated}"));
    assert_eq!(
        control("GrantDelegation", delegation())["delegation"]["id"],
        id
    );
    let call = |tool: &str| {
        let arguments = match tool {
            "create_issue" => json!({"owner": "acme", "repo": "shop", "title": "Broken"}),
            _ => json!({"owner": "acme", "repo": "shop", "issue_number": 1}),
        };
        let mut asked = request(
            json!({"type": "Agent", "id": "support"}),
            json!({"server": "github", "call_tool": {"tool": tool, "arguments": arguments}}),
        );
        asked["call_context"]["subject"]["identity"] = json!({"method": "jwt", "verified": true});
        asked["call_context"]["delegation"] = json!({"delegation_ids": [id]});
        asked
    };
    let answers = ask(
        &server,
        AUTHORIZE,
        &[],
        &[call("get_issue"), call("create_issue")],
    );
    assert_eq!(answers[0]["decision"], "DECISION_ALLOW", "{}", answers[0]);
    assert_eq!(codes(&answers[1])[0], "REASON_CODE_DELEGATION_OUT_OF_SCOPE");
    let revoked = control("RevokeDelegation", json!({"actor": tara(), "id": id}));
    assert_eq!(
        revoked["delegation"]["status"], "DELEGATION_STATUS_REVOKED",
        "{revoked}"
    );
    let mut late = call("get_issue");
    late["at_least_revision"] = revoked["revision"].clone();
    let answers = ask(&server, AUTHORIZE, &[], &[late]);
    assert_eq!(codes(&answers[0])[0], "REASON_CODE_DELEGATION_REVOKED");
    let stranger = json!({"actor": {"entity": {"type": "User", "id": "nobody"}}, "id": id});
    let denied = control("RevokeDelegation", stranger);
    assert_eq!(denied["rpc_error"]["code"], "PERMISSION_DENIED", "{denied}");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_real_git_server_does_what_policies_allow_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let path = folder.path().to_str().unwrap();
    let python = python().into_string().unwrap();
    let program = [python.as_str(), "-m", "mcp_server_git"];
    let bundle = company("git");
    let confirmed = "git_status,git_diff_unstaged,git_show,git_add,git_commit";
    let tools = import(&bundle, "git", &program, confirmed);
    assert!(tools.iter().any(|tool| tool == "git_reset"), "{tools:?}");
    let server = Server::start(&bundle, &[]);

    let calls = [
        call_for("ana", "git_status", json!({"repo_path": path})),
        call_for("ivo", "git_diff_unstaged", json!({"repo_path": path})),
        call_for(
            "ana",
            "git_add",
            json!({"repo_path": path, "files": ["README"]}),
        ),
        call_for(
            "ivo",
            "git_commit",
            json!({"repo_path": path, "message": "by an intern"}),
        ),
        call_for(
            "ana",
            "git_commit",
            json!({"repo_path": path, "message": "second"}),
        ),
        call_for("ana", "git_reset", json!({"repo_path": path})),
        call_for("ana", "git_push", json!({"repo_path": path})),
        call_for(
            "ivo",
            "git_show",
            json!({"repo_path": path, "revision": "HEAD"}),
        ),
    ];
    let results = through_gateway(&server, "git", &program, &calls);

    assert!(ran(&results[0]), "{}", results[0]);
    assert_eq!(results[0]["policies"], json!(["git.read"]));
    assert!(ran(&results[1]) && results[1]["text"].as_str().unwrap().contains("+second"));
    assert!(ran(&results[2]), "{}", results[2]);
    assert_eq!(
        results[3]["codes"],
        json!(["REASON_CODE_DELEGATOR_DENIED"]),
        "{}",
        results[3]
    );
    assert!(ran(&results[4]), "{}", results[4]);
    assert_eq!(
        results[5]["codes"],
        json!(["REASON_CODE_NO_PERMIT", "REASON_CODE_DELEGATOR_DENIED"]),
        "not confirmed, so it counts as admin"
    );
    assert_eq!(results[6]["codes"], json!(["REASON_CODE_TOOL_UNKNOWN"]));
    assert!(ran(&results[7]) && results[7]["text"].as_str().unwrap().contains("second"));
    // What the repository says counts, not what the gateway says.
    assert_eq!(
        git(folder.path(), &["log", "--format=%s"]),
        "second\nfirst\n"
    );
}

#[test]
#[ignore = "needs the Python and npm packages that tests/run installs"]
fn a_real_filesystem_server_does_what_policies_allow_and_no_more() {
    let modules = npm();
    let main = modules.join("@modelcontextprotocol/server-filesystem/dist/index.js");
    let folder = tempfile::tempdir().unwrap();
    // The server compares real paths, and a temporary folder may be a link.
    let root = folder.path().canonicalize().unwrap();
    fs::write(root.join("report.txt"), "quarterly numbers\n").unwrap();
    let program = ["node", main.to_str().unwrap(), root.to_str().unwrap()];
    let bundle = company("filesystem");
    let confirmed = "read_text_file,list_directory,write_file";
    let tools = import(&bundle, "filesystem", &program, confirmed);
    assert!(tools.iter().any(|tool| tool == "move_file"), "{tools:?}");
    // The server calls it destructive, so the import proposes admin; its owner knows better.
    reclassify(&bundle, "filesystem", "write_file", "write");
    let server = Server::start(&bundle, &[]);

    let file = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let calls = [
        call_for("ivo", "list_directory", json!({"path": root.to_str()})),
        call_for("ivo", "read_text_file", json!({"path": file("report.txt")})),
        call_for(
            "ivo",
            "write_file",
            json!({"path": file("ivo.txt"), "content": "x"}),
        ),
        call_for(
            "ana",
            "write_file",
            json!({"path": file("ana.txt"), "content": "kept"}),
        ),
        call_for(
            "ana",
            "move_file",
            json!({"source": file("report.txt"), "destination": file("gone.txt")}),
        ),
    ];
    let results = through_gateway(&server, "filesystem", &program, &calls);

    assert!(ran(&results[0]) && results[0]["text"].as_str().unwrap().contains("report.txt"));
    assert!(ran(&results[1]) && results[1]["text"].as_str().unwrap().contains("quarterly"));
    assert_eq!(
        results[2]["codes"],
        json!(["REASON_CODE_DELEGATOR_DENIED"]),
        "{}",
        results[2]
    );
    assert!(ran(&results[3]), "{}", results[3]);
    assert_eq!(
        results[4]["codes"],
        json!(["REASON_CODE_NO_PERMIT", "REASON_CODE_DELEGATOR_DENIED"]),
        "not confirmed, so it counts as admin"
    );
    assert!(!root.join("ivo.txt").exists() && root.join("report.txt").exists());
    assert_eq!(fs::read_to_string(root.join("ana.txt")).unwrap(), "kept");
}

#[test]
#[ignore = "needs the npm packages that tests/run installs"]
fn the_example_for_node_asks_with_the_arguments_as_they_were_written() {
    let modules = npm();
    // The tool is typed, so that its policy sees the number that was sent.
    let after = json!({"type": "object", "properties": {"after": {"type": "integer"}}});
    let typed = json!({"typed": true, "input_schema": after});
    let policy = r#"
        @id("notes.read")
        permit (principal, action == Mcp::Action::"notes/list_notes", resource)
        when { context.input has after && context.input.after == 9007199254740991 };
        "#;
    let world = worlds::notes().policies(policy).server("notes", "alice");
    let world = world.tool_with("list_notes", "read", typed);
    let bundle = Bundle::of(&world);
    let server = Server::start(&bundle, &[]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node/authorize.js");
    let asked = |arguments: &str| {
        let mut command = Command::new("node");
        command
            .arg(&example)
            .args(["helper", "alice", "notes", "list_notes", arguments])
            .env("NODE_PATH", &modules)
            .env("CALLGATE_ADDRESS", server.target());
        on_lines(&mut command, &[]).remove(0)
    };
    let allowed = asked(r#"{"after": 9007199254740991}"#);
    assert_eq!(allowed, json!({"allowed": true, "why": ""}));
    let denied = asked(r#"{"after": 9007199254740990}"#);
    assert_eq!(denied["allowed"], false, "{denied}");
    assert!(
        denied["why"]
            .as_str()
            .unwrap()
            .contains("no policy permits"),
        "{denied}"
    );
    // What a client's own reader would have rounded, or dropped, arrives as it was written.
    let beyond = asked(r#"{"after": 9007199254740993}"#);
    let why = beyond["why"].as_str().unwrap();
    assert!(
        why.contains("`input.after` is not a whole number that every reader"),
        "{why}"
    );
    let malformed = asked(r#"{"after": 1, "after": 2}"#);
    assert_eq!(malformed["why"], "no decision: INVALID_ARGUMENT");
}
