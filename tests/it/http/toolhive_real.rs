//! ToolHive's own authorization, from its Go module and with the files of `deploy/toolhive`, in front of a server of the
//! test: calls, lists, a Callgate that is slow and one that is gone.

use std::fs;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::envoy::shipped;
use crate::support::bundle_dir::BundleDir;
use crate::support::parts::toolhive;
use crate::support::process::{Bundle, Server, on_lines};
use crate::support::worlds;

const POLICIES: &str = r#"
@id("helper") permit (principal == Mcp::Agent::"support", action in Mcp::Action::"call_tool", resource);
@id("read") permit (principal == Mcp::User::"alice", action == Mcp::Action::"call_read", resource);
@id("write") permit (principal in Mcp::Group::"claim:writers", action == Mcp::Action::"call_write", resource);
@id("not-etc") @reason("not there")
forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has target && context.target in Mcp::Resource::"file:///etc" };
"#;

/// The tools as the server lists them.
fn tools() -> Json {
    let path =
        json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let none = json!({"type": "object", "properties": {}});
    json!([
        {"name": "read_file", "inputSchema": path, "annotations": {"readOnlyHint": true}},
        {"name": "write_file", "inputSchema": path},
        {"name": "time", "inputSchema": none},
    ])
}

fn world() -> BundleDir {
    let all = tools();
    let acting_on = |targets: Json, at: usize| {
        let schema = &all[at]["inputSchema"];
        json!({"target_arguments": targets, "input_schema": schema})
    };
    worlds::notes()
        .config(&settings())
        .policies(POLICIES)
        .agent("support", "alice", &[])
        .server("github", "alice")
        .tool_with("read_file", "read", acting_on(json!(["path"]), 0))
        .tool_with("write_file", "write", acting_on(json!(["path"]), 1))
        .tool_with("time", "read", acting_on(json!([]), 2))
}

/// What the test asks with: the program, what it is told of, and what Callgate serves.
struct Stage {
    folder: tempfile::TempDir,
    bundle: Bundle,
    program: std::path::PathBuf,
}

impl Stage {
    fn set() -> Self {
        let bundle = Bundle::of(&world());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.json"), tools().to_string()).unwrap();
        Self {
            folder,
            bundle,
            program: toolhive(),
        }
    }

    /// What becomes of these messages of somebody, with the shipped configuration and one change of it.
    fn ask(&self, target: &str, change: (&str, &str), asked: &[(&str, Json)]) -> Vec<Json> {
        let text = shipped("toolhive/authz.json");
        assert!(text.contains(change.0), "{text}");
        let text = text.replace(change.0, change.1);
        let text = text.replace("TOKEN@127.0.0.1:8180", &format!("{TOKEN}@{target}"));
        let config = self.folder.path().join("authz.json");
        fs::write(&config, text).unwrap();
        let mut program = Command::new(&self.program);
        program
            .arg(config)
            .arg("github")
            .arg(self.folder.path().join("tools.json"));
        let lines: Vec<_> = asked
            .iter()
            .map(|(sub, message)| line(sub, message))
            .collect();
        on_lines(&mut program, &lines)
    }
}

/// A token, as the one whose digest is shipped is known to nobody.
const TOKEN: &str = "token-of-the-test";
const TOKEN_SHA256: &str = "d0283ed870053d62b0ca8389c79b3771437e2d6d24e15033c671d69ecffff441";

/// What is shipped for Callgate with the digest of another token, and a mapping of groups.
fn settings() -> String {
    let text = shipped("toolhive/callgate.toml");
    let digest = text.lines().find(|line| line.starts_with("token_sha256"));
    let digest = digest.expect("the digest of a token");
    let text = text.replace(digest, &format!("token_sha256 = [\"{TOKEN_SHA256}\"]"));
    format!("{text}\n[[claims.groups]]\nclaim = \"groups\"\nprefix = \"claim:\"\n")
}

fn line(sub: &str, message: &Json) -> Json {
    let groups = if sub == "bob" {
        json!(["writers"])
    } else {
        json!([])
    };
    json!({"claims": {"sub": sub, "groups": groups, "scope": "mcp", "act": {"sub": "nobody"}}, "message": message})
}

