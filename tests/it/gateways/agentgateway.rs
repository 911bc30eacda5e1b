//! A real agentgateway, as the shipped configuration makes it, between real MCP clients of both eras and real MCP
//! servers. `tests/clients/record_agentgateway` writes what it asks to `gateways/recorded/agentgateway-*.json`, which
//! `recorded.rs` then leads again.
//!
//! No package registry has agentgateway, so the test wants `AGENTGATEWAY` to name the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use callgate::proto::agentgateway::ext_mcp::{McpRequest, McpResponse};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::{Value as Json, json};

use crate::envoy::{Running, serve_notes, shipped, tokens};
use crate::gateways::recorded::{bundle, claims, keep, kept, record, said};
use crate::support::bundle_dir::BundleDir;
use crate::support::parts::{agentgateway, npm};
use crate::support::process::{Server, client, free_port, on_lines, python};
use crate::support::wire::structure;

/// 32 bytes, as `openssl rand -hex 32` makes them. Nothing but recordings depends on it.
const KEY: &str = "9c1f6a0d5b7e42388f31d6c2a4e5097b1d2c3b4a59687786a5b4c3d2e1f00f1e";

const SEVERAL: &str = "agentgateway-several";
const ONE: &str = "agentgateway-one";
const KEYED: &str = "agentgateway-session-keyed";
const PLAIN: &str = "agentgateway-session-plain";

pub(super) const RECORDINGS: [&str; 4] = [SEVERAL, ONE, KEYED, PLAIN];

const POLICIES: &str = r#"
@id("others.look")
permit (principal, action in Mcp::Action::"discover", resource)
when { resource in Mcp::Server::"everything" || resource in Mcp::Server::"curious" };

@id("others.read")
permit (principal, action == Mcp::Action::"call_read", resource)
when { resource in Mcp::Server::"everything" || resource in Mcp::Server::"curious" };

@id("others.read-resources")
permit (principal, action in [Mcp::Action::"read_resource", Mcp::Action::"subscribe"], resource)
when { resource has uri && resource.uri like "demo://resource/*" };

@id("others.get-prompts")
permit (principal, action == Mcp::Action::"get_prompt", resource in Mcp::Server::"everything");

@id("others.no-architecture")
forbid (principal, action in [Mcp::Action::"read_resource", Mcp::Action::"subscribe"], resource)
when { resource has uri && resource.uri like "demo://*/architecture.md" };

@id("others.no-args")
forbid (principal, action == Mcp::Action::"get_prompt", resource == Mcp::Prompt::"everything/args-prompt");

@id("others.ask")
permit (principal == Mcp::Server::"curious", action == Mcp::Action::"elicit_form", resource)
when { context.identity.verified };
"#;

/// Adds the servers that agentgateway has beside `notes`, and what may be done with them.
pub(super) fn with_servers(world: BundleDir) -> BundleDir {
    let asking = ["plain", "ask_name", "ask_model", "ask_folders"];
    world
        .file("others.cedar", POLICIES)
        .server("everything", "alice")
        .tools(&[("echo", "read"), ("get-sum", "read"), ("get-env", "admin")])
        .server("curious", "alice")
        .tools(&asking.map(|name| (name, "read")))
}

/// The claims of a token, as many as identity providers put there: of each kind of value, and nested.
fn whole_claims(person: &str) -> Json {
    let mut claims = claims(person);
    let more = json!({
        "act": {"sub": "helper", "iss": "https://login.example.org"},
        "groups": ["writers"],
        "realm_access": {"roles": ["offline_access", "editors"]},
        "scope": "openid mcp:write",
        "email_verified": true,
        "nickname": null,
        "iat": 1_750_000_000,
        "nbf": 1_750_000_000,
    });
    for (name, claim) in more.as_object().expect("claims") {
        claims[name] = claim.clone();
    }
    claims
}

