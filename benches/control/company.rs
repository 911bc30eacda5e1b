//! The directory that is served: one person, one agent, one tool, and a few rules. Either they read live
//! facts (the session, counts, the task), or as many rules read others.

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

const PEOPLE: &str = r#"[
  {"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {"active": true}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "one"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}, "active": true}, "parents": []}
]"#;

const MAIL: &str = r#"{
  "server": {"name": "mail", "owner": "ana"},
  "tools": {"list": {"access": "read", "status": "confirmed", "yields": ["private"], "egress": false, "sensitivity": "internal"}}
}"#;

/// Writes the directory.
pub fn write(dir: &Path, reads_live_facts: bool) -> Result<(), Fault> {
    let rules = if reads_live_facts { LIVE } else { STANDING };
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
pub fn load(reads_live_facts: bool) -> Result<LoadedBundle, Fault> {
    let dir = tempfile::tempdir()?;
    write(dir.path(), reads_live_facts)?;
    let bundle = bundle::load(dir.path()).map_err(|faults| faults.to_string())?;
    Ok(LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    })
}
