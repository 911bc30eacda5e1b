//! The directory that is served: the shipped policies, a thousand more, ten thousand entities.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use callgate::proto::v1;
use serde_json::{Value as Json, json};

const POLICIES: usize = 1_000;
const ENTITIES: usize = 10_000;
const TEAMS: usize = 100;

/// Copies the shipped policies of `project` to `dir` and adds the rest.
pub fn write(project: &Path, dir: &Path) -> io::Result<()> {
    copy(&project.join("policies"), dir)?;
    fs::write(dir.join("teams.cedar"), policies())?;
    fs::write(
        dir.join("entities").join("teams.json"),
        Json::from(entities()).to_string(),
    )
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A rule by which a team may use one tool of the server `github`, if who asked for it is beyond doubt.
pub struct TeamRule {
    pub number: usize,
    pub team: usize,
    pub action: &'static str,
}

/// The rules beyond the shipped policies.
pub fn team_rules() -> impl Iterator<Item = TeamRule> {
    (0..POLICIES).map(|number| TeamRule {
        number,
        team: number % TEAMS,
        action: ["call_read", "call_write"][number / TEAMS % 2],
    })
}

fn policies() -> String {
    let mut text = String::new();
    for rule in team_rules() {
        let TeamRule {
            number,
            team,
            action,
        } = rule;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "@id(\"team.{number}\") @owner(\"team{team}\") permit (principal in Mcp::Group::\"team{team}\", \
             action == Mcp::Action::\"{action}\", resource == Mcp::Tool::\"github/tool{number}\") \
             when {{ context has delegation && context.delegation.verified }};"
        );
    }
    text
}

fn entities() -> Vec<Json> {
    let uid = |ty: &str, id: String| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let mut entities: Vec<Json> = (0..TEAMS)
        .map(|team| json!({ "uid": uid("Group", format!("team{team}")), "attrs": {}, "parents": [] }))
        .collect();
    entities.extend((0..ENTITIES - TEAMS).map(|number| {
        json!({
            "uid": uid("User", format!("u{number}")),
            "attrs": { "name": format!("Person {number}"), "active": true },
            "parents": [uid("Group", format!("team{}", number % TEAMS)), uid("Group", "employees".to_owned())],
        })
    }));
    entities
}

/// An agent looks an issue up for a person.
pub fn typical_call() -> v1::AuthorizeRequest {
    let entity = |ty: &str, id: &str| {
        Some(v1::EntityRef {
            r#type: ty.to_owned(),
            id: id.to_owned(),
        })
    };
    let arguments = r#"{"owner":"acme","repo":"shop","issue_number":4711}"#;
    v1::AuthorizeRequest {
        call_context: Some(Box::new(v1::CallContext {
            subject: Some(v1::Subject {
                entity: entity("Agent", "support"),
                identity: Some(v1::Identity {
                    method: "jwt".to_owned(),
                    verified: true,
                }),
                claims: None,
            }),
            delegation: Some(v1::Delegation {
                root: entity("User", "sam"),
                scopes: vec!["tools".to_owned()],
                verified: true,
                ..Default::default()
            }),
            operation: Some(v1::Operation {
                server: "github".to_owned(),
                kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
                    tool: "get_issue".to_owned(),
                    input: Some(v1::call_tool::Input::ArgumentsJson(arguments.into())),
                    ..Default::default()
                })),
                ..Default::default()
            }),
            workflow: Some(v1::Workflow {
                session_id: "0197-session".to_owned(),
                purpose: "customer question".to_owned(),
                request_id: "7".to_owned(),
                ..Default::default()
            }),
            environment: Some(v1::Environment {
                source_address: "10.1.2.3".to_owned(),
            }),
            trace: Some(v1::TraceContext {
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
                tracestate: String::new(),
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}
