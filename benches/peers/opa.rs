//! OPA with its Envoy plugin: rules that its index finds by the name of a tool, and the groups of everybody as data. It keeps
//! no sessions, so labels come with each call, as what a filter before it has found out.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::ours::{SLACK, TOKENS};
use crate::question::{CHANNELS, Groups, TOOL};
use crate::served::process::{Server, free_port};
use crate::served::{Fault, bundle};

/// The program that `OPA_ENVOY` names, or that lies beside the other peers.
pub fn program() -> Option<PathBuf> {
    let beside = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/bench-tools/opa-envoy-plugin")
            .into_os_string()
    };
    let program = PathBuf::from(env::var_os("OPA_ENVOY").unwrap_or_else(beside));
    program.is_file().then_some(program)
}

/// Starts it on rules and data below `dir`. Its decision log is off, as it is by default.
pub fn start(program: &Path, dir: &Path, groups: &Groups) -> Result<Server, Fault> {
    fs::create_dir_all(dir)?;
    let [rules_at, data_at, config_at] =
        ["rules.rego", "data.json", "opa.json"].map(|name| dir.join(name));
    fs::write(&rules_at, rules())?;
    let data = json!({"agents": members(&groups.agents), "people": members(&groups.people)});
    fs::write(&data_at, data.to_string())?;
    let port = free_port()?;
    let settings = json!({"plugins": {"envoy_ext_authz_grpc": {
        "addr": format!("127.0.0.1:{port}"),
        "path": "envoy/authz/allow",
    }}});
    fs::write(&config_at, settings.to_string())?;
    let child = Command::new(program)
        .args(["run", "--server", "--log-level=error"])
        .args(["--skip-version-check", "--optimize-store-for-read-speed"])
        .args(["--addr", &format!("127.0.0.1:{}", free_port()?)])
        .arg("--config-file")
        .args([config_at, rules_at, data_at])
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Server::new(child, port))
}

/// Whether somebody is in a group is one look at an object.
fn members(groups: &BTreeMap<String, Vec<String>>) -> Json {
    let member = |(id, groups): (&String, &Vec<String>)| {
        let groups: BTreeMap<_, _> = groups.iter().map(|group| (group, true)).collect();
        (id.clone(), json!(groups))
    };
    Json::Object(groups.iter().map(member).collect())
}

/// The rules of the teams, and the one that what is measured is about: as much of the shipped policies as such a call
/// comes upon. A token with an actor is a verified delegation.
fn rules() -> String {
    let mut text = format!(
        r#"package envoy.authz

default allow := false

found := input.attributes.metadataContext.filterMetadata
token := found["{TOKENS}"].jwt_payload
agent := token.act.sub
person := token.sub
arguments := input.parsed_body.params.arguments

has_link if contains(arguments.text, "://")
has_read if "private" in found.session.labels
has_read if "untrusted" in found.session.labels

risks_link if {{
    has_link
    has_read
}}
"#
    );
    for rule in bundle::team_rules() {
        let tool = format!("tool{}", rule.number);
        let team = format!("team{}", rule.team);
        text.push_str(&allow("/github", &tool, &team, ""));
    }
    let conditions = format!(
        r#"    arguments.channel_id in {{"{}", "{}"}}
    not "secret" in found.session.labels
    not risks_link
"#,
        CHANNELS[0], CHANNELS[1]
    );
    text.push_str(&allow(SLACK, TOOL, "support", &conditions));
    text
}

fn allow(path: &str, tool: &str, group: &str, conditions: &str) -> String {
    let mut rule = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        rule,
        r#"
allow if {{
    input.parsed_body.params.name == "{tool}"
    input.parsed_body.method == "tools/call"
    input.attributes.request.http.path == "{path}"
    data.agents[agent].{group}
    data.people[person].{group}
{conditions}}}
"#
    );
    rule
}
