//! `callgate init`: the files of a small directory to start from.
//!
//! Start at [`files`]. The directory has a person, an agent of theirs, servers, permits to look and to read, a forbid, tests of
//! all of that, and a configuration that observes. [`files`] only makes texts; whoever writes them checks the directory first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::analysis::catalogue;
use crate::analysis::import::new_server;
use crate::bundle::parse::registration::Registration;
use crate::domain::names::{NameError, check_server_name};

/// The most servers.
pub const MAX_SERVERS: usize = 64;
/// The maximum length of the name of a person or an agent, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The group of the servers that the permits are about.
const SERVERS: &str = "team-servers";
/// The server that the tests bring along: they hold whichever servers are registered. Names that start so are theirs.
const EXAMPLE: &str = "example";

/// Who and what the directory is about.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The person, an `Mcp::User`.
    pub user: String,
    /// The agent, an `Mcp::Agent`, owned by that person.
    pub agent: String,
    /// The servers, as callers will name them. One that is in the catalogue gets its reviewed tools.
    pub servers: BTreeSet<String>,
}

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The name of a person or an agent cannot be used.
    #[error("`{name}` cannot name the {what}: use 1 to 64 letters, digits, `-`, `_`, `.` and `@`")]
    Name {
        /// The name.
        name: String,
        /// `user` or `agent`.
        what: &'static str,
    },
    /// The name of a server cannot be used.
    #[error(transparent)]
    Server(#[from] NameError),
    /// The tests need this name.
    #[error("`{0}` cannot be used: the tests use names that start with `{EXAMPLE}`")]
    Reserved(String),
    /// Too many servers.
    #[error("{0} servers are given; at most {MAX_SERVERS} are taken")]
    TooMany(usize),
    /// A registration cannot be written.
    #[error("a registration cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Whether a text may name a person or an agent. It stands in Cedar, JSON and YAML, so it holds nothing that means
/// anything there.
fn check_name(name: &str, what: &'static str) -> Result<(), InitError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.chars().all(is_allowed) && name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let name = name.to_owned();
    Err(InitError::Name { name, what })
}

impl InitOptions {
    /// Checks all names.
    ///
    /// # Errors
    ///
    /// The first name that cannot be used.
    pub fn check(&self) -> Result<(), InitError> {
        check_name(&self.user, "user")?;
        check_name(&self.agent, "agent")?;
        if self.servers.len() > MAX_SERVERS {
            return Err(InitError::TooMany(self.servers.len()));
        }
        for server in &self.servers {
            check_server_name(server)?;
        }
        let mut names = self.servers.iter().chain([&self.user, &self.agent]);
        if let Some(name) = names.find(|name| name.starts_with(EXAMPLE)) {
            return Err(InitError::Reserved(name.clone()));
        }
        Ok(())
    }
}

/// The files, by their path in the directory.
///
/// # Errors
///
/// [`InitError`], before anything is made.
pub fn files(options: &InitOptions) -> Result<BTreeMap<String, String>, InitError> {
    options.check()?;
    let mut files = BTreeMap::from([
        ("callgate.toml".to_owned(), CONFIG.to_owned()),
        ("entities/team.json".to_owned(), entities(options)?),
        ("first.cedar".to_owned(), policies(options)),
        ("tests/first.yaml".to_owned(), tests(options)),
    ]);
    for server in &options.servers {
        let mut text = serde_json::to_string_pretty(&registration(server, &options.user))?;
        text.push('\n');
        files.insert(format!("tools/{server}.json"), text);
    }
    Ok(files)
}

/// The registration of a server: with the tools of the catalogue, or without any until its list is imported.
fn registration(name: &str, owner: &str) -> Registration {
    let mut server = new_server(name);
    owner.clone_into(&mut server.owner);
    server.groups.push(SERVERS.to_owned());
    let tools = catalogue::tools(name).unwrap_or_default();
    Registration { server, tools }
}

fn entities(options: &InitOptions) -> Result<String, serde_json::Error> {
    let group = |id: &str, description: &str| {
        json!({
            "uid": {"type": "Mcp::Group", "id": id},
            "attrs": {"description": description},
            "parents": [],
        })
    };
    let team = json!([{"type": "Mcp::Group", "id": "team"}]);
    let owner = json!({"__entity": {"type": "Mcp::User", "id": options.user}});
    let entities = json!([
        group("team", "The people and agents of the team"),
        group(SERVERS, "The servers that the team uses"),
        {
            "uid": {"type": "Mcp::User", "id": options.user},
            "attrs": {"active": true},
            "parents": team,
        },
        {
            "uid": {"type": "Mcp::Agent", "id": options.agent},
            "attrs": {"owner": owner, "active": true},
            "parents": team,
        },
    ]);
    serde_json::to_string_pretty(&entities).map(|text| text + "\n")
}

const CONFIG: &str = "\
# Every process on this machine may ask. Before anything else can reach the server, `[[callers]]` take the place of this
# line.
without_callers = true

# Every call names the person for whom it is made.
require_delegation = true

# Calls are decided and recorded, and allowed: nothing is enforced yet. `callgate replay --observed` says what would be
# denied. To enforce, set this to false or take it away.
[observe]
service = true
";

fn policies(options: &InitOptions) -> String {
    let owner = &options.user;
    format!(
        r#"// What the team may do. What no permit allows is denied, and a forbid wins over every permit.
@id("first.look")
@owner("{owner}")
@controls("NIST-CSF:ID.AM-02")
@reason("The team sees what its servers offer.")
permit (
  principal in Mcp::Group::"team",
  action in Mcp::Action::"discover",
  resource in Mcp::Group::"{SERVERS}"
);

@id("first.read")
@owner("{owner}")
@controls("NIST-CSF:PR.AA-05,OWASP:ASI02")
@reason("The team uses tools that only read.")
permit (
  principal in Mcp::Group::"team",
  action in Mcp::Action::"call_read",
  resource in Mcp::Group::"{SERVERS}"
);

// Also where calls are only observed: an agent that is switched off does nothing.
@id("first.inactive_agents")
@owner("{owner}")
@controls("OWASP:ASI10,OWASP:NHI1")
@mode("enforce")
@reason("This agent is out of service.")
forbid (
  principal is Mcp::Agent,
  action,
  resource
)
unless {{ principal.active }};
"#
    )
}

/// What exists in the tests only.
fn fixtures(options: &InitOptions) -> String {
    let user = &options.user;
    format!(
        r#"# What first.cedar decides. The server and its tools exist in these tests only.
fixtures:
  groups: {{apart: {{}}}}
  users: {{example.stranger: {{}}}}
  agents: {{example.retired: {{in: [team], owner: "{user}", attrs: {{active: false}}}}}}
  servers:
    {EXAMPLE}: {{in: [{SERVERS}], owner: "{user}"}}
    example.other: {{in: [apart], owner: "{user}"}}
  tools:
    {EXAMPLE}/read: {{owner: "{user}", attrs: {{access: read}}}}
    {EXAMPLE}/write: {{owner: "{user}", attrs: {{access: write}}}}
    example.other/read: {{owner: "{user}", attrs: {{access: read}}}}
"#
    )
}

fn tests(options: &InitOptions) -> String {
    let (user, agent) = (&options.user, &options.agent);
    let fixtures = fixtures(options);
    format!(
        r#"{fixtures}
tests:
  - name: the agent reads for its person
    agent: "{agent}"
    for: "{user}"
    call: {EXAMPLE}/read
    want: allow
    policies: [first.read]

  - name: it changes nothing
    agent: "{agent}"
    for: "{user}"
    call: {EXAMPLE}/write
    want: deny
    code: NO_PERMIT
    policies: []

  - name: it reads for nobody else
    agent: "{agent}"
    for: example.stranger
    call: {EXAMPLE}/read
    want: deny
    code: DELEGATOR_DENIED

  - name: it reads nothing of other servers
    agent: "{agent}"
    for: "{user}"
    call: example.other/read
    want: deny
    code: NO_PERMIT
    policies: []

  - name: it sees what the server offers
    agent: "{agent}"
    for: "{user}"
    call: {{kind: list_tools, server: {EXAMPLE}}}
    want: allow
    policies: [first.look]

  - name: and nothing of other servers
    agent: "{agent}"
    for: "{user}"
    call: {{kind: list_tools, server: example.other}}
    want: deny
    code: NO_PERMIT
    policies: []

  - name: nor does a stranger
    user: example.stranger
    call: {{kind: list_tools, server: {EXAMPLE}}}
    want: deny
    code: NO_PERMIT
    policies: []

  - name: an agent that is switched off does nothing
    agent: example.retired
    for: "{user}"
    call: {EXAMPLE}/read
    want: deny
    code: FORBIDDEN
    policies: [first.inactive_agents]
"#
    )
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
