//! Cerbos: a policy for each tool, and what it is asked. It keeps neither people nor sessions, so groups and labels come with
//! each call.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prost_types::Value as WireValue;
use serde_json::{Value as Json, json};

use crate::question::{AGENT, CHANNELS, Call, Groups, LABELS, Question, TOOL};
use crate::served::process::{Server, free_port};
use crate::served::{Fault, bundle};
use crate::wire::wire;

/// The program, where `benches/peers/install` has put it.
pub fn program() -> Option<PathBuf> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/bench-tools/cerbos/node_modules/@cerbos");
    let mut files = fs::read_dir(packages)
        .ok()?
        .flatten()
        .map(|package| package.path().join(package.file_name()));
    files.find(|file| file.is_file())
}

/// Starts it on policies below `dir`. Its decision log and its line for each request are off.
pub fn start(program: &Path, dir: &Path) -> Result<Server, Fault> {
    let policies = dir.join("policies");
    fs::create_dir_all(&policies)?;
    for (name, policy) in policies_of_tools() {
        fs::write(policies.join(name), policy.to_string())?;
    }
    let port = free_port()?;
    let settings = json!({
        "server": {
            "grpcListenAddr": format!("127.0.0.1:{port}"),
            "httpListenAddr": format!("127.0.0.1:{}", free_port()?),
        },
        "telemetry": {"disabled": true},
        "audit": {"enabled": false},
        "storage": {"driver": "disk", "disk": {"directory": policies, "watchForChanges": false}},
    });
    let config = dir.join("cerbos.json");
    fs::write(&config, settings.to_string())?;
    let child = Command::new(program)
        .args(["server", "--log-level=error", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Server::new(child, port))
}

/// The rules of the teams, and the one that what is measured is about: as much of the shipped policies as such a call
/// comes upon.
fn policies_of_tools() -> impl Iterator<Item = (String, Json)> {
    let teams = bundle::team_rules().map(|rule| {
        let team = format!("team{}", rule.team);
        let condition =
            format!(r#"P.attr.delegation.verified && "{team}" in P.attr.person.groups"#);
        let tool = format!("tool{}", rule.number);
        let policy = policy("github", &tool, rule.action, &team, &condition);
        (format!("{tool}.json"), policy)
    });
    let condition = [
        r#"P.attr.identity.verified && P.attr.delegation.verified && P.attr.delegation.depth <= 2.0"#,
        r#""support" in P.attr.person.groups"#,
        &format!("R.attr.arguments.channel_id in {}", json!(CHANNELS)),
        r#"!("secret" in R.attr.session.labels)"#,
        r#"!(R.attr.arguments.text.contains("://") && ("private" in R.attr.session.labels || "untrusted" in R.attr.session.labels))"#,
    ]
    .join(" && ");
    let post = policy("slack", TOOL, "call_write", "support", &condition);
    teams.chain([("post.json".to_owned(), post)])
}

fn policy(server: &str, tool: &str, action: &str, group: &str, condition: &str) -> Json {
    json!({
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {
            "resource": format!("{server}/{tool}"),
            "version": "default",
            "rules": [{
                "actions": [action],
                "effect": "EFFECT_ALLOW",
                "roles": [group],
                "condition": {"match": {"expr": condition}},
            }],
        },
    })
}

/// `cerbos.svc.v1.CerbosService/CheckResources`.
pub struct CheckResources {
    pub groups: Groups,
}

impl Question for CheckResources {
    type Request = CheckRequest;
    type Response = CheckResponse;
    const PATH: &'static str = "/cerbos.svc.v1.CerbosService/CheckResources";

    fn request(&self, call: &Call) -> CheckRequest {
        let principal = json!({
            "identity": {"verified": true, "method": "jwt"},
            "delegation": {"verified": true, "depth": 1},
            "person": {"id": call.person, "groups": self.groups.people.get(call.person)},
        });
        let resource = json!({
            "arguments": call.arguments(),
            "session": {"id": "0197-session", "labels": LABELS},
        });
        CheckRequest {
            request_id: "7".to_owned(),
            principal: Some(Principal {
                id: AGENT.to_owned(),
                roles: self.groups.agents.get(AGENT).cloned().unwrap_or_default(),
                attr: attributes(&principal),
            }),
            resources: vec![Entry {
                actions: vec!["call_write".to_owned()],
                resource: Some(Resource {
                    kind: format!("slack/{}", call.tool),
                    id: call.tool.to_owned(),
                    attr: attributes(&resource),
                }),
            }],
        }
    }

    fn is_allow(response: &CheckResponse) -> bool {
        const ALLOW: i32 = 1;
        let effects = response.results.iter().flat_map(|it| it.actions.values());
        effects.copied().eq([ALLOW])
    }
}

fn attributes(json: &Json) -> HashMap<String, WireValue> {
    let members = json.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), wire(value)))
        .collect()
}

/// What of Cerbos's messages is needed here.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckRequest {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(message, optional, tag = "3")]
    principal: Option<Principal>,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Principal {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
    #[prost(map = "string, message", tag = "4")]
    attr: HashMap<String, WireValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, repeated, tag = "1")]
    actions: Vec<String>,
    #[prost(message, optional, tag = "2")]
    resource: Option<Resource>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(map = "string, message", tag = "4")]
    attr: HashMap<String, WireValue>,
}

/// The answer, of which the effects are read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckResponse {
    #[prost(message, repeated, tag = "2")]
    results: Vec<Effects>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Effects {
    #[prost(map = "string, int32", tag = "2")]
    actions: HashMap<String, i32>,
}