/// What a recorded exchange tells beside the message: the method, the metadata, and the headers, which only a request has.
struct Told {
    answers: bool,
    method: String,
    metadata: Struct,
    headers: Vec<(String, String)>,
}

fn told(name: &str) -> Vec<Told> {
    let kept = kept(name);
    let exchanges = kept["exchanges"].as_array().expect("exchanges").iter();
    let told = exchanges.map(|exchange| {
        let bytes = said(exchange, "gateway").next().expect("a question");
        let answers = exchange["rpc"]
            .as_str()
            .unwrap()
            .ends_with("/CheckResponse");
        if answers {
            let response = McpResponse::decode(bytes.as_slice()).expect("a response");
            return Told {
                answers,
                method: response.method,
                metadata: response.metadata_context.expect("metadata"),
                headers: Vec::new(),
            };
        }
        let request = McpRequest::decode(bytes.as_slice()).expect("a request");
        let headers = request.headers.into_iter();
        let headers =
            headers.map(|it| (it.key, String::from_utf8(it.value.to_vec()).expect("text")));
        Told {
            answers,
            method: request.method,
            metadata: request.metadata_context.expect("metadata"),
            headers: headers.collect(),
        }
    });
    told.collect()
}

fn text<'a>(metadata: &'a Struct, name: &str) -> Option<&'a str> {
    match metadata.fields.get(name) {
        Some(Value {
            kind: Some(Kind::StringValue(text)),
        }) => Some(text),
        None => None,
        other => panic!("{name}: {other:?}"),
    }
}

fn all_of_a_token(person: &str) -> Value {
    let mut claims = whole_claims(person);
    claims["iss"] = json!("https://login.example.org");
    claims["aud"] = json!("mcp");
    Value {
        kind: Some(Kind::StructValue(structure(&claims))),
    }
}

#[test]
fn the_recorded_metadata_is_the_whole_token_and_where_the_call_comes_from() {
    let mut people = BTreeSet::new();
    for name in RECORDINGS {
        for told in told(name) {
            let about = format!("{name}: {} {:?}", told.method, told.metadata);
            let jwt = told.metadata.fields.get("jwt").expect("claims");
            let person = ["alice", "bob"]
                .into_iter()
                .find(|it| *jwt == all_of_a_token(it));
            let person = person.unwrap_or_else(|| panic!("{about}"));
            people.insert((name, person));
            assert_eq!(text(&told.metadata, "source"), Some("127.0.0.1"), "{about}");
            if !name.starts_with("agentgateway-session") {
                let id = format!("token-of-{person}");
                assert_eq!(text(&told.metadata, "session"), Some(&*id), "{about}");
            }
            // Nobody has sent `traceparent`: what is not there has no member.
            let mut names: Vec<_> = told.metadata.fields.keys().map(String::as_str).collect();
            names.retain(|it| *it != "session");
            names.sort_unstable();
            assert_eq!(names, ["jwt", "source"], "{about}");
        }
    }
    let alice = RECORDINGS.map(|name| (name, "alice"));
    let all: BTreeSet<_> = alice.into_iter().chain([(SEVERAL, "bob")]).collect();
    assert_eq!(people, all);
}

#[test]
fn the_recorded_headers_are_those_of_each_era() {
    for name in RECORDINGS {
        let mut eras = BTreeSet::new();
        for told in told(name).into_iter().filter(|it| !it.answers) {
            let of = |name: &str| {
                let header = told.headers.iter().find(|it| it.0 == name);
                header.map(|it| it.1.as_str())
            };
            let mut names: Vec<_> = told.headers.iter().map(|it| it.0.as_str()).collect();
            names.sort_unstable();
            let about = format!("{name}: {} {:?}", told.method, told.headers);
            match of("mcp-protocol-version") {
                None => {
                    assert_eq!(told.method, "initialize", "{about}");
                    assert!(names.is_empty(), "{about}");
                }
                Some("2025-11-25") => {
                    assert_eq!(names, ["mcp-protocol-version"], "{about}");
                    eras.insert(2025);
                }
                Some("2026-07-28") => {
                    assert_eq!(of("mcp-method"), Some(&*told.method), "{about}");
                    assert_eq!(names.contains(&"mcp-name"), told.method == "tools/call");
                    eras.insert(2026);
                }
                other => panic!("{other:?}: {about}"),
            }
        }
        assert_eq!(eras, BTreeSet::from([2025, 2026]), "{name}");
    }
}

