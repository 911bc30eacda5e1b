//! The companies in which stories play.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use callgate::bundle;
use callgate::service::generation::LoadedBundle;

use crate::scenarios::story::Scenario;

/// A company, compiled.
#[derive(Clone)]
pub struct World {
    pub load: LoadedBundle,
    pub policies: Vec<String>,
}

static KNOWN: LazyLock<Mutex<HashMap<(String, String), World>>> = LazyLock::new(Mutex::default);

/// The company of a scenario.
pub fn of(scenario: &Scenario) -> Result<World, String> {
    let name = scenario.world.clone().unwrap_or_else(|| "office".into());
    let more = scenario.policies.clone().unwrap_or_default();
    let mut known = KNOWN.lock().expect("worlds");
    if let Some(world) = known.get(&(name.clone(), more.clone())) {
        return Ok(world.clone());
    }
    let place = match name.as_str() {
        "office" => "tests/it/scenarios/world",
        "shipped" => "policies",
        other => {
            return Err(format!(
                "`{other}` is no world: it is `office` or `shipped`"
            ));
        }
    };
    let dir = tempfile::tempdir().expect("a directory");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(place),
        dir.path(),
    );
    fs::write(dir.path().join("of_this_scenario.cedar"), &more).expect("policies");
    let bundle = bundle::load(dir.path()).map_err(|faults| faults.to_string())?;
    let world = World {
        policies: bundle.policies.iter().map(|it| it.id.to_string()).collect(),
        load: LoadedBundle {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims,
            policy_set_digest: bundle.digest,
        },
    };
    known.insert((name, more), world.clone());
    Ok(world)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
