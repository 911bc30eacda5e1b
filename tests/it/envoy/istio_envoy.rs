//! What `deploy/istio` makes of a sidecar, in a real Envoy: `istio_sidecar.py` applies the shipped resources as Istio
//! does. No Istio takes part.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::envoy::replies::{bundle, tools_end};
use crate::envoy::{Running, releases, run_envoy, serve_notes, shipped, tokens};
use crate::support::process::{Bundle, Server, client, free_port, on_lines, python};

/// Istio's oldest Envoy is as old as the oldest one that the other shipped files are for.
pub const OLDEST: &str = "envoy/ext-proc.yaml";

/// The sidecar's server is known by its host and path, and the token lies where Istio puts it.
const SETTINGS: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "notes" }]
[[envoy.identity]]
from = "jwt"
payload = "payload"
"#;

/// The configuration that Istio would give a sidecar.
fn sidecar() -> Json {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut command = Command::new(python());
    command
        .arg(client("istio_sidecar.py"))
        .arg(deploy.join("istio"))
        .arg(deploy.join("envoy/ext-authz.yaml"));
    on_lines(&mut command, &[json!({})]).remove(0)
}

fn filters(config: &Json) -> &[Json] {
    let chain = &config["static_resources"]["listeners"][0]["filter_chains"][0];
    let filters = &chain["filters"][0]["typed_config"]["http_filters"];
    filters.as_array().expect("filters")
}

/// Starts the sidecar's Envoy at other addresses and with other keys.
pub fn start(release: &Path, folder: &Path, ports: [u16; 3], keys: &Path) -> Running {
    // The machine that runs the tests may be busy with others.
    start_as("10s", release, folder, ports, keys)
}

/// The same with a time of the test's own to wait for Callgate.
pub fn start_as(
    waits: &str,
    release: &Path,
    folder: &Path,
    ports: [u16; 3],
    keys: &Path,
) -> Running {
    let mut text = sidecar().to_string();
    let mut put = |from: &str, to: &str| {
        assert!(text.contains(from), "the configuration has `{from}`");
        text = text.replace(from, to);
    };
    put("/etc/envoy/jwks.json", keys.to_str().unwrap());
    for (port, shipped) in ports.iter().zip(["10000", "8000", "50051"]) {
        put(
            &format!("\"port_value\":{shipped}}}"),
            &format!("\"port_value\":{port}}}"),
        );
    }
    put("\"timeout\":\"0.5s\"", &format!("\"timeout\":\"{waits}\""));
    let config = folder.join("envoy.json");
    fs::write(&config, text).unwrap();
    run_envoy(release, &config, folder, ports[0])
}

/// The source of the Lua filter in a shipped file, without its indentation.
fn lua(file: &str) -> String {
    let text = shipped(file);
    let (before, after) = text.split_once("inline_string: |\n").expect("a source");
    let line = before.lines().last().unwrap_or_default();
    let outside = line.len() - line.trim_start().len();
    let inside = outside + 2;
    let is_inside = |line: &&str| line.is_empty() || line.starts_with(&" ".repeat(inside));
    let lines = after.lines().take_while(is_inside);
    lines
        .map(|it| it.get(inside..).unwrap_or_default().to_owned() + "\n")
        .collect()
}

#[test]
fn the_filter_of_replies_is_the_one_that_is_shipped_for_envoy() {
    let source = lua("istio/resources.yaml");
    assert!(
        source.contains("envoy_on_request") && source.lines().count() > 30,
        "{source}"
    );
    assert_eq!(source, lua("envoy/ext-authz.yaml"));
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn filters_are_in_the_order_of_the_configuration_for_envoy() {
    let config = sidecar();
    let names: Vec<_> = filters(&config)
        .iter()
        .map(|it| it["name"].as_str().expect("a name"))
        .collect();
    let expected = ["jwt_authn", "lua", "ext_authz", "router"];
    assert_eq!(names, expected.map(|it| format!("envoy.filters.http.{it}")));
    let text = shipped("envoy/ext-authz.yaml");
    let at = names.iter().map(|name| {
        let line = format!("          - name: {name}\n");
        text.find(&line).unwrap_or_else(|| panic!("{name}"))
    });
    assert!(at.is_sorted(), "they are in the same order");
    // What Istio leaves out is added, and what it sets stays.
    let asks = &filters(&config)[2]["typed_config"];
    assert_eq!(
        asks["metadata_context_namespaces"],
        json!(["envoy.filters.http.jwt_authn"])
    );
    assert_eq!(asks["failure_mode_allow"], false);
    let manager = &config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(
        manager["common_http_protocol_options"],
        json!({"headers_with_underscores_action": "REJECT_REQUEST"})
    );
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn behind_a_sidecar_a_tool_that_has_asked_its_client_ends() {
    for release in releases(OLDEST) {
        println!("{}", release.display());
        tools_end(&bundle(SETTINGS), |folder, ports, keys| {
            start(&release, folder, ports, keys)
        });
    }
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_sidecar_lets_through_what_policies_allow() {
    for release in releases(OLDEST) {
        let bundle = Bundle::notes();
        bundle.file("callgate.toml", SETTINGS);
        bundle.file(
            "looking.cedar",
            "@id(\"look\") permit (principal, action in Mcp::Action::\"discover\", resource in Mcp::Server::\"notes\");",
        );
        let callgate = Server::start(&bundle, &[]);
        let folder = tempfile::tempdir().unwrap();
        let notes = free_port();
        let _notes = serve_notes(notes, &folder.path().join("ran.log"));
        let keys = folder.path().join("jwks.json");
        let claims = ["alice", "bob"].map(|it| json!({"sub": it, "act": {"sub": "helper"}}));
        let tokens = tokens(&keys, &claims);
        let port = free_port();
        let _envoy = start(
            &release,
            folder.path(),
            [port, notes, callgate.port()],
            &keys,
        );
        let mut calls = Command::new(python());
        calls
            .arg(client("mcp_http.py"))
            .args(["calls", &format!("http://127.0.0.1:{port}/mcp")]);
        let call = |token: &Json, tool: &str| json!({"token": token, "tool": tool, "arguments": {"text": "milk"}});
        let asked = [
            call(&tokens[0], "add_note"),
            call(&tokens[0], "drop_notes"),
            call(&tokens[1], "add_note"),
            call(&Json::Null, "add_note"),
        ];
        let seen = on_lines(&mut calls, &asked);
        assert_eq!(seen[0], json!({"text": "added milk"}));
        let reason = |it: &Json| it["data"]["authorization"]["reason"].clone();
        assert_eq!(reason(&seen[1]), "FORBIDDEN", "{}", seen[1]);
        assert_eq!(reason(&seen[2]), "DELEGATOR_DENIED", "{}", seen[2]);
        // Istio lets a request without a token pass; Callgate then knows nobody.
        assert!(seen[3].get("text").is_none(), "{}", seen[3]);
    }
}