/// A client of sessions has one in all that follows `initialize`, a client of 2026-07-28 has none. With a key nobody can read
/// it; without one it is base64 of the names of servers and their own ids.
#[test]
fn the_recorded_ids_of_sessions_are_sealed_only_with_a_key() {
    for name in [KEYED, PLAIN] {
        let mut ids = BTreeSet::new();
        let mut stateless = false;
        for told in told(name) {
            stateless |= told.method == "server/discover";
            let id = text(&told.metadata, "session");
            let has = !stateless && told.method != "initialize";
            assert_eq!(id.is_some(), has, "{name}: {} {id:?}", told.method);
            ids.extend(id.map(str::to_owned));
        }
        assert!(stateless, "{name}");
        assert_eq!(ids.len(), 1, "{name}: {ids:?}");
        let id = ids.first().unwrap();
        let read = URL_SAFE_NO_PAD.decode(id).or_else(|_| STANDARD.decode(id));
        let read = read.expect("base64");
        let read: Option<Json> = serde_json::from_slice(&read).ok();
        if name == PLAIN {
            assert_eq!(read.expect("JSON")["s"][0]["t"], "notes");
        } else {
            assert_eq!(read, None);
        }
    }
}

/// What the shipped configuration is changed to.
struct Setup<'a> {
    /// Names of targets, and the ports of their servers.
    targets: &'a [(&'a str, u16)],
    /// The expression for the session's name.
    session: &'a str,
    /// The key of ids of sessions, if they have one.
    key: Option<&'a str>,
}

/// The shipped configuration with a test's ports, keys and targets.
fn configuration(setup: &Setup, port: u16, callgate: u16, keys: &Path) -> String {
    let mut text = shipped("agentgateway/config.yaml");
    let mut put = |from: &str, to: &str| {
        assert_eq!(
            text.matches(from).count(),
            1,
            "the configuration has `{from}`"
        );
        text = text.replace(from, to);
    };
    put("- port: 3000", &format!("- port: {port}"));
    put("\"127.0.0.1:50051\"", &format!("\"127.0.0.1:{callgate}\""));
    put("/etc/agentgateway/jwks.json", keys.to_str().unwrap());
    // The machine that runs the tests may be busy with others.
    put("requestTimeout: 3s", "requestTimeout: 30s");
    put("session: jwt.jti", &format!("session: {}", setup.session));
    put(
        "REPLACE WITH THE OUTPUT OF openssl rand -hex 32",
        setup.key.unwrap_or_default(),
    );
    if setup.key.is_none() {
        let (head, rest) = text.split_once("\nconfig:\n").expect("it has a key");
        let (_, binds) = rest.split_once("\nbinds:\n").expect("it has binds");
        text = format!("{head}\nbinds:\n{binds}");
    }
    let (head, _) = text
        .split_once("          targets:\n")
        .expect("it has targets");
    let targets: String = setup
        .targets
        .iter()
        .map(|(name, port)| {
            format!("          - name: {name}\n            mcp:\n              host: http://127.0.0.1:{port}/mcp\n")
        })
        .collect();
    format!("{head}          targets:\n{targets}")
}

fn start(setup: &Setup, callgate: u16, keys: &Path, folder: &Path) -> (Running, u16) {
    let port = free_port();
    let config = folder.join("agentgateway.yaml");
    fs::write(&config, configuration(setup, port, callgate, keys)).unwrap();
    let mut command = Command::new(agentgateway());
    command.arg("-f").arg(&config).current_dir(folder);
    for name in ["ADMIN_ADDR", "STATS_ADDR", "READINESS_ADDR"] {
        command.env(name, format!("127.0.0.1:{}", free_port()));
    }
    let running = Running::start(&mut command, port, &folder.join("agentgateway.log"));
    (running, port)
}

