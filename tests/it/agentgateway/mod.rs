//! What is shipped for agentgateway, and a client of another make that asks as agentgateway does, with stubs of its
//! own, about what real servers offer.
//!
//! The lists of tools are not part of this repository: a test needs them in the folder that `CALLGATE_SHARED` names, as
//! `data/mcp-tools`; without it the test that wants them says so and does nothing.

pub mod ext_mcp;
pub mod ext_mcp_results;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use callgate::config::Config;
use serde_json::{Value as Json, json};

use crate::support::parts::public_data;
use crate::support::process::{Bundle, Server, client, on_lines, python};
use crate::support::worlds;

/// How many tools there are; fewer would mean that the test looks past some.
const TOOLS: usize = 89;

const POLICIES: &str = r#"
@id("read")
permit (principal, action == Mcp::Action::"call_read", resource);

@id("write")
permit (principal in Mcp::Group::"staff", action == Mcp::Action::"call_write", resource);

@id("look")
permit (principal, action in Mcp::Action::"discover", resource)
unless { resource == Mcp::Server::"slack" };

@id("look-at-slack")
permit (principal in Mcp::Group::"staff", action in Mcp::Action::"discover", resource);
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> String {
    fs::read_to_string(root().join("deploy/agentgateway/config.yaml")).expect("the configuration")
}

/// What the head of the shipped configuration says to put in `callgate.toml`.
fn settings() -> String {
    let text = shipped();
    let after = text
        .split("# In callgate.toml:\n#\n")
        .nth(1)
        .expect("a part for Callgate");
    let lines = after.lines().take_while(|line| line.starts_with("#   "));
    lines.map(|line| format!("{}\n", &line[4..])).collect()
}

#[test]
fn the_settings_that_it_wants_are_settings() {
    let config = Config::from_toml(&settings(), "callgate.toml");
    let config = config.unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(config.ext_mcp.identity.len(), 1);
    assert!(config.require_delegation);
    assert_eq!(config.ext_mcp.verified_servers, ["github"]);
}

#[test]
fn the_gateway_waits_longer_than_callgate_and_no_client_chooses_its_session() {
    let text = shipped();
    let deadline = u64::from(Config::default().limits.deadline_ms);
    let waits = text
        .split("requestTimeout: ")
        .nth(1)
        .and_then(|it| it.split('s').next());
    let waits: u64 = waits.expect("a time").parse().expect("seconds");
    assert!(waits * 1_000 > deadline, "{waits} s");
    assert!(
        text.contains("\nconfig:\n  session:\n"),
        "ids of sessions have a key"
    );
    let session = text
        .lines()
        .map(str::trim)
        .find_map(|line| line.strip_prefix("session: "));
    assert_eq!(session, Some("jwt.jti"));
    // What is asked about too late is named, and what that means is said.
    for method in [
        "completion/complete",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
        "does not undo",
    ] {
        assert!(text.contains(method), "{method}");
    }
}

