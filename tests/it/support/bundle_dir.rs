//! A directory of policies, entities and registrations in the making, and what a test can have of it.
//!
//! Begin with a world of [`super::worlds`] or with nothing, add what the test needs, then take one of: the files
//! ([`BundleDir::write`]), the compiled bundle ([`BundleDir::load`]), from that a service without a network
//! ([`Direct`](super::direct::Direct)), a server in this process ([`BundleDir::start`]), or a folder for the program
//! ([`Bundle::of`](super::process::Bundle::of)). What is added under a name that is there takes its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use callgate::bundle::diagnostic::BundleError;
use callgate::bundle::{self, Bundle};
use callgate::service::clock::{Clock, SystemClock};
use callgate::service::generation::LoadedBundle;
use callgate::telemetry::record::recorder::Recorder;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;

use super::files;
use super::in_process::{self, Running};

/// What a directory will hold.
#[derive(Clone, Default)]
pub struct BundleDir {
    /// A folder of the repository that is copied first.
    base: Option<&'static str>,
    /// By type and id.
    entities: BTreeMap<(String, String), Json>,
    /// Registrations by the name of the server.
    servers: BTreeMap<String, Json>,
    /// The server that tools are added to.
    server: String,
    /// By path. They take the place of all others.
    files: BTreeMap<String, Vec<u8>>,
}

impl BundleDir {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of a folder of this repository, e.g. `policies`.
    pub fn copy_of(folder: &'static str) -> Self {
        Self {
            base: Some(folder),
            ..Self::default()
        }
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Adds files.
    pub fn files(self, files: &[(&str, &str)]) -> Self {
        let add = |dir: Self, (path, text): &(&str, &str)| dir.file(path, *text);
        files.iter().fold(self, add)
    }

    /// Says what the policies are. All that is in other files stays.
    pub fn policies(self, text: &str) -> Self {
        self.file("policies.cedar", text)
    }

    /// Adds the settings of the directory.
    pub fn config(self, toml: &str) -> Self {
        self.file("callgate.toml", toml)
    }

    /// Adds an entity of any type, e.g. `("Mcp::User", "ana")`.
    pub fn entity(mut self, (ty, id): (&str, &str), attrs: Json, parents: &[(&str, &str)]) -> Self {
        let uid = |(ty, id): &(&str, &str)| json!({"type": ty, "id": id});
        let parents: Vec<Json> = parents.iter().map(uid).collect();
        let entity = json!({"uid": uid(&(ty, id)), "attrs": attrs, "parents": parents});
        self.entities.insert((ty.to_owned(), id.to_owned()), entity);
        self
    }

    /// Adds groups.
    pub fn groups(self, ids: &[&str]) -> Self {
        let add = |dir: Self, id: &&str| dir.entity(("Mcp::Group", id), json!({}), &[]);
        ids.iter().fold(self, add)
    }

    /// Adds a user who is in these groups.
    pub fn user(self, id: &str, groups: &[&str]) -> Self {
        self.entity(("Mcp::User", id), json!({}), &in_groups(groups))
    }

    /// Adds an agent of a user, in these groups.
    pub fn agent(self, id: &str, owner: &str, groups: &[&str]) -> Self {
        let owner = json!({"__entity": {"type": "Mcp::User", "id": owner}});
        let attrs = json!({"owner": owner, "active": true});
        self.entity(("Mcp::Agent", id), attrs, &in_groups(groups))
    }

    /// Adds agents of a user.
    pub fn agents(self, ids: &[&str], owner: &str) -> Self {
        ids.iter().fold(self, |dir, id| dir.agent(id, owner, &[]))
    }

    /// Registers a server of a user. The tools that are added next are its own.
    pub fn server(self, name: &str, owner: &str) -> Self {
        self.server_with(name, owner, json!({}))
    }

    /// Registers a server of which more is said, e.g. `{"groups": ["systems"]}`.
    pub fn server_with(mut self, name: &str, owner: &str, more: Json) -> Self {
        let registration = self.servers.entry(name.to_owned()).or_default();
        registration["server"] = extended(json!({"name": name, "owner": owner}), more);
        self.server = name.to_owned();
        self
    }

    /// Adds a tool to the server: confirmed, internal, without labels and egress.
    pub fn tool(self, name: &str, access: &str) -> Self {
        self.tool_with(name, access, json!({}))
    }

    /// Adds tools to the server, each with its access level.
    pub fn tools(self, tools: &[(&str, &str)]) -> Self {
        let add = |dir: Self, (name, access): &(&str, &str)| dir.tool(name, access);
        tools.iter().fold(self, add)
    }

    /// Adds a tool of which more is said, e.g. `{"yields": ["private"], "egress": true}`.
    pub fn tool_with(mut self, name: &str, access: &str, more: Json) -> Self {
        let registration = self.servers.get_mut(&self.server).expect("a server");
        let tool = json!({"access": access, "status": "confirmed", "yields": [], "egress": false,
            "sensitivity": "internal"});
        registration["tools"][name] = extended(tool, more);
        self
    }

    /// Writes everything.
    pub fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        self.write_into(dir.path());
        dir
    }

    /// Writes everything into a folder.
    pub fn write_into(&self, folder: &Path) {
        if let Some(base) = self.base {
            files::copy(&files::repository(base), folder);
        }
        if !self.entities.is_empty() {
            let entities: Json = self.entities.values().cloned().collect();
            files::write(folder, "entities/people.json", entities.to_string());
        }
        for (name, registration) in &self.servers {
            let path = format!("tools/{name}.json");
            files::write(folder, &path, registration.to_string());
        }
        for (path, content) in &self.files {
            files::write(folder, path, content);
        }
    }

    /// What the compiler says of it.
    pub fn compile(&self) -> Result<Bundle, BundleError> {
        bundle::load(self.write().path())
    }

    /// Compiles it, for a service.
    pub fn load(&self) -> LoadedBundle {
        loaded(self.compile().unwrap_or_else(|faults| panic!("{faults}")))
    }

    /// A server in this process, configured so.
    pub async fn start(&self, config: &str) -> Running {
        self.start_at(config, Arc::new(SystemClock)).await
    }

    /// The same with a clock of the test's own.
    pub async fn start_at(&self, config: &str, clock: Arc<dyn Clock>) -> Running {
        self.start_recorded(config, clock, Recorder::default())
            .await
    }

    /// The same with a recorder of the test's own.
    pub async fn start_recorded(
        &self,
        config: &str,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
    ) -> Running {
        let running = in_process::start_recorded(config, &[], clock, recorder).await;
        running.service.publish(self.load()).expect("a revision");
        running
    }
}

/// What goes into service of a compiled bundle.
pub fn loaded(bundle: Bundle) -> LoadedBundle {
    LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    }
}

/// An object with the members of another one, which take the place of its own.
fn extended(mut object: Json, more: Json) -> Json {
    let more: Map<String, Json> = serde_json::from_value(more).expect("an object");
    object.as_object_mut().expect("an object").extend(more);
    object
}

fn in_groups<'a>(groups: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    groups.iter().map(|group| ("Mcp::Group", *group)).collect()
}