/// What the program says of itself.
fn version() -> String {
    let output = Command::new(agentgateway())
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Json = serde_json::from_str(&text).unwrap_or_default();
    let version = told["version"].as_str().or(told["git_revision"].as_str());
    format!("agentgateway {}", version.unwrap_or(text.trim()))
}

/// Leads conversations through a real agentgateway, keeps what it asked or holds it against what is kept, and gives what
/// the clients saw.
fn lead(name: &str, about: &str, setup: &Setup, lines: impl Fn(&[Json]) -> Vec<Json>) -> Vec<Json> {
    let bundle = bundle();
    let callgate = Server::start(&bundle, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (_recorder, recorder, recorded) = record("grpc", callgate.target(), folder.path());
    let keys = folder.path().join("jwks.json");
    let tokens = tokens(&keys, &["alice", "bob"].map(whole_claims));
    let (_gateway, port) = start(setup, recorder, &keys, folder.path());
    let mut talk = Command::new(python());
    talk.arg(client("mcp_talk.py"))
        .arg(format!("http://127.0.0.1:{port}/mcp"));
    let seen = on_lines(&mut talk, &lines(&tokens));
    if std::env::var_os("CALLGATE_RECORD").is_some() {
        println!("{name}: {}", serde_json::to_string_pretty(&seen).unwrap());
    }
    let about = format!("deploy/agentgateway/config.yaml, {about}");
    keep(name, &version(), &about, &recorded);
    seen
}

fn serve_python(program: &str, folder: &Path) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(python());
    command.arg(client(program)).arg(port.to_string());
    let log = folder.join(format!("{program}.log"));
    (Running::start(&mut command, port, &log), port)
}

/// The npm package `@modelcontextprotocol/server-everything`.
fn serve_everything(folder: &Path) -> (Running, u16) {
    let port = free_port();
    let main = npm().join("@modelcontextprotocol/server-everything/dist/index.js");
    let mut command = Command::new("node");
    // It has a tool that tells its environment.
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .arg(main)
        .arg("streamableHttp")
        .env("PORT", port.to_string());
    let log = folder.join("everything.log");
    (Running::start(&mut command, port, &log), port)
}

fn line(token: &Json, mode: &str, steps: Json) -> Json {
    json!({"token": token, "mode": mode, "steps": steps})
}

#[test]
#[ignore = "needs agentgateway, and the Python and npm packages that tests/run installs"]
fn agentgateway_sends_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let notes = free_port();
    let _notes = serve_notes(notes, &folder.path().join("ran.log"));
    let (_everything, everything) = serve_everything(folder.path());
    let (_curious, curious) = serve_python("mcp_asks.py", folder.path());

    several(&[("notes", notes), ("everything", everything)]);
    one(&[("curious", curious)]);
    for (name, about, key) in [
        (KEYED, "with `config.session.key`", Some(KEY)),
        (PLAIN, "without `config.session.key`", None),
    ] {
        let setup = Setup {
            targets: &[("notes", notes)],
            session: "request.headers[\"mcp-session-id\"]",
            key,
        };
        let steps = json!(["tools", {"tool": "list_notes"}]);
        let about = format!("{about}, the session `mcp-session-id`, one target");
        let seen = lead(name, &about, &setup, |tokens| {
            vec![
                line(&tokens[0], "legacy", steps.clone()),
                line(&tokens[0], "auto", steps.clone()),
            ]
        });
        for seen in seen {
            assert_eq!(
                seen["steps"],
                json!([["add_note", "list_notes"], {"text": "no notes"}]),
                "{seen}"
            );
        }
    }
}

