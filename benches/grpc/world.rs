//! What the kinds of calls need beside the shipped policies: a tool that brings a secret, a server with a hundred tools,
//! and counts that no measurement reaches.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::served::Fault;

/// The server and its tool that brings a secret into a session.
pub const VAULT: (&str, &str) = ("vault", "read_secret");

/// The server whose tools are filtered, and how many it has. Of every four, three read and one writes.
pub const OFFICE: &str = "office";
pub const OFFICE_TOOLS: usize = 100;

/// Adds them to the directory.
pub fn furnish(dir: &Path) -> Result<(), Fault> {
    let secret = [(VAULT.1.to_owned(), tool("read", &["secret"]))];
    register(dir, VAULT.0, secret.into_iter().collect())?;
    let tools = (0..OFFICE_TOOLS).map(|number| {
        let access = if number % 4 == 3 { "write" } else { "read" };
        (office_tool(number), tool(access, &["private"]))
    });
    register(dir, OFFICE, tools.collect())?;
    lift_counts(&dir.join("usage.cedar"))
}

/// The name of a tool of the office.
pub fn office_tool(number: usize) -> String {
    format!("tool{number}")
}

fn tool(access: &str, yields: &[&str]) -> Json {
    json!({
        "access": access,
        "status": "confirmed",
        "yields": yields,
        "egress": false,
        "sensitivity": "internal",
    })
}

fn register(dir: &Path, server: &str, tools: Map<String, Json>) -> Result<(), Fault> {
    let registration = json!({
        "server": { "name": server, "owner": "tara", "active": true, "environment": "production" },
        "tools": tools,
    });
    let path = dir.join("tools").join(format!("{server}.json"));
    Ok(fs::write(path, registration.to_string())?)
}

/// An agent that writes as often as a measurement would be stopped. The policies still ask, with numbers out of reach.
fn lift_counts(file: &Path) -> Result<(), Fault> {
    let text = fs::read_to_string(file)?;
    let mut parts = text.split(">= ");
    let mut lifted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        lifted.push_str(">= 1000000000");
        lifted.push_str(part.trim_start_matches(|it: char| it.is_ascii_digit()));
    }
    if lifted == text {
        return Err("no policy on usage compares with a number".into());
    }
    Ok(fs::write(file, lifted)?)
}