/// The keys of each object in a document, by its path. Items of a list share one.
fn keys(json: &Json, path: &str, found: &mut BTreeMap<String, Vec<String>>) {
    match json {
        Json::Object(members) => {
            let here = found.entry(path.to_owned()).or_default();
            here.extend(members.keys().cloned());
            here.sort();
            here.dedup();
            for (name, member) in members {
                keys(member, &format!("{path}.{name}"), found);
            }
        }
        Json::Array(items) => items
            .iter()
            .for_each(|item| keys(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn the_shipped_configuration_is_of_published_keys_and_asks_about_everything() {
    let read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin.readline() and open(sys.argv[1]))))";
    let mut command = Command::new(python());
    command
        .args(["-c", read])
        .arg(root().join("deploy/agentgateway/config.yaml"));
    let document = on_lines(&mut command, &[json!({})]).remove(0);
    let mut found = BTreeMap::new();
    keys(&document, "", &mut found);
    let route = ".binds[].listeners[].routes[]";
    let processor = format!("{route}.policies.mcpGuardrails.processors[]");
    // As agentgateway's own sources and documentation have them.
    let expected: [(String, &[&str]); 19] = [
        (String::new(), &["binds", "config"]),
        (".config".into(), &["session"]),
        (".config.session".into(), &["key"]),
        (format!("{processor}.policies"), &["http"]),
        (format!("{processor}.policies.http"), &["requestTimeout"]),
        (".binds[]".into(), &["listeners", "port"]),
        (".binds[].listeners[]".into(), &["routes"]),
        (route.into(), &["backends", "policies"]),
        (format!("{route}.policies"), &["jwtAuth", "mcpGuardrails"]),
        (
            format!("{route}.policies.jwtAuth"),
            &["audiences", "issuer", "jwks", "mode"],
        ),
        (format!("{route}.policies.jwtAuth.jwks"), &["file"]),
        (format!("{route}.policies.mcpGuardrails"), &["processors"]),
        (
            processor.clone(),
            &[
                "failureMode",
                "host",
                "kind",
                "metadata",
                "methods",
                "policies",
                "requestHeaders",
            ],
        ),
        (format!("{processor}.methods"), &["*"]),
        (
            format!("{processor}.metadata"),
            &["jwt", "session", "source", "traceparent"],
        ),
        (format!("{processor}.requestHeaders"), &["allowed"]),
        (format!("{route}.backends[]"), &["mcp"]),
        (format!("{route}.backends[].mcp"), &["targets"]),
        (
            format!("{route}.backends[].mcp.targets[]"),
            &["mcp", "name"],
        ),
    ];
    let targets = format!("{route}.backends[].mcp.targets[].mcp");
    assert_eq!(found.remove(&targets), Some(vec!["host".to_owned()]));
    let expected: BTreeMap<_, Vec<_>> = expected
        .into_iter()
        .map(|(path, keys)| (path, keys.iter().map(|it| (*it).to_owned()).collect()))
        .collect();
    assert_eq!(found, expected);

    let route = &document["binds"][0]["listeners"][0]["routes"][0];
    assert_eq!(route["policies"]["jwtAuth"]["mode"], "strict");
    let processor = &route["policies"]["mcpGuardrails"]["processors"][0];
    assert_eq!(processor["kind"], "remote");
    assert_eq!(processor["failureMode"], "failClosed");
    assert_eq!(processor["methods"], json!({"*": "full"}));
    assert_eq!(processor["policies"]["http"]["requestTimeout"], "3s");
    // What Callgate reads by default is what the gateway sends.
    let settings = Config::from_toml(&settings(), "callgate.toml")
        .expect("settings")
        .ext_mcp;
    for (_, key) in settings.keys() {
        assert!(processor["metadata"].get(key).is_some(), "{key} is sent");
    }
}

/// What nine public servers answered to `tools/list`, by their names.
fn real_servers() -> BTreeMap<String, Vec<Json>> {
    let files = fs::read_dir(public_data("mcp-tools")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let lists = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
    let servers = lists.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let list: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (name, list["tools"].as_array().unwrap().clone())
    });
    servers.collect()
}

fn is_read(tool: &Json) -> bool {
    tool["annotations"]["readOnlyHint"] == true
}

fn name(tool: &Json) -> &str {
    tool["name"].as_str().unwrap()
}

/// A directory in which these tools are registered with the effects that their servers claim.
fn bundle(servers: &BTreeMap<String, Vec<Json>>) -> Bundle {
    let mut world = worlds::notes().config(&settings()).policies(POLICIES);
    for (server, tools) in servers {
        world = world.server(server, "alice");
        for tool in tools {
            world = world.tool(name(tool), if is_read(tool) { "read" } else { "write" });
        }
    }
    Bundle::of(&world)
}

fn agentgateway(server: &Server, questions: &[Json]) -> Vec<Json> {
    let mut command = Command::new(python());
    command
        .arg(client("ext_mcp.py"))
        .arg(server.target())
        .arg(root().join("proto"));
    let answers = on_lines(&mut command, questions);
    assert_eq!(answers.len(), questions.len());
    answers
}

/// What agentgateway's configuration makes of a request that `helper` makes for somebody.
fn helper_for(person: &str) -> Json {
    json!({"jwt": {"sub": person, "act": {"sub": "helper"}, "exp": 4_000_000_000_u64}, "source": "192.0.2.7"})
}

