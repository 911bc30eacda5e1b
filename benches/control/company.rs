//! The directory that is served: one person, one agent, one tool, and a few rules ([`Rules`]), always as many.

use std::path::Path;

use callgate::bundle;
use callgate::service::generation::LoadedBundle;

use crate::Fault;

const RULES: &str = r#"
@id("govern") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
@id("people") permit (principal is Mcp::User, action in Mcp::Action::"call_tool", resource);
@id("agents") permit (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has delegation };
"#;

const LIVE: &str = r#"
@id("labels") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has session && context.session.labels.contains("secret") };
@id("rate") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has usage && context.usage.last_minute >= 1000000000 };
@id("task") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
unless { context has task && context.task.task.person == Mcp::User::"ana" };
"#;

const STANDING: &str = r#"
@id("labels") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { resource has yields && resource.yields.contains("secret") };
@id("rate") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has delegation && context.delegation.depth >= 1000000000 };
@id("task") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
unless { context has delegation && context.delegation has root && context.delegation.root == Mcp::User::"ana" };
"#;

const SESSION_LABELS: &str = r#"
@id("labels") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has session && context.session.labels.contains("secret") };
@id("rate") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has usage && context.usage.last_minute >= 1000000000 };
"#;

const ALL_LABELS: &str = r#"
@id("labels") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context.labels.contains("secret") };
@id("rate") forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has usage && context.usage.last_minute >= 1000000000 };
"#;

const PEOPLE: &str = r#"[
  {"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {"active": true}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "one"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}, "active": true}, "parents": []}
]"#;

const MAIL: &str = r#"{
  "server": {"name": "mail", "owner": "ana"},
  "tools": {"list": {"access": "read", "status": "confirmed", "yields": ["private"], "egress": false, "sensitivity": "internal"}}
}"#;

/// What the rules read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The session, counts and the task.
    LiveFacts,
    /// Nothing that changes with calls.
    Standing,
    /// Counts, and the labels of the session: those of tasks, delegations and pairs are not looked up.
    SessionLabels,
    /// The same, and the labels of all that a call carries.
    AllLabels,
}

/// Writes the directory.
pub fn write(dir: &Path, rules: Rules) -> Result<(), Fault> {
    let rules = match rules {
        Rules::LiveFacts => LIVE,
        Rules::Standing => STANDING,
        Rules::SessionLabels => SESSION_LABELS,
        Rules::AllLabels => ALL_LABELS,
    };
    for (path, text) in [
        ("all.cedar", RULES),
        ("rules.cedar", rules),
        ("entities/all.json", PEOPLE),
        ("tools/mail.json", MAIL),
    ] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// Compiles the directory.
pub fn load(rules: Rules) -> Result<LoadedBundle, Fault> {
    let dir = tempfile::tempdir()?;
    write(dir.path(), rules)?;
    let bundle = bundle::load(dir.path()).map_err(|faults| faults.to_string())?;
    Ok(LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    })
}