fn call(tool: &str, arguments: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn list() -> Json {
    json!({"jsonrpc": "2.0", "id": 8, "method": "tools/list"})
}

fn at(path: &str) -> Json {
    json!({ "path": path })
}

fn names(seen: &Json) -> Vec<String> {
    let body: Json = serde_json::from_str(seen["body"].as_str().expect("a body")).expect("JSON");
    let tools = body["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("{seen}")).iter();
    tools
        .map(|it| it["name"].as_str().expect("a name").to_owned())
        .collect()
}

const AS_SHIPPED: (&str, &str) = ("\"timeout\": 3", "\"timeout\": 3");
const WITHOUT_ARGS: (&str, &str) = ("\"include_args\": true", "\"include_args\": false");
const BARE: (&str, &str) = (
    "\"include_args\": true,\n      \"include_operation\": true",
    "\"include_args\": false",
);

#[test]
#[ignore = "needs ToolHive's authorization, which tests/run builds where there is Go"]
fn toolhive_lets_through_what_policies_allow_and_lists_what_could_be_called() {
    let stage = Stage::set();
    let callgate = Server::start(&stage.bundle, &[]);
    let asked = [
        ("alice", list()),
        ("alice", call("read_file", at("/srv/a"))),
        ("alice", call("read_file", at("/etc/passwd"))),
        ("alice", call("write_file", at("/srv/a"))),
        ("bob", list()),
        ("bob", call("write_file", at("/srv/a"))),
        ("alice", call("time", json!({}))),
        (
            "alice",
            call("time", json!({"since": 9_007_199_254_740_993_u64})),
        ),
    ];
    let seen = stage.ask(callgate.http_target(), AS_SHIPPED, &asked);
    assert_eq!(names(&seen[0]), ["read_file", "time"]);
    assert_eq!(names(&seen[4]), ["write_file"]);
    for (at, passes) in [
        (1, true),
        (2, false),
        (3, false),
        (5, true),
        (6, true),
        (7, false),
    ] {
        assert_eq!(seen[at]["reached"], passes, "{at}: {}", seen[at]);
        assert_eq!(
            seen[at]["status"],
            if passes { 200 } else { 403 },
            "{}",
            seen[at]
        );
    }
    // Without arguments nobody can tell a call from an entry, so with `lists` nothing is looked at.
    for change in [WITHOUT_ARGS, BARE] {
        let passes = change == WITHOUT_ARGS;
        let seen = stage.ask(callgate.http_target(), change, &asked[2..3]);
        assert_eq!(seen[0]["reached"], passes, "{change:?}: {}", seen[0]);
    }
    drop(callgate);
    let safe = settings().replace("lists = true", "lists = false");
    stage.bundle.file("callgate.toml", &safe);
    let callgate = Server::start(&stage.bundle, &[]);
    for change in [WITHOUT_ARGS, BARE] {
        let seen = stage.ask(callgate.http_target(), change, &asked[1..4]);
        for denied in &seen {
            assert_eq!(denied["reached"], false, "{change:?}: {denied}");
        }
    }
}

#[test]
#[ignore = "needs ToolHive's authorization, which tests/run builds where there is Go"]
fn toolhive_refuses_what_a_slow_or_absent_callgate_does_not_answer() {
    let stage = Stage::set();
    let callgate = Server::start(&stage.bundle, &[]);
    let target = callgate.http_target().to_owned();
    let asked = [
        ("alice", call("read_file", at("/srv/a"))),
        ("alice", list()),
    ];
    callgate.signal("-STOP");
    let slow = stage.ask(&target, AS_SHIPPED, &asked);
    drop(callgate);
    let gone = stage.ask(&target, AS_SHIPPED, &asked);
    for seen in [&slow, &gone] {
        assert_eq!(seen[0]["reached"], false, "{}", seen[0]);
        assert_eq!(seen[0]["status"], 403);
        assert_eq!(names(&seen[1]), Vec::<String>::new());
    }
    let ms = |seen: &Json| seen["ms"].as_u64().expect("a time");
    println!(
        "slow: a call {} ms, a list of three {} ms",
        ms(&slow[0]),
        ms(&slow[1])
    );
    println!(
        "gone: a call {} ms, a list of three {} ms",
        ms(&gone[0]),
        ms(&gone[1])
    );
    // The shipped timeout for each question, one after the other.
    assert!(
        (3_000..5_000).contains(&ms(&slow[0])) && ms(&slow[1]) >= 9_000,
        "{slow:?}"
    );
    assert!(ms(&gone[0]) < 1_000 && ms(&gone[1]) < 1_000, "{gone:?}");
}