fn several(targets: &[(&str, u16)]) {
    let setup = Setup {
        targets,
        session: "jwt.jti",
        key: Some(KEY),
    };
    let add = json!({"tool": "notes_add_note", "arguments": {"text": "milk"}});
    let echo = json!({"tool": "everything_echo", "arguments": {"message": "hello"}});
    let document = |name: &str| format!("everything+demo://resource/static/document/{name}.md");
    let steps = json!([
        "tools",
        "prompts",
        "resources",
        "templates",
        "ping",
        add,
        {"tool": "notes_drop_notes"},
        {"tool": "notes_merge_notes"},
        echo,
        {"tool": "everything_get-env"},
        {"read": "everything+demo://resource/dynamic/text/1"},
        {"read": document("architecture")},
        {"prompt": "everything_simple-prompt"},
        {"prompt": "everything_args-prompt", "arguments": {"city": "Lyon"}},
        {"complete": "everything_completable-prompt", "argument": {"name": "department", "value": "E"}},
        {"subscribe": document("features")},
        {"unsubscribe": document("features")},
    ]);
    let seen = lead(SEVERAL, "two targets", &setup, |tokens| {
        vec![
            line(&tokens[0], "legacy", steps.clone()),
            line(&tokens[1], "legacy", json!(["tools", add])),
            line(&tokens[0], "auto", json!(["tools", add, echo])),
        ]
    });
    let [all, less, stateless] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let of = |seen: &Json, step: usize| seen["steps"][step].clone();
    let may = [
        "everything_echo",
        "everything_get-sum",
        "notes_add_note",
        "notes_list_notes",
    ];
    assert_eq!(of(all, 0), json!(may), "{all}");
    assert_eq!(of(all, 5), json!({"text": "added milk"}), "{all}");
    assert_eq!(of(all, 8), json!({"text": "Echo: hello"}), "{all}");
    assert!(of(all, 10)["text"].is_string() && of(all, 12)["text"].is_string());
    // A forbidden tool, a proposal, an administrator's tool, a resource, a prompt, and what is asked about too late.
    for step in [6, 7, 9, 11, 13, 14, 15] {
        assert_eq!(of(all, step)["code"], -32001, "{step}: {all}");
    }
    let may = ["everything_echo", "everything_get-sum", "notes_list_notes"];
    assert_eq!(of(less, 0), json!(may), "{less}");
    assert_eq!(of(less, 1)["code"], -32001, "{less}");
    assert_eq!(of(stateless, 0), of(all, 0), "{stateless}");
    assert_eq!(of(stateless, 1), of(all, 5), "{stateless}");
}

fn one(targets: &[(&str, u16)]) {
    let setup = Setup {
        targets,
        session: "jwt.jti",
        key: Some(KEY),
    };
    let steps = json!([
        "tools",
        {"tool": "plain"},
        {"tool": "hidden"},
        {"tool": "ask_name"},
        {"tool": "ask_model", "arguments": {"tokens": 50}},
        {"tool": "ask_folders"},
    ]);
    let seen = lead(ONE, "one target", &setup, |tokens| {
        vec![
            line(&tokens[0], "legacy", steps.clone()),
            line(&tokens[0], "auto", steps.clone()),
        ]
    });
    for seen in &seen {
        let may = ["ask_folders", "ask_model", "ask_name", "plain"];
        assert_eq!(seen["steps"][0], json!(may), "{seen}");
        assert_eq!(seen["steps"][1], json!({"text": "plain"}), "{seen}");
        assert_eq!(seen["steps"][2]["code"], -32001, "{seen}");
    }
    // What a server asks for inside a result is decided in its name; a client of sessions is not asked at all.
    let stateless = &seen[1];
    assert_eq!(
        stateless["steps"][3],
        json!({"text": "hello Ana"}),
        "{stateless}"
    );
    for step in [4, 5] {
        assert_eq!(stateless["steps"][step]["code"], -32001, "{stateless}");
    }
    assert_eq!(seen[0]["asked"], json!([]), "{}", seen[0]);
}