#[test]
#[ignore = "needs the Python packages that tests/run installs, and public data: data/mcp-tools"]
fn a_client_of_another_make_sees_what_may_be_used_of_real_servers() {
    let servers = real_servers();
    let bundle = bundle(&servers);
    let callgate = Server::start(&bundle, &[]);
    let all: Vec<_> = servers
        .iter()
        .flat_map(|(server, tools)| tools.iter().map(move |tool| (server.as_str(), tool)))
        .collect();
    assert_eq!(all.len(), TOOLS);

    let list = |metadata: Json, targets: Json| json!({"do": "list", "method": "tools/list", "member": "tools", "metadata": metadata, "targets": targets});
    let github = json!({"github": servers["github"]});
    let slack = json!({"slack": servers["slack"]});
    let lists = [
        list(helper_for("alice"), json!(servers)),
        list(helper_for("bob"), json!(servers)),
        list(helper_for("bob"), github),
        list(helper_for("bob"), slack),
        list(json!({}), json!(servers)),
    ];
    let seen = agentgateway(&callgate, &lists);
    let shown = |answer: &Json| -> Vec<String> {
        let tools = answer["result"]["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| name(tool).to_owned()).collect()
    };
    assert_eq!(seen[0]["changed"], false, "alice may use all of them");
    assert_eq!(shown(&seen[0]).len(), TOOLS);
    let readable: Vec<_> = all
        .iter()
        .filter(|(server, tool)| is_read(tool) && *server != "slack")
        .map(|(server, tool)| format!("{server}_{}", name(tool)))
        .collect();
    assert!(readable.len() > 20 && readable.len() < TOOLS / 2 + 20);
    assert_eq!(shown(&seen[1]), readable);
    // What is left is as the servers wrote it.
    for tool in seen[1]["result"]["tools"].as_array().unwrap() {
        let (server, own) = name(tool).split_once('_').unwrap();
        let original = servers[server].iter().find(|it| name(it) == own).unwrap();
        assert_eq!(tool["inputSchema"], original["inputSchema"]);
        assert_eq!(tool["description"], original["description"]);
    }
    let alone: Vec<_> = servers["github"]
        .iter()
        .filter(|it| is_read(it))
        .map(name)
        .collect();
    assert_eq!(shown(&seen[2]), alone);
    for refused in &seen[3..] {
        assert_eq!(refused["error"]["code"], -32001, "{refused}");
    }

    let targets: Vec<_> = servers.keys().collect();
    let call = |person: &str, name: &str| json!({"do": "call", "metadata": helper_for(person), "targets": targets, "name": name, "arguments": {"a": 1}});
    let mut calls: Vec<_> = all
        .iter()
        .map(|(server, tool)| call("bob", &format!("{server}_{}", name(tool))))
        .collect();
    calls.push(call("alice", "git_no_such_tool"));
    let answers = agentgateway(&callgate, &calls);
    for ((server, tool), answer) in all.iter().zip(&answers) {
        if is_read(tool) {
            let sent = json!({"name": name(tool), "arguments": {"a": 1}});
            assert_eq!((&answer["sent"], &answer["to"]), (&sent, &json!(server)));
            let id = &answer["headers"]["x-callgate-decision-id"];
            assert_eq!(
                *id, answer["metadata"]["decision_id"],
                "and not the client's"
            );
            assert_eq!(answer["metadata"]["decision"], "allow");
        } else {
            assert_eq!(
                answer["error"]["code"],
                -32001,
                "{server} {}: {answer}",
                name(tool)
            );
            let authorization = &answer["error"]["data"]["authorization"];
            assert_eq!(authorization["reason"], "DELEGATOR_DENIED", "{answer}");
        }
    }
    let unknown = &answers[TOOLS]["error"]["data"]["authorization"]["reason"];
    assert_eq!(unknown, "TOOL_UNKNOWN");

    let asking =
        json!({"inputRequests": {"a": {"method": "roots/list"}}, "resultType": "input_required"});
    let text = json!({"content": [{"type": "text", "text": "done"}]});
    let answer = |result: Json| json!({"do": "answer", "metadata": helper_for("alice"), "targets": ["git"], "method": "tools/call", "result": result});
    let answers = agentgateway(&callgate, &[answer(asking), answer(text.clone())]);
    assert_eq!(answers[0]["error"]["code"], -32001, "{}", answers[0]);
    assert_eq!(answers[1], json!({"result": text, "changed": false}));
}
