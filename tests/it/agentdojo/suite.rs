//! A suite of the benchmark with its registrations, its user's own data and its policies, compiled.

use std::fs;
use std::path::{Path, PathBuf};

use callgate::service::generation::LoadedBundle;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::support::bundle_dir::BundleDir;
use crate::support::parts::fetched;

/// A suite as the benchmark has it.
#[derive(Debug, Deserialize)]
pub struct Benchmark {
    pub tools: Vec<Tool>,
    pub user_tasks: Vec<Sequence>,
    pub injection_tasks: Vec<Sequence>,
}

impl Benchmark {
    /// The injection tasks that consist of calls.
    pub fn attacks(&self) -> impl Iterator<Item = &Sequence> {
        let tasks = self.injection_tasks.iter();
        tasks.filter(|task| !task.calls.is_empty())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    pub name: String,
    pub input_schema: Json,
}

#[derive(Debug, Deserialize)]
pub struct Sequence {
    pub id: String,
    #[serde(default)]
    pub prompt: String,
    pub calls: Vec<Call>,
}

impl Sequence {
    /// The names of the tools that it takes.
    pub fn tools(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.calls.iter().map(|call| &*call.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[derive(Debug, Deserialize)]
pub struct Call {
    pub name: String,
    pub arguments: Map<String, Json>,
}

/// What a deployment may know, or do, otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    AsItIs,
    /// Of the user's own data, places whose name begins so are left out.
    Without(&'static str),
}

/// A suite that can be put into service.
pub struct Suite {
    pub benchmark: Benchmark,
    pub server: String,
    pub registration: Json,
    pub load: LoadedBundle,
}

impl Suite {
    fn fact(&self, tool: &str, name: &str) -> &Json {
        &self.registration["tools"][tool][name]
    }

    /// Whether a call changes something, or can carry data out.
    pub fn has_side_effect(&self, call: &Call) -> bool {
        self.fact(&call.name, "access") != &json!("read")
            || self.fact(&call.name, "egress") == &json!(true)
    }

    /// Whether what strangers wrote comes back from a call.
    pub fn reads_strangers(&self, call: &Call) -> bool {
        let yields = self.fact(&call.name, "yields").as_array();
        yields.is_some_and(|labels| labels.contains(&json!("untrusted")))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read_json(path: &Path) -> Json {
    let text = fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The benchmark's data of a suite: from the folder that `CALLGATE_SHARED` names, or as
/// `tests/agentdojo/fetch` has written it.
fn data(name: &str) -> Json {
    let file = format!("{name}.json");
    let shared = std::env::var_os("CALLGATE_SHARED");
    let shared = shared.map(|shared| Path::new(&shared).join("data/agentdojo").join(&file));
    let shared = shared.filter(|path| path.exists());
    let fetched = || fetched(&format!("agentdojo/{file}"), "tests/agentdojo/fetch");
    read_json(&shared.unwrap_or_else(fetched))
}

/// The suite.
pub fn load(name: &str, variant: Variant) -> Suite {
    let benchmark: Benchmark = serde_json::from_value(data(name)).expect("the benchmark");
    let own = root().join("tests/it/agentdojo");
    let mut registration = read_json(&own.join(format!("{name}.tools.json")));
    for tool in &benchmark.tools {
        let entry = registration["tools"][&tool.name].as_object_mut();
        let entry = entry.unwrap_or_else(|| panic!("{} is not registered", tool.name));
        entry
            .entry("input_schema")
            .or_insert_with(|| tool.input_schema.clone());
    }
    let server = registration["server"]["name"].as_str().expect("a name");
    let server = server.to_owned();
    let policies = fs::read_to_string(own.join(format!("{name}.cedar")));
    let mut entities = read_json(&own.join(format!("{name}.entities.json")));
    if let (Variant::Without(unknown), Some(entities)) = (variant, entities.as_array_mut()) {
        entities.retain(|entity| {
            let id = entity["uid"]["id"].as_str().unwrap_or_default();
            !id.starts_with(unknown)
        });
    }
    let dir = BundleDir::copy_of("policies")
        .file(&format!("tools/{server}.json"), registration.to_string())
        .file(&format!("{name}.cedar"), policies.expect("a file"))
        .file(&format!("entities/{name}.json"), entities.to_string());
    Suite {
        benchmark,
        server,
        registration,
        load: dir.load(),
    }
}
